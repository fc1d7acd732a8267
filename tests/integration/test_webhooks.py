"""Webhooks as they are kept, and the notifications that changes leave, on both databases."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from audience.accounts import add_account
from audience.errors import InvalidWebhook, UnknownWebhook
from audience.history import Cause
from audience.lists import Group, MailingList, add_group, add_list, find_list
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Channel, Reason, Transition
from audience.subscriptions import Address, ProfileChange, change_state, parse_address, update_profile
from audience.webhooks import (
    Event,
    Source,
    WebhookSettings,
    add_webhook,
    announce,
    change_webhook,
    find_webhook,
    remove_webhook,
    webhooks_of,
)
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import notification, webhook
from jobs.housekeeping import remove_notifications

SETTINGS = WebhookSettings(name="Shop", url="https://shop.example.com/hook", event="subscribe")
PAGE = Cause("page", Reason.LINK)


@dataclass(frozen=True)
class World:
    """Two accounts with a list each; the first one's has two groups."""

    database: Database
    mailing: MailingList
    other: MailingList
    groups: list[Group]

    def add(self, **values: Any) -> int:
        with self.database.write() as connection:
            return add_webhook(connection, self.mailing, dataclasses.replace(SETTINGS, **values)).number

    def subscribe(self, email: str = "a@example.com", cause: Cause = PAGE, channel: Channel = Channel.EMAIL) -> int:
        with self.database.write() as connection:
            mailing = find_list(connection, self.mailing.account_id, 1)
            address = parse_address(mailing, email=email) if channel == Channel.EMAIL else Address(channel, email)
            return change_state(connection, mailing, address, SUBSCRIBE, cause).recipient_id

    def announce(self, recipient_id: int, event: Event, cause: Cause = PAGE) -> None:
        with self.database.write() as connection:
            announce(connection, self.mailing, recipient_id, event, cause)

    def notifications(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(notification).order_by(notification.c.id)))


@pytest.fixture
def world(database: Database) -> World:
    with database.write() as connection:
        account = add_account(connection, 6457, password="secret")
        mailing = add_list(connection, account.id, "News")
        groups = [add_group(connection, mailing, name) for name in ("Red", "Blue")]
        other = add_list(connection, add_account(connection, 2, password="secret").id, "Other")
    return World(database, mailing, other, groups)


def test_a_webhook_is_kept_as_it_was_given(world: World) -> None:
    settings = WebhookSettings(
        name="Shop",
        url="http://shop.example.com:8080/?option=hook",
        event="profile",
        sources=("api", "console"),
        method="GET",
        format="rc4",
        secret="chiave è",
        parameters=(("evt", "event"), ("città", "field:4"), ("chan", "channel+1")),
        active=False,
    )
    with world.database.write() as connection:
        added = add_webhook(connection, world.mailing, settings)
    with world.database.read() as connection:
        assert find_webhook(connection, world.mailing.account_id, added.number) == added
        assert webhooks_of(connection, world.mailing.account_id) == [added]
        assert webhooks_of(connection, world.other.account_id) == []
    assert added.settings == settings
    assert "chiave" not in repr(added)


def test_anothers_webhook_is_unknown(world: World) -> None:
    number = world.add()
    foreign = world.other.account_id
    with world.database.write() as connection:
        for call in (find_webhook, remove_webhook, change_webhook):
            with pytest.raises(UnknownWebhook):
                call(connection, foreign, number)
            with pytest.raises(UnknownWebhook):
                call(connection, world.mailing.account_id, number + 1)
    assert len(webhooks(world)) == 1


def webhooks(world: World) -> list[Any]:
    with world.database.read() as connection:
        return list(connection.execute(select(webhook)))


def test_changes_keep_the_rest_and_are_checked(world: World) -> None:
    number = world.add()
    account_id = world.mailing.account_id
    with world.database.write() as connection:
        changed = change_webhook(connection, account_id, number, url="https://new.example.com/", name="New")
        assert changed == find_webhook(connection, account_id, number)
        assert changed.settings == dataclasses.replace(SETTINGS, url="https://new.example.com/", name="New")
        with pytest.raises(InvalidWebhook):
            change_webhook(connection, account_id, number, format="json")
        change_webhook(connection, account_id, number, format="json", secret="0123456789abcdef")


WRONG: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "x" * 201},
    {"event": "SUBSCRIBE"},
    {"event": ""},
    {"method": "PUT"},
    {"format": "xml"},
    {"sources": ()},
    {"sources": ("api", "api")},
    {"sources": ("soap",)},
    {"url": ""},
    {"url": "shop.example.com"},
    {"url": "ftp://shop.example.com/"},
    {"url": "file:///etc/passwd"},
    {"url": "javascript:alert(1)"},
    {"url": "http://"},
    {"url": "http:///path"},
    {"url": "http://user@shop.example.com/"},
    {"url": "http://user:word@shop.example.com/"},
    {"url": "http://@shop.example.com/"},
    {"url": "http://shop.example.com:port/"},
    {"url": "http://shop.example.com:99999/"},
    {"url": "http://[::1/"},
    {"url": "http://shop.example.com/a b"},
    {"url": "http://shop.example.com/\r\nHost: x"},
    {"url": "http://shop.example.com\\@x/"},
    {"url": "http://shop.example.com/#part"},
    {"url": "http://shop.example.com/" + "x" * 2000},
    {"format": "rc4"},
    {"format": "rc4", "secret": ""},
    {"format": "rc4", "secret": "x" * 257},
    {"format": "json"},
    {"format": "json", "secret": "k", "method": "GET"},
    {"format": "json", "secret": "k", "parameters": (("a", "email"),)},
    {"parameters": (("a", "email"), ("a", "list"))},
    {"parameters": (("", "email"),)},
    {"parameters": (("x" * 201, "email"),)},
    {"parameters": (("a", "[Email]"),)},
    {"parameters": (("a", "field:0"),)},
    {"parameters": (("a", "field:x"),)},
    {"parameters": (("a", ""),)},
]


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_what_could_not_work_is_refused(sqlite_url: str, values: dict[str, Any]) -> None:
    database = Database(sqlite_url)
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 1, password="secret").id, "News")
        with pytest.raises(InvalidWebhook):
            add_webhook(connection, mailing, dataclasses.replace(SETTINGS, **values))
    database.close()


def test_a_subscription_is_announced_with_all_that_is_known(world: World) -> None:
    world.add()
    recipient_id = world.subscribe(cause=PAGE)
    (first,) = world.notifications()
    with world.database.write() as connection:
        update_profile(
            connection,
            world.mailing,
            recipient_id,
            fields={1: "Città – 東京", 12: "x"},
            groups=[group.number for group in world.groups],
            cause=PAGE,
        )
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    with world.database.write() as connection:
        announce(connection, world.mailing, recipient_id, "subscribe", PAGE, at=at)
    second = world.notifications()[1]
    assert (first.event, first.source, first.state, first.attempts) == ("subscribe", "api", "waiting", 0)
    assert first.recipient_id == recipient_id
    assert first.content == {
        "account_number": 6457,
        "list_number": 1,
        "list_guid": world.mailing.guid,
        "channel": 1,
        "email": "a@example.com",
        "mobile": None,
        "fields": {},
        "groups": [],
        "reason_type": None,
        "reason_subtype": None,
        "message_number": None,
    }
    assert (second.at, second.due_at) == (at, at)
    assert second.content["fields"] == {"1": "Città – 東京", "12": "x"}
    assert second.content["groups"] == sorted(group.number for group in world.groups)


def test_an_end_has_a_reason(world: World) -> None:
    world.add(event="unsubscribe")
    world.subscribe()
    with world.database.write() as connection:
        mailing = find_list(connection, world.mailing.account_id, 1)
        address = parse_address(mailing, email="a@example.com")
        change_state(connection, mailing, address, UNSUBSCRIBE, Cause("link", Reason.HEADER_LINK, 1))
    (row,) = world.notifications()
    assert (row.event, row.source) == ("unsubscribe", "recipient")
    assert (row.content["reason_type"], row.content["reason_subtype"]) == (32, 1)


def test_the_channel_is_told(world: World) -> None:
    world.add()
    world.subscribe("+393401234567", channel=Channel.SMS)
    (row,) = world.notifications()
    assert (row.content["channel"], row.content["mobile"], row.content["email"]) == (2, "+393401234567", None)


@pytest.mark.parametrize(
    ("door", "source"),
    [
        ("page", "api"),
        ("link", "recipient"),
        ("console", "console"),
        ("command-line", "console"),
        ("soap", None),
        ("ftp", None),
        ("import", None),
        ("bounce", "recipient"),
    ],
)
def test_the_door_is_the_source(world: World, door: str, source: Source | None) -> None:
    for wanted in ("api", "console", "recipient"):
        world.add(sources=(wanted,), name=wanted)
    world.subscribe(cause=Cause(door))
    assert [row.source for row in world.notifications()] == ([source] if source else [])


def test_only_those_are_told_who_want_to_know(world: World) -> None:
    recipient_id = world.subscribe()
    events: tuple[Event, ...] = ("subscribe", "unsubscribe", "profile", "delete", "pending")
    numbers = {event: world.add(event=event) for event in events}
    world.add(event="delete")
    world.add(event="delete", active=False)
    with world.database.write() as connection:
        add_webhook(connection, world.other, dataclasses.replace(SETTINGS, event="delete"))
        add_webhook(connection, add_list(connection, world.mailing.account_id, "Second"), SETTINGS)
    for happened in events:
        world.announce(recipient_id, happened)
    told = [(row.event, row.webhook_id) for row in world.notifications()]
    ids = {row.number: row.id for row in webhooks(world) if row.account_id == world.mailing.account_id}
    assert len(told) == 6
    assert set(told) >= {(event, ids[number]) for event, number in numbers.items()}
    assert {row.account_id for row in world.notifications()} == {world.mailing.account_id}


@dataclass(frozen=True)
class TwoLists:
    """Two lists of one account with a webhook each for changes of profiles, and somebody in the first."""

    world: World
    second: MailingList
    recipient_id: int

    def update(self, *, number: int = 1, cause: Cause = PAGE, **values: Any) -> list[int]:
        """Change his profile through a list; returns the numbers of the lists told."""
        before = len(self.world.notifications())
        with self.world.database.write() as connection:
            mailing = find_list(connection, self.second.account_id, number)
            update_profile(connection, mailing, self.recipient_id, cause=cause, **({"fields": {}} | values))
        return sorted(row.content["list_number"] for row in self.world.notifications()[before:])

    def join(self, status: Transition, profile: ProfileChange | None = None) -> list[int]:
        """Have his status in the second list changed; returns the numbers of the lists told of a profile."""
        before = len(self.world.notifications())
        with self.world.database.write() as connection:
            mailing = find_list(connection, self.second.account_id, 2)
            change_state(connection, mailing, parse_address(mailing, email="a@example.com"), status, PAGE, profile)
        return sorted(row.content["list_number"] for row in self.world.notifications()[before:])


@pytest.fixture
def two(world: World) -> TwoLists:
    recipient_id = world.subscribe()
    world.add(event="profile")
    with world.database.write() as connection:
        second = add_list(connection, world.mailing.account_id, "Second")
        add_webhook(connection, second, dataclasses.replace(SETTINGS, event="profile"))
    return TwoLists(world, second, recipient_id)


def test_personal_data_are_told_in_every_list_that_he_is_in(two: TwoLists) -> None:
    assert two.update(fields={1: "a"}) == [1]
    two.join(REQUEST_CONFIRMATION)
    assert two.update(fields={1: "b"}) == [1, 2]
    two.join(SUBSCRIBE)
    assert two.update(fields={1: "c"}, number=2) == [1, 2]
    assert two.update(fields={1: "c"}) == []
    assert two.update(fields={1: "d"}, cause=Cause("soap")) == []
    two.join(UNSUBSCRIBE)
    assert two.update(fields={1: "e"}) == [1]


def test_groups_are_told_in_their_list(two: TwoLists) -> None:
    two.join(SUBSCRIBE)
    assert two.update(groups=[two.world.groups[0].number]) == [1]
    assert two.world.notifications()[-1].content["groups"] == [two.world.groups[0].number]


def test_who_comes_into_a_list_with_other_data_is_told_in_those_he_is_in(two: TwoLists) -> None:
    assert two.join(SUBSCRIBE, ProfileChange({1: "new"})) == [1]


def test_an_account_without_webhooks_asks_nothing_more(world: World) -> None:
    statements: list[str] = []
    with world.database.write() as connection:
        found = [find_list(connection, mailing.account_id, 1) for mailing in (world.mailing, world.other)]
        assert [mailing.notifies for mailing in found] == [False, False]
    recipient_id = world.subscribe()
    with world.database.write() as connection:
        event.listen(connection, "before_cursor_execute", lambda *call: statements.append(call[2]))
        update_profile(connection, found[0], recipient_id, fields={1: "a"}, cause=PAGE)
    assert not [statement for statement in statements if "webhook" in statement]
    with world.database.write() as connection:
        add_webhook(connection, add_list(connection, world.mailing.account_id, "Second"), SETTINGS)
        found = [find_list(connection, mailing.account_id, 1) for mailing in (world.mailing, world.other)]
    assert [mailing.notifies for mailing in found] == [True, False]


def test_nothing_is_told_of_what_did_not_happen(world: World) -> None:
    world.add()
    with pytest.raises(RuntimeError), world.database.write() as connection:
        mailing = find_list(connection, world.mailing.account_id, 1)
        change_state(connection, mailing, parse_address(mailing, email="a@example.com"), SUBSCRIBE, PAGE)
        raise RuntimeError
    assert world.notifications() == []


def test_switched_off_means_not_told(world: World) -> None:
    number = world.add()
    kept = world.add()
    world.subscribe()
    with world.database.write() as connection:
        change_webhook(connection, world.mailing.account_id, number, active=False)
    world.subscribe("b@example.com")
    ids = {row.number: row.id for row in webhooks(world)}
    rows = [(row.webhook_id, row.state, row.answer_text, row.content == {}) for row in world.notifications()]
    assert rows == [
        (ids[number], "failed", "switched off", True),
        (ids[kept], "waiting", None, False),
        (ids[kept], "waiting", None, False),
    ]


def test_a_removed_webhook_leaves_nothing(world: World) -> None:
    number = world.add()
    kept = world.add()
    world.subscribe()
    with world.database.write() as connection:
        remove_webhook(connection, world.mailing.account_id, number)
    assert [row.number for row in webhooks(world)] == [kept]
    assert len(world.notifications()) == 1


def test_webhooks_come_and_go_while_people_subscribe(world: World) -> None:
    """Nobody's subscription fails because a webhook is removed at that moment."""
    world.add()

    def toggle(_turn: int) -> None:
        number = world.add()

        def remove() -> None:
            with world.database.write() as connection:
                remove_webhook(connection, world.mailing.account_id, number)

        retry_on_conflict(remove)

    def subscribe(turn: int) -> None:
        retry_on_conflict(lambda: world.subscribe(f"p{turn}@example.com"))

    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(toggle if turn % 4 == 0 else subscribe, turn) for turn in range(160)]
        for job in jobs:
            job.result()
    assert len(world.notifications()) == 120


def test_housekeeping_removes_old_ones_that_ended(world: World) -> None:
    world.add()
    now = datetime.now(UTC)
    old, new = now - timedelta(days=31), now - timedelta(days=29)
    for turn, (state, ended) in enumerate(
        [("delivered", old), ("failed", old), ("delivered", new), ("failed", new), ("waiting", None)]
    ):
        world.subscribe(f"p{turn}@example.com")
        latest = world.notifications()[-1].id
        with world.database.write() as connection:
            connection.execute(
                notification.update()
                .where(notification.c.id == latest)
                .values(state=state, due_at=old - timedelta(hours=1), finished_at=ended)
            )
    assert remove_notifications(world.database) == 2
    assert [row.state for row in world.notifications()] == ["delivered", "failed", "waiting"]
