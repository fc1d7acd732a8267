"""Notifications on their way: in order, again and again for a day, once each with several workers."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select
from webhook_receivers import Received, Receiver, Reply, accept, misbehaving, receiving

from audience.accounts import add_account
from audience.erasure import erase_recipient
from audience.history import Cause
from audience.lists import MailingList, add_list
from audience.status_rules import SUBSCRIBE
from audience.subscriptions import change_state, parse_address
from audience.webhooks import WebhookSettings, add_webhook, announce, change_webhook
from db.engine import Database
from db.leases import name_owner
from db.tables import notification, webhook
from delivery.outgoing_http import OutgoingClient
from jobs.notifications import LEASE, RETRY_DELAYS, Notifier, recent_deliveries, send_sample
from jobs.storage import Storage
from jobs.webhook_requests import Wording
from jobs.webhook_shares import PER_ACCOUNT, PER_WEBHOOK, THREADS, Shares
from jobs.worker import WorkerOptions, run_worker

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PAGE = Cause("page")
PATIENCE = 60.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Time as a test has it pass."""

    now: datetime = field(default_factory=lambda: BEGIN)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """A list with people in it, a receiver, and what delivers to it."""

    database: Database
    mailing: MailingList
    people: list[int]
    receiver: Receiver
    clock: Clock
    seconds: float = 15.0

    @property
    def notifier(self) -> Notifier:
        client = OutgoingClient(LOOPBACK, total_seconds=self.seconds)
        return Notifier(self.database, client, Wording(), clock=self.clock)

    def add(self, **values: Any) -> int:
        """Add a webhook; returns its number."""
        given: dict[str, Any] = {"name": "Shop", "url": self.receiver.url, "event": "profile", "method": "GET"}
        given["parameters"] = (("mail", "email"), ("at", "date"))
        with self.database.write() as connection:
            return add_webhook(connection, self.mailing, WebhookSettings(**(given | values))).number

    def announce(self, person: int = 0, times: int = 1) -> None:
        for _ in range(times):
            with self.database.write() as connection:
                announce(connection, self.mailing, self.people[person], "profile", PAGE, at=self.clock.now)

    def deliver(self) -> int:
        return self.notifier.deliver_due(name_owner())

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(notification).order_by(notification.c.id)))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with database.write() as connection:
        account = add_account(connection, 7, password="secret")
        mailing = add_list(connection, account.id, "News")
        people = [
            change_state(
                connection, mailing, parse_address(mailing, email=f"p{number}@example.com"), SUBSCRIBE, PAGE
            ).recipient_id
            for number in range(40)
        ]
    with receiving() as receiver:
        yield World(database, mailing, people, receiver, Clock())


def mails(receiver: Receiver) -> list[str]:
    return [parse_qs(urlsplit(request.target).query)["mail"][0] for request in receiver.requests]


def fail(_request: Received) -> Reply:
    return 500, {}, b"out of order"


def test_what_is_due_is_delivered_and_forgotten(world: World) -> None:
    world.add()
    world.announce()
    assert world.deliver() == 1
    assert mails(world.receiver) == ["p0@example.com"]
    (row,) = world.rows()
    assert (row.state, row.answer_status, row.answer_text, row.attempts) == ("delivered", 200, "1", 1)
    assert (row.finished_at, row.content, row.lease_owner, row.lease_until) == (BEGIN, {}, None, None)
    assert world.deliver() == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 300, 304, 400, 404, 410, 429, 500, 503])
def test_success_is_any_status_of_200_to_299(world: World, status: int) -> None:
    world.receiver.behave = lambda _request: (status, {}, b"" if status in (204, 304) else b"0")
    world.add()
    world.announce()
    world.deliver()
    (row,) = world.rows()
    assert row.state == ("delivered" if status < 300 else "waiting")
    assert row.answer_status == status


def test_the_ladder(world: World) -> None:
    world.receiver.behave = fail
    world.add()
    world.announce()
    steps = [5] * 3 + [15] * 3 + [120] * 3 + [360] * 3
    assert [timedelta(minutes=step) for step in steps] == list(RETRY_DELAYS)
    for tries, delay in enumerate(RETRY_DELAYS, start=1):
        assert world.deliver() == 1
        (row,) = world.rows()
        assert (row.state, row.attempts, row.due_at) == ("waiting", tries, world.clock.now + delay)
        assert (row.answer_status, row.answer_text) == (500, "out of order")
        world.clock.now += delay - timedelta(seconds=1)
        assert world.deliver() == 0
        world.clock.now += timedelta(seconds=1)
    assert world.deliver() == 1
    (row,) = world.rows()
    assert (row.state, row.attempts, row.answer_status, row.finished_at) == ("failed", 13, 500, world.clock.now)
    assert world.clock.now - BEGIN == timedelta(hours=25)
    world.clock.now += timedelta(days=30)
    assert world.deliver() == 0
    assert len(world.receiver.requests) == 13


def test_a_later_one_waits_for_an_earlier_one_of_the_same_person(world: World) -> None:
    world.add(parameters=(("mail", "email"), ("turn", "field:1")))
    world.receiver.behave = fail
    world.announce(0, times=3)
    world.announce(1, times=2)
    assert world.deliver() == 2
    assert sorted(mails(world.receiver)) == ["p0@example.com", "p1@example.com"]
    world.receiver.behave = accept
    world.announce(0)
    assert world.deliver() == 0
    world.clock.now += RETRY_DELAYS[0]
    assert world.deliver() == 6
    assert set(world.states()) == {"delivered"}


def test_each_persons_come_in_order(world: World) -> None:
    lock = threading.Lock()
    turn = 0

    def stumble(_request: Received) -> Reply:
        nonlocal turn
        with lock:
            turn += 1
            return (500 if turn % 3 == 0 else 200), {}, b""

    world.add(parameters=(("mail", "email"), ("at", "date")))
    for _ in range(4):
        for person in range(10):
            world.announce(person)
        world.clock.now += timedelta(seconds=1)
    world.receiver.behave = stumble
    while "waiting" in world.states():
        world.deliver()
        world.clock.now += timedelta(hours=6)
    order: dict[str, list[str]] = {}
    for request in world.receiver.requests:
        query = parse_qs(urlsplit(request.target).query)
        seen = order.setdefault(query["mail"][0], [])
        # A try after a failed one says the same.
        if seen[-1:] != query["at"]:
            seen += query["at"]
    assert len(order) == 10
    assert all(len(seen) == 4 and seen == sorted(seen) for seen in order.values())


def test_when_the_last_try_failed_the_next_one_goes(world: World) -> None:
    world.receiver.behave = fail
    world.add()
    world.announce(0, times=2)
    for delay in RETRY_DELAYS:
        assert world.deliver() == 1
        world.clock.now += delay
    world.receiver.behave = lambda _request: (200 if len(world.receiver.requests) > 13 else 500, {}, b"")
    assert world.deliver() == 2
    assert world.states() == ["failed", "delivered"]


def test_webhooks_do_not_wait_for_each_other(world: World) -> None:
    with receiving(fail) as broken:
        world.add(url=broken.url)
        world.add()
        world.announce(0, times=3)
        assert world.deliver() == 4
    assert len(world.receiver.requests) == 3
    assert Counter(world.states()) == {"waiting": 3, "delivered": 3}


def test_a_receiver_that_hangs_holds_up_nobody(world: World) -> None:
    """While it holds all it may hold, all others are served."""
    ended = threading.Event()
    held = 0
    lock = threading.Lock()

    def hold(connection: socket.socket) -> None:
        nonlocal held
        with lock:
            held += 1
        connection.recv(65536)
        ended.wait(PATIENCE)

    with misbehaving(hold) as url, ThreadPoolExecutor(1) as threads:
        world.add(url=url)
        world.add(sources=("api",))
        for person in range(40):
            world.announce(person)
        delivering = threads.submit(world.deliver)
        wait_until(lambda: len(world.receiver.requests) == 40)
        wait_until(lambda: world.states().count("delivered") == 40)
        assert not delivering.done()
        assert held == PER_WEBHOOK
        # What becomes due meanwhile is not kept waiting either.
        world.announce(0)
        wait_until(lambda: len(world.receiver.requests) == 41)
        ended.set()
        delivering.result(PATIENCE)


@pytest.mark.parametrize("bad", [1, 5])
def test_hanging_webhooks_of_some_accounts_do_not_hold_up_another(world: World, bad: int) -> None:
    """Four hanging webhooks of each bad account and a long backlog, which is older than what the good one waits for."""
    ended = threading.Event()
    given_up = threading.Event()
    held: list[socket.socket] = []

    def hold(connection: socket.socket) -> None:
        held.append(connection)
        connection.recv(65536)
        (given_up if connection is held[0] else ended).wait(PATIENCE)

    world.seconds = PATIENCE
    good = add_tenant(world, 100, [world.receiver.url])
    with misbehaving(hold) as url, ThreadPoolExecutor(1) as threads:
        for number in range(bad):
            add_tenant(world, 8 + number, [url] * 4, people=10)
        most = min(bad * PER_ACCOUNT, THREADS)
        try:
            delivering = threads.submit(world.deliver)
            wait_until(lambda: len(held) >= most)
            world.clock.now += timedelta(seconds=1)
            with world.database.write() as connection:
                announce(connection, good.mailing, good.people[0], "profile", PAGE, at=world.clock.now)
            # With all threads taken it needs one to end; the first to end is enough.
            given_up.set()
            wait_until(lambda: world.receiver.requests)
        finally:
            given_up.set()
            ended.set()
        world.clock.now -= timedelta(days=1)
        delivering.result(PATIENCE)


def add_tenant(world: World, number: int, urls: list[str], people: int = 1) -> World:
    """Add an account with a list, webhooks at these addresses, and people with a change each to be told of."""
    with world.database.write() as connection:
        mailing = add_list(connection, add_account(connection, number, password="secret").id, "News")
        mails = [parse_address(mailing, email=f"p{turn}@example.com") for turn in range(people)]
        ids = [change_state(connection, mailing, mail, SUBSCRIBE, PAGE).recipient_id for mail in mails]
    tenant = World(world.database, mailing, ids, world.receiver, world.clock)
    for url in urls:
        tenant.add(url=url)
    if number != 100:
        for person in range(people):
            tenant.announce(person)
    return tenant


def test_shares() -> None:
    shares = Shares(set())
    waiting = [(turn, webhook, 1) for turn, webhook in enumerate([5, 5, 5, 5, 6, 6, 6])]
    chosen = shares.choose(waiting)
    assert chosen == [0, 1, 2, 4]
    assert (shares.free, shares.served) == (THREADS, set())
    for turn in chosen:
        shares.take(waiting[turn][1], 1)
    assert (shares.full_webhooks, shares.full_accounts, shares.served) == ({5}, [1], {5, 6})
    assert shares.choose([(9, 7, 1), (10, 8, 2)]) == [10]
    shares.give_back(5, 1, delivered=False)
    assert shares.choose([(11, 5, 1)]) == []
    shares.give_back(5, 1, delivered=False)
    shares.give_back(5, 1, delivered=False)
    assert shares.choose([(11, 5, 1), (12, 5, 1)]) == [11]
    shares.give_back(6, 1, delivered=True)
    assert shares.choose([(11, 6, 1), (12, 6, 1)]) == [11, 12]
    shares.begin_round()
    assert (shares.free, shares.served) == (THREADS, set())


@pytest.mark.parametrize("status", [200, 500])
def test_an_erasure_is_told_after_what_is_under_way(world: World, status: int) -> None:
    world.clock.now = datetime.now(UTC)
    world.add()
    world.add(event="delete", parameters=(("gone", "email"),))

    def erase(_request: Received) -> Reply:
        world.receiver.behave = accept
        with world.database.write() as connection:
            address = parse_address(world.mailing, email="p0@example.com")
            erase_recipient(connection, world.mailing.account_id, address, Cause("command-line"))
        return status, {}, b"p0@example.com"

    world.receiver.behave = erase
    world.announce()
    world.clock.now += timedelta(seconds=5)
    assert world.deliver() == 1
    # The receivers are different ones to us, so it is due when the first request must have ended.
    world.clock.now += LEASE
    assert world.deliver() == 1
    first, second = world.rows()
    state = "delivered" if status == 200 else "failed"
    assert (first.state, first.answer_status, first.answer_text, first.content) == (state, status, "forgotten", {})
    assert (second.event, second.state, second.content) == ("delete", "delivered", {})


def test_what_was_emptied_while_its_worker_died_is_dropped(world: World) -> None:
    world.add()
    world.announce()
    with world.database.write() as connection:
        connection.execute(notification.update().values(content={}, lease_owner="x", lease_until=BEGIN, attempts=1))
    world.clock.now += timedelta(seconds=1)
    assert world.deliver() == 0
    assert [(row.state, row.answer_text) for row in world.rows()] == [("failed", "forgotten")]
    assert world.receiver.requests == []


@pytest.mark.parametrize("lost", [{"lease_owner": "elsewhere:1:0"}, {"attempts": 2}], ids=str)
def test_who_lost_his_claim_puts_nothing_off(world: World, lost: dict[str, Any]) -> None:
    world.add()
    world.announce(times=2)

    def steal(_request: Received) -> Reply:
        with world.database.write() as connection:
            connection.execute(notification.update().where(notification.c.attempts > 0).values(**lost))
        return 500, {}, b""

    world.receiver.behave = steal
    assert world.deliver() == 1
    assert [(row.state, row.due_at, row.answer_status) for row in world.rows()] == [("waiting", BEGIN, None)] * 2


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def be_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def echo(connection: socket.socket) -> None:
    connection.sendall(connection.recv(65536))


def test_receivers_that_misbehave_are_told_again_later(world: World) -> None:
    world.seconds = 0.5
    talks = {"No answer in time.": be_silent, "The answer is not HTTP.": echo}
    for text, talk in talks.items():
        with misbehaving(talk) as url:
            number = world.add(url=url, name=text)
            world.announce()
            world.deliver()
        row = world.rows()[-1]
        assert (row.state, row.answer_status, row.answer_text) == ("waiting", None, text)
        with world.database.write() as connection:
            change_webhook(connection, world.mailing.account_id, number, active=False)


def test_private_addresses_are_refused_unless_allowed(world: World) -> None:
    world.add()
    world.announce()
    strict = Notifier(world.database, OutgoingClient(), Wording(), clock=world.clock)
    assert strict.deliver_due(name_owner()) == 1
    (row,) = world.rows()
    assert (row.state, row.answer_status) == ("waiting", None)
    assert "127.0.0.1" in row.answer_text
    assert world.receiver.requests == []


def test_two_workers_at_once_deliver_each_once(world: World) -> None:
    world.add()
    for person in range(40):
        world.announce(person, times=3)
    second = World(Database(world.database.url), world.mailing, world.people, world.receiver, world.clock)
    with ThreadPoolExecutor(4) as threads:
        made = [job.result() for job in [threads.submit(one.deliver) for one in (world, second, world, second)]]
    second.database.close()
    assert sum(made) == 120
    assert Counter(mails(world.receiver)) == {f"p{person}@example.com": 3 for person in range(40)}
    assert set(world.states()) == {"delivered"}


def test_a_claim_of_the_dead_ends(world: World) -> None:
    world.add()
    world.announce()
    with world.database.write() as connection:
        leased = {"lease_owner": "elsewhere:1:0", "lease_until": BEGIN + LEASE, "attempts": 1}
        connection.execute(notification.update().values(**leased))
    assert world.deliver() == 0
    world.clock.now += LEASE + timedelta(seconds=1)
    assert world.deliver() == 1
    assert [(row.state, row.attempts) for row in world.rows()] == [("delivered", 2)]


def test_who_lost_his_claim_writes_nothing(world: World) -> None:
    world.add()
    world.announce()

    def steal(_request: Received) -> Reply:
        with world.database.write() as connection:
            connection.execute(notification.update().values(lease_owner="elsewhere:1:0"))
        return 200, {}, b"1"

    world.receiver.behave = steal
    assert world.deliver() == 1
    (row,) = world.rows()
    assert (row.state, row.lease_owner, row.answer_status) == ("waiting", "elsewhere:1:0", None)


def test_what_was_written_while_its_webhook_was_switched_off_is_dropped(world: World) -> None:
    world.add()
    world.announce()
    with world.database.write() as connection:
        connection.execute(webhook.update().values(active=False))
    assert world.deliver() == 0
    assert [(row.state, row.answer_text, row.content) for row in world.rows()] == [("failed", "switched off", {})]
    assert world.receiver.requests == []


def test_a_row_that_cannot_be_told_does_not_stop_the_others(world: World) -> None:
    world.add()
    world.announce(0)
    with world.database.write() as connection:
        connection.execute(notification.update().values(content={"email": "p0@example.com"}))
    with world.database.write() as connection:
        connection.execute(webhook.update().values(parameters=[["groups", "groups"], ["mail", "email"]]))
    world.announce(1)
    assert world.deliver() == 2
    told = [(row.state, row.answer_text) for row in world.rows()]
    assert told == [("waiting", "The request could not be made."), ("delivered", "1")]


def test_stopping_begins_nothing_more(world: World) -> None:
    world.add()
    world.announce()
    stop = threading.Event()
    stop.set()
    assert world.notifier.deliver_due(name_owner(), stop) == 0
    assert world.states() == ["waiting"]


def test_the_id_lets_a_receiver_know_what_it_has_seen(world: World) -> None:
    world.add(format="json", method="POST", secret="0123456789abcdef", parameters=())
    world.announce()
    world.receiver.behave = fail
    world.deliver()
    world.clock.now += RETRY_DELAYS[0]
    world.receiver.behave = accept
    world.deliver()
    first, second = world.receiver.requests
    assert first.body == second.body
    assert f'"id":{world.rows()[0].id}'.encode() in first.body
    stamps = [int(request.headers["x-listbridge-timestamp"]) for request in (first, second)]
    assert stamps[1] - stamps[0] == 300
    assert first.headers["x-listbridge-signature"] != second.headers["x-listbridge-signature"]


def test_the_answer_is_cut_and_printable(world: World) -> None:
    world.receiver.behave = lambda _request: (500, {}, b"\x1b[31m\x00" + b"y" * 100_000)
    world.add()
    world.announce()
    world.deliver()
    (row,) = world.rows()
    assert row.answer_text == "[31m" + "y" * 496


def test_the_log_is_of_the_account(world: World) -> None:
    number = world.add()
    second = world.add()
    world.announce(0)
    world.announce(1)
    world.deliver()
    with world.database.write() as connection:
        other = add_account(connection, 8, password="secret")
        rows = recent_deliveries(connection, world.mailing.account_id)
        assert [row["webhook"] for row in rows] == [second, number, second, number]
        assert all(row["answer_text"] == "1" and "content" not in row for row in rows)
        assert len(recent_deliveries(connection, world.mailing.account_id, limit=1)) == 1
        assert len(recent_deliveries(connection, world.mailing.account_id, number=number)) == 2
        assert recent_deliveries(connection, other.id) == []


def test_a_sample_is_sent_at_once_and_leaves_nothing(world: World) -> None:
    number = world.add(active=False, event="unsubscribe", parameters=(("m", "email"), ("r", "reason")))
    client = OutgoingClient(LOOPBACK)
    outcome = send_sample(world.database, client, Wording(), world.mailing.account_id, number)
    assert (outcome.status, outcome.text, outcome.delivered) == (200, "1", True)
    assert world.receiver.requests[0].target == "/hook?m=sample%40example.com&r=2"
    assert world.rows() == []


def test_the_worker_delivers(world: World, storage: Storage) -> None:
    world.add()
    world.announce()
    options = WorkerOptions(poll_seconds=0.02, webhook_allowed_networks=LOOPBACK)
    stop = threading.Event()
    arguments = (world.database, storage, options, stop)
    thread = threading.Thread(target=run_worker, args=arguments, daemon=True)
    thread.start()
    try:
        wait_until(lambda: world.states() == ["delivered"])
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert len(world.receiver.requests) == 1


def test_settings_of_a_webhook_count_as_they_are_at_the_time(world: World) -> None:
    number = world.add()
    world.receiver.behave = fail
    world.announce()
    world.deliver()
    with receiving() as moved:
        with world.database.write() as connection:
            change_webhook(connection, world.mailing.account_id, number, url=moved.url)
        world.clock.now += RETRY_DELAYS[0]
        world.deliver()
        assert len(moved.requests) == 1
