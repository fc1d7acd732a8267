"""What each type of export gives, header and rows, on both databases (specification 4.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from export_world import World, day, make_world

from audience.events import (
    MailEvent,
    MailEventKind,
    SmsEvent,
    SmsStatus,
    append_mail_events,
    append_sms_events,
)
from audience.list_changes import delete_list
from audience.lists import find_list, load_list
from audience.status_rules import Channel, Status
from db.engine import Database
from db.tables import group_member, list_group, recipient
from delivery.sendings import add_sending
from exchange.export_csv import CsvFormat
from jobs.exports import ExportError
from jobs.storage import Storage
from services.mailup.csv_columns import EXPORT_HEADERS, EXPORT_WORDS

ROME = CsvFormat(time_zone="Europe/Rome")
BARE = CsvFormat(header=False)
SENT, OPENED, CLICKED, BOUNCED = MailEventKind


@pytest.fixture
def world(database: Database, storage: Storage) -> World:
    return make_world(database, storage)


def add_people(world: World) -> dict[str, int]:
    """Add three people of various states, one forgotten and one of another account."""
    with world.database.write() as connection:
        people = {
            "anna": world.add_person(connection, email="anna@example.com", fields={"1": "Anna", "2": "=1+1"}),
            "bruno": world.add_person(connection, email="bruno@example.com", mobile="+393200000001"),
            "carla": world.add_person(connection, mobile="+393200000002", fields={"1": ""}),
            "nobody": world.add_person(connection),
        }
        world.subscribe(connection, people["anna"], 1)
        world.subscribe(connection, people["anna"], 2, status=Status.PENDING, subscribed_at=None, changed_at=day(3))
        world.subscribe(connection, people["bruno"], 1, subscribed_at=day(2), changed_at=day(2))
        world.subscribe(connection, people["bruno"], 1, channel=Channel.SMS)
        left = {"status": Status.UNSUBSCRIBED, "unsubscribed_at": day(4), "changed_at": day(4), "reason_type": 2}
        world.subscribe(connection, people["bruno"], 2, **left)
        world.subscribe(connection, people["carla"], 2, channel=Channel.SMS)
        world.subscribe(connection, people["nobody"], 2)
        group = {"account_id": world.account.id, "list_id": world.lists[1], "name": "VIP", "notes": ""}
        for number in (12, 3):
            values = {**group, "number": number, "name": f"Group {number}"}
            inserted = connection.execute(list_group.insert().values(**values))
            assert inserted.inserted_primary_key is not None
            member = {"recipient_id": people["anna"], "group_id": inserted.inserted_primary_key[0]}
            connection.execute(group_member.insert().values(**member))
    return people


def add_events(world: World, events: list[tuple[Any, ...]], *, list_number: int = 1) -> None:
    """Append what happened: recipient, kind, when, details."""
    with world.database.write() as connection:
        sending = add_sending(
            connection,
            load_list(connection, world.lists[list_number]),
            Channel.EMAIL,
            None,
            message_number=55,
            subject='News; "today"',
            tags=["spring", "sale"],
            state="completed",
        )
        common = (world.lists[list_number], sending.id)
        rows = (
            MailEvent(*common, person, f"p{person}@example.com", kind, at, day(1), *rest)
            for person, kind, at, *rest in events
        )
        assert append_mail_events(connection, world.account.id, rows) == len(events)


def mapped(type: str) -> dict[str, Any]:
    return {"headers": EXPORT_HEADERS[type], "words": EXPORT_WORDS.get(type, {})}


def test_subscribers(world: World) -> None:
    add_people(world)
    assert world.export("subscribers", csv=ROME, **mapped("subscribers")) == [
        "email;Phone Number;idList;Subscription Date",
        "anna@example.com;;1;20260301T130000",
        "bruno@example.com;+393200000001;1;20260302T130000",
        ";+393200000002;2;20260301T130000",
    ]


def test_subscribers_tell_groups_and_fields(world: World) -> None:
    add_people(world)
    columns = ("email", "list", "groups", "field:1", "field:2")
    csv_format = CsvFormat(header=False, defuse_formulas=True)
    assert world.export("subscribers", columns=columns, lists=(1,), csv=csv_format) == [
        "anna@example.com;1;3,12;Anna;'=1+1",
        "bruno@example.com;1;;;",
    ]


CONDITIONS: list[tuple[tuple[str, ...], list[str]]] = [
    ((), ["anna 1", "anna 2", "bruno 1", "bruno 2", "carla 2"]),
    (("status = subscribed",), ["anna 1", "bruno 1", "carla 2"]),
    (("status != subscribed",), ["anna 2", "bruno 2"]),
    (("status = unsubscribed",), ["bruno 2"]),
    (("channel = sms",), ["bruno 1", "carla 2"]),
    (("channel = email", "list = 2"), ["anna 2", "bruno 2"]),
    (("list != 1",), ["anna 2", "bruno 2", "carla 2"]),
    (("group = 12",), ["anna 1"]),
    (("group != 12",), ["anna 2", "bruno 1", "bruno 2", "carla 2"]),
    (("email = Anna@Example.com",), ["anna 1", "anna 2"]),
    (("email contains runo@",), ["bruno 1", "bruno 2"]),
    (("email contains %",), []),
    (("email contains ' OR 1=1 --",), []),
    (("email empty",), ["carla 2"]),
    (("mobile present", "list = 1"), ["bruno 1"]),
    (("field:1 = Anna",), ["anna 1", "anna 2"]),
    (("field:1 = anna",), []),
    (("field:1 != Anna", "list = 1"), ["bruno 1"]),
    (("field:1 empty",), ["bruno 1", "bruno 2", "carla 2"]),
    (("subscribed_at >= 2026-03-02",), ["bruno 1"]),
    (("changed_at >= 2026-03-03T12:00+00:00", "changed_at < 2026-03-04T12:00+00:00"), ["anna 2"]),
    (("unsubscribed_at >= 2026-03-01",), ["bruno 2"]),
]


def test_recipients_by_conditions(world: World) -> None:
    add_people(world)
    for where, expected in CONDITIONS:
        found = world.export("recipients", columns=("email", "list"), where=where, csv=BARE)
        names = [line.partition("@")[0].partition(";")[0] or "carla" for line in found]
        assert [f"{name} {line[-1]}" for name, line in zip(names, found, strict=True)] == expected, where


def test_recipients_tell_their_state(world: World) -> None:
    add_people(world)
    lines = world.export("recipients", lists=(2,), words={"pending": "WAIT"}, csv=CsvFormat(date_format="dd/MM"))
    assert lines == [
        "email;mobile;list;status;channel;subscribed_at;unsubscribed_at;changed_at",
        "anna@example.com;;2;WAIT;email;;;03/03",
        "bruno@example.com;+393200000001;2;unsubscribed;email;01/03;04/03;04/03",
        ";+393200000002;2;subscribed;sms;01/03;;01/03",
    ]


def test_email_statistics_have_the_documented_columns(world: World) -> None:
    people = add_people(world)
    add_events(world, [(people["anna"], CLICKED, day(2), "https://example.com/a", "192.0.2.1", "IT", "Agent/1.0")])
    columns = (
        *("list", "sending", "message", "email", "subject", "status", "details", "changed_at", "sent_at"),
        *("ip_address", "country", "user_agent", "tags"),
    )
    header, line = world.export("email-statistics", columns=columns, csv=ROME, **mapped("email-statistics"))
    assert header == (
        "idList;idInvio;idNl;email;subject;statusType;details;statusChange;sentDate;ip_address;country;user_agent;tags"
    )
    assert line == (
        f'1;1;55;p{people["anna"]}@example.com;"News; ""today""";CLK;https://example.com/a;'
        "20260302T130000;20260301T130000;192.0.2.1;IT;Agent/1.0;spring,sale"
    )


ACTIONS: list[tuple[list[tuple[Any, ...]], list[str]]] = [
    ([(SENT, 1)], ["SNT 1"]),
    ([(SENT, 1), (BOUNCED, 2, "550")], ["NCO 2 550"]),
    ([(SENT, 1), (OPENED, 2)], ["OPN 2"]),
    ([(OPENED, 3), (OPENED, 2), (OPENED, 3)], ["OPN 3"]),
    ([(SENT, 1), (OPENED, 2), (CLICKED, 3, "a")], ["CLK 3 a"]),
    ([(CLICKED, 2, "a"), (OPENED, 3)], ["CLK 2 a"]),
    ([(CLICKED, 2, "a"), (CLICKED, 2, "b"), (CLICKED, 3, "c")], ["CLK 2 a", "CLK 2 b", "CLK 3 c"]),
    ([(CLICKED, 2, "a"), (CLICKED, 4, "a"), (CLICKED, 3, "b")], ["CLK 3 b", "CLK 4 a"]),
    ([(CLICKED, 2), (CLICKED, 3)], ["CLK 3"]),
    ([(BOUNCED, 2, "4.2.2"), (BOUNCED, 3, "5.1.1")], ["NCO 3 5.1.1"]),
    ([(BOUNCED, 3, "4.2.2"), (OPENED, 2)], ["OPN 2"]),
]


def test_only_the_latest_kind_of_action_counts(world: World) -> None:
    person = add_people(world)["anna"]
    csv_format = CsvFormat(header=False, date_format="dd")
    for number, (events, expected) in enumerate(ACTIONS, 1):
        add_events(world, [(person, kind, day(at), *details) for kind, at, *details in events])
        lines = world.export("email-statistics", csv=csv_format, **mapped("email-statistics"))
        cells = [line.rsplit(";", 4) for line in lines if line.startswith(f"1;{number};")]
        assert [f"{status} {int(at)} {details}".rstrip() for _, status, details, at, _ in cells] == expected, events


def test_actions_count_by_sending_and_recipient(world: World) -> None:
    people = add_people(world)
    add_events(world, [(people["anna"], SENT, day(1)), (people["bruno"], OPENED, day(2))])
    add_events(world, [(people["anna"], CLICKED, day(3), "a"), (people["nobody"], OPENED, day(3))], list_number=2)
    columns = ("list", "email", "subject", "changed_at", "sent_at", "status", "sending")
    found = [line.split(";") for line in world.export("email-statistics", columns=columns, csv=BARE)]
    assert [(cells[0], cells[-2], cells[-1]) for cells in found] == [
        ("1", "sent", "1"), ("1", "opened", "1"), ("2", "clicked", "2"),
    ]  # fmt: skip


def test_sms_statistics(world: World) -> None:
    people = add_people(world)
    with world.database.write() as connection:
        mailing = load_list(connection, world.lists[2])
        sending = add_sending(connection, mailing, Channel.SMS, None, message_number=9, state="completed")
        common = (world.lists[2], sending.id, people["carla"], "+393200000002")
        events = [
            SmsEvent(*common, SmsStatus.QUEUED, day(1), day(1)),
            SmsEvent(*common, SmsStatus.DELIVERED, day(2), day(1)),
            SmsEvent(*common, SmsStatus.ERROR, day(3), day(1), "EXPIRED"),
        ]
        assert append_sms_events(connection, world.account.id, events) == 3
    assert world.export("sms-statistics", csv=ROME, **mapped("sms-statistics")) == [
        "recipient;idList;idSMS;sentdate;responsedate;status",
        "393200000002;2;9;20260301T130000;20260301T130000;QUEUED",
        "393200000002;2;9;20260301T130000;20260302T130000;DELIVERED",
        "393200000002;2;9;20260301T130000;20260303T130000;ERROR",
    ]
    columns = ("recipient", "list", "message", "sent_at", "changed_at", "status", "error_code")
    words = {"words": {"error": "KO"}, "columns": columns, "csv": BARE}
    assert world.export("sms-statistics", **words)[-1].endswith(";KO;EXPIRED")


def test_deleted_lists_and_other_accounts_are_left_out(world: World, database: Database, storage: Storage) -> None:
    people = add_people(world)
    add_events(world, [(people["anna"], SENT, day(1))])
    other = make_world(database, storage, 8)
    for kind in ("unsubscribers", "subscribers", "recipients", "email-statistics", "sms-statistics"):
        assert other.export(kind, csv=BARE) == [], kind
    # As the statistics of an account whose list has an id that is not its own.
    other.lists = world.lists
    add_events(other, [(people["anna"], SENT, day(1))])
    assert other.export("email-statistics", csv=BARE) == []
    with database.write() as connection:
        for number in (1, 2):
            delete_list(connection, find_list(connection, world.account.id, number))
    for kind in ("unsubscribers", "subscribers", "recipients", "email-statistics", "sms-statistics"):
        assert world.export(kind, csv=BARE) == [], kind


def test_people_who_were_forgotten_are_left_out(world: World, database: Database) -> None:
    people = add_people(world)
    add_events(world, [(people["anna"], OPENED, day(1)), (people["bruno"], OPENED, day(1))])
    with database.write() as connection:
        forgotten = recipient.update().where(recipient.c.id == people["anna"])
        connection.execute(forgotten.values(email=None, mobile=None, fields={}))
    for kind in ("subscribers", "recipients", "email-statistics"):
        lines = world.export(kind, csv=BARE)
        assert not any("anna" in line or f"p{people['anna']}@" in line for line in lines), kind


@pytest.mark.parametrize(
    ("type", "settings", "text"),
    [
        ("subscribers", {"reasons": (2,)}, "An export of subscribers cannot be filtered by reasons"),
        ("unsubscribers", {"where": ("list = 1",)}, "An export of unsubscribers cannot be filtered by where"),
        ("subscribers", {"columns": ("email", "reason_type")}, "'reason_type' is not a column"),
        ("email-statistics", {"columns": ("list", "email")}, "The column subject is part of every export"),
        ("sms-statistics", {"columns": ("field:1",)}, "'field:1' is not a column"),
        ("sms-statistics", {"words": {"clicked": "x"}}, "choose among delivered, queued, error"),
        ("subscribers", {"words": {"clicked": "x"}}, "there is none"),
    ],
)
def test_refuses_what_does_not_go_with_a_type(world: World, type: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ExportError, match=text):
        world.add_export(type, **settings)


def test_a_previous_day_of_statistics_knows_what_was_before(world: World) -> None:
    person = add_people(world)["anna"]
    noon = datetime.now(world.account.zone).replace(hour=12, minute=0, second=0, microsecond=0)
    yesterday = noon.replace(day=noon.day) - (day(2) - day(1))
    events = [(CLICKED, yesterday - (day(2) - day(1)), "a"), (OPENED, yesterday), (CLICKED, yesterday, "b")]
    add_events(world, [(person, *event) for event in [*events, (CLICKED, noon, "b")]])
    run_id = world.request(world.add_export("email-statistics", period="previous-day", csv=BARE))
    world.change_run(run_id, due_at=noon.astimezone(), lease_until=None)
    world.work()
    (content,) = world.files_of(run_id).values()
    assert [line.split(";")[-3] for line in content.decode().splitlines()] == ["b"]
