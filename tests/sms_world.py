"""An account that sends text messages, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list, set_field
from audience.status_rules import Channel, ImportRule
from audience.subscriptions import Address, Cause, ProfileChange, change_state
from db.engine import Database
from db.leases import name_owner
from db.tables import delivery, sending, sms_event
from delivery.handovers import Gateway
from delivery.messages import Message, MessageSettings, add_message
from delivery.preparation import prepare_next
from delivery.queue import finish_sendings
from delivery.sendings import NewSending, Sender, SendingMode, Target, add_sending
from delivery.sms import SmsLane, SmsOptions
from delivery.sms_credits import set_credits
from services.mailup.merge_tags import VOCABULARY

NOBODY = threading.Event()


@dataclass(frozen=True)
class SmsWorld:
    """One account, one list, and the engine's pieces."""

    database: Database
    account: Account
    mailing: MailingList

    def subscribe(self, *numbers: str, name: str = "") -> None:
        with self.database.write() as connection:
            for number in numbers:
                profile = ProfileChange({1: name}) if name else None
                address = Address(Channel.SMS, number)
                change_state(connection, self.mailing, address, ImportRule().transition(), Cause("soap"), profile)

    def unsubscribe(self, number: str) -> None:
        with self.database.write() as connection:
            rule = ImportRule(unsubscribe=True).transition()
            change_state(connection, self.mailing, Address(Channel.SMS, number), rule, Cause("soap"))

    def give(self, credits: int, *, to_list: bool = False) -> None:
        with self.database.write() as connection:
            set_credits(connection, self.account.id, Decimal(credits), self.mailing if to_list else None)

    def message(self, text: str = "Ciao", **settings: Any) -> Message:
        with self.database.write() as connection:
            chosen = MessageSettings(**settings)
            return add_message(connection, self.mailing, Channel.SMS, subject="SMS", text=text, settings=chosen)

    def send(self, message: Message, *, mode: SendingMode = "at-most-once", sender: str = "") -> NewSending:
        with self.database.write() as connection:
            return add_sending(
                connection,
                self.mailing,
                Channel.SMS,
                message,
                target=Target(),
                sender=Sender(name=sender),
                mode=mode,
            )

    def lane(self, gateway: Gateway, *, per_second: float = 1000.0) -> SmsLane:
        options = SmsOptions(
            owner=name_owner(), vocabulary=VOCABULARY, public_url="http://mail.example.com", per_second=per_second
        )
        return SmsLane(self.database, gateway, options)

    def prepare(self) -> None:
        while prepare_next(self.database, lambda _sending: (), name_owner(), NOBODY):
            pass

    def work(self, lane: SmsLane) -> None:
        """Prepare and send whatever can be sent now, and end what is done."""
        self.prepare()
        while lane.work(NOBODY):
            pass
        with self.database.write() as connection:
            finish_sendings(connection)

    def row(self, new: NewSending) -> Any:
        with self.database.read() as connection:
            return connection.execute(select(sending).where(sending.c.id == new.id)).one()

    def states(self, new: NewSending) -> dict[str, int]:
        """Return the states of a sending's rows by number."""
        query = select(delivery.c.address, delivery.c.state).where(delivery.c.sending_id == new.id)
        with self.database.read() as connection:
            return {row.address: row.state for row in connection.execute(query)}

    def events(self) -> list[tuple[str, int, str | None]]:
        columns = (sms_event.c.mobile, sms_event.c.status, sms_event.c.error_code)
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(sms_event.c.id))]

    def count(self, new: NewSending, state: int) -> int:
        query = select(func.count()).where(delivery.c.sending_id == new.id, delivery.c.state == state)
        with self.database.read() as connection:
            return int(connection.execute(query).scalar_one())


def make_sms_world(database: Database) -> SmsWorld:
    """Return an account with a list that has a field called `nome`."""
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = add_list(connection, account.id, "Clienti")
        set_field(connection, account.id, 1, "nome", default_value="amico")
    return SmsWorld(database, account, mailing)


def wait_until(done: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
