"""Sendings over SOAP, through a real server: what each option does, what is answered, and whose sendings they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sending_office import ALL, HTML, PAGE, Office, open_office, texts
from sqlalchemy import select

from audience.list_changes import change_list
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Channel
from audience.subscriptions import Address, change_state, state_in_list
from db.engine import Database
from db.migration import migrate
from db.tables import delivery, message, sending, subscription
from delivery.messages import add_message
from delivery.sender_addresses import verify_sender
from delivery.sending_requests import SendingRules
from delivery.sendings import add_sending
from jobs.storage import Storage
from services.http.options import HttpOptions


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[Office]:
    yield from open_office(database, storage)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office on SQLite alone, for what depends neither on the database nor on what was sent before."""
    folder = tmp_path_factory.mktemp("shared")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    yield from open_office(database, storage)
    database.close()


@pytest.fixture
def desk(sqlite_url: str, storage: Storage) -> Iterator[Office]:
    """An office on SQLite alone, for what does not depend on the database."""
    database = Database(sqlite_url)
    yield from open_office(database, storage)
    database.close()


def test_a_sending_is_answered_with_its_numbers_and_a_text(office: Office) -> None:
    root = office.send()
    assert texts(root) == {
        "errorCode": "0",
        "errorDescription": "Sending 1 is in the queue",
        "listID": "1",
        "newsletterID": "1",
        "deliveryID": "1",
        "scheduleID": "1",
    }
    found = office.load(1)
    assert (found.state, found.kind, found.mode, found.start_at) == ("scheduled", "bulk", "at-most-once", None)
    assert (found.message_id, found.subject, found.target.to) == (office.message.id, "News", "all")


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({"send_to": "all"}, {"to": "all"}),
        (
            {"send_to": "RECIPIENTS", "recipients": " P1@Example.com;x@example.com,;p1@example.com;"},
            {"to": "addresses", "addresses": ("p1@example.com", "x@example.com")},
        ),
        ({"SEND_TO": "GROUPS", "Recipients": "1; 2"}, {"to": "groups", "groups": (1, 2)}),
        ({"send_to": "GROUPS", "recipients": "2,1,2"}, {"to": "groups", "groups": (2, 1)}),
        ({"send_to": "ALL", "recipients": "no address"}, {"to": "all", "addresses": ()}),
        ({"exclude": "2;1"}, {"exclude_groups": (2, 1)}),
        ({"filters": "1"}, {"filters": (1,), "filters_match": "all"}),
        ({"filters": "1;1", "filters_as": "or"}, {"filters": (1,), "filters_match": "any"}),
        ({"filters_as": "AND"}, {"filters_match": "all"}),
        ({"unknown": "x", "campo1": "a;b"}, {"to": "all"}),
    ],
)
def test_targets(shared: Office, options: dict[str, str], stored: dict[str, Any]) -> None:
    given = options if any(key.lower() == "send_to" for key in options) else ALL | options
    root = shared.call("SendNewsletter", listID=1, newsletterID=1, options=given)
    target = shared.load(int(root.findtext("deliveryID") or 0)).target
    assert {name: getattr(target, name) for name in stored} == stored


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"send_to": ""}, "10: send_to: It is ALL, RECIPIENTS or GROUPS."),
        ({"send_to": "EVERYBODY"}, "10: send_to: It is ALL, RECIPIENTS or GROUPS."),
        ({"send_to": "RECIPIENTS"}, "10: A sending to addresses has 1 to 100000 of them."),
        ({"send_to": "RECIPIENTS", "recipients": ";,;"}, "10: A sending to addresses has 1 to 100000 of them."),
        (
            {"send_to": "RECIPIENTS", "recipients": "p1@example.com;x@@y"},
            "10: recipients: No. 2: The e-mail address is not well-formed.",
        ),
        ({"send_to": "GROUPS"}, "10: A sending to groups has at least one of them."),
        ({"send_to": "GROUPS", "recipients": "1;x"}, "10: recipients: It is numbers separated by semicolons."),
        ({"send_to": "GROUPS", "recipients": "3"}, "10: There is no group 3 in list 1."),
        ({"exclude": "-1"}, "10: exclude: It is numbers separated by semicolons."),
        ({"exclude": "99"}, "10: There is no group 99 in list 1."),
        ({"filters": "1.5"}, "10: filters: It is numbers separated by semicolons."),
        ({"filters": "2"}, "10: There is no filter 2."),
        ({"filters_as": "XOR"}, "10: filters_as: It is AND or OR."),
        ({"clear_stats": "maybe"}, "10: clear_stats: It is true or false."),
        ({"from_email": "nobody"}, "10: from_email: The e-mail address is not well-formed."),
        ({"from_name": "A\nBcc: x@example.com"}, "10: from_name: It is one line of at most 255 characters."),
        ({"deliverydt": "2036-07-01"}, "10: deliverydt: It is a date and time in the form yyyyMMddHHmmss."),
        ({"deliverydt": "20360732093000"}, "10: deliverydt: It is a date and time in the form yyyyMMddHHmmss."),
        ({"deliverydt": "00010101000000"}, "10: deliverydt: It is a date and time in the form yyyyMMddHHmmss."),
        (
            {"send_to": "RECIPIENTS", "recipients": "p1@example.com", "campo1": "a;b"},
            "10: campo1: It has more values than there are recipients.",
        ),
    ],
)
def test_options_that_are_refused(shared: Office, options: dict[str, str], refusal: str) -> None:
    before = shared.count(sending)
    assert shared.refuse(**options) == refusal
    assert shared.count(sending) == before


def test_senders(office: Office) -> None:
    stored = select(sending.c.sender_email, sending.c.sender_name).order_by(sending.c.id.desc()).limit(1)
    for options, expected in (
        ({}, (None, None)),
        ({"from_email": " Shop@Example.com ", "from_name": "Città & Co"}, ("shop@example.com", "Città & Co")),
        ({"from_email": "", "from_name": ""}, (None, None)),
    ):
        office.send(**options)
        with office.database.read() as connection:
            assert tuple(connection.execute(stored).one()) == expected
    with office.database.write() as connection:
        change_list(connection, office.lists[0], {"sender_email": ""})
    assert office.refuse() == "10: List 1 has no sender address, and none was given."
    assert office.sent(from_email="shop@example.com").state == "scheduled"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("20260701093000", datetime(2026, 7, 1, 7, 30, tzinfo=UTC)),
        ("20261201093000", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
        # The clock goes from 02:00 to 03:00, and in the other night from 03:00 to 02:00.
        ("20270328023000", datetime(2027, 3, 28, 1, 0, tzinfo=UTC)),
        ("20270328030000", datetime(2027, 3, 28, 1, 0, tzinfo=UTC)),
        ("20271031023000", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
        ("20271031030000", datetime(2027, 10, 31, 2, 0, tzinfo=UTC)),
        (" 20280229000000 ", datetime(2028, 2, 28, 23, 0, tzinfo=UTC)),
        ("", None),
    ],
)
def test_times_are_those_of_the_accounts_clock(shared: Office, moment: str, expected: datetime | None) -> None:
    assert shared.sent(deliverydt=moment).start_at == expected


def test_another_account_has_another_clock(shared: Office) -> None:
    root = shared.neighbour.call(
        "SendNewsletter", listID=1, newsletterID=1, options=ALL | {"deliverydt": "20260701093000"}
    )
    assert root.findtext("errorCode") == "0", etree.tostring(root)
    with shared.database.read() as connection:
        at = connection.execute(select(sending.c.start_at).order_by(sending.c.id.desc())).scalars().first()
    assert at == datetime(2026, 7, 1, 13, 30, tzinfo=UTC)


def test_earlier_statistics_are_left_out_when_that_is_asked_for(office: Office) -> None:
    office.send()
    with office.database.write() as connection:
        other = add_message(connection, office.lists[0], Channel.EMAIL, subject="Other", html=HTML)
        add_sending(connection, office.lists[0], Channel.EMAIL, other)
    query = select(sending.c.number).where(sending.c.statistics_hidden).order_by(sending.c.number)
    for value, hidden in (("false", []), ("true", [1, 3])):
        office.send(clear_stats=value)
        with office.database.read() as connection:
            assert list(connection.execute(query).scalars()) == hidden


def test_values_for_single_recipients_stand_in_the_queue(office: Office) -> None:
    recipients = "p2@example.com;stranger@example.com;P1@example.com"
    found = office.sent(send_to="RECIPIENTS", recipients=recipients, campo1="Two, dear;None;One", Campo7="x")
    assert (found.target.to, found.state, found.total) == ("queue", "scheduled", 0)
    assert office.rows(found.number) == [
        ("p1@example.com", {"campo1": "One", "Name": "One", "campo7": ""}),
        ("p2@example.com", {"campo1": "Two, dear", "Name": "Two, dear", "campo7": "x"}),
    ]
    assert office.status(found.number)["toSend"] == "2"
    found = office.sent(send_to="RECIPIENTS", recipients="p1@example.com;p3@example.com", campo1="a;b", filters="1")
    assert [address for address, _ in office.rows(found.number)] == ["p3@example.com"]


def test_fast_makes_and_sends_a_newsletter_or_neither(office: Office) -> None:
    given = {"listID": 1, "subject": "Quick", "type": "HTML", "content": HTML}
    before = office.count(message)
    assert office.code("SendNewsletterFast", **given).startswith("10: send_to")
    assert office.code("SendNewsletterFast", **given, options=ALL | {"exclude": "99"}).startswith(
        "10: There is no group"
    )
    assert office.code("SendNewsletterFast", **(given | {"listID": 9}), options=ALL) == "5: There is no list 9."
    assert office.code("SendNewsletterFast", **(given | {"type": "ID"}), options=ALL).startswith("9: ")
    assert (office.count(message), office.count(sending)) == (before, 1)
    root = office.call("SendNewsletterFast", **given, options=ALL | {"note": "Try", "link_track": "true"})
    assert (root.findtext("errorDescription"), root.findtext("newsletterID")) == ("Sending 1 is in the queue", "3")
    with office.database.read() as connection:
        stored = connection.execute(select(message).order_by(message.c.id.desc())).first()
    assert stored is not None
    assert (stored.subject, stored.notes, stored.settings) == ("Quick", "Try", {"track_links": True})


def single(office: Office, email: str, **given: object) -> str:
    """Send a new message to one address; return the code, with what is said."""
    parameters = {"listID": 1, "subject": "Hello", "type": "HTML", "content": HTML, "recipientEmail": email} | given
    root = office.call("SendSingleNewsletter", **parameters)
    return f"{root.findtext('errorCode')}: {root.findtext('errorDescription')}"


def test_single_messages(office: Office) -> None:
    assert single(office, " P1@example.com ") == "0: Message sent p1@example.com"
    found = office.load(1)
    assert (found.state, found.kind, found.total, found.target.to) == ("sending", "single", 1, "queue")
    assert office.rows(1) == [("p1@example.com", None)]
    options = {"campo1": "Dear", "from_email": "desk@example.com", "from_name": "Desk"}
    assert single(office, "new@example.com", type="id", content="1", options=options).startswith("0: ")
    assert office.rows(2) == [("new@example.com", {"campo1": "Dear", "Name": "Dear"})]
    assert office.load(2).message_id == office.message.id
    with office.database.read() as connection:
        state = state_in_list(connection, office.lists[0], Address(Channel.EMAIL, "new@example.com"))
        senders = select(sending.c.sender_email, sending.c.sender_name).where(sending.c.id == office.load(2).id)
        assert tuple(connection.execute(senders).one()) == ("desk@example.com", "Desk")
        assert connection.execute(
            select(subscription.c.source).order_by(subscription.c.recipient_id.desc())
        ).first() == ("soap",)
    assert state.name == "SUBSCRIBED"
    assert office.queues() == []


def test_single_messages_go_to_nobody_who_left(office: Office) -> None:
    with office.database.write() as connection:
        change_state(connection, office.lists[0], Address(Channel.EMAIL, "p1@example.com"), UNSUBSCRIBE, PAGE)
        pending = SUBSCRIBE._replace(none=2)  # type: ignore[arg-type]
        change_state(connection, office.lists[0], Address(Channel.EMAIL, "w@example.com"), pending, PAGE)
    before = (office.count(message), office.count(sending), office.count(delivery))
    assert single(office, "p1@example.com") == "12: The recipient is unsubscribed."
    assert single(office, "w@example.com") == "12: The recipient has not confirmed the subscription."
    assert single(office, "nobody") == "9: The e-mail address is not well-formed."
    assert single(office, "") == "9: The e-mail address is not well-formed."
    assert single(office, "p2@example.com", type="ID", content="2") == "7: There is no message 2."
    assert single(office, "p2@example.com", type="ID", content="x").startswith("9: ")
    assert single(office, "p2@example.com", type="PDF").startswith("9: ")
    assert single(office, "p2@example.com", listID=3) == "5: There is no list 3."
    assert single(office, "p2@example.com", options={"from_email": "x"}).startswith("10: from_email")
    assert (office.count(message), office.count(sending), office.count(delivery)) == before


def test_status(office: Office) -> None:
    number = office.sent(deliverydt="20360724093000").number
    assert office.status(number) == {
        "deliveryID": "1", "listID": "1", "newsletterID": "1", "status": "SCHEDULED",
        "details": "Delivery will start on 24/07/2036 9:30:00", "toSend": "3", "toBeSent": "0", "progress": "0",
        "estimatedTime": "0d 00h 00m 00s",
    }  # fmt: skip
    begun = datetime.now(UTC) - timedelta(seconds=100)
    office.update(number, state="sending", started_at=begun, total=100, sent=15, failed=5)
    shown = office.status(number)
    assert [shown[name] for name in ("status", "details", "toSend", "toBeSent", "progress")] == [
        "SENDING", None, "100", "80", "20",
    ]  # fmt: skip
    assert str(shown["estimatedTime"]).startswith("0d 00h 06m ")
    ends = {
        "started_at": datetime(2026, 7, 23, 10, 6, 18, tzinfo=UTC),
        "finished_at": datetime(2026, 7, 23, 22, tzinfo=UTC),
    }
    office.update(number, state="completed", **ends)
    shown = office.status(number)
    assert shown["details"] == "Started at: 23/07/2026 12:06:18, Completed at: 24/07/2026 0:00:00"
    assert [shown[name] for name in ("status", "toBeSent", "progress", "estimatedTime")] == [
        "COMPLETED", "0", "100", "0d 00h 00m 00s",
    ]  # fmt: skip
    for state, status in (("paused", "PAUSED"), ("cancelled", "CANCELLED"), ("draft", "UNDEFINED")):
        office.update(number, state=state)
        assert office.status(number)["status"] == status
    office.update(number, state="failed", error_text="It cannot be <sent>.")
    assert (office.status(number)["status"], office.status(number)["details"]) == ("FAILED", "It cannot be <sent>.")


def test_proofs_that_the_server_demands(sqlite_url: str, storage: Storage, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    rules = HttpOptions(sending_rules=SendingRules(require_verified_senders=True))
    for office in open_office(database, storage, rules):
        refusal = "10: The owner of the sender address has not proved that it is his."
        assert office.refuse() == refusal
        assert single(office, "p1@example.com") == refusal
        with database.write() as connection:
            verify_sender(connection, office.lists[0].account_id, "News@example.com")
        assert office.sent().state == "scheduled"
        assert office.refuse(from_email="shop@example.com") == refusal
    database.close()


def test_thousands_of_recipients(shared: Office) -> None:
    recipients = ";".join(f"p{number}@example.com" for number in range(20_000))
    found = shared.sent(send_to="RECIPIENTS", recipients=recipients)
    assert len(found.target.addresses) == 20_000
    assert shared.status(found.number)["toSend"] == "3"
