"""An account that sends, for tests: a list with people, messages, and a mail role that works in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mail_sinks import MailSink
from sqlalchemy import func, select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list, find_list
from audience.status_rules import UNSUBSCRIBE, Channel, Status
from audience.subscriptions import Cause, change_state, parse_address
from db.bulk import append_rows
from db.engine import Database
from db.tables import delivery, mail_event, mailing_list, recipient, sending, subscription
from delivery.messages import Message, MessageSettings, add_message
from delivery.queue import DeliveryState
from delivery.sendings import NewSending, add_sending
from delivery.smtp import SmtpOptions
from jobs.mail import MailOptions, run_mail
from services.mailup.merge_tags import VOCABULARY

DEADLINE_SECONDS = 120.0
HTML = '<html><body><p>Hello [campo1], <a href="https://shop.example.com/a?b=1">shop</a></p></body></html>'


def options(port: int | None, **values: Any) -> MailOptions:
    """Return options of a role that sends to a server of this machine."""
    relay = ("127.0.0.1", port) if port is not None else None
    smtp = SmtpOptions(relay=relay, hello_name="lists.example.com", security="none", connections=2)
    given = {"public_url": "https://lists.example.com", "host": "lists.example.com", "vocabulary": VOCABULARY}
    return MailOptions(**(given | {"smtp": smtp} | values))


@dataclass
class MailWorld:
    """An account with one list."""

    database: Database
    account: Account
    mailing: MailingList

    def add_people(self, count: int, *, first: int = 1, names: Mapping[int, str] | None = None) -> list[str]:
        """Subscribe `person<N>@example.com`, or those named by number; return their addresses."""
        now = datetime.now(UTC)
        emails = [(names or {}).get(number, f"person{number}@example.com") for number in range(first, first + count)]
        rows = [
            {"account_id": self.account.id, "email": email, "fields": {"1": f"Name {place}"}, "created_at": now,
             "updated_at": now}
            for place, email in enumerate(emails, first)
        ]  # fmt: skip
        with self.database.write() as connection:
            connection.execute(recipient.insert(), rows)
            query = select(recipient.c.id).where(
                recipient.c.account_id == self.account.id, recipient.c.id.not_in(select(subscription.c.recipient_id))
            )
            ids = list(connection.execute(query).scalars())
            columns = ("recipient_id", "list_id", "channel", "status", "subscribed_at", "changed_at", "source")
            values = ((one, self.mailing.id, 1, int(Status.SUBSCRIBED), now, now, "page") for one in ids)
            append_rows(connection, subscription, columns, values)
        return emails

    def unsubscribe(self, email: str) -> None:
        """Unsubscribe somebody, as a page would."""
        with self.database.write() as connection:
            address = parse_address(self.mailing, email=email)
            change_state(connection, self.mailing, address, UNSUBSCRIBE, Cause("page"))

    def add_message(self, subject: str = "News", html: str = HTML, **settings: Any) -> Message:
        """Write an e-mail."""
        with self.database.write() as connection:
            return add_message(
                connection,
                self.mailing,
                Channel.EMAIL,
                subject=subject,
                html=html,
                settings=MessageSettings(**settings),
            )

    def send(self, message: Message, **values: Any) -> NewSending:
        """Ask for a sending to everybody, or to whom the values say."""
        with self.database.write() as connection:
            return add_sending(connection, self.mailing, Channel.EMAIL, message, **values)

    def state(self, of: NewSending) -> Any:
        """Return a sending's row."""
        with self.database.read_once() as connection:
            return connection.execute(select(sending).where(sending.c.id == of.id)).one()

    def states(self, of: NewSending) -> dict[DeliveryState, int]:
        """Return how many rows of a sending's queue are in each state."""
        query = select(delivery.c.state, func.count()).where(delivery.c.sending_id == of.id).group_by(delivery.c.state)
        with self.database.read_once() as connection:
            return {DeliveryState(state): count for state, count in connection.execute(query)}

    def events(self, of: NewSending) -> list[tuple[str, int]]:
        """Return addresses and kinds of what happened in a sending."""
        query = select(mail_event.c.email, mail_event.c.kind).where(mail_event.c.sending_id == of.id)
        with self.database.read_once() as connection:
            return sorted((email, kind) for email, kind in connection.execute(query))

    def make_due(self, of: NewSending) -> None:
        """Let the time pass that rows of a queue wait for."""
        with self.database.write() as connection:
            due = delivery.update().where(delivery.c.sending_id == of.id)
            connection.execute(due.values(due_at=datetime.now(UTC)))

    @contextmanager
    def mail_role(self, sink: MailSink | None, **values: Any) -> Iterator[threading.Event]:
        """Run the mail role until the block ends."""
        stop = threading.Event()
        given = options(sink.port if sink is not None else None, **values)
        thread = threading.Thread(target=run_mail, args=(self.database, given, stop))
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join()

    def wait_for_state(self, of: NewSending, *states: str) -> Any:
        """Wait until a sending is in one of some states; return its row."""
        wait_until(lambda: self.state(of).state in states, f"{self.state(of).state} is not {states}")
        return self.state(of)


def wait_until(is_done: Callable[[], object], problem: str) -> None:
    """Wait until something is so, for a generous time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline, problem
        time.sleep(0.02)


def make_mail_world(database: Database, number: int = 7) -> MailWorld:
    """Make an account with a list that has a sender."""
    with database.write() as connection:
        account = add_account(connection, number, password="secret")
        mailing = add_list(connection, account.id, "News")
        settings = {"sender_email": "news@example.com", "sender_name": "The News"}
        connection.execute(mailing_list.update().where(mailing_list.c.id == mailing.id).values(settings=settings))
        mailing = find_list(connection, account.id, mailing.number)
    return MailWorld(database, replace(account), mailing)
