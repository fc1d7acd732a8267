"""Rows told apart by e-mail address, number or external id; rows that come twice, or are about nobody."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_import_chunk import EMAILS, MOBILES, World, row

from audience.accounts import add_account
from audience.erasure import erase_recipient
from audience.history import Cause
from audience.lists import add_group, add_list
from audience.status_rules import Channel
from audience.subscriptions import Address
from db.engine import Database
from db.tables import group_member, import_seen, recipient, subscription
from exchange.profiles import Profile
from exchange.rows import SourceRow
from jobs.import_chunk import Chunk

IMPORT = 7
IDS = ["K1", "K2", "K3", ""]
PLAIN = Profile(status="column")
BY_ID = Profile(status="column", key="external")
BY_NUMBER = Profile(status="column", key="mobile")


class KeyedWorld(World):
    """A world whose imports remember whom they met."""

    def chunk(self, profile: Profile, rows: list[SourceRow]) -> Chunk:
        """Merge rows as a chunk of the import; return it for its errors."""
        chunk = Chunk(replace(self.plan(profile), import_id=IMPORT))
        chunk.add(rows)
        with self.database.write() as connection:
            chunk.merge(connection, datetime.now(UTC))
        return chunk

    def begin(self) -> None:
        """Begin another import, which has met nobody."""
        with self.database.write() as connection:
            connection.execute(import_seen.delete())

    def clear(self) -> None:
        super().clear()
        self.begin()

    def keyed_snapshot(self) -> Counter[tuple[Any, ...]]:
        """Everything that matters of every recipient, without ids and instants."""
        facts: Counter[tuple[Any, ...]] = Counter()
        with self.database.read() as connection:
            keys = {
                person.id: (person.email, person.mobile, person.external_key)
                for person in connection.execute(recipient.select())
            }
            for person in connection.execute(recipient.select()):
                facts["fields", *keys[person.id], *sorted(person.fields.items())] += 1
            for held in connection.execute(subscription.select()):
                facts["status", *keys[held.recipient_id], held.list_id, held.channel, held.status] += 1
            for member in connection.execute(group_member.select()):
                facts["group", *keys[member.recipient_id], member.group_id] += 1
        return facts

    def person(self, external: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(recipient.select().where(recipient.c.external_key == external)).one()

    def statuses(self, email: str) -> list[int]:
        """Return the statuses of the e-mail channel of whoever holds an address."""
        query = subscription.select().join(recipient, recipient.c.id == subscription.c.recipient_id)
        with self.database.read() as connection:
            found = connection.execute(query.where(recipient.c.email == email, subscription.c.channel == 1))
            return [held.status for held in found]


@pytest.fixture
def world(database: Database) -> KeyedWorld:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        for name in ("One", "Two"):
            mailing = add_list(connection, account.id, name)
            for group in ("Red", "Blue"):
                add_group(connection, mailing, group)
    return KeyedWorld(database, account.id)


@st.composite
def keyed_rows(draw: st.DrawFn) -> SourceRow:
    told = st.tuples(st.sampled_from(EMAILS), st.sampled_from(MOBILES), st.sampled_from(IDS)).filter(any)
    email, mobile, external = draw(told)
    return row(
        email=email,
        mobile=mobile,
        external=external,
        list_number=draw(st.sampled_from(["", "", "2"])),
        groups=draw(st.sampled_from(["", "1", "3"])),
        status=draw(st.sampled_from(["1", "1", "0"])),
        fields=draw(st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(["", "x", "y"]))),
        notes=(),
    )


PROFILES = st.builds(
    Profile,
    status=st.just("column"),
    key=st.sampled_from(["email", "mobile", "external"]),
    duplicates=st.sampled_from(["last", "last", "first", "refuse"]),
    unknown=st.sampled_from(["add", "add", "refuse"]),
    resubscribe=st.booleans(),
)
SWAPPED_ADDRESSES = [row(external="K1", email="a@example.com"), row(external="K2", email="b@example.com")]
SWAP = [row(external="K1", email="b@example.com"), row(external="K2", email="a@example.com")]


@example(BY_ID, SWAPPED_ADDRESSES, SWAP)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=PROFILES, before=st.lists(keyed_rows(), max_size=5), rows=st.lists(keyed_rows(), max_size=7))
def test_a_keyed_chunk_does_what_its_rows_do_one_by_one(
    world: KeyedWorld, profile: Profile, before: list[SourceRow], rows: list[SourceRow]
) -> None:
    outcomes = []
    for together in (False, True):
        world.clear()
        for one in before:
            world.chunk(BY_ID if one.external else PLAIN, [one])
        world.begin()
        chunks = [world.chunk(profile, rows)] if together else [world.chunk(profile, [one]) for one in rows]
        errors = Counter(error.code for chunk in chunks for error in (*chunk.refused, *chunk.left_out, *chunk.repeated))
        outcomes.append((world.keyed_snapshot(), errors))
    assert outcomes[0] == outcomes[1]


def test_an_id_keeps_its_person_when_addresses_change(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", email="old@example.com", mobile="+393200000001")])
    before = world.person("K1")
    world.chunk(BY_ID, [row(external="K1", email="new@example.com", mobile="+393200000002")])
    after = world.person("K1")
    assert (after.id, after.email, after.mobile) == (before.id, "new@example.com", "+393200000002")
    assert world.statuses("new@example.com") == [1]


def test_an_id_is_given_to_whom_the_address_leads(world: KeyedWorld) -> None:
    world.merge(PLAIN, [row(email="a@example.com", fields={"1": "x"})])
    world.chunk(BY_ID, [row(external="K1", email="a@example.com")])
    assert world.person("K1").fields == {"1": "x"}


def test_an_address_of_somebody_else_is_not_taken_away(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", email="a@example.com")])
    world.chunk(BY_ID, [row(external="K2", email="a@example.com", fields={"1": "x"})])
    assert (world.person("K1").email, world.person("K2").email) == ("a@example.com", None)
    # What the row says about the address holds all the same.
    world.chunk(BY_ID, [row(external="K2", email="a@example.com", status="0")])
    assert world.statuses("a@example.com") == [3]


def test_an_id_alone_ends_what_is_known_of_its_person(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", email="a@example.com", mobile="+393200000001")])
    world.chunk(BY_ID, [row(external="K1", status="0")])
    with world.database.read() as connection:
        assert {(held.channel, held.status) for held in connection.execute(subscription.select())} == {(1, 3), (2, 3)}


def test_an_id_alone_makes_a_person_without_subscriptions(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", fields={"1": "x"})])
    assert world.person("K1").fields == {"1": "x"}
    with world.database.read() as connection:
        assert connection.execute(subscription.select()).all() == []


def test_a_bad_address_costs_only_itself_where_there_is_an_id(world: KeyedWorld) -> None:
    chunk = world.chunk(BY_ID, [row(external="K1", email="nobody", mobile="12", fields={"1": "x"})])
    assert [error.code for error in chunk.noted] == ["email-ignored", "mobile-ignored"]
    assert world.person("K1").fields == {"1": "x"}


def test_a_number_keeps_its_person_when_the_address_changes(world: KeyedWorld) -> None:
    world.chunk(BY_NUMBER, [row(email="old@example.com", mobile="+393200000001")])
    world.chunk(BY_NUMBER, [row(email="new@example.com", mobile="+393200000001")])
    with world.database.read() as connection:
        assert [person.email for person in connection.execute(recipient.select())] == ["new@example.com"]


@pytest.mark.parametrize(
    ("profile", "values", "code"),
    [
        (BY_ID, {"email": "a@example.com"}, "no-key"),
        (BY_ID, {"external": "x" * 201}, "value-too-long"),
        (BY_NUMBER, {}, "no-address"),
    ],
)
def test_rows_without_a_usable_key_are_refused(
    world: KeyedWorld, profile: Profile, values: dict[str, str], code: str
) -> None:
    assert [error.code for error in world.chunk(profile, [row(**values)]).refused] == [code]


TWICE = [
    row(line=2, email="a@example.com", fields={"1": "first"}, raw="one"),
    row(line=3, email="A@example.com", fields={"1": "second"}, raw="two"),
    row(line=4, email="a@example.com", status="0", raw="three"),
]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("duplicates", "kept", "refused", "noted"),
    [("last", "second", [], []), ("first", "first", [], [3]), ("refuse", "first", [3], [])],
)
def test_rows_that_come_twice(
    world: KeyedWorld, together: bool, duplicates: Any, kept: str, refused: list[int], noted: list[int]
) -> None:
    profile = Profile(status="column", duplicates=duplicates)
    chunks = [world.chunk(profile, TWICE)] if together else [world.chunk(profile, [one]) for one in TWICE]
    with world.database.read() as connection:
        assert [person.fields for person in connection.execute(recipient.select())] == [{"1": kept}]
    assert [error.line for chunk in chunks for error in chunk.left_out] == refused
    assert [error.line for chunk in chunks for error in chunk.repeated] == noted
    # A wish to leave is never passed over.
    assert world.statuses("a@example.com") == [3]


def test_strangers_are_refused_where_nobody_is_to_be_added(world: KeyedWorld) -> None:
    world.merge(PLAIN, [row(email="known@example.com")])
    rows = [row(line=2, email="known@example.com", fields={"1": "x"}), row(line=3, email="new@example.com", raw="new")]
    chunk = world.chunk(Profile(status="column", unknown="refuse"), rows)
    assert [(error.line, error.code, error.raw) for error in chunk.left_out] == [(3, "unknown-recipient", "new")]
    with world.database.read() as connection:
        assert [(person.email, person.fields) for person in connection.execute(recipient.select())] == [
            ("known@example.com", {"1": "x"})
        ]


def test_what_a_stranger_says_about_a_known_address_counts(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", email="bob@example.com", groups="1", fields={"1": "x"})])
    profile = replace(BY_ID, unknown="refuse", replace_groups=True)
    world.chunk(profile, [row(external="K9", email="bob@example.com", status="0", groups="2", fields={"1": "y"})])
    assert (world.statuses("bob@example.com"), world.person("K1").fields) == ([3], {"1": "x"})
    with world.database.read() as connection:
        assert len(connection.execute(group_member.select()).all()) == 1


def test_an_id_whose_address_was_erased_can_leave(world: KeyedWorld) -> None:
    world.chunk(BY_ID, [row(external="K1", email="new@example.com")])
    world.merge(PLAIN, [row(email="erased@example.com")])
    with world.database.write() as connection:
        erase_recipient(connection, world.account_id, Address(Channel.EMAIL, "erased@example.com"), Cause("soap"))
    world.chunk(BY_ID, [row(external="K1", email="erased@example.com", status="0")])
    assert world.statuses("new@example.com") == [3]


def test_a_number_of_somebody_without_address_is_not_split_for_ever(world: KeyedWorld) -> None:
    world.merge(PLAIN, [row(email="a@example.com")], [row(mobile=MOBILES[0])])
    rows = [row(email="a@example.com", mobile=MOBILES[0], list_number=number) for number in ("1", "2")]
    world.merge(PLAIN, [*rows, row(email="b@example.com", mobile=MOBILES[0], list_number="2")])
    assert world.statuses("b@example.com") == [1]


def test_a_number_that_everybody_gives_costs_little(world: KeyedWorld) -> None:
    rows = [row(external=f"K{turn}", email=f"p{turn}@example.com", mobile=MOBILES[0]) for turn in range(2_000)]
    world.chunk(BY_ID, rows)
    assert world.person("K0").mobile == MOBILES[0]
    assert world.person("K1999").mobile is None


def test_a_file_of_one_person_is_joined(world: KeyedWorld) -> None:
    rows = [row(external="K1", email="a@example.com", fields={"1": str(number)}) for number in range(2_000)]
    world.chunk(BY_ID, rows)
    assert world.person("K1").fields == {"1": "1999"}
