"""An account that has sent something to somebody, and what may come back, for tests of the bounce intake."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.lists import MailingList, add_list
from audience.status_rules import SUBSCRIBE, Channel, State, Transition
from audience.subscriptions import Address, Cause, change_state, state_in_list
from db.engine import Database
from db.leases import name_owner
from db.tables import account as account_table
from db.tables import history, inbound_mail, mail_event, subscription
from delivery.inbound import read_next_mail
from delivery.inbound_mails import keep_mail
from delivery.return_paths import ReturnPath, write_return_path, write_unsubscribe_address
from delivery.sendings import add_sending

DOMAIN = "bounces.example.com"
ADA = "ada@example.net"
UNKNOWN_USER = "smtp; 550 5.1.1 user unknown"
MAILBOX_FULL = "smtp; 552 5.2.2 mailbox full"


@dataclass(frozen=True)
class BounceWorld:
    """Two lists; sendings go to the first."""

    database: Database
    account: Account
    news: MailingList
    offers: MailingList

    @property
    def secret_key(self) -> str:
        query = select(account_table.c.secret_key).where(account_table.c.id == self.account.id)
        with self.database.read() as connection:
            return str(connection.execute(query).scalar_one())

    def bring(self, email: str = ADA, *, lists: tuple[MailingList, ...] | None = None) -> int:
        """Subscribe somebody to both lists, or to some; return his id."""
        moved = [self.move(SUBSCRIBE, mailing, email) for mailing in lists or (self.news, self.offers)]
        return moved[0]

    def move(self, transition: Transition, mailing: MailingList, email: str = ADA, **cause: Any) -> int:
        with self.database.write() as connection:
            address = Address(Channel.EMAIL, email)
            return change_state(connection, mailing, address, transition, Cause("test", **cause)).recipient_id

    def send(self, recipient_id: int, email: str = ADA) -> ReturnPath:
        """Send somebody something; return whose mail of which sending it is."""
        with self.database.write() as connection:
            sending = add_sending(
                connection, self.news, Channel.EMAIL, None, message_number=7, subject="Hello", state="completed"
            )
            now = datetime.now(UTC)
            event = MailEvent(self.news.id, sending.id, recipient_id, email, MailEventKind.SENT, now, now)
            append_mail_events(connection, self.account.id, [event])
        return ReturnPath(self.account.id, sending.id, recipient_id)

    def happen(self, about: ReturnPath, kind: MailEventKind) -> None:
        with self.database.write() as connection:
            now = datetime.now(UTC)
            event = MailEvent(self.news.id, about.sending_id, about.recipient_id, ADA, kind, now, now)
            append_mail_events(connection, self.account.id, [event])

    def return_path(self, about: ReturnPath) -> str:
        return write_return_path(self.secret_key, self.account.number, about.sending_id, about.recipient_id, DOMAIN)

    def unsubscribe_address(self, about: ReturnPath, mailing: MailingList | None = None) -> str:
        number, list_id = self.account.number, (mailing or self.news).id
        return write_unsubscribe_address(self.secret_key, number, about.sending_id, about.recipient_id, list_id, DOMAIN)

    def receive(self, content: bytes, *recipients: str) -> int:
        """Keep a mail and read it; return its id."""
        with self.database.write() as connection:
            assert keep_mail(connection, "smtp", "", recipients, content)
            mail_id = connection.execute(select(inbound_mail.c.id).order_by(inbound_mail.c.id.desc()).limit(1))
            last = int(mail_id.scalar_one())
        assert self.read()
        return last

    def read(self, *, limit: int = 3) -> bool:
        return read_next_mail(self.database, name_owner(), threading.Event(), soft_bounce_limit=limit)

    def mail(self, mail_id: int) -> Any:
        with self.database.read() as connection:
            return connection.execute(select(inbound_mail).where(inbound_mail.c.id == mail_id)).one()

    def state(self, mailing: MailingList | None = None, email: str = ADA) -> State:
        with self.database.read() as connection:
            return state_in_list(connection, mailing or self.news, Address(Channel.EMAIL, email))

    def reasons(self, recipient_id: int) -> list[tuple[Any, ...]]:
        """Return list, reason and subtype of what has ended."""
        query = (
            select(subscription.c.list_id, subscription.c.reason_type, subscription.c.reason_subtype)
            .where(subscription.c.recipient_id == recipient_id, subscription.c.unsubscribed_at.is_not(None))
            .order_by(subscription.c.list_id)
        )
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def bounces(self, about: ReturnPath) -> list[str | None]:
        """Return the codes of a recipient's events that his mail came back."""
        query = select(mail_event.c.details).where(
            mail_event.c.recipient_id == about.recipient_id,
            mail_event.c.sending_id == about.sending_id,
            mail_event.c.kind == MailEventKind.BOUNCED,
        )
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def causes(self, recipient_id: int) -> list[tuple[Any, ...]]:
        """Return what rules of bounces and mails wrote into the history: source, list, reason, subtype."""
        columns = (history.c.source, history.c.list_id, history.c.reason_type, history.c.reason_subtype)
        query = select(*columns).where(history.c.recipient_id == recipient_id, history.c.source != "test")
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(history.c.id))]


def make_bounce_world(database: Database, number: int = 1234) -> BounceWorld:
    """Add the account."""
    with database.write() as connection:
        account = add_account(connection, number, password="secret")
        lists = [add_list(connection, account.id, name) for name in ("News", "Offers")]
    return BounceWorld(database, account, *lists)


def status_report(diagnostic: str, *, status: str = "5.0.0", action: str = "failed", returned: str = "") -> bytes:
    """Return a report (RFC 3464) about a mail to Ada, with headers of what it returns."""
    return f"""From: MAILER-DAEMON@mx.example.net
To: whoever@{DOMAIN}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It did not arrive.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; {ADA}
Action: {action}
Status: {status}
Diagnostic-Code: {diagnostic}

--b
Content-Type: text/rfc822-headers

{returned}Subject: Hello

--b--
""".replace("\n", "\r\n").encode()


def complaint(returned: str = "", *, kind: str = "abuse") -> bytes:
    """Return a report (RFC 5965) of a mailbox provider."""
    return f"""From: feedback@example.net
To: fbl@{DOMAIN}
Subject: FW: Hello
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

Somebody complained.

--b
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: Example/1
Version: 1

--b
Content-Type: message/rfc822

{returned}Subject: Hello

Dear reader
--b--
""".replace("\n", "\r\n").encode()
