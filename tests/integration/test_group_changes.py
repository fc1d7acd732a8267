"""What becomes of people, their subscriptions and their history when a group goes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select
from sqlalchemy.exc import OperationalError

from audience.accounts import load_account
from audience.errors import AlreadyExists, InvalidName, UnknownGroup
from audience.group_changes import change_group, remove_group, remove_group_and_members
from audience.history import Cause
from audience.lists import Group, MailingList, add_group, add_list, find_group, groups_of
from audience.status_rules import Channel, Reason, Status
from audience.suppressions import lock_suppressions
from db.engine import Database
from db.leases import name_owner
from db.retry import retry_on_conflict
from db.tables import (
    account,
    account_counter,
    group_member,
    history,
    list_group,
    mailing_list,
    outbox,
    recipient,
    subscription,
)
from exchange.profiles import Profile
from jobs.imports import import_file
from jobs.storage import Storage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CAUSE = Cause("soap", actor="a1")
EMAIL, SMS = Channel.EMAIL, Channel.SMS
SUBSCRIBED, PENDING, UNSUBSCRIBED = Status.SUBSCRIBED, Status.PENDING, Status.UNSUBSCRIBED


@dataclass
class House:
    """An account with two lists of two groups each, all of which people can be put into."""

    database: Database
    lists: list[MailingList]
    groups: list[Group]

    def add(self, name: str, *subscriptions: tuple[int, Channel, Status], groups: tuple[int, ...] = ()) -> int:
        """Add a person with subscriptions, by the number of the list, and groups, by their place."""
        account_id = self.lists[0].account_id
        person = {"account_id": account_id, "fields": {}, "created_at": NOW, "updated_at": NOW}
        with self.database.write() as connection:
            insert = recipient.insert().values(**person, email=f"{name}@example.com").returning(recipient.c.id)
            person_id = int(connection.execute(insert).scalar_one())
            for number, channel, status in subscriptions:
                ended = status == UNSUBSCRIBED
                key = {"recipient_id": person_id, "list_id": self.lists[number - 1].id, "channel": channel}
                values = {"status": status, "changed_at": NOW, "unsubscribed_at": NOW if ended else None}
                reason = Reason.COMPLAINT if ended else None
                connection.execute(subscription.insert().values(**key, **values, reason_type=reason, source="page"))
            for place in groups:
                member = {"recipient_id": person_id, "group_id": self.groups[place].id}
                connection.execute(group_member.insert().values(**member))
            past = {"account_id": account_id, "recipient_id": person_id, "kind": 2, "at": NOW, "source": "page"}
            connection.execute(history.insert().values(**past))
        return person_id

    def mail(self, person_id: int, state: str) -> None:
        """Ask for a mail to somebody."""
        mailing = self.lists[0]
        values = {"account_id": mailing.account_id, "list_id": mailing.id, "recipient_id": person_id}
        with self.database.write() as connection:
            connection.execute(outbox.insert().values(**values, kind="welcome", state=state, created_at=NOW))

    def rows(self, table: Table, *columns: str) -> set[Any]:
        """Return some columns of a table, of a single column its values."""
        query = select(*(table.c[name] for name in columns))
        with self.database.read() as connection:
            return {row[0] if len(columns) == 1 else tuple(row) for row in connection.execute(query)}

    def remove(self, group: Group) -> None:
        """Delete a group of the first list with its members."""
        with self.database.write() as connection:
            remove_group_and_members(connection, self.lists[0], group, CAUSE)

    def delete(self, place: int, *, with_members: bool) -> None:
        """Delete a group."""
        group = self.groups[place]
        mailing = next(mailing for mailing in self.lists if mailing.id == group.list_id)
        with self.database.write() as connection:
            if with_members:
                remove_group_and_members(connection, mailing, group, CAUSE)
            else:
                remove_group(connection, group, CAUSE)


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    with database.write() as connection:
        values = {"number": 1, "name": "", "time_zone": "UTC", "secret_key": "0" * 64, "list_defaults": {}}
        insert = account.insert().values(**values, created_at=NOW).returning(account.c.id)
        account_id = int(connection.execute(insert).scalar_one())
        lists = [add_list(connection, account_id, name) for name in ("One", "Two")]
        groups = [add_group(connection, mailing, name) for mailing in lists for name in ("A", "B")]
    yield House(database, lists, groups)


def test_a_group_goes_and_its_members_stay(house: House) -> None:
    anna = house.add("anna", (1, EMAIL, SUBSCRIBED), groups=(0, 1))
    before = house.rows(subscription, "recipient_id", "list_id", "channel", "status")
    house.delete(0, with_members=False)
    assert house.rows(subscription, "recipient_id", "list_id", "channel", "status") == before
    assert house.rows(group_member, "recipient_id", "group_id") == {(anna, house.groups[1].id)}
    assert house.rows(list_group, "id") == {group.id for group in house.groups[1:]}
    with house.database.read() as connection:
        (row,) = connection.execute(select(history).where(history.c.kind == 3)).all()
    assert (row.recipient_id, row.list_id, row.source, row.actor) == (anna, house.lists[0].id, "soap", "a1")
    assert row.details == {"added": [], "removed": [house.groups[0].id]}


def test_members_without_another_subscription_are_removed_with_their_history(house: House) -> None:
    anna = house.add("anna", (1, EMAIL, SUBSCRIBED), (1, SMS, PENDING), groups=(0, 1, 2))
    never = house.add("never", groups=(0,))
    stranger = house.add("stranger", (1, EMAIL, SUBSCRIBED), groups=(1,))
    for person in (anna, stranger):
        house.mail(person, "waiting")
        house.mail(person, "sent")
    house.delete(0, with_members=True)
    assert house.rows(recipient, "id") == {stranger}
    assert house.rows(history, "recipient_id") == {stranger}
    assert house.rows(outbox, "recipient_id") == {stranger}
    assert house.rows(subscription, "recipient_id") == {stranger}
    assert house.rows(group_member, "recipient_id", "group_id") == {(stranger, house.groups[1].id)}
    assert never not in house.rows(recipient, "id")


def test_members_of_another_list_stay_in_it(house: House) -> None:
    both = house.add("both", (1, EMAIL, SUBSCRIBED), (1, SMS, PENDING), (2, EMAIL, PENDING), groups=(0, 1, 2))
    house.mail(both, "waiting")
    house.delete(0, with_members=True)
    one, two = house.lists
    assert house.rows(subscription, "recipient_id", "list_id", "channel", "status") == {(both, two.id, 1, 2)}
    assert house.rows(group_member, "recipient_id", "group_id") == {(both, house.groups[2].id)}
    assert house.rows(outbox, "recipient_id") == {both}
    with house.database.read() as connection:
        rows = connection.execute(select(history).where(history.c.kind == 1).order_by(history.c.channel)).all()
        left = connection.execute(select(history.c.details).where(history.c.kind == 3)).scalars().all()
    told = [(row.recipient_id, row.list_id, row.channel, row.old_status, row.new_status, row.actor) for row in rows]
    assert told == [(both, one.id, 1, 1, None, "a1"), (both, one.id, 2, 2, None, "a1")]
    assert sorted(item["removed"] for item in left) == [[house.groups[0].id], [house.groups[1].id]]


@pytest.mark.parametrize("number", [1, 2])
def test_an_unsubscription_is_never_lost(house: House, number: int) -> None:
    gone = house.add("gone", (1, SMS, SUBSCRIBED), (number, EMAIL, UNSUBSCRIBED), groups=(0, 1))
    house.delete(0, with_members=True)
    list_id = house.lists[number - 1].id
    rows = house.rows(subscription, "recipient_id", "list_id", "channel", "status", "reason_type")
    assert rows == {(gone, list_id, 1, 3, Reason.COMPLAINT)}
    assert house.rows(recipient, "id") == {gone}
    assert house.rows(group_member, "recipient_id") == set()


def test_who_comes_after_inherits_nothing(house: House) -> None:
    first = house.add("first", (1, EMAIL, SUBSCRIBED), groups=(0, 3))
    house.mail(first, "sent")
    house.delete(0, with_members=True)
    second = house.add("second")
    assert second > first
    assert house.rows(history, "recipient_id", "kind") == {(second, 2)}
    assert house.rows(outbox, "recipient_id") == house.rows(group_member, "recipient_id") == set()


def test_many_members(house: House) -> None:
    group = house.groups[0]
    account_id, list_id = house.lists[0].account_id, house.lists[0].id
    ids = range(1, 3_001)
    person = {"account_id": account_id, "fields": {}, "created_at": NOW, "updated_at": NOW}
    with house.database.write() as connection:
        connection.execute(recipient.insert(), [{**person, "id": i, "email": f"p{i}@example.com"} for i in ids])
        held = {"list_id": list_id, "channel": 1, "changed_at": NOW, "source": "ftp"}
        rows = [{**held, "recipient_id": i, "status": UNSUBSCRIBED if i % 3 == 0 else SUBSCRIBED} for i in ids]
        connection.execute(subscription.insert(), rows)
        connection.execute(group_member.insert(), [{"recipient_id": i, "group_id": group.id} for i in ids])
    house.delete(0, with_members=True)
    assert house.rows(recipient, "id") == {i for i in ids if i % 3 == 0}
    assert house.rows(subscription, "recipient_id") == {i for i in ids if i % 3 == 0}


def test_two_who_add_the_same_group_at_the_same_moment_get_one(house: House) -> None:
    mailing = house.lists[0]

    def add(number: int) -> Group:
        def attempt() -> Group:
            with house.database.write() as connection:
                return add_group(connection, mailing, f"Group {number // 8}")

        return retry_on_conflict(attempt)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(add, range(40)))
    assert len({group.id for group in found}) == 5
    with house.database.read() as connection:
        assert len(groups_of(connection, [mailing.id])) == 7
        taken = select(account_counter.c.value).where(account_counter.c.kind == "group")
        assert connection.execute(taken).scalar_one() == 4 + 5


def test_group_deletions_at_the_same_moment(house: House) -> None:
    """Each person is in both groups; whichever is deleted first, nothing is left over and nobody waits for ever."""
    for number in range(50):
        house.add(f"p{number}", (1, EMAIL, SUBSCRIBED), groups=(0, 1))
    with ThreadPoolExecutor(2) as threads:
        done = [
            threads.submit(retry_on_conflict, lambda place=place: house.delete(place, with_members=True))
            for place in (0, 1)
        ]
        for outcome in done:
            outcome.result(timeout=60)
    for table in (recipient, subscription):
        assert house.rows(table, table.c.keys()[0]) == set()
    assert house.rows(group_member, "group_id") == set()
    assert house.rows(history, "recipient_id") == set()


def test_members_are_removed_while_an_import_brings_them_back(house: House, storage: Storage, tmp_path: Path) -> None:
    """Whichever comes first, nothing is left that belongs to nobody."""
    database = house.database
    with database.read() as connection:
        owner = load_account(connection, house.lists[0].account_id)
    path = tmp_path / "people.csv"
    path.write_text("111\n" + "".join(f"p{number}@example.com\n" for number in range(400)))
    for _ in range(4):
        with database.write() as connection:
            group = add_group(connection, house.lists[0], "Again")
        into: dict[str, Any] = {"account": owner, "path": path}
        # Into the other list, and into another group, so that each import has something to add.
        first = Profile(column_names={"111": "email"}, groups=(group.number,))
        second = Profile(column_names={"111": "email"}, groups=(house.groups[2].number,))
        import_file(database, storage, name_owner(), mailing=house.lists[0], profile=first, **into)
        with ThreadPoolExecutor(2) as threads:
            importing = threads.submit(
                import_file, database, storage, name_owner(), mailing=house.lists[1], profile=second, **into
            )
            deleting = threads.submit(retry_on_conflict, lambda group=group: house.remove(group))
            assert importing.result(timeout=120).state == "completed"
            deleting.result(timeout=120)
        people = house.rows(recipient, "id")
        for table in (subscription, group_member, history):
            assert house.rows(table, "recipient_id") <= people, table.name
        assert house.rows(group_member, "group_id") <= house.rows(list_group, "id")
        assert house.rows(subscription, "list_id") == {house.lists[1].id}
        with database.write() as connection:
            for table in (subscription, group_member, history, recipient):
                connection.execute(table.delete())


def test_members_are_not_removed_while_a_part_of_an_import_is_written(house: House) -> None:
    if house.database.is_sqlite:
        pytest.skip("On SQLite nobody writes at the same moment anyway.")
    mailing, group = house.lists[0], house.groups[0]
    with house.database.write() as importing:
        lock_suppressions(importing, mailing.account_id, exclusive=False)
        with house.database.write() as deleting:
            deleting.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(OperationalError), deleting.begin_nested():
                remove_group_and_members(deleting, mailing, group, CAUSE)
    house.delete(0, with_members=True)


def test_changes(house: House) -> None:
    mailing, group = house.lists[0], house.groups[0]
    with house.database.write() as connection:
        assert change_group(connection, mailing, group) == group
        changed = change_group(connection, mailing, group, name="  Città " + "x" * 60, notes=" two\nlines ")
        assert changed.name == "Città " + "x" * 44
        assert find_group(connection, mailing.account_id, group.number) == (mailing, changed)
        assert changed.notes == "two\nlines"
        assert change_group(connection, mailing, changed, name=changed.name) == changed
        with pytest.raises(AlreadyExists):
            change_group(connection, mailing, changed, name="B")
        for name in ("", " ", "<", "a\nb", "a&b", '"'):
            with pytest.raises(InvalidName):
                change_group(connection, mailing, changed, name=name)
        for notes in ("x" * 2_001, "a\x00b"):
            with pytest.raises(InvalidName):
                change_group(connection, mailing, changed, notes=notes)
        assert change_group(connection, mailing, changed, notes="").notes == ""


def test_groups_of_others_and_of_deleted_lists_are_unknown(house: House) -> None:
    group = house.groups[0]
    with house.database.write() as connection:
        for account_id, number in ((house.lists[0].account_id, 99), (house.lists[0].account_id + 1, group.number)):
            with pytest.raises(UnknownGroup):
                find_group(connection, account_id, number)
        connection.execute(mailing_list.update().where(mailing_list.c.id == group.list_id).values(deleted_at=NOW))
        with pytest.raises(UnknownGroup):
            find_group(connection, house.lists[0].account_id, group.number)
        assert connection.execute(select(func.count()).select_from(list_group)).scalar_one() == 4
