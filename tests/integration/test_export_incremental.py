"""Incremental exports: whatever fails and whoever writes meanwhile, each change is in one file, once."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from export_world import World, day, make_world
from sqlalchemy import select

from audience.status_rules import Status
from db.engine import Database
from db.leases import RunTable, name_owner
from db.settled import CLOCK_MARGIN, settled_until
from db.streaming import begin_reading
from db.tables import export_run, recipient
from exchange.export_csv import CsvFormat
from jobs.export_runs import run_next_export
from jobs.storage import Storage

BARE = {"columns": ("email", "unsubscribed_at"), "csv": CsvFormat(header=False), "name_pattern": "{type}.csv"}


@pytest.fixture
def world(database: Database, storage: Storage) -> World:
    return make_world(database, storage)


def leave(world: World, name: str, pause: float = 0) -> None:
    """Unsubscribe somebody new, in a transaction that goes on for some time after it was dated."""
    with world.database.write() as connection:
        now = datetime.now(UTC)
        person = world.add_person(connection, email=f"{name}@example.com")
        left = {"status": Status.UNSUBSCRIBED, "unsubscribed_at": now, "changed_at": now, "reason_type": 2}
        world.subscribe(connection, person, 1, **left)
        time.sleep(pause)


def exported(world: World) -> list[str]:
    folder = world.storage.home(7) / "export"
    paths = folder.iterdir() if folder.exists() else ()
    return sorted(line.partition("@")[0] for path in paths for line in path.read_text().splitlines())


def settle(world: World) -> None:
    """Wait until what has been committed counts as settled."""
    with world.database.read() as connection:
        now = datetime.now(UTC)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with world.database.write() as connection:
            if settled_until(connection) > now:
                return
        time.sleep(0.1)
    raise AssertionError("never settled")


def test_a_run_begins_where_the_last_one_ended(world: World) -> None:
    leave(world, "before")
    export_id = world.add_export("unsubscribers", period="incremental", **BARE)
    for name in ("anna", "bruno"):
        leave(world, name)
        settle(world)
        world.request(export_id)
        world.work()
    # What was before the export was added is not in it.
    assert exported(world) == ["anna", "bruno"]
    with world.database.read() as connection:
        first, second = connection.execute(select(export_run).order_by(export_run.c.id))
    assert (first.rows, second.rows) == (1, 1)
    assert first.covers_since < first.covers_until == second.covers_since < second.covers_until


def test_a_beginning_may_be_told(world: World) -> None:
    leave(world, "before")
    export_id = world.add_export("unsubscribers", period="incremental", since="2026-01-01", **BARE)
    settle(world)
    run_id = world.request(export_id)
    world.work()
    assert exported(world) == ["before"]
    assert world.run(run_id).covers_since == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_a_failed_run_was_about_is_in_the_next(world: World) -> None:
    export_id = world.add_export("unsubscribers", period="incremental", **BARE)
    leave(world, "anna")
    settle(world)
    run_id = world.request(export_id)
    world.storage.prepare_home(7)
    (world.storage.home(7) / "export").rmdir()
    (world.storage.home(7) / "export").touch()
    assert run_next_export(world.database, world.storage, name_owner())
    stretch = (world.run(run_id).covers_since, world.run(run_id).covers_until)
    # While it waits to be tried again, no other run begins.
    following = world.request(export_id)
    assert not run_next_export(world.database, world.storage, name_owner())
    world.change_run(run_id, started_at=datetime.now(UTC) - timedelta(days=2), lease_until=day(1))
    world.change_run(run_id, started_at=day(1), lease_until=datetime.now(UTC))
    assert run_next_export(world.database, world.storage, name_owner())
    found = world.run(run_id)
    assert (found.state, found.covers_since, found.covers_until) in {("failed", *stretch), ("queued", *stretch)}
    world.change_run(run_id, state="failed")
    (world.storage.home(7) / "export").unlink()
    world.work()
    assert world.run(following).state == "completed"
    assert exported(world) == ["anna"]


def test_a_cancelled_run_leaves_nothing_and_no_gap(world: World) -> None:
    export_id = world.add_export("unsubscribers", period="incremental", **BARE)
    leave(world, "anna")
    settle(world)
    run_id = world.request(export_id)
    # As asked for while another process had it, which died since.
    world.change_run(run_id, state="running", attempts=1, lease_owner="elsewhere:1:0", lease_until=day(1))
    with world.database.write() as connection:
        assert RunTable(export_run).request_cancel(connection, run_id)
    world.work()
    assert (world.run(run_id).state, exported(world)) == ("cancelled", [])
    assert list(world.storage.exports.iterdir()) == []
    world.request(export_id)
    world.work()
    assert exported(world) == ["anna"]


def test_what_is_dated_but_not_committed_is_not_settled(world: World) -> None:
    if world.database.is_sqlite:
        pytest.skip("there, who asks has the write lock")
    with world.database.write() as connection:
        connection.execute(select(1))
        now = datetime.now(UTC)
        connection.execute(recipient.update().values(updated_at=now))
        with world.database.write() as other:
            assert settled_until(other) <= now - CLOCK_MARGIN
    with world.database.read() as reading:
        begin_reading(reading)
        reading.execute(select(1))
        with world.database.write() as other:
            time.sleep(0.2)
            assert settled_until(other) + CLOCK_MARGIN > datetime.now(UTC) - timedelta(seconds=0.2)


@pytest.mark.parametrize("rounds", [4, pytest.param(150, marks=pytest.mark.torture)])
def test_each_change_is_in_one_file_once(world: World, rounds: int) -> None:
    export_id = world.add_export("unsubscribers", period="incremental", **BARE)
    stopping, left = threading.Event(), list[str]()

    def write(writer: int) -> None:
        chance = random.Random()
        while not stopping.is_set():
            name = f"w{writer}-{len(left)}-{chance.random()}"
            leave(world, name, chance.uniform(0, 0.05))
            left.append(name)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _round in range(rounds):
            run_somehow(world, export_id)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    settle(world)
    world.request(export_id)
    world.work()
    assert exported(world) == sorted(left)


def run_somehow(world: World, export_id: int) -> None:
    """Run an export, alone or beside another worker, well or as it fails."""
    for _each in range(random.choice((1, 2))):
        world.request(export_id)
    fails = random.random() < 0.4
    spool, away = world.storage.exports, Path(f"{world.storage.exports}-away")
    if fails:
        spool.rename(away)
    workers = [threading.Thread(target=world.work) for _ in range(random.choice((1, 2)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if fails:
        away.rename(spool)
        # Given up, or tried again at once.
        given_up = {"state": "failed"} if random.random() < 0.5 else {"lease_until": day(1)}
        with world.database.write() as connection:
            waiting = export_run.update().where(export_run.c.state == "queued")
            connection.execute(waiting.values(**given_up))
        world.work()
