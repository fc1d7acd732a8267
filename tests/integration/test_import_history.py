"""What an import leaves behind beside the people themselves: their history, mails to send, and who stays out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.history import HistoryKind
from audience.lists import MailingList, add_group, add_list, groups_of
from audience.status_rules import Channel
from audience.suppressions import add_suppressions, digest_address
from db.engine import Database
from db.tables import account as account_table
from db.tables import group_member, history, list_group, outbox, recipient, subscription
from exchange.profiles import Profile
from exchange.rows import SourceRow
from jobs.import_chunk import Chunk, ImportPlan


class World:
    """An account with one list and two groups."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write() as connection:
            self.account: Account = add_account(connection, 1, password="secret")
            self.mailing: MailingList = add_list(connection, self.account.id, "News")
            self.red = add_group(connection, self.mailing, "Red")
            self.blue = add_group(connection, self.mailing, "Blue")

    def plan(self, profile: Profile) -> ImportPlan:
        with self.database.read() as connection:
            groups = {group.number: group for group in groups_of(connection, [self.mailing.id])}
        return ImportPlan(self.account.id, 7, "soap", profile, self.mailing, {1: self.mailing}, groups)

    def merge(self, profile: Profile, *rows: SourceRow) -> Chunk:
        chunk = Chunk(self.plan(profile))
        chunk.add(rows)
        with self.database.write() as connection:
            chunk.merge(connection, datetime.now(UTC))
        return chunk

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        with self.database.read() as connection:
            query = select(table).where(*conditions)
            return list(connection.execute(query.order_by(*table.primary_key.columns)))

    def history(self, kind: HistoryKind) -> list[Any]:
        return self.rows(history, history.c.kind == kind)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def row(email: str = "", **values: Any) -> SourceRow:
    empty: dict[str, Any] = dict.fromkeys(SourceRow._fields, "") | {"line": 3, "fields": {}, "status": ""}
    return SourceRow(**(empty | {"email": email} | values))


def test_old_and_new_values_are_kept(world: World) -> None:
    world.merge(Profile(), row("a@example.com", fields={"1": "Ada", "2": "London"}))
    assert world.history(HistoryKind.PROFILE) == []
    world.merge(Profile(), row("a@example.com", mobile="+393201234567", fields={"1": "Ida", "2": "", "3": "Città"}))
    (entry,) = world.history(HistoryKind.PROFILE)
    assert entry.details == {
        "before": {"1": "Ada", "2": "London", "3": None, "mobile": None},
        "after": {"1": "Ida", "2": None, "3": "Città", "mobile": "+393201234567"},
    }
    assert (entry.import_id, entry.source, entry.list_id) == (7, "soap", world.mailing.id)
    (person,) = world.rows(recipient)
    assert person.fields == {"1": "Ida", "3": "Città"}


def test_a_row_that_changes_nothing_leaves_nothing(world: World) -> None:
    same = row("a@example.com", fields={"1": "Ada", "5": ""}, groups=str(world.red.number))
    world.merge(Profile(), same)
    before = world.rows(history)
    world.merge(Profile(), same)
    assert world.rows(history) == before


def test_groups_that_change_are_kept(world: World) -> None:
    world.merge(Profile(), row("a@example.com", groups=str(world.red.number)), row("b@example.com"))
    replacing = Profile(replace_groups=True)
    world.merge(replacing, row("a@example.com", groups=str(world.blue.number)), row("b@example.com"))
    told = [(entry.recipient_id, entry.details) for entry in world.history(HistoryKind.GROUPS)]
    first = world.rows(recipient, recipient.c.email == "a@example.com")[0].id
    assert told == [
        (first, {"added": [world.red.id], "removed": []}),
        (first, {"added": [world.blue.id], "removed": [world.red.id]}),
    ]
    assert [member.group_id for member in world.rows(group_member)] == [world.blue.id]


def test_a_group_deleted_meanwhile_gets_nobody(world: World) -> None:
    chunk = Chunk(world.plan(Profile()))
    chunk.add([row("a@example.com", groups=f"{world.red.number},{world.blue.number}")])
    with world.database.write() as connection:
        connection.execute(list_group.delete().where(list_group.c.id == world.red.id))
    with world.database.write() as connection:
        chunk.merge(connection, datetime.now(UTC))
    assert [member.group_id for member in world.rows(group_member)] == [world.blue.id]


def test_confirmations_wait_once_for_each(world: World) -> None:
    asking = Profile(confirm=True, confirm_message=12)
    world.merge(asking, row("a@example.com"), row("b@example.com"), row("A@example.com"))
    world.merge(asking, row("a@example.com"))
    mails = world.rows(outbox)
    assert [(mail.kind, mail.list_ids, mail.message_number, mail.import_id, mail.state) for mail in mails] == [
        ("confirmation", [world.mailing.id], 12, 7, "waiting")
    ] * 2


def test_nobody_is_asked_who_is_unsubscribed(world: World) -> None:
    world.merge(Profile(status="unsubscribed"), row("a@example.com"))
    world.merge(Profile(confirm=True), row("a@example.com"))
    world.merge(Profile(confirm=True, status="unsubscribed"), row("b@example.com"))
    assert world.rows(outbox) == []


def test_who_was_forgotten_stays_out(world: World) -> None:
    _forget(world, (Channel.EMAIL, "gone@example.com"), (Channel.SMS, "+393201234567"))
    chunk = world.merge(
        Profile(),
        row("GONE@example.com"),
        row("b@example.com", mobile="+393201234567", line=9),
        row("c@example.com"),
    )
    refused = [(error.line, error.code, error.raw) for error in chunk.forgotten]
    assert refused == [(3, "forgotten", ""), (9, "mobile-forgotten", "")]
    assert [(person.email, person.mobile) for person in world.rows(recipient)] == [
        ("b@example.com", None),
        ("c@example.com", None),
    ]
    assert len(world.rows(subscription)) == 2


def test_what_was_forgotten_costs_nobody_his_unsubscribe(world: World) -> None:
    known = (row("a@example.com"), row("b@example.com", mobile="+393201234567"))
    world.merge(Profile(), *known)
    _forget(world, (Channel.EMAIL, "gone@example.com"), (Channel.SMS, "+393207654321"))
    leaving = Profile(status="unsubscribed")
    chunk = world.merge(
        leaving,
        row("a@example.com", mobile="+393207654321"),
        row("gone@example.com", mobile="+393201234567", fields={"1": "Gone"}),
    )
    assert [error.code for error in chunk.forgotten] == ["mobile-forgotten", "forgotten"]
    statuses = {(found.recipient_id, found.channel): found.status for found in world.rows(subscription)}
    assert statuses == {(1, 1): 3, (2, 1): 1, (2, 2): 3}
    assert [person.fields for person in world.rows(recipient)] == [{}, {}]


def test_errors_keep_nothing_of_who_was_forgotten(world: World) -> None:
    _forget(world, (Channel.EMAIL, "gone@example.com"))
    raw = "Gone@example.com;nonsense\n"
    chunk = world.merge(
        Profile(),
        row("Gone@example.com", mobile="nonsense", raw=raw, line=4),
        row("Gone@example.com", list_number="99", raw=raw, line=5),
        row("b@example.com", mobile="nonsense", raw="b@example.com;nonsense\n", line=6),
    )
    kept = [(error.line, error.raw) for error in (*chunk.forgotten, *chunk.refused, *chunk.noted)]
    assert sorted(kept) == [(4, ""), (4, ""), (5, ""), (6, "b@example.com;nonsense\n")]


def _forget(world: World, *addresses: tuple[Channel, str]) -> None:
    with world.database.write() as connection:
        secret_key = connection.execute(select(account_table.c.secret_key)).scalar_one()
        digests = [digest_address(secret_key, *address) for address in addresses]
        add_suppressions(connection, world.account.id, digests)
