"""The queue over SOAP, through a real server: how it is shown and changed, and that nobody else's is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest
from sending_office import ALL, LATER, Office, open_office, texts

from audience.status_rules import Channel
from db.engine import Database
from db.migration import migrate
from db.tables import sending
from delivery.sendings import add_sending
from jobs.storage import Storage


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


def test_the_queue_and_its_classes(office: Office) -> None:
    office.send()
    office.send(deliverydt=LATER, send_to="RECIPIENTS", recipients="p1@example.com;x@example.com")
    office.send(deliverydt="20200101000000")
    with office.database.write() as connection:
        add_sending(connection, office.lists[1], Channel.EMAIL, None, subject="List 2")
        add_sending(connection, office.lists[0], Channel.SMS, None)
    assert office.code("SetNewsletterQueueOrder", scheduleID=3, Up="true") == "0"
    office.update(1, state="sending", total=3)
    assert office.code("StopDelivery") == "0"
    assert (
        office.code("RemoveNewsletterQueue", listID=1, newsletterID=1, deliveryID=1, scheduleID=1, deleteQueue="0")
        == "0"
    )
    assert [(entry["deliveryID"], entry["type"], entry["status"]) for entry in office.queues()] == [
        ("1", "UNDEFINED", "PAUSED"),
        ("3", "IMMEDIATE", "SCHEDULED"),
        ("2", "DEFERRED", "SCHEDULED"),
    ]
    assert office.queues()[2] == {
        "scheduleID": "2", "deliveryID": "2", "newsletterID": "1", "subject": "News", "type": "DEFERRED",
        "status": "SCHEDULED", "startDate": "01/07/2036 09.30.00", "toSend": "2", "position": "3",
    }  # fmt: skip
    assert [entry["position"] for entry in office.queues(listID=2)] == ["4"]
    assert office.queues()[0]["toSend"] == office.queues()[1]["toSend"] == "3"
    assert office.code("SetNewsletterQueueOrder", scheduleID=4, Up="false").startswith("12: ")
    assert office.code("GetNewsletterQueues", listID=9) == "5: There is no list 9."


def test_people_with_values_of_their_own_are_counted(desk: Office) -> None:
    personal = {"send_to": "RECIPIENTS", "recipients": "p1@example.com;p2@example.com", "campo1": "Ada;Bob"}
    desk.send(**personal, deliverydt=LATER)
    assert desk.load(1).target.to == "queue"
    assert [entry["toSend"] for entry in desk.queues()] == ["2"]


def test_queue_operations(office: Office) -> None:
    names = {"listID": 1, "newsletterID": 1}
    prepared = office.call(
        "PrepareNewsletterSchedule", **names, deliveryDate="", deliveryTime="", adminEmail="", idUser=0, note=""
    )
    assert (prepared.findtext("deliveryID"), prepared.findtext("scheduleID")) == ("1", "1")
    assert (office.load(1).state, office.queues()[0]["type"], office.queues()[0]["position"]) == (
        "draft", "UNDEFINED", "0",
    )  # fmt: skip
    assert office.code("ScheduleNewsletterQueue", **names, scheduleID=1, deliverydt=LATER, timezone=6) == "0"
    assert office.load(1).start_at == datetime(2036, 7, 1, 7, 30, tzinfo=UTC)
    removal = names | {"deliveryID": 0, "scheduleID": 1}
    for _ in range(2):
        assert office.code("RemoveNewsletterQueue", **removal, deleteQueue="false") == "0"
        assert office.load(1).state == "draft"
    for immediate, planned in (("false", True), ("true", False)):
        for _ in range(2):
            assert office.code("AddNewsletterQueue", deliveryID=1, immediate=immediate) == "0"
        assert (office.load(1).state, office.load(1).start_at is not None) == ("scheduled", planned)
    office.update(1, state="sending", total=3)
    assert office.code("RemoveNewsletterQueue", **removal, deleteQueue="true") == "12: Sending 1 is sending."
    schedule = names | {"scheduleID": 1, "deliverydt": LATER, "timezone": 0}
    assert office.code("ScheduleNewsletterQueue", **schedule) == "12: Sending 1 is sending."
    assert office.code("StopDelivery") == "0"
    assert office.code("RemoveNewsletterQueue", **removal, deleteQueue="true") == "0"
    assert office.code("StartDelivery") == "0"
    assert office.load(1).state == "cancelled"
    assert office.code("AddNewsletterQueue", deliveryID=1, immediate="true") == "12: Sending 1 is cancelled."


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20360701", "093000", datetime(2036, 7, 1, 7, 30, tzinfo=UTC)),
        ("01/07/2036", "09:30", datetime(2036, 7, 1, 7, 30, tzinfo=UTC)),
        ("20360701", "", datetime(2036, 6, 30, 22, 0, tzinfo=UTC)),
        ("", "09:30", None),
        ("1/7/2036", "09:30", "9"),
        ("20361301", "093000", "9"),
        ("20360701", "9:30", "9"),
        ("20360701", "25:00", "9"),
        ("x", "y", "9"),
    ],
)
def test_prepared_schedules(shared: Office, date: str, time: str, expected: datetime | str | None) -> None:
    root = shared.call(
        "PrepareNewsletterSchedule", listID=1, newsletterID=1, deliveryDate=date, deliveryTime=time,
        adminEmail="desk@example.com", idUser=1, note="For spring",
    )  # fmt: skip
    if isinstance(expected, str):
        assert root.findtext("errorCode") == expected
    else:
        found = shared.load(int(root.findtext("deliveryID") or 0))
        assert (found.start_at, found.notes) == (expected, "For spring")
        assert found.state == ("scheduled" if expected else "draft")


def test_prepared_schedules_that_are_refused(shared: Office) -> None:
    given = {
        "listID": 1,
        "newsletterID": 1,
        "deliveryDate": "",
        "deliveryTime": "",
        "adminEmail": "",
        "idUser": 0,
        "note": "",
    }
    before = shared.count(sending)
    for wrong, code in (
        ({"idUser": 77}, "9: There is no user 77."),
        ({"adminEmail": "nobody"}, "9: The e-mail address is not well-formed."),
        ({"note": "x" * 2001}, "9: Notes have at most 2000 characters"),
        ({"listID": 9}, "5: "),
        ({"newsletterID": 2}, "7: "),
    ):
        assert shared.code("PrepareNewsletterSchedule", **(given | wrong)).startswith(code)
    assert shared.count(sending) == before


def schedule_status(office: Office, number: int) -> dict[str, str | None]:
    root = office.call("GetNewsletterScheduleStatus", newsletterID=number)
    return texts(root.find("scheduleStatus"))


def test_schedule_status(office: Office) -> None:
    never = {"scheduleID": "0", "newsletterID": "1", "deliveryID": "0", "status": "UNDEFINED", "deliverydt": None}
    assert schedule_status(office, 1) == never
    for _ in range(2):
        office.send(deliverydt=LATER)
    planned = never | {"scheduleID": "1", "deliveryID": "1", "status": "SCHEDULED", "deliverydt": LATER}
    assert schedule_status(office, 1) == planned
    office.update(1, state="completed")
    assert schedule_status(office, 1)["deliveryID"] == "2"
    office.update(2, state="completed")
    assert (schedule_status(office, 1)["deliveryID"], schedule_status(office, 1)["status"]) == ("2", "COMPLETED")
    with office.database.write() as connection:
        add_sending(connection, office.lists[0], Channel.EMAIL, office.message, kind="single", state="sending")
    assert schedule_status(office, 1)["deliveryID"] == "2"
    with office.database.write() as connection:
        connection.execute(sending.update().values(kind="single"))
    assert schedule_status(office, 1)["deliveryID"] == "3"
    assert office.code("GetNewsletterScheduleStatus", newsletterID=77) == "7: There is no message 77."


ISOLATED: list[tuple[str, Mapping[str, object]]] = [
    ("SendNewsletter", {"listID": 2, "newsletterID": 2, "options": ALL}),
    ("SendNewsletter", {"listID": 1, "newsletterID": 2, "options": ALL}),
    ("SendNewsletterFast", {"listID": 2, "subject": "a", "type": "HTML", "content": "a", "options": ALL}),
    (
        "SendSingleNewsletter",
        {"listID": 1, "subject": "a", "type": "ID", "content": "2", "recipientEmail": "p1@example.com"},
    ),
    ("GetNewsletterDeliveryStatus", {"deliveryID": 2}),
    ("GetNewsletterQueues", {"listID": 2}),
    ("GetNewsletterScheduleStatus", {"newsletterID": 2}),
    ("SetNewsletterQueueOrder", {"scheduleID": 2, "Up": "true"}),
    ("AddNewsletterQueue", {"deliveryID": 2, "immediate": "true"}),
    (
        "RemoveNewsletterQueue",
        {"listID": 1, "newsletterID": 1, "deliveryID": 2, "scheduleID": 2, "deleteQueue": "true"},
    ),
    ("ScheduleNewsletterQueue", {"listID": 1, "newsletterID": 1, "scheduleID": 2, "deliverydt": LATER, "timezone": 0}),
    (
        "PrepareNewsletterSchedule",
        {
            "listID": 2,
            "newsletterID": 2,
            "deliveryDate": "",
            "deliveryTime": "",
            "adminEmail": "",
            "idUser": 0,
            "note": "",
        },
    ),
]


@pytest.mark.parametrize(
    ("operation", "given"), ISOLATED, ids=[f"{name}-{place}" for place, (name, _) in enumerate(ISOLATED)]
)
def test_ids_of_other_accounts_are_unknown(desk: Office, operation: str, given: Mapping[str, object]) -> None:
    """Account 2 has one list, one message and one sending, all with the number 1; account 1 has two of each."""
    for _ in range(2):
        desk.send(deliverydt=LATER)
    theirs = desk.neighbour.code(operation, **given)

    def as_unknown(value: object) -> object:
        return 77 if value == 2 else "77" if value == "2" else value

    unknown = desk.neighbour.code(operation, **{name: as_unknown(value) for name, value in given.items()})
    assert theirs[0] in "578"
    assert theirs == unknown.replace("77", "2")
    assert [desk.load(number).state for number in (1, 2)] == ["scheduled"] * 2


def test_sendings_of_other_lists_messages_and_channels_are_unknown(desk: Office) -> None:
    desk.send(deliverydt=LATER)
    with desk.database.write() as connection:
        text = add_sending(connection, desk.lists[0], Channel.SMS, None).number
    removal = {"listID": 1, "newsletterID": 1, "deliveryID": 1, "scheduleID": 1, "deleteQueue": "true"}
    for wrong, code in (
        ({"listID": 2}, "8: There is no sending 1 in list 2."),
        ({"newsletterID": 3}, "7: Sending 1 is not of message 3."),
        ({"scheduleID": 2}, "8: Delivery 1 has no schedule 2."),
        ({"deliveryID": 0, "scheduleID": 0}, "8: There is no sending 0."),
        ({"deliveryID": text, "scheduleID": text}, f"8: There is no sending {text}."),
    ):
        assert desk.code("RemoveNewsletterQueue", **(removal | wrong)) == code
    assert desk.code("GetNewsletterDeliveryStatus", deliveryID=text).startswith("8: ")
    schedule = {"listID": 1, "newsletterID": 1, "scheduleID": 1, "deliverydt": "tomorrow", "timezone": 0}
    assert desk.code("ScheduleNewsletterQueue", **schedule).startswith("9: deliverydt: ")


def test_two_who_remove_one_sending(office: Office) -> None:
    office.send(deliverydt=LATER)
    removal = {"listID": 1, "newsletterID": 1, "deliveryID": 1, "scheduleID": 1, "deleteQueue": "true"}
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda: codes.append(office.code("RemoveNewsletterQueue", **removal))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["0"] + ["12: Sending 1 is cancelled."] * 3
