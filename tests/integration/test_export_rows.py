"""Which unsubscriptions each combination of filters gives, on both databases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection

from audience.accounts import add_account
from audience.lists import add_list
from audience.selections import Selection
from audience.status_rules import Channel, Status
from audience.unsubscribed import COLUMNS, select_unsubscribed
from db.engine import Database
from db.tables import recipient, subscription

EMAIL, SMS = Channel.EMAIL, Channel.SMS
ACCOUNT, OTHER_ACCOUNT = 1, 2
# Name, list, channel, status, day of March at noon, reason type, reason sub-type.
SUBSCRIPTIONS: list[tuple[str, int, Channel, Status, int | None, int | None, int | None]] = [
    ("anna", 1, EMAIL, Status.UNSUBSCRIBED, 1, 2, 0),
    ("anna", 2, EMAIL, Status.SUBSCRIBED, None, None, None),
    ("bruno", 1, EMAIL, Status.UNSUBSCRIBED, 3, 8, None),
    ("bruno", 2, EMAIL, Status.UNSUBSCRIBED, 2, 8, 1),
    ("carla", 1, EMAIL, Status.UNSUBSCRIBED, 2, None, None),
    ("dario", 2, EMAIL, Status.UNSUBSCRIBED, 2, 32, 1),
    ("dario", 2, SMS, Status.UNSUBSCRIBED, 1, 2, 1),
    ("elena", 3, SMS, Status.UNSUBSCRIBED, 4, 2, 1),
    ("elena", 3, EMAIL, Status.SUBSCRIBED, None, None, None),
    ("fabio", 3, EMAIL, Status.PENDING, None, None, None),
    ("gemma", 3, EMAIL, Status.UNSUBSCRIBED, 4, 0, 1),
    # Subscribed again: what is left of the earlier unsubscription must not count.
    ("hugo", 3, EMAIL, Status.SUBSCRIBED, 1, 2, 0),
]
EVERYTHING = ["anna 1", "carla 1", "bruno 1", "bruno 2", "dario 2", "elena 3", "gemma 3"]


def noon(day: int) -> datetime:
    return datetime(2026, 3, day, 12, tzinfo=UTC)


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, EVERYTHING),
    ({"lists": (1,)}, ["anna 1", "carla 1", "bruno 1"]),
    ({"lists": (3, 1)}, ["anna 1", "carla 1", "bruno 1", "elena 3", "gemma 3"]),
    ({"exclude_lists": (1,)}, ["bruno 2", "dario 2", "elena 3", "gemma 3"]),
    ({"lists": (1, 2), "exclude_lists": (2, 3)}, ["anna 1", "carla 1", "bruno 1"]),
    ({"lists": (9,)}, []),
    ({"lists": ()}, []),
    ({"since": noon(3)}, ["bruno 1", "elena 3", "gemma 3"]),
    ({"until": noon(2)}, ["anna 1", "dario 2"]),
    ({"since": noon(2), "until": noon(4)}, ["carla 1", "bruno 1", "bruno 2", "dario 2"]),
    # The whole type, or one sub-type of it.
    ({"reasons": (2,)}, ["anna 1", "dario 2", "elena 3"]),
    ({"reasons": (20,)}, ["anna 1"]),
    ({"reasons": (8,)}, ["bruno 1", "bruno 2"]),
    ({"reasons": (81, 321)}, ["bruno 2", "dario 2"]),
    ({"reasons": (80,)}, []),
    ({"reasons": (1,)}, ["gemma 3"]),
    ({"reasons": (0, 20)}, ["anna 1", "gemma 3"]),
    ({"reasons": ()}, []),
    # A reason that is not known is none of those excluded.
    ({"exclude_reasons": (2,)}, ["carla 1", "bruno 1", "bruno 2", "dario 2", "gemma 3"]),
    ({"exclude_reasons": (81,)}, ["anna 1", "carla 1", "bruno 1", "dario 2", "elena 3", "gemma 3"]),
    ({"exclude_reasons": (0, 8, 2, 32)}, ["carla 1"]),
    ({"reasons": (2, 32), "exclude_reasons": (21,)}, ["anna 1", "dario 2"]),
    (
        {"lists": (1, 2), "exclude_lists": (1,), "since": noon(2), "until": noon(3), "exclude_reasons": (8,)},
        ["dario 2"],
    ),
    ({"account_id": OTHER_ACCOUNT}, ["anna 1"]),
    ({"account_id": 99}, []),
]


@pytest.fixture
def people(database: Database) -> Database:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        lists = {number: add_list(connection, account.id, f"List {number}").id for number in (1, 2, 3)}
        other = add_account(connection, 8, password="a long password")
        add_people(connection, account.id, lists, SUBSCRIPTIONS)
        add_people(connection, other.id, {1: add_list(connection, other.id, "Other").id}, SUBSCRIPTIONS[:1])
    return database


def add_people(connection: Connection, account_id: int, lists: dict[int, int], rows: Iterable[Any]) -> None:
    ids: dict[str, int] = {}
    for name, number, channel, status, day, reason, subtype in rows:
        if name not in ids:
            values = {
                "account_id": account_id,
                "email": f"{name}@example.com",
                "mobile": f"+3932000000{len(ids):02d}" if account_id == ACCOUNT else None,
                "fields": {"1": name.title(), "12": 'a "quoted"; word'} if name != "carla" else {},
                "created_at": noon(1),
                "updated_at": noon(1),
            }
            inserted = connection.execute(recipient.insert().values(**values))
            assert inserted.inserted_primary_key is not None
            ids[name] = inserted.inserted_primary_key[0]
        connection.execute(
            subscription.insert().values(
                recipient_id=ids[name],
                list_id=lists[number],
                channel=channel,
                status=status,
                subscribed_at=datetime(2026, 1, 1, tzinfo=UTC),
                changed_at=noon(day or 5),
                unsubscribed_at=noon(day) if day is not None else None,
                reason_type=reason,
                reason_subtype=subtype,
                message_id=55,
                source="page",
            )
        )


def find(database: Database, columns: Iterable[str] = ("email", "list"), **filters: Any) -> list[tuple[Any, ...]]:
    wanted = Selection(**{"account_id": ACCOUNT, **filters})
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select_unsubscribed(wanted, list(columns)))]


def test_filters_combine(people: Database) -> None:
    for filters, expected in FILTERS:
        found = [f"{email.partition('@')[0]} {number}" for email, number in find(people, **filters)]
        assert found == expected, filters


def test_the_email_row_stands_for_both_channels(people: Database) -> None:
    columns = ("unsubscribed_at", "reason_type", "reason_subtype")
    assert find(people, columns, lists=(2,), exclude_reasons=(8,)) == [(noon(2), 32, 1)]


def test_the_sms_row_counts_where_the_email_row_is_filtered_out(people: Database) -> None:
    assert find(people, ("unsubscribed_at", "reason_type"), lists=(2,), until=noon(2)) == [(noon(1), 2)]
    assert find(people, ("unsubscribed_at", "reason_type"), lists=(2,), reasons=(21,)) == [(noon(1), 2)]


def test_a_row_tells_every_column(people: Database) -> None:
    columns = (*COLUMNS, "field:1", "field:12", "field:2")
    subscribed = datetime(2026, 1, 1, tzinfo=UTC)
    anna, carla, bruno = find(people, columns, lists=(1,))
    anna_mobile, carla_mobile, bruno_mobile = "+393200000000", "+393200000002", "+393200000001"
    quoted = 'a "quoted"; word'
    assert anna == ("anna@example.com", anna_mobile, 1, noon(1), subscribed, 55, 2, 0, "Anna", quoted, None)
    # Only who left by himself left because of a message.
    assert carla == ("carla@example.com", carla_mobile, 1, noon(2), subscribed, None, None, None, None, None, None)
    assert bruno == ("bruno@example.com", bruno_mobile, 1, noon(3), subscribed, None, 8, None, "Bruno", quoted, None)


def test_sqlite_finds_a_day_by_the_index_of_unsubscriptions(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    query = select_unsubscribed(Selection(account_id=1, since=noon(1), until=noon(2)), ["email"])
    compiled = query.compile(database.engine, compile_kwargs={"literal_binds": True})
    with database.read() as connection:
        plan = "\n".join(row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))
    database.close()
    assert "ix_subscription_unsubscribed (list_id=? AND changed_at>? AND changed_at<?)" in plan
    # Neither a table read through nor rows collected to be sorted: memory stays flat.
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan
