"""An account that has sent a message, whose readers hold the links of it, for tests of what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list
from audience.status_rules import SUBSCRIBE, Channel
from audience.subscriptions import Cause, change_state, parse_address
from db.engine import Database
from db.tables import account as account_table
from db.tables import delivery, mail_event, sending_link
from delivery.messages import Message, add_message
from delivery.queue import DeliveryState
from delivery.sendings import NewSending, add_sending
from delivery.tracking_links import LinkSigner, RecipientLinks

SENT_AT = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
LINKS = ("https://shop.example.com/?a=1&b=2", "https://shop.example.com/[campo1]", "mailto:help@example.com")
HTML = "<p>Ciao <b>[campo1]</b></p><script>alert(1)</script><a href='http://[unsubscribe]/'>leave</a>"


@dataclass(frozen=True)
class TrackedSending:
    """A message that has gone out to people of a list."""

    database: Database
    account: Account
    mailing: MailingList
    message: Message
    sending: NewSending
    signer: LinkSigner
    emails: tuple[str, ...]
    recipient_ids: tuple[int, ...]

    def links(self, person: int = 0) -> RecipientLinks:
        """Return the links of a reader, as paths."""
        return self.signer.of_recipient(self.sending.id, self.recipient_ids[person], self.emails[person])

    def events(self) -> list[dict[str, Any]]:
        """Return what is stored of this account."""
        query = select(mail_event).where(mail_event.c.account_id == self.account.id).order_by(mail_event.c.id)
        with self.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


def send_message(
    database: Database, number: int = 1234, people: int = 3, links: Sequence[str] = LINKS
) -> TrackedSending:
    """Add an account, and have it send a message to new people."""
    emails = tuple(f"reader{index}@example.com" for index in range(people))
    with database.write() as connection:
        account = add_account(connection, number, password="secret", time_zone="Europe/Rome")
        mailing = add_list(connection, account.id, "News")
        message = add_message(connection, mailing, Channel.EMAIL, subject="Hello", html=HTML)
        sending = add_sending(connection, mailing, Channel.EMAIL, message, state="completed")
        ids = tuple(
            change_state(
                connection, mailing, parse_address(mailing, email=email), SUBSCRIBE, Cause("test")
            ).recipient_id
            for email in emails
        )
        row = {"account_id": account.id, "sending_id": sending.id, "list_id": mailing.id, "domain": "example.com"}
        row |= {"state": int(DeliveryState.SENT), "due_at": SENT_AT, "sent_at": SENT_AT}
        rows = [{**row, "recipient_id": id_, "address": email} for id_, email in zip(ids, emails, strict=True)]
        connection.execute(delivery.insert(), rows)
        targets = [{"sending_id": sending.id, "place": place, "url": url} for place, url in enumerate(links)]
        connection.execute(sending_link.insert(), targets)
        query = select(account_table.c.secret_key).where(account_table.c.id == account.id)
        secret_key = connection.execute(query).scalar_one()
    signer = LinkSigner(secret_key, account.number, "")
    return TrackedSending(database, account, mailing, message, sending, signer, emails, ids)
