"""Undoing an import takes back what it did and nothing that came later, as a small model says it must."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from undo_world import EMAILS, PAGE, World, source_row

from audience.accounts import add_account
from audience.erasure import erase_recipient
from audience.group_changes import remove_group
from audience.history import Cause
from audience.lists import add_group, add_list
from audience.selections import Selection
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Channel, Reason
from audience.subscriptions import Address, change_state
from audience.unsubscribed import select_unsubscribed
from db.engine import Database
from db.leases import name_owner
from db.tables import (
    group_member,
    history,
    import_run,
    list_group,
    outbox,
    recipient,
    subscription,
)
from exchange.profiles import Profile
from jobs.import_results import UnknownImport
from jobs.import_undo import UndoRefused


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_people_whom_the_import_added_are_gone(world: World) -> None:
    world.change("a@example.com", SUBSCRIBE)
    before = (world.people(), world.subscriptions(), world.rows(history))
    rows = [source_row(email, groups="1,2", fields={"1": "x"}) for email in EMAILS[1:]]
    import_id = world.import_rows(*rows, source_row("d@example.com", status="0"), source_row(mobile="+393401234567"))
    result = world.undo(import_id)
    assert (world.people(), world.subscriptions(), world.rows(history)) == before
    assert world.rows(group_member) == []
    assert result.counts.reverted == {"statuses": 4, "values": 0, "groups": 4}
    assert result.counts.removed_recipients == 4
    assert (result.counts.examples, result.number) == ([], 1)


def test_everything_of_a_known_person_goes_back_with_its_dates_and_reasons(world: World) -> None:
    """Ben has left by a link; the import resubscribes him, asks Anna to confirm and takes Carla out."""
    for email in EMAILS:
        world.change(email, SUBSCRIBE)
        world.profile(email, {1: "old", 2: "stays"}, [1])
    world.change(EMAILS[1], UNSUBSCRIBE, Cause("link", Reason.LINK, 1))
    before = (world.people(), world.subscriptions())
    rows = [source_row(email, groups="2", fields={"1": "new", "3": "more"}) for email in EMAILS[:2]]
    import_id = world.start_import()
    resubscribing = Profile(status="column", resubscribe=True, replace_groups=True, confirm=True)
    world.merge(import_id, resubscribing, [*rows, source_row(EMAILS[2], status="0", fields={"1": ""})])
    assert {facts[0] for facts in world.people().values()} == {2, 3}
    assert len(world.rows(outbox)) == 2
    result = world.undo(import_id)
    assert (world.people(), world.subscriptions()) == before
    assert result.counts.reverted == {"statuses": 3, "values": 5, "groups": 5}
    assert (result.removed_mails, world.rows(outbox)) == (2, [])
    newest = [row for row in world.rows(history) if row.source == "undo"]
    assert {(row.actor, row.import_id, row.details["import"]) for row in newest} == {("operator", None, import_id)}


def test_who_is_unsubscribed_again_is_told_of_again(world: World) -> None:
    """Between his leaving and the undoing, others were told of what the import did."""
    world.change(EMAILS[0], SUBSCRIBE)
    world.change(EMAILS[0], UNSUBSCRIBE)
    (left,) = world.rows(subscription)
    import_id = world.start_import()
    world.merge(import_id, Profile(status="column", resubscribe=True), [source_row(EMAILS[0])])
    told = datetime.now(UTC)
    world.undo(import_id)
    query = select_unsubscribed(Selection(account_id=world.account.id, since=told), ["email", "unsubscribed_at"])
    with world.database.read() as connection:
        assert [tuple(row) for row in connection.execute(query)] == [(EMAILS[0], left.unsubscribed_at)]


def test_undoing_again_does_nothing_more(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.import_rows(*(source_row(email, status="0", fields={"1": "x"}) for email in EMAILS[:2]))
    assert not world.undo(import_id).did_nothing
    after = (world.people(), world.subscriptions(), world.rows(history))
    result = world.undo(import_id)
    assert (result.did_nothing, result.counts.newer) == (True, {"statuses": 0, "values": 0, "groups": 0})
    assert (world.people(), world.subscriptions(), world.rows(history)) == after


def test_a_dry_run_only_says_what_it_would_do(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.import_rows(*(source_row(email, status="0", fields={"1": "x"}) for email in EMAILS))
    before = (world.people(), world.subscriptions(), world.rows(history), world.rows(import_run))
    trial = world.undo(import_id, dry_run=True)
    assert (world.people(), world.subscriptions(), world.rows(history), world.rows(import_run)) == before
    done = world.undo(import_id)
    assert (trial.counts, trial.removed_mails, trial.dry_run) == (done.counts, done.removed_mails, True)


def test_the_same_file_may_be_imported_again(world: World) -> None:
    import_id = world.import_rows(source_row(EMAILS[0]))
    world.undo(import_id)
    assert [row.sha256 for row in world.rows(import_run)] == [None]


LATER: dict[str, Callable[[World, str], object]] = {
    "the person left": lambda world, email: world.change(email, UNSUBSCRIBE),
    "a newer import": lambda world, email: world.import_rows(source_row(email, status="0")),
}


@pytest.mark.parametrize("later", LATER)
def test_what_is_newer_stays(world: World, later: str) -> None:
    import_id = world.import_rows(source_row(EMAILS[0], fields={"1": "x"}, groups="1"), source_row(EMAILS[1]))
    LATER[later](world, EMAILS[0])
    status = world.people()[EMAILS[0]][0]
    result = world.undo(import_id)
    assert world.people() == {EMAILS[0]: (status, *world.people()[EMAILS[0]][1:3], set())}
    assert (result.counts.newer["statuses"], result.counts.final["statuses"]) == (1, 0)
    assert len(result.counts.examples) == 1


WISHES = {
    "subscribed": (None, "1", SUBSCRIBE, Cause("page"), (1, None)),
    "pending": (None, "confirm", REQUEST_CONFIRMATION, Cause("page"), (2, None)),
    "unsubscribed": (SUBSCRIBE, "0", UNSUBSCRIBE, Cause("link", Reason.LINK), (3, Reason.LINK)),
}


@pytest.mark.parametrize("wish", WISHES)
def test_who_wants_what_the_import_did_keeps_it(world: World, wish: str) -> None:
    before, row, transition, cause, expected = WISHES[wish]
    if before is not None:
        world.change(EMAILS[0], before)
    import_id = world.import_rows(source_row(EMAILS[0], status=row.replace("confirm", "1")), confirm=row == "confirm")
    world.change(EMAILS[0], transition, cause)
    result = world.undo(import_id)
    assert world.people()[EMAILS[0]][:2] == expected
    assert (result.counts.newer["statuses"], result.counts.reverted["statuses"]) == (1, 0)


def test_a_row_for_what_the_import_did_is_no_wish_of_the_person(world: World) -> None:
    """A call of an import's door that changes nothing leaves nothing."""
    import_id = world.import_rows(source_row(EMAILS[0]))
    world.change(EMAILS[0], SUBSCRIBE, Cause("soap", actor="importer"))
    world.undo(import_id)
    assert world.people() == {}


def test_whom_a_later_import_unsubscribed_again_is_not_brought_back(world: World) -> None:
    """That it did so was no news and left no trace; when it is undone as well, he does come back."""
    world.change(EMAILS[0], SUBSCRIBE)
    before = (world.people(), world.subscriptions())
    first = world.import_rows(source_row(EMAILS[0], status="0", fields={"1": "x"}), source_row(EMAILS[1]))
    second = world.import_rows(source_row(EMAILS[0], status="0"))
    result = world.undo(first)
    assert world.people() == {EMAILS[0]: (3, Reason.IMPORTED, {}, set())}
    assert (result.counts.newer["statuses"], result.counts.reverted["statuses"]) == (1, 1)
    assert world.undo(second).did_nothing
    assert world.undo(first).counts.reverted["statuses"] == 1
    assert (world.people(), world.subscriptions()) == before


LATER_IMPORTS: dict[str, tuple[dict[str, Any], Profile, int, bool]] = {
    "one that may unsubscribe": ({}, Profile(status="column"), 1, True),
    "one that unsubscribes everybody": ({}, Profile(status="unsubscribed", format="xml"), 1, True),
    "one that failed half way": ({"state": "failed"}, Profile(), 1, True),
    "one that cannot unsubscribe": ({}, Profile(status="subscribed", format="xml"), 1, False),
    "one without rows": ({}, Profile(status="column"), 0, False),
    "one that was only tried": ({"dry_run": True}, Profile(status="column"), 1, False),
}


@pytest.mark.parametrize("later", LATER_IMPORTS)
def test_which_later_imports_may_have_unsubscribed_again(world: World, later: str) -> None:
    values, profile, rows, stays_out = LATER_IMPORTS[later]
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.import_rows(source_row(EMAILS[0], status="0"))
    status = {"subscribed": "", "unsubscribed": "", "column": "1"}[profile.status]
    world.merge(world.start_import(**values), profile, [source_row(EMAILS[1], status=status)] * rows)
    world.undo(import_id)
    assert world.people()[EMAILS[0]][0] == (3 if stays_out else 1)


def test_an_import_that_was_prepared_before_and_done_after_is_a_later_one(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    prepared = world.start_import()
    import_id = world.import_rows(source_row(EMAILS[0], status="0"))
    world.merge(prepared, Profile(status="column"), [source_row(EMAILS[0], status="0")])
    world.undo(import_id)
    assert world.people()[EMAILS[0]][0] == 3


def test_an_import_before_does_not_count(world: World) -> None:
    world.import_rows(source_row(EMAILS[0]), source_row(EMAILS[1], status="0"))
    world.undo(world.import_rows(source_row(EMAILS[0], status="0")))
    assert world.people()[EMAILS[0]][0] == 1


def test_who_left_between_two_rows_of_the_import_stays_out(world: World) -> None:
    """He left; a later chunk subscribed him again. Undoing leads to his own wish, not to before the import."""
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.start_import()
    profile = Profile(status="column", confirm=True, resubscribe=True)
    world.merge(import_id, profile, [source_row(EMAILS[0])])
    world.change(EMAILS[0], UNSUBSCRIBE)
    left = world.subscriptions()
    world.merge(import_id, profile, [source_row(EMAILS[0])])
    world.undo(import_id)
    assert world.subscriptions() == left
    assert world.undo(import_id).did_nothing


@pytest.mark.parametrize("reason", [Reason.HARD_BOUNCE, Reason.COMPLAINT])
def test_a_bounce_or_complaint_stays(world: World, reason: Reason) -> None:
    import_id = world.import_rows(source_row(EMAILS[0]))
    world.change(EMAILS[0], UNSUBSCRIBE, Cause("bounce", reason))
    before = world.subscriptions()
    result = world.undo(import_id)
    assert world.subscriptions() == before
    assert (result.counts.newer["statuses"], result.counts.final["statuses"]) == (0, 1)


def test_a_complaint_about_an_address_that_was_imported_as_unsubscribed_stays(world: World) -> None:
    """No history row tells of it, because the status stayed the same; the subscription does."""
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.import_rows(source_row(EMAILS[0], status="0"))
    with world.database.write() as connection:
        connection.execute(update(subscription).values(reason_type=Reason.COMPLAINT))
    result = world.undo(import_id)
    assert result.counts.final["statuses"] == 1
    assert world.people()[EMAILS[0]][:2] == (3, Reason.COMPLAINT)


def test_an_erased_person_stays_erased(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    import_id = world.import_rows(source_row(EMAILS[0], status="0", fields={"1": "x"}, groups="1"))
    with world.database.write() as connection:
        address = Address(Channel.EMAIL, EMAILS[0])
        erase_recipient(connection, world.account.id, address, Cause("command-line"))
    before = (world.people(), world.subscriptions())
    result = world.undo(import_id)
    assert (world.people(), world.subscriptions()) == before
    assert result.counts.final["statuses"] == 1


def test_imports_are_undone_one_after_the_other_newest_first(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    states = [(world.people(), world.subscriptions())]
    imports = []
    for number in (1, 2, 3):
        rows = [source_row(email, status=str(number % 2), fields={"1": str(number)}, groups="1") for email in EMAILS]
        imports.append(world.import_rows(*rows, resubscribe=True))
        states.append((world.people(), world.subscriptions()))
    for import_id, before in reversed(list(zip(imports, states[:-1], strict=True))):
        world.undo(import_id)
        assert world.people() == before[0]
    assert world.subscriptions() == states[0][1]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (None, (None, "+393200000001")),
        # The address is what he left by; without it nobody would know that he did.
        ("leaves by e-mail", (EMAILS[0], "+393200000001")),
        ("gets another number", (None, "+393200000003")),
    ],
)
def test_addresses_go_back_unless_something_newer_rests_on_them(
    world: World, later: str | None, expected: tuple[str | None, str | None]
) -> None:
    world.change("+393200000001", SUBSCRIBE, channel=Channel.SMS)
    import_id = world.import_rows(source_row(EMAILS[0], mobile="+393200000001", fields={"1": "x"}))
    if later == "leaves by e-mail":
        world.change(EMAILS[0], UNSUBSCRIBE)
    if later == "gets another number":
        world.import_rows(source_row(EMAILS[0], mobile="+393200000003"), channels="both")
    world.undo(import_id)
    (person,) = world.rows(recipient)
    assert (person.email, person.mobile) == expected


def test_a_number_that_somebody_else_has_by_now_stays_with_him(world: World) -> None:
    world.import_rows(source_row(EMAILS[0], mobile="+393200000001"))
    import_id = world.import_rows(source_row(EMAILS[0], mobile="+393200000002"))
    world.import_rows(source_row(EMAILS[1], mobile="+393200000001"))
    result = world.undo(import_id)
    assert result.counts.newer["values"] == 1
    assert {row.email: row.mobile for row in world.rows(recipient)} == {
        EMAILS[0]: "+393200000002",
        EMAILS[1]: "+393200000001",
    }


def test_a_number_whose_new_holder_is_undone_too_goes_back_to_the_earlier_one(world: World) -> None:
    world.import_rows(source_row(EMAILS[0], mobile="+393200000001"))
    import_id = world.start_import()
    world.merge(import_id, Profile(), [source_row(EMAILS[0], mobile="+393200000002")])
    world.merge(import_id, Profile(), [source_row(EMAILS[1], mobile="+393200000001")])
    world.undo(import_id)
    world.undo(import_id)
    assert {row.email: row.mobile for row in world.rows(recipient)} == {EMAILS[0]: "+393200000001"}


def test_a_forgotten_number_does_not_come_back(world: World) -> None:
    world.import_rows(source_row(EMAILS[0], mobile="+393200000001"))
    import_id = world.import_rows(source_row(EMAILS[0], mobile="+393200000002"))
    world.import_rows(source_row(EMAILS[1], mobile="+393200000001"))
    with world.database.write() as connection:
        address = Address(Channel.EMAIL, EMAILS[1])
        erase_recipient(connection, world.account.id, address, Cause("command-line"))
    result = world.undo(import_id)
    assert result.counts.final["values"] == 1
    assert world.rows(recipient)[0].mobile == "+393200000002"


def test_a_group_that_was_deleted_does_not_come_back(world: World) -> None:
    world.change(EMAILS[0], SUBSCRIBE)
    world.profile(EMAILS[0], {}, [1])
    import_id = world.import_rows(source_row(EMAILS[0], groups="2"), replace_groups=True)
    with world.database.write() as connection:
        connection.execute(list_group.delete().where(list_group.c.id == world.groups[0].id))
    result = world.undo(import_id)
    assert world.rows(group_member) == []
    assert (result.counts.reverted["groups"], result.counts.newer["groups"]) == (1, 1)


@pytest.mark.parametrize("whose", ["the account's", "another account's"])
def test_nobody_gets_into_a_new_group_instead_of_a_deleted_one(world: World, whose: str) -> None:
    """Embedded databases could give the id of the newest row again when that row is gone."""
    world.change(EMAILS[0], SUBSCRIBE)
    world.profile(EMAILS[0], {}, [2])
    import_id = world.import_rows(source_row(EMAILS[0], groups="1"), replace_groups=True)
    with world.database.write() as connection:
        remove_group(connection, world.groups[1], PAGE)
        owner = world.account if whose == "the account's" else add_account(connection, 2, password="secret")
        group = add_group(connection, add_list(connection, owner.id, "Offers"), "Green")
    assert group.id > world.groups[1].id
    result = world.undo(import_id)
    assert world.rows(group_member) == []
    assert (result.counts.reverted["groups"], result.counts.newer["groups"]) == (1, 1)


def test_mails_of_people_who_are_removed_go_with_them(world: World) -> None:
    """Those that have gone out too; their ids may be given to somebody else."""
    import_id = world.start_import()
    world.merge(import_id, Profile(confirm=True), [source_row(email, status="") for email in EMAILS])
    first = world.rows(outbox)[0]
    with world.database.write() as connection:
        connection.execute(update(outbox).where(outbox.c.id == first.id).values(state="sent"))
    world.undo(import_id)
    assert world.rows(outbox) == []


def test_another_account_is_left_alone(world: World) -> None:
    with world.database.write() as connection:
        other = add_account(connection, 2, password="secret")
        mailing = add_list(connection, other.id, "News")
        change_state(connection, mailing, Address(Channel.EMAIL, EMAILS[0]), SUBSCRIBE, PAGE)
    import_id = world.import_rows(source_row(EMAILS[0]))
    world.undo(import_id)
    (left,) = world.rows(recipient)
    assert left.account_id == other.id


@pytest.mark.parametrize("state", ["completed", "failed", "skipped", "cancelled"])
def test_an_import_that_has_ended_is_undone(world: World, state: str) -> None:
    import_id = world.import_rows(source_row(EMAILS[0]))
    with world.database.write() as connection:
        connection.execute(update(import_run).values(state=state))
    world.undo(import_id)
    assert world.people() == {}


@pytest.mark.parametrize("state", ["queued", "prepared", "running"])
def test_an_import_that_has_not_ended_is_not_undone(world: World, state: str) -> None:
    with pytest.raises(UndoRefused, match="has not ended yet"):
        world.undo(world.start_import(state))


def test_nothing_is_undone_while_an_import_of_the_account_is_running(world: World) -> None:
    import_id = world.import_rows(source_row(EMAILS[0]))
    until = datetime.now(UTC) + timedelta(minutes=5)
    world.start_import("running", lease_owner=name_owner(), lease_until=until)
    with pytest.raises(UndoRefused, match="is running"):
        world.undo(import_id)


def test_an_unknown_import_is_said_so(world: World) -> None:
    with pytest.raises(UnknownImport):
        world.undo(99)
