"""Whom sendings go to, by every kind of target, on both databases: against a small model, and at its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select

from audience.accounts import Account, add_account
from audience.errors import InvalidName
from audience.lists import MailingList, add_group, add_list
from audience.status_rules import Channel, Status
from db.engine import Database
from db.tables import (
    group_member,
    list_group,
    recipient,
    recipient_filter,
    sending,
    subscription,
)
from delivery.errors import InvalidTarget, UnknownFilter
from delivery.filters import MAX_CONDITIONS, MAX_FILTERS, add_filter, filters_of, find_filter, remove_filter
from delivery.sendings import Target, add_sending, find_sending
from delivery.targets import MAX_ADDRESSES, check_target, count_target, select_people, select_target

NOW = datetime.now(UTC)
GROUPS = (1, 2, 3)
CITIES = ("", "Rome", "Milan")
FILTERS = (("all", ("field:1 = Rome",)), ("any", ("field:1 empty", "group = 1")), ("all", ("email contains 1",)))
NAMES = [f"p{number}@example.com" for number in range(6)]


@dataclass(frozen=True)
class Person:
    """Somebody as the model knows him; his mobile number is his address for text messages."""

    name: str
    has_email: bool = True
    email_status: Status | None = Status.SUBSCRIBED
    sms_status: Status | None = None
    elsewhere: bool = False
    """Whether he is subscribed to another list of the account, too."""
    groups: frozenset[int] = frozenset()
    city: str = ""

    @property
    def email(self) -> str | None:
        return self.name if self.has_email else None

    @property
    def mobile(self) -> str:
        return f"+3934000000{NAMES.index(self.name)}"

    def passes(self, number: int) -> bool:
        if number == 1:
            return self.city == "Rome"
        return (self.city == "" or 1 in self.groups) if number == 2 else bool(self.email and "1" in self.email)


@dataclass
class Office:
    """An account with two lists, three groups in the first, and three filters."""

    account: Account
    lists: list[MailingList] = field(default_factory=list)
    groups: dict[int, int] = field(default_factory=dict)

    def add(self, connection: Connection, person: Person) -> int:
        values: dict[str, Any] = {"account_id": self.account.id, "email": person.email, "mobile": person.mobile}
        values |= {"fields": {"1": person.city} if person.city else {}, "created_at": NOW, "updated_at": NOW}
        recipient_id = int(connection.execute(recipient.insert().values(values).returning(recipient.c.id)).scalar_one())
        wanted = [(self.lists[0], Channel.EMAIL, person.email_status), (self.lists[0], Channel.SMS, person.sms_status)]
        wanted += [(self.lists[1], Channel.EMAIL, Status.SUBSCRIBED)] * person.elsewhere
        for mailing, channel, status in wanted:
            if status is not None:
                key = {"recipient_id": recipient_id, "list_id": mailing.id, "channel": int(channel)}
                rest = {"status": int(status), "changed_at": NOW, "source": "page"}
                connection.execute(subscription.insert().values(**key, **rest))
        for number in person.groups:
            row = {"recipient_id": recipient_id, "group_id": self.groups[number]}
            connection.execute(group_member.insert().values(row))
        return recipient_id


def make_office(connection: Connection, number: int) -> Office:
    office = Office(add_account(connection, number, password="secret"))
    office.lists = [add_list(connection, office.account.id, name) for name in ("News", "Offers")]
    for group in GROUPS:
        office.groups[group] = add_group(connection, office.lists[0], f"Group {group}").id
    for match, conditions in FILTERS:
        add_filter(connection, office.account, "Some", conditions, match=match)  # type: ignore[arg-type]
    return office


@pytest.fixture
def office(database: Database) -> Office:
    with database.write() as connection:
        other = make_office(connection, 2)
        for name in NAMES:
            other.add(connection, Person(name, groups=frozenset(GROUPS), city="Rome", sms_status=Status.SUBSCRIBED))
        return make_office(connection, 1)


statuses = st.sampled_from([None, *Status])
numbers = st.lists(st.sampled_from(GROUPS), unique=True, max_size=2).map(tuple)
people_lists = st.lists(
    st.builds(
        Person,
        name=st.sampled_from(NAMES),
        has_email=st.booleans(),
        email_status=statuses,
        sms_status=statuses,
        elsewhere=st.booleans(),
        groups=st.frozensets(st.sampled_from(GROUPS)),
        city=st.sampled_from(CITIES),
    ),
    unique_by=lambda person: person.name,
    max_size=6,
)
targets = st.builds(
    Target,
    to=st.sampled_from(["all", "addresses", "groups"]),
    addresses=st.lists(st.sampled_from([*NAMES, "+39340000000", "+39340000001"]), unique=True).map(tuple),
    groups=numbers,
    exclude_groups=numbers,
    filters=numbers,
    filters_match=st.sampled_from(["all", "any"]),
)


def expected(people: list[Person], target: Target, channel: Channel) -> set[str]:
    """Return the addresses of those whom the model lets have it."""
    found = set()
    for person in people:
        status = person.email_status if channel == Channel.EMAIL else person.sms_status
        address = person.email if channel == Channel.EMAIL else person.mobile
        if status != Status.SUBSCRIBED or address is None or person.groups & set(target.exclude_groups):
            continue
        if target.to == "addresses" and address not in target.addresses:
            continue
        if target.to == "groups" and not person.groups & set(target.groups):
            continue
        passed = [person.passes(number) for number in target.filters]
        if passed and not (all(passed) if target.filters_match == "all" else any(passed)):
            continue
        found.add(address)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=people_lists, target=targets, channel=st.sampled_from(Channel))
@example(people=[Person(NAMES[0], has_email=False)], target=Target(filters=(2,)), channel=Channel.EMAIL)
def test_targets_are_those_of_the_model(
    database: Database, office: Office, people: list[Person], target: Target, channel: Channel
) -> None:
    with database.write() as connection:
        for table in (group_member, subscription, recipient):
            mine = select(recipient.c.id).where(recipient.c.account_id == office.account.id)
            column = recipient.c.id if table is recipient else table.c.recipient_id
            connection.execute(delete(table).where(column.in_(mine)))
        ids = {office.add(connection, person): person for person in people}
        found = connection.execute(select_people(connection, office.lists[0], channel, target)).all()
    assert {row.address for row in found} == expected(people, target, channel)
    assert len({row.recipient_id for row in found}) == len(found)
    assert all(row.address in (ids[row.recipient_id].email, ids[row.recipient_id].mobile) for row in found)


def test_a_hundred_thousand_addresses(database: Database, office: Office) -> None:
    mailing = office.lists[0]
    addresses = (
        *(f"nobody{number}@example.com" for number in range(MAX_ADDRESSES - 2)),
        NAMES[1],
        "ò\"'\\@example.com",
    )
    with database.write() as connection:
        for name in NAMES[:3]:
            office.add(connection, Person(name))
        check_target(connection, mailing, Target(to="addresses", addresses=addresses))
        with pytest.raises(InvalidTarget, match="1 to 100000"):
            check_target(connection, mailing, Target(to="addresses", addresses=(*addresses, "x@example.com")))
        new = add_sending(connection, mailing, Channel.EMAIL, None, target=Target(to="addresses", addresses=addresses))
        row = connection.execute(select(sending).where(sending.c.id == new.id)).one()
        found = connection.execute(select_target(connection, row)).all()
        assert count_target(connection, find_sending(connection, office.account.id, new.number)) == 1
    assert [person.address for person in found] == [NAMES[1]]


def test_nobody_is_added_to_a_queue_that_is_complete(database: Database, office: Office) -> None:
    with database.write() as connection:
        office.add(connection, Person(NAMES[0]))
        query = select_people(connection, office.lists[0], Channel.EMAIL, Target(to="queue"))
        assert connection.execute(query).all() == []


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        (Target(to="addresses"), "has 1 to 100000"),
        (Target(to="groups"), "at least one"),
        (Target(to="groups", groups=(1, 99)), "no group 99 in list 1"),
        (Target(exclude_groups=(99,)), "no group 99 in list 1"),
        (Target(to="groups", groups=tuple(range(100_000))), "no group 0 in list 1"),
    ],
)
def test_targets_that_are_refused(database: Database, office: Office, target: Target, refusal: str) -> None:
    with database.read() as connection, pytest.raises(InvalidTarget, match=refusal):
        check_target(connection, office.lists[0], target)


def test_groups_of_other_lists_and_accounts_are_unknown(database: Database, office: Office) -> None:
    with database.write() as connection:
        other = add_group(connection, office.lists[1], "Elsewhere")
        with pytest.raises(InvalidTarget, match=f"no group {other.number}"):
            check_target(connection, office.lists[0], Target(to="groups", groups=(other.number,)))
        strange = connection.execute(select(list_group.c.id).where(list_group.c.account_id != office.account.id))
        assert strange.first() is not None


def test_filters_are_kept_and_removed(database: Database, office: Office) -> None:
    with database.write() as connection:
        number = add_filter(
            connection,
            office.account,
            " Near ",
            ["field:1 = Rome", "created_at >= 2026-01-01"],
            mailing=office.lists[1],
        )
        found = find_filter(connection, office.account.id, number)
        assert (found.number, found.name, found.list_number, found.match) == (4, "Near", 2, "all")
        assert found.conditions == ("field:1 = Rome", "created_at >= 2026-01-01")
        assert [each.number for each in filters_of(connection, office.account.id)] == [1, 2, 3, 4]
        check_target(connection, office.lists[1], Target(filters=(4, 1)))
        with pytest.raises(UnknownFilter, match="no filter 4 for list 1"):
            check_target(connection, office.lists[0], Target(filters=(1, 4)))
        remove_filter(connection, office.account.id, 4)
        for refused in (remove_filter, find_filter):
            with pytest.raises(UnknownFilter, match="no filter 4"):
                refused(connection, office.account.id, 4)
        with pytest.raises(UnknownFilter, match="no filter 4"):
            select_people(connection, office.lists[0], Channel.EMAIL, Target(filters=(4,)))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": " "}, InvalidName),
        ({"name": "a\nb"}, InvalidName),
        ({"name": "x" * 201}, InvalidName),
        ({"conditions": []}, InvalidTarget),
        ({"conditions": ["field:1 = Rome"] * (MAX_CONDITIONS + 1)}, InvalidTarget),
        ({"conditions": ["field:1 LIKE '%'"]}, InvalidTarget),
        ({"conditions": ["1=1); DROP TABLE recipient --"]}, InvalidTarget),
    ],
)
def test_filters_that_are_refused(
    database: Database, office: Office, values: dict[str, Any], error: type[Exception]
) -> None:
    given = {"name": "Some", "conditions": ["field:1 = Rome"]} | values
    with database.write() as connection, pytest.raises(error):
        add_filter(connection, office.account, **given)


def test_a_sending_has_a_limited_number_of_filters(database: Database, office: Office) -> None:
    numbers = tuple(range(1, MAX_FILTERS + 2))
    with database.read() as connection, pytest.raises(InvalidTarget, match="at most 100"):
        check_target(connection, office.lists[0], Target(filters=numbers))


def test_the_dates_of_filters_are_in_the_time_zone_of_the_account(database: Database, office: Office) -> None:
    midnight = datetime(2026, 7, 1, 22, tzinfo=UTC)  # in Rome
    with database.write() as connection:
        first = office.add(connection, Person(NAMES[0]))
        second = office.add(connection, Person(NAMES[1]))
        for recipient_id, seconds in ((first, 0), (second, -1)):
            at = datetime.fromtimestamp(midnight.timestamp() + seconds, UTC)
            connection.execute(recipient.update().where(recipient.c.id == recipient_id).values(created_at=at))
        number = add_filter(connection, office.account, "New", ["created_at >= 2026-07-02"])
        query = select_people(connection, office.lists[0], Channel.EMAIL, Target(filters=(number,)))
        assert [row.address for row in connection.execute(query)] == [NAMES[0]]
        assert connection.execute(select(recipient_filter.c.conditions)).first() is not None
