"""Rows merged together do what they do one after the other, and no import touches what it must not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audience.accounts import add_account
from audience.lists import add_group, add_list, groups_of, lists_of
from audience.status_rules import Reason
from db.engine import Database
from db.tables import group_member, history, recipient, subscription
from exchange.profiles import Profile
from exchange.rows import SourceRow
from jobs.import_chunk import Chunk, ImportPlan

EMAILS = ["a@example.com", "b@example.com", "c@example.com", ""]
MOBILES = ["+393200000001", "+393200000002", "+393200000003", ""]
CLEAN = (recipient, subscription, group_member, history)


@dataclass(frozen=True)
class World:
    """An account with two lists, each with two groups."""

    database: Database
    account_id: int

    def plan(self, profile: Profile) -> ImportPlan:
        with self.database.read() as connection:
            lists = {mailing.number: mailing for mailing in lists_of(connection, self.account_id)}
            groups = groups_of(connection, [mailing.id for mailing in lists.values()])
        return ImportPlan(
            self.account_id, None, "import", profile, lists[1], lists, {group.number: group for group in groups}
        )

    def merge(self, profile: Profile, *chunks: list[SourceRow]) -> list[dict[str, Any]]:
        plan = self.plan(profile)
        counts = []
        for rows in chunks:
            chunk = Chunk(plan)
            chunk.add(rows)
            with self.database.write() as connection:
                counts.append(vars_of(chunk.merge(connection, datetime.now(UTC))))
        return counts

    def clear(self) -> None:
        with self.database.write() as connection:
            for table in CLEAN:
                connection.execute(table.delete())

    def snapshot(self) -> set[tuple[Any, ...]]:
        """Everything that matters of every recipient, without ids and instants."""
        with self.database.read() as connection:
            people = {row.id: row for row in connection.execute(recipient.select())}
            keys = {id_: (row.email, row.mobile) for id_, row in people.items()}
            facts: set[tuple[Any, ...]] = {
                ("fields", *keys[id_], *sorted(row.fields.items())) for id_, row in people.items()
            }
            for row in connection.execute(subscription.select()):
                status = ("status", *keys[row.recipient_id], row.list_id, row.channel, row.status, row.reason_type)
                facts.add(status)
            for row in connection.execute(group_member.select()):
                facts.add(("group", *keys[row.recipient_id], row.group_id))
        return facts


def vars_of(counts: Any) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in counts.__slots__}


@pytest.fixture
def world(database: Database) -> World:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        for name in ("One", "Two"):
            mailing = add_list(connection, account.id, name)
            for group in ("Red", "Blue"):
                add_group(connection, mailing, group)
    return World(database, account.id)


def row(**values: Any) -> SourceRow:
    empty: dict[str, Any] = dict.fromkeys(SourceRow._fields, "") | {"line": 1, "fields": {}, "status": "1"}
    return SourceRow(**(empty | values))


@st.composite
def source_rows(draw: st.DrawFn) -> SourceRow:
    email, mobile = draw(st.tuples(st.sampled_from(EMAILS), st.sampled_from(MOBILES)).filter(any))
    return row(
        email=email,
        mobile=mobile,
        list_number=draw(st.sampled_from(["", "", "1", "2"])),
        groups=draw(st.sampled_from(["", "1", "1,2", "3", "4,1"])),
        status=draw(st.sampled_from(["1", "1", "0"])),
        fields=draw(st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(["", "x", "y"]))),
    )


PROFILES = st.builds(
    Profile,
    status=st.just("column"),
    channels=st.sampled_from(["both", "both", "email", "sms"]),
    confirm=st.booleans(),
    change_pending=st.booleans(),
    resubscribe=st.booleans(),
    replace_groups=st.booleans(),
)


MOVING_NUMBER = [
    ("a@example.com", "+393200000001"),
    ("a@example.com", "+393200000002"),
    ("b@example.com", "+393200000001"),
]


@example(Profile(status="column"), [], [row(email=email, mobile=mobile) for email, mobile in MOVING_NUMBER])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=PROFILES, before=st.lists(source_rows(), max_size=5), rows=st.lists(source_rows(), max_size=7))
def test_a_chunk_does_what_its_rows_do_one_by_one(
    world: World, profile: Profile, before: list[SourceRow], rows: list[SourceRow]
) -> None:
    world.clear()
    world.merge(Profile(status="column"), *([one] for one in before))
    world.merge(profile, *([one] for one in rows))
    expected = world.snapshot()
    world.clear()
    world.merge(Profile(status="column"), *([one] for one in before))
    world.merge(profile, rows)
    assert world.snapshot() == expected


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    imports=st.lists(st.tuples(PROFILES, st.lists(source_rows(), max_size=6)), max_size=4),
    reason=st.sampled_from([Reason.HARD_BOUNCE, Reason.COMPLAINT, Reason.LINK]),
)
def test_no_import_brings_back_who_is_gone(
    world: World, imports: list[tuple[Profile, list[SourceRow]]], reason: Reason
) -> None:
    world.clear()
    world.merge(Profile(status="column"), [row(email="a@example.com", mobile="+393200000001", status="0")])
    with world.database.write() as connection:
        connection.execute(subscription.update().values(reason_type=reason))
    for profile, rows in imports:
        world.merge(profile, rows)
    with world.database.read() as connection:
        query = subscription.select().join(recipient, recipient.c.id == subscription.c.recipient_id)
        found = connection.execute(query.where(recipient.c.email == "a@example.com", subscription.c.list_id == 1))
        states = {(row.channel, row.status) for row in found}
    allowed = any(profile.resubscribe for profile, _ in imports) and reason == Reason.LINK
    assert allowed or {(1, 3), (2, 3)} <= states


def test_every_change_leaves_one_history_row(world: World) -> None:
    one = row(email="a@example.com", mobile="+393200000001")
    world.merge(Profile(status="column"), [one], [one], [one._replace(status="0")], [one])
    with world.database.read() as connection:
        rows = connection.execute(history.select().order_by(history.c.id)).all()
    assert [(row.channel, row.old_status, row.new_status, row.reason_type) for row in rows] == [
        (1, None, 1, None),
        (2, None, 1, None),
        (1, 1, 3, Reason.IMPORTED),
        (2, 1, 3, Reason.IMPORTED),
    ]


def test_counts_rows_as_people_expect(world: World) -> None:
    first = [row(email=email, fields={"1": "x"}) for email in EMAILS[:3]]
    second = [
        row(email="a@example.com", fields={"1": "y"}),
        row(email="a@example.com", fields={"2": "z"}),
        row(email="b@example.com", fields={"1": "x"}),
        row(email="c@example.com", status="0"),
        row(email="new@example.com", mobile="+393200000009"),
    ]
    third = [row(email="c@example.com")]
    counts = world.merge(Profile(status="column"), first, second, third)
    assert [(c["new"], c["existing"], c["updated"], c["unsubscribed"], c["left_unsubscribed"]) for c in counts] == [
        (3, 0, 0, 0, 0),
        (1, 4, 1, 1, 0),
        (0, 1, 0, 0, 1),
    ]
    assert (counts[1]["new_email"], counts[1]["new_mobile"], counts[2]["optout_email"]) == (1, 1, 1)


def test_a_shared_number_stays_with_its_first_holder(world: World) -> None:
    rows = [row(email=email, mobile="+393200000001") for email in EMAILS[:3]]
    (counts,) = world.merge(Profile(status="column"), rows)
    assert counts["mobile_in_use"] == 2
    with world.database.read() as connection:
        holders = connection.execute(recipient.select().where(recipient.c.mobile.is_not(None))).all()
    assert [holder.email for holder in holders] == ["a@example.com"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"email": "nobody"}, "email"),
        ({"mobile": "12"}, "mobile"),
        ({}, "no-address"),
        ({"email": "a@example.com", "list_number": "77"}, "unknown-list"),
        ({"email": "a@example.com", "list_number": "x"}, "unknown-list"),
        ({"email": "a@example.com", "status": "maybe"}, "status"),
        ({"email": "a@example.com", "status": ""}, "status"),
        ({"email": "a@example.com", "group_name": "a & b"}, "group-name"),
    ],
)
def test_refuses_a_bad_row_with_its_code(world: World, values: dict[str, Any], code: str) -> None:
    chunk = Chunk(world.plan(Profile(status="column")))
    chunk.add([row(line=7, raw="the row\n", **values)])
    assert [(error.line, error.code, error.raw) for error in chunk.refused] == [(7, code, "the row\n")]


def test_a_bad_number_does_not_cost_the_unsubscribe(world: World) -> None:
    world.merge(Profile(status="column"), [row(email="a@example.com")])
    chunk = Chunk(world.plan(Profile(status="column")))
    chunk.add([row(email="a@example.com", mobile="none", status="0")])
    with world.database.write() as connection:
        assert chunk.merge(connection, datetime.now(UTC)).unsubscribed == 1
    assert [error.code for error in chunk.noted] == ["mobile-ignored"]


def test_makes_groups_that_are_named(world: World) -> None:
    rows = [row(email="a@example.com", group_name="Fresh"), row(email="b@example.com", group_name="Fresh")]
    world.merge(Profile(status="column"), rows)
    with world.database.read() as connection:
        groups = groups_of(connection, [1])
        assert [group.name for group in groups] == ["Red", "Blue", "Fresh"]
        assert len(connection.execute(group_member.select()).all()) == 2


@pytest.fixture
def other_account(world: World) -> int:
    with world.database.write() as connection:
        account = add_account(connection, 2, password="secret")
        add_list(connection, account.id, "Other")
    return account.id


def test_accounts_do_not_meet(world: World, other_account: int) -> None:
    rows = [row(email="a@example.com", mobile="+393200000001", fields={"1": "x"})]
    world.merge(Profile(status="column"), rows)
    other = World(world.database, other_account)
    (counts,) = other.merge(Profile(status="column"), [row(email="a@example.com", mobile="+393200000001")])
    assert (counts["new"], counts["mobile_in_use"]) == (1, 0)
