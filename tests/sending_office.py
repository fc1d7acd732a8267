"""A served account that sends over SOAP, and another one that must not see it, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from keyed_calls import SEND, Keyed
from lxml import etree
from sqlalchemy import select, update
from web_server import serve

from audience.accounts import add_account
from audience.list_changes import change_list
from audience.lists import MailingList, add_group, add_list, set_field
from audience.status_rules import SUBSCRIBE, Channel
from audience.subscriptions import Address, Cause, ProfileChange, change_state
from db.engine import Database
from db.tables import delivery, sending
from delivery.filters import add_filter
from delivery.messages import Message, add_message
from delivery.sendings import Sending, add_sending, find_sending
from jobs.storage import Storage
from services.http.options import HttpOptions

ALL = {"send_to": "ALL"}
HTML = "<p>Hello [campo1]</p>"
PAGE = Cause("page")
LATER = "20360701093000"


def texts(element: etree._Element | None) -> dict[str, str | None]:
    """Return the texts of an element's children by their names."""
    assert element is not None
    return {str(child.tag): child.text for child in element}


@dataclass
class Office:
    """A server; account 1 with lists 1 and 2, account 2 with one of its own, and a key to each."""

    database: Database
    keyed: Keyed
    lists: list[MailingList]
    keys: tuple[str, str]
    message: Message

    @property
    def neighbour(self) -> Office:
        """The same server, called by account 2."""
        return replace(self, keys=self.keys[::-1])

    def call(self, operation: str, **given: object) -> etree._Element:
        return self.keyed.call(SEND, operation, accessKey=self.keys[0], **given)

    def code(self, operation: str, **given: object) -> str:
        """Return an error code with what is said about it, or 0."""
        root = self.call(operation, **given)
        code = root.findtext("errorCode") or ""
        return f"{code}: {root.findtext('errorDescription')}" if code != "0" else code

    def send(self, **options: str) -> etree._Element:
        """Send the message to everybody, or as the options say."""
        return self.call("SendNewsletter", listID=1, newsletterID=self.message.number, options=ALL | options)

    def refuse(self, **options: str) -> str:
        root = self.send(**options)
        return f"{root.findtext('errorCode')}: {root.findtext('errorDescription')}"

    def sent(self, **options: str) -> Sending:
        """Return the sending that was made as the options say."""
        root = self.send(**options)
        assert root.findtext("errorCode") == "0", etree.tostring(root)
        return self.load(int(root.findtext("deliveryID") or 0))

    def load(self, number: int) -> Sending:
        with self.database.read() as connection:
            return find_sending(connection, self.lists[0].account_id, number)

    def rows(self, number: int) -> list[tuple[str, Any]]:
        """Return addresses and values of those in the queue of a sending."""
        query = select(delivery.c.address, delivery.c["values"]).where(delivery.c.sending_id == self.load(number).id)
        with self.database.read() as connection:
            return [(row.address, row[1]) for row in connection.execute(query.order_by(delivery.c.address))]

    def update(self, number: int, **values: object) -> None:
        with self.database.write() as connection:
            connection.execute(update(sending).where(sending.c.id == self.load(number).id).values(**values))

    def count(self, table: Any) -> int:
        with self.database.read() as connection:
            return len(connection.execute(select(table)).all())

    def queues(self, **given: object) -> list[dict[str, str | None]]:
        root = self.call("GetNewsletterQueues", **({"listID": 1} | given))
        assert root.findtext("list/listID") == str(given.get("listID", 1))
        return [texts(entry) for entry in root.iterfind("list/queues/queue")]

    def status(self, number: int) -> dict[str, str | None]:
        root = self.call("GetNewsletterDeliveryStatus", deliveryID=number)
        codes = [(child.tag, child.text) for child in root[:4]]
        assert codes == [("errorCode", "0"), ("errorDescription", None), ("erroCode", "0"), ("erroDescription", None)]
        return texts(root.find("deliveryStatus"))


def fill(database: Database) -> tuple[list[MailingList], Message]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        other = add_account(connection, 2, password="secret", time_zone="America/New_York")
        lists = [add_list(connection, account.id, name) for name in ("News", "Offers")]
        lists.append(add_list(connection, other.id, "Theirs"))
        for mailing in lists:
            change_list(connection, mailing, {"sender_email": "news@example.com"})
        set_field(connection, account.id, 1, "Name")
        for mailing, name in ((lists[0], "VIP"), (lists[0], "Staff"), (lists[1], "Elsewhere"), (lists[2], "Theirs")):
            add_group(connection, mailing, name)
        for number in (1, 2, 3):
            address = Address(Channel.EMAIL, f"p{number}@example.com")
            profile = ProfileChange({1: f"Name {number}"}, groups=[1] if number == 1 else [])
            change_state(connection, lists[0], address, SUBSCRIBE, PAGE, profile)
        add_filter(connection, account, "Third", ["field:1 = Name 3"])
        add_filter(connection, other, "Other", ["email present"])
        found = add_message(connection, lists[0], Channel.EMAIL, subject="News", html=HTML)
        add_message(connection, lists[1], Channel.EMAIL, subject="Of list 2", html=HTML)
        add_message(connection, lists[2], Channel.EMAIL, subject="Theirs", html=HTML)
        add_sending(connection, lists[2], Channel.EMAIL, None, start_at=datetime(2036, 1, 1, tzinfo=UTC))
    return lists, found


def open_office(database: Database, storage: Storage, options: HttpOptions | None = None) -> Iterator[Office]:
    lists, found = fill(database)
    with serve(database, storage, options) as site:
        keyed = Keyed(site)
        keys = (keyed.log_in(), keyed.log_in(user="a2", console=2))
        yield Office(database, keyed, lists, keys, found)
