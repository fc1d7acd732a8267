"""What an import leaves behind beside the people themselves: their history, mails to send, and who stays out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select
from undo_world import EMAILS, source_row
from undo_world import World as UndoWorld

from audience.accounts import Account, add_account
from audience.history import HistoryKind
from audience.lists import MailingList, add_group, add_list, groups_of
from audience.status_rules import REQUEST_CONFIRMATION, UNSUBSCRIBE, Channel
from audience.suppressions import add_suppressions, digest_address
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import account as account_table
from db.tables import group_member, history, import_run, list_group, outbox, recipient, subscription
from delivery.outbox import list_outbox, queue_mail
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


ASKING = Profile(confirm=True, confirm_message=12)
PAGE_MESSAGE = 5


@pytest.fixture
def undo_world(database: Database) -> UndoWorld:
    return UndoWorld(database)


def import_asking(world: UndoWorld, state: str, *emails: str) -> int:
    import_id = world.start_import(state)
    world.merge(import_id, ASKING, [source_row(email) for email in emails or EMAILS[:1]])
    return import_id


def ask_by_page(world: UndoWorld, email: str = EMAILS[0], *list_ids: int) -> None:
    recipient_id = world.change(email, REQUEST_CONFIRMATION)
    ids = list_ids or (world.mailing.id,)
    with world.database.write() as connection:
        queue_mail(connection, world.mailing, recipient_id, "confirmation", list_ids=ids, message_number=PAGE_MESSAGE)


def waiting(world: UndoWorld) -> list[tuple[int | None, int | None, set[int]]]:
    """Whose mails wait, with which message, and which lists they confirm."""
    return [(mail.import_id, mail.message_number, set(mail.list_ids)) for mail in world.rows(outbox)]


def due(world: UndoWorld) -> list[str]:
    with world.database.read() as connection:
        return [mail.address for mail in list_outbox(connection, public_url="https://mail.example.com")]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "skipped"])
def test_a_later_import_takes_over_the_mail_of_one_that_did_not_complete(undo_world: UndoWorld, state: str) -> None:
    world = undo_world
    first = import_asking(world, state, *EMAILS)
    second = import_asking(world, "completed", *EMAILS[:2])
    own = {world.mailing.id}
    assert sorted(waiting(world)) == [(first, 12, own), (second, 12, own), (second, 12, own)]
    assert due(world) == (EMAILS if state in ("failed", "skipped") else EMAILS[:2])


def test_a_mail_that_two_imports_rely_on_goes_with_neither(undo_world: UndoWorld) -> None:
    """The first completed; what its mail waits for is only to be sent, and the second does not hold it back."""
    world = undo_world
    first = import_asking(world, "completed")
    second = import_asking(world, "running")
    assert (waiting(world), due(world)) == ([(None, 12, {world.mailing.id})], EMAILS[:1])
    with world.database.write() as connection:
        connection.execute(import_run.update().where(import_run.c.id == second).values(state="completed"))
    assert world.undo(second).removed_mails == 0
    assert due(world) == EMAILS[:1]
    world.undo(first)
    assert due(world) == []


def test_mails_of_a_failed_import_go_out_and_block_no_page(undo_world: UndoWorld) -> None:
    world = undo_world
    failed = import_asking(world, "failed", *EMAILS[:2])
    assert due(world) == EMAILS[:2]
    ask_by_page(world)
    own = {world.mailing.id}
    assert set(map(str, waiting(world))) == {str((None, PAGE_MESSAGE, own)), str((failed, 12, own))}
    assert due(world) == EMAILS[:2]


def test_a_page_does_not_wait_for_a_running_import(undo_world: UndoWorld) -> None:
    import_asking(undo_world, "running", *EMAILS)
    assert due(undo_world) == []
    ask_by_page(undo_world, EMAILS[1])
    assert due(undo_world) == [EMAILS[1]]


def test_undoing_an_import_leaves_the_mail_of_a_page(undo_world: UndoWorld) -> None:
    world = undo_world
    import_id = import_asking(world, "completed", *EMAILS[:2])
    world.change(EMAILS[0], UNSUBSCRIBE)
    ask_by_page(world)
    world.undo(import_id)
    assert waiting(world) == [(None, PAGE_MESSAGE, {world.mailing.id})]
    assert due(world) == EMAILS[:1]


def test_an_import_leaves_the_mail_of_a_page_to_the_page(undo_world: UndoWorld) -> None:
    world = undo_world
    ask_by_page(world)
    import_id = import_asking(world, "running")
    assert (waiting(world), due(world)) == ([(None, PAGE_MESSAGE, {world.mailing.id})], EMAILS[:1])
    with world.database.write() as connection:
        connection.execute(import_run.update().values(state="completed"))
    world.undo(import_id)
    assert due(world) == EMAILS[:1]


def test_the_mail_of_a_page_confirms_the_list_of_an_import_too(undo_world: UndoWorld) -> None:
    """A page's mail may be of a list that it does not confirm."""
    world = undo_world
    with world.database.write() as connection:
        other = add_list(connection, world.account.id, "Other").id
    ask_by_page(world, EMAILS[0], other)
    for _ in range(2):
        import_asking(world, "completed")
        assert waiting(world) == [(None, PAGE_MESSAGE, {world.mailing.id, other})]


@pytest.mark.parametrize("state", ["failed", "completed"])
def test_a_mail_that_went_out_leaves_room_for_another(undo_world: UndoWorld, state: str) -> None:
    world = undo_world
    first = import_asking(world, state)
    with world.database.write() as connection:
        connection.execute(outbox.update().values(state="sent"))
    second = import_asking(world, "completed")
    assert [import_id for import_id, *_ in waiting(world)] == [first, second]


def test_a_page_and_imports_at_once_leave_one_mail(undo_world: UndoWorld) -> None:
    world = undo_world
    emails = [f"{number}@example.com" for number in range(20)]
    for email in emails:
        world.change(email, REQUEST_CONFIRMATION)
    imports = [world.start_import("running") for _ in range(2)]
    asking: list[Callable[[], None]] = [
        *[partial(world.merge, import_id, ASKING, [source_row(e) for e in emails]) for import_id in imports],
        *[partial(ask_by_page, world, email) for email in emails],
    ]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(retry_on_conflict, work) for work in asking]:
            done.result()
    assert {mail.import_id for mail in world.rows(outbox)} == {None}
    assert sorted(due(world)) == sorted(emails)


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
