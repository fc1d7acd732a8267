"""One recipient's changes, on both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, text

from audience.accounts import add_account
from audience.errors import InvalidAddress, UnknownRecipient
from audience.lists import Group, MailingList, add_group, add_list
from audience.status_rules import (
    CONFIRM,
    KEEP,
    REQUEST_CONFIRMATION,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Channel,
    Reason,
    State,
    Status,
    Transition,
)
from audience.subscriptions import (
    Address,
    Cause,
    ProfileChange,
    change_state,
    parse_address,
    state_in_list,
    update_profile,
)
from db.engine import Database
from db.tables import group_member, history, recipient, subscription

PAGE = Cause("page", Reason.LINK)


@dataclass(frozen=True)
class World:
    """An account with a list of two groups."""

    database: Database
    mailing: MailingList
    groups: list[Group]

    def change(self, transition: Transition, cause: Cause = PAGE, email: str = "a@example.com") -> State:
        address = parse_address(self.mailing, email=email)
        with self.database.write() as connection:
            return change_state(connection, self.mailing, address, transition, cause).after


@pytest.fixture
def world(database: Database) -> World:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = add_list(connection, account.id, "News")
        groups = [add_group(connection, mailing, name) for name in ("Red", "Blue")]
    return World(database, mailing, groups)


def test_walks_from_request_to_unsubscribe(world: World) -> None:
    assert world.change(REQUEST_CONFIRMATION) == State.PENDING
    assert world.change(SUBSCRIBE) == State.SUBSCRIBED
    assert world.change(REQUEST_CONFIRMATION) == State.SUBSCRIBED
    assert world.change(UNSUBSCRIBE) == State.UNSUBSCRIBED
    assert world.change(UNSUBSCRIBE) == State.UNSUBSCRIBED
    with world.database.read() as connection:
        rows = connection.execute(select(history).order_by(history.c.id)).all()
    changes = [(row.old_status, row.new_status, row.reason_type, row.source) for row in rows]
    assert changes == [(None, 2, None, "page"), (2, 1, None, "page"), (1, 3, Reason.LINK, "page")]


def test_the_dates_tell_what_happened(world: World) -> None:
    world.change(SUBSCRIBE)
    world.change(UNSUBSCRIBE)
    with world.database.read() as connection:
        row = connection.execute(select(subscription)).one()
    assert row.subscribed_at < row.unsubscribed_at == row.changed_at
    assert (row.reason_type, row.reason_subtype) == (Reason.LINK, None)


def test_a_blocked_address_stays_blocked(world: World) -> None:
    world.change(SUBSCRIBE)
    assert world.change(UNSUBSCRIBE, Cause("bounce", Reason.HARD_BOUNCE, 1)) == State.UNSUBSCRIBED
    assert world.change(SUBSCRIBE) == State.BLOCKED
    with world.database.read() as connection:
        assert state_in_list(connection, world.mailing, Address(Channel.EMAIL, "a@example.com")) == State.BLOCKED


def test_knows_nobody_it_was_not_told_of(world: World) -> None:
    with pytest.raises(UnknownRecipient):
        world.change(UNSUBSCRIBE)
    world.change(SUBSCRIBE)
    with world.database.write() as connection:
        other = add_list(connection, world.mailing.account_id, "Other")
        address = parse_address(other, email="a@example.com")
        assert state_in_list(connection, other, address) == State.NONE
        with pytest.raises(UnknownRecipient):
            change_state(connection, other, address, UNSUBSCRIBE, PAGE)


def test_an_address_is_an_email_or_a_number(world: World) -> None:
    assert parse_address(world.mailing, mobile="340 1234567") == Address(Channel.SMS, "+393401234567")
    assert parse_address(world.mailing, email="A@example.com", mobile="340 1234567").value == "a@example.com"
    with pytest.raises(InvalidAddress):
        parse_address(world.mailing)


def test_a_number_can_be_subscribed_too(world: World) -> None:
    address = Address(Channel.SMS, "+393401234567")
    with world.database.write() as connection:
        change_state(connection, world.mailing, address, SUBSCRIBE, PAGE)
    with world.database.read() as connection:
        assert state_in_list(connection, world.mailing, address) == State.SUBSCRIBED
        assert connection.execute(select(recipient.c.email, recipient.c.mobile)).one() == (None, "+393401234567")


@pytest.mark.parametrize(
    ("status", "wish", "told"),
    [
        (Status.UNSUBSCRIBED, UNSUBSCRIBE, 1),
        (Status.UNSUBSCRIBED, CONFIRM, 0),
        (Status.UNSUBSCRIBED, KEEP, 0),
        (Status.SUBSCRIBED, SUBSCRIBE, 1),
        (Status.SUBSCRIBED, REQUEST_CONFIRMATION, 0),
        (Status.PENDING, REQUEST_CONFIRMATION, 1),
        (Status.PENDING, KEEP, 0),
        (Status.SUBSCRIBED, KEEP, 0),
        (Status.SUBSCRIBED, CONFIRM, 0),
    ],
)
def test_a_wish_for_what_an_import_did_is_told_once(world: World, status: Status, wish: Transition, told: int) -> None:
    address = parse_address(world.mailing, email="a@example.com")
    with world.database.write() as connection:
        imported = Cause("ftp", Reason.IMPORTED)
        beginning = REQUEST_CONFIRMATION if status == Status.PENDING else SUBSCRIBE
        change_state(connection, world.mailing, address, beginning, imported)
        if status == Status.UNSUBSCRIBED:
            change_state(connection, world.mailing, address, UNSUBSCRIBE, imported)
    before = history_rows(world)
    for _ in range(2):
        with world.database.write() as connection:
            change = change_state(connection, world.mailing, address, wish, Cause("page", Reason.LINK))
        assert (change.before, change.after) == (State(status), State(status))
    rows = history_rows(world)[len(before) :]
    assert [(row.old_status, row.new_status, row.source) for row in rows] == [(status, status, "page")] * told


def history_rows(world: World) -> list[Any]:
    with world.database.read() as connection:
        return list(connection.execute(select(history).order_by(history.c.id)))


def test_a_profile_keeps_clears_and_regroups(world: World) -> None:
    red, blue = world.groups
    address = parse_address(world.mailing, email="a@example.com")
    with world.database.write() as connection:
        who = change_state(connection, world.mailing, address, SUBSCRIBE, PAGE).recipient_id
        update_profile(connection, world.mailing, who, fields={1: "x", 2: "y"}, groups=[red.number, 99], cause=PAGE)
        update_profile(
            connection, world.mailing, who, fields={2: "", 3: "Città – 東京 – 😀"}, groups=[blue.number], cause=PAGE
        )
    with world.database.read() as connection:
        assert connection.execute(select(recipient.c.fields)).scalar_one() == {"1": "x", "3": "Città – 東京 – 😀"}
        assert set(connection.execute(select(group_member.c.group_id)).scalars()) == {red.id, blue.id}
    with world.database.write() as connection:
        update_profile(connection, world.mailing, who, fields={}, groups=[blue.number], replace_groups=True, cause=PAGE)
    with world.database.read() as connection:
        assert set(connection.execute(select(group_member.c.group_id)).scalars()) == {blue.id}


def test_many_at_once_leave_one_subscription(world: World) -> None:
    transitions = [SUBSCRIBE, UNSUBSCRIBE, REQUEST_CONFIRMATION, SUBSCRIBE] * 12

    def change(transition: Transition) -> None:
        try:
            world.change(transition)
        except UnknownRecipient:
            assert transition == UNSUBSCRIBE

    with ThreadPoolExecutor(16) as callers:
        list(callers.map(change, transitions))
    with world.database.read() as connection:
        (stored,) = connection.execute(select(subscription)).all()
        rows = connection.execute(select(history).order_by(history.c.id)).all()
        assert len(connection.execute(select(recipient)).all()) == 1
    steps = [None, *(row.new_status for row in rows)]
    assert [row.old_status for row in rows] == steps[:-1]
    assert stored.status == steps[-1]


def test_32_writers_never_find_sqlite_locked(sqlite_url: str) -> None:
    database = Database(sqlite_url, pool_size=32)
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = add_list(connection, account.id, "News")
    world = World(database, mailing, [])
    with ThreadPoolExecutor(32) as callers:
        done = list(callers.map(lambda number: world.change(SUBSCRIBE, PAGE, f"p{number}@example.com"), range(640)))
    assert done == [State.SUBSCRIBED] * 640
    with database.read() as connection:
        assert len(connection.execute(select(subscription)).all()) == 640
    database.close()


@pytest.mark.postgresql
def test_who_had_to_wait_sees_what_the_other_did(postgresql_url: str) -> None:
    """PostgreSQL shows a statement that has waited for a row the other tables as they were before."""
    database = Database(postgresql_url)
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 1, password="secret").id, "News")
        address = parse_address(mailing, email="a@example.com")
        change_state(connection, mailing, address, SUBSCRIBE, PAGE)
        change_state(connection, mailing, address, UNSUBSCRIBE, PAGE)

    def leave() -> State:
        with database.write() as connection:
            return change_state(connection, mailing, address, UNSUBSCRIBE, PAGE).before

    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            change_state(connection, mailing, address, SUBSCRIBE, PAGE, ProfileChange({1: "changed"}))
            leaving = pool.submit(leave)
            _wait_for_lock(database)
        assert leaving.result(60) == State.SUBSCRIBED
    with database.read() as connection:
        assert state_in_list(connection, mailing, address) == State.UNSUBSCRIBED
    database.close()


def _wait_for_lock(database: Database) -> None:
    waiting = text("SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.execute(waiting).scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")
