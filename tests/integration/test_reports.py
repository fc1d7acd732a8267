"""What MailupReport tells of recipients and messages, and that it agrees with the exports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from export_world import World, day, make_world
from keyed_calls import REPORT, Keyed
from sqlalchemy import update
from web_server import serve

from audience.accounts import add_account
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.lists import find_list
from audience.reports import select_reactions
from audience.status_rules import Channel, Status
from db.engine import Database
from db.tables import mail_event, sending
from delivery.sendings import add_sending
from jobs.storage import Storage

ADA, BOB = "ada@example.com", "bob@example.com"
SHOP, NEWS = "https://shop.example.com/?a=1&b=2", "mailto:staff@example.com"
WORDS = {
    "": {
        "channels": "Canali",
        "total": "Totale",
        "at": "DataOra",
        "message": "IDMessaggio",
        "subject": "Oggetto",
        "fields": "CampiAnagrafici",
        "field": "campo",
        "id": "id",
        "value": "Valore",
        "states": ["Iscritto", "In attesa", "Disiscritto", "Non Registrato"],
        "others": ["Posta", "Voce", "Fax"],
    },
    "EN": {
        "channels": "Channels",
        "total": "Total",
        "at": "DateTime",
        "message": "MessageID",
        "subject": "Subject",
        "fields": "PersonalDataFields",
        "field": "Field",
        "id": "Id",
        "value": "Value",
        "states": ["Subscribed", "Pending", "Unsubscribed", "Not Registered"],
        "others": ["RegularMail", "Voice", "Fax"],
    },
}


@dataclass
class Desk:
    """A world with two sendings to list 1, and a caller with a key."""

    world: World
    caller: Keyed
    key: str
    ada: int
    bob: int
    first: int
    second: int

    def report(self, operation: str, **parameters: object) -> Any:
        """Call an operation; return the root of its result, which went well."""
        root = self.caller.call(REPORT, operation, accessKey=self.key, **parameters)
        assert (root.tag, root.findtext("errorCode")) == (f"{operation}Result", "0"), root.findtext("errorDescription")
        return root

    def code(self, operation: str, **parameters: object) -> str:
        return self.caller.code(REPORT, operation, accessKey=self.key, **parameters)

    def send(self, message_number: int, subject: str, **values: Any) -> int:
        """Add a sending to list 1 that is over; return its id."""
        with self.world.database.write() as connection:
            mailing = find_list(connection, self.world.account.id, 1)
            made = add_sending(
                connection,
                mailing,
                Channel.EMAIL,
                None,
                subject=subject,
                message_number=message_number,
                state="completed",
            )
            if values:
                connection.execute(update(sending).where(sending.c.id == made.id).values(**values))
            return made.id

    def happen(self, sending_id: int, person: int, kind: MailEventKind, hour: int, details: str | None = None) -> None:
        email = {self.ada: ADA, self.bob: BOB}[person]
        event = MailEvent(
            self.world.lists[1], sending_id, person, email, kind, day(20, hour), day(20, 6), details, "192.0.2.7"
        )
        with self.world.database.write() as connection:
            append_mail_events(connection, self.world.account.id, [event])


@contextmanager
def _open_desk(database: Database, storage: Storage) -> Iterator[Desk]:
    world = make_world(database, storage)
    with database.write() as connection:
        ada = world.add_person(connection, email=ADA, fields={"1": 'Ada <&> "L"', "39": "x", "40": "hidden"})
        bob = world.add_person(connection, email=BOB, mobile="+393401234567")
        world.subscribe(connection, ada, 1)
        world.subscribe(connection, bob, 1)
        world.subscribe(connection, bob, 1, channel=Channel.SMS, status=Status.PENDING)
    with serve(database, storage) as site:
        caller = Keyed(site)
        key = caller.log_in(REPORT, user="a7", pwd="a long password", console=7)
        made = Desk(world, caller, key, ada, bob, 0, 0)
        made.first, made.second = made.send(4, "Città"), made.send(5, "Offers")
        yield made


@pytest.fixture
def desk(sqlite_url: str, storage: Storage) -> Iterator[Desk]:
    database = Database(sqlite_url)
    with _open_desk(database, storage) as made:
        yield made
    database.close()


@pytest.fixture
def any_desk(database: Database, storage: Storage) -> Iterator[Desk]:
    """The same on SQLite and on PostgreSQL."""
    with _open_desk(database, storage) as made:
        yield made


def _fill(desk: Desk) -> None:
    opened, clicked = MailEventKind.OPENED, MailEventKind.CLICKED
    for sending_id in (desk.first, desk.second):
        for person in (desk.ada, desk.bob):
            desk.happen(sending_id, person, MailEventKind.SENT, 6)
    desk.happen(desk.first, desk.ada, opened, 8)
    desk.happen(desk.second, desk.ada, opened, 9)
    desk.happen(desk.first, desk.bob, opened, 9)
    desk.happen(desk.first, desk.bob, opened, 10)
    desk.happen(desk.first, desk.ada, clicked, 9, SHOP)
    desk.happen(desk.first, desk.ada, clicked, 10, SHOP)
    desk.happen(desk.first, desk.bob, clicked, 10, SHOP)
    desk.happen(desk.second, desk.ada, clicked, 11, NEWS)
    desk.happen(desk.first, desk.ada, MailEventKind.BOUNCED, 7, "450 4.2.2")
    desk.happen(desk.second, desk.ada, MailEventKind.BOUNCED, 12, "450 4.2.2")


@pytest.mark.parametrize("language", ["", "EN"])
def test_a_recipient(any_desk: Desk, language: str) -> None:
    desk = any_desk
    words: Any = WORDS[language]
    _fill(desk)
    root = desk.report(f"ReportByUser{language}", email="ADA@example.com", listID=1, messageID=0)
    tags = ["errorCode", "errorDescription", words["channels"], "Bounce", "Clicks", "Clicks", "Opens", words["fields"]]
    assert [child.tag for child in root] == tags
    subscribed, pending, _, none = words["states"]
    channels = [(child.tag, child.text) for child in root.find(words["channels"])]
    assert channels == [("Email", subscribed), ("SMS", none), *((name, none) for name in words["others"])]
    # March: one hour from UTC.
    assert root.findtext("Bounce") == "20/03/2026 13.00.00"
    assert [dict(found.attrib) for found in root.findall("Clicks")] == [
        {"Url": SHOP, words["total"]: "2"},
        {"Url": NEWS, words["total"]: "1"},
    ]
    first = root.find("Clicks/Click")
    assert list(first.attrib.items()) == [
        (words["at"], "20/03/2026 10.00.00"),
        ("IP", "192.0.2.7"),
        (words["message"], "4"),
        (words["subject"], "Città"),
    ]
    assert root.find("Opens").get(words["total"]) == "2"
    assert [found.get(words["message"]) for found in root.findall("Opens/Open")] == ["4", "5"]
    fields = root.findall(f"{words['fields']}/{words['field']}")
    assert [found.get(words["id"]) for found in fields] == [str(number) for number in range(1, 40)]
    assert (fields[0].get(words["value"]), fields[1].get(words["value"])) == ('Ada <&> "L"', "")
    bob = desk.report(f"ReportByUser{language}", email=BOB, listID=1, messageID=0)
    assert bob.findtext(f"{words['channels']}/SMS") == pending
    assert bob.findtext("Bounce") == ""


def test_a_recipient_and_one_message(desk: Desk) -> None:
    _fill(desk)
    root = desk.report("ReportByUserEN", email=ADA, listID=1, messageID=5)
    assert [found.get("Url") for found in root.findall("Clicks")] == [NEWS]
    assert root.find("Opens").get("Total") == "1"
    assert desk.report("ReportByUserEN", email=ADA, listID=1, messageID=4).findtext("Bounce") == "20/03/2026 08.00.00"


def test_no_statistics_of_who_is_unsubscribed(desk: Desk) -> None:
    _fill(desk)
    with desk.world.database.write() as connection:
        desk.world.subscribe(connection, desk.ada, 2, status=Status.UNSUBSCRIBED, unsubscribed_at=day(3))
        connection.execute(
            update(mail_event).where(mail_event.c.recipient_id == desk.ada).values(list_id=desk.world.lists[2])
        )
        connection.execute(update(sending).values(list_id=desk.world.lists[2]))
    root = desk.report("ReportByUser", email=ADA, listID=2, messageID=0)
    assert root.findtext("Canali/Email") == "Disiscritto"
    assert [child.tag for child in root][2:] == ["Canali", "Bounce", "CampiAnagrafici"]


def test_a_recipient_of_another_list(desk: Desk) -> None:
    _fill(desk)
    root = desk.report("ReportByUser", email=ADA, listID=2, messageID=0)
    assert root.findtext("Canali/Email") == "Non Registrato"
    assert (root.findall("Clicks"), root.find("Opens").get("Totale"), root.findtext("Bounce")) == ([], "0", "")


@pytest.mark.parametrize(("language", "total"), [("", "Totale"), ("EN", "Total")])
def test_a_message(any_desk: Desk, language: str, total: str) -> None:
    desk = any_desk
    _fill(desk)
    hidden = desk.send(4, "Again", statistics_hidden=True)
    desk.happen(hidden, desk.ada, MailEventKind.OPENED, 12)
    root = desk.report(f"ReportByMessage{language}", listID=1, messageID=4)
    assert [child.tag for child in root] == ["errorCode", "errorDescription", "Clicks", "Opens"]
    clicks, opens = root[2:]
    assert dict(clicks.attrib) == {"Url": SHOP, total: "3"}
    assert [dict(found.attrib) for found in clicks] == [{"Email": ADA, total: "2"}, {"Email": BOB, total: "1"}]
    assert (opens.get(total), [found.tag for found in opens]) == ("3", ["Open", "Open"])
    assert [dict(found.attrib) for found in opens] == [{"Email": ADA, total: "1"}, {"Email": BOB, total: "2"}]
    clicks, opens = desk.report(f"ReportByMessage{language}", listID=1, messageID=5)[2:]
    assert (clicks.get("Url"), opens.get(total)) == (NEWS, "1")


def test_a_message_that_nobody_opened(desk: Desk) -> None:
    (opens,) = desk.report("ReportByMessageEN", listID=1, messageID=5)[2:]
    assert (opens.tag, opens.get("Total"), len(opens)) == ("Opens", "0", 0)


def test_results_are_one_line_without_entities_between(desk: Desk) -> None:
    _fill(desk)
    result = desk.caller.result(REPORT, "ReportByMessage", accessKey=desk.key, listID=1, messageID=4)
    assert result.startswith("<ReportByMessageResult><errorCode>0</errorCode><errorDescription></errorDescription>")
    assert f'<Clicks Url="{SHOP.replace("&", "&amp;")}" Totale="3"><Click Email="{ADA}" Totale="2"></Click>' in result
    assert not re.search(r">\s+<|\n", result)


def test_what_xml_cannot_carry_is_left_out(desk: Desk) -> None:
    desk.happen(desk.first, desk.ada, MailEventKind.CLICKED, 9, 'https://example.com/\x01"<x>\uffff😀')
    (clicks, _) = desk.report("ReportByMessageEN", listID=1, messageID=4)[2:]
    assert clicks.get("Url") == 'https://example.com/"<x>😀'


def test_failures(desk: Desk) -> None:
    with desk.world.database.write() as connection:
        other = make_other_world(desk.world, connection)
    user, message = "ReportByUser", "ReportByMessage"
    assert desk.code(user, email=ADA, listID=3, messageID=0) == "5"
    assert desk.code(user, email="nobody@example.com", listID=1, messageID=0) == "9"
    assert desk.code(user, email=other, listID=1, messageID=0) == "9"
    assert desk.code(user, email="no address", listID=1, messageID=0) == "9"
    assert desk.code(user, listID=1, messageID=0) == "9"
    assert desk.code(user, email=ADA, listID=1, messageID=6) == "7"
    assert desk.code(user, email=ADA, listID=2, messageID=4) == "7"
    assert desk.code(message, listID=3, messageID=4) == "5"
    assert desk.code(message, listID=1, messageID=0) == "7"
    assert desk.code(message, listID=1, messageID=-1) == "7"
    for operation in (user, message):
        assert desk.caller.code(REPORT, operation, accessKey="wrong", listID=1, messageID=0) == "4"


def make_other_world(world: World, connection: Any) -> str:
    """Add a recipient of another account; return his address."""
    owner = add_account(connection, 8, password="secret")
    world.add_person(connection, account_id=owner.id, email="carl@example.com")
    return "carl@example.com"


def test_reports_and_exports_tell_the_same(any_desk: Desk) -> None:
    desk = any_desk
    desk.happen(desk.first, desk.ada, MailEventKind.SENT, 6)
    desk.happen(desk.first, desk.ada, MailEventKind.CLICKED, 9, SHOP)
    _, row = desk.world.export("email-statistics")
    assert {ADA, "clicked", SHOP, "Città"} <= set(row.replace('"', "").split(";"))
    person = desk.report("ReportByUserEN", email=ADA, listID=1, messageID=0)
    of_message = desk.report("ReportByMessageEN", listID=1, messageID=4)
    for root in (person, of_message):
        assert (root.find("Clicks").get("Url"), root.find("Clicks").get("Total")) == (SHOP, "1")
    assert person.find("Clicks/Click").get("Subject") == "Città"
    assert of_message.find("Clicks/Click").get("Email") == ADA


def test_events_are_found_by_their_sending(any_desk: Desk) -> None:
    desk = any_desk
    database = desk.world.database
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    with database.read() as connection:
        query = select_reactions(find_list(connection, desk.world.account.id, 1), 4)
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        if not database.is_sqlite:
            # A table of a few rows is read whole otherwise.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = " ".join(map(str, connection.exec_driver_sql(f"{explain} {text}")))
    assert "ix_mail_event_sending" in plan
    assert "SCAN mail_event" not in plan
