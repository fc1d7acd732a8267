"""Claims on runs: kept while their owner lives, lost when it does not, ended when somebody asks for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select

from audience.accounts import add_account
from db.engine import Database
from db.leases import CANCELLED, LEASE, LEASE_OF_LIVING, RENEWALS, LeaseKeeper, RunTable, name_owner
from db.tables import export, export_run
from jobs.job_listing import JobRefused, cancel_job

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUNS = RunTable(export_run)
PATIENCE = 30.0
ELSEWHERE = "elsewhere:1:00000000"


@pytest.fixture
def run_id(database: Database) -> int:
    """A queued run of an export."""
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        values = {"account_id": account.id, "type": "unsubscribers", "settings": {}, "created_at": NOW}
        connection.execute(export.insert().values(**values))
        run = {"export_id": 1, "due_at": NOW, "scheduled": False, "state": "queued", "lease_until": None}
        return int(connection.execute(export_run.insert().values(**run).returning(export_run.c.id)).scalar_one())


def change(database: Database, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(export_run.update().values(**values))


def load(database: Database) -> Row[Any]:
    with database.read() as connection:
        return connection.execute(select(export_run)).one()


def claim(database: Database, owner: str) -> int | None:
    with database.write() as connection:
        return RUNS.claim(connection, owner)


def cancel(database: Database, run_id: int, **options: bool) -> bool:
    with database.write() as connection:
        return RUNS.request_cancel(connection, run_id, **options)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def dead_owner() -> str:
    """Return the name of a process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return f"{socket.gethostname()}:{process.pid}:00000000"


def test_a_dead_host_is_replaced_within_fifteen_seconds(database: Database, run_id: int) -> None:
    assert timedelta(seconds=13) >= LEASE  # then the queue is looked into every half second
    assert claim(database, ELSEWHERE) == run_id
    claimed = load(database)
    assert claimed.lease_until - claimed.started_at == LEASE
    assert claim(database, name_owner()) is None
    change(database, lease_until=datetime.now(UTC) - timedelta(seconds=1))
    assert claim(database, name_owner()) == run_id
    assert load(database).attempts == 2


def test_a_dead_process_of_this_host_is_replaced_at_once(database: Database, run_id: int) -> None:
    assert claim(database, dead_owner()) == run_id
    assert claim(database, name_owner()) == run_id


def test_a_living_process_of_this_host_is_replaced_later(database: Database, run_id: int) -> None:
    owner = name_owner()
    assert claim(database, owner) == run_id
    late = datetime.now(UTC) - timedelta(seconds=20)
    change(database, lease_until=late)
    assert claim(database, name_owner()) is None
    with database.read() as connection:
        assert connection.execute(select(RUNS.is_live(connection, export_run.c))).scalar_one()
    # It knows of itself that it has left the run; a process that was stopped never does.
    assert claim(database, owner) == run_id
    change(database, lease_until=datetime.now(UTC) - LEASE_OF_LIVING)
    with database.read() as connection:
        assert not connection.execute(select(RUNS.is_live(connection, export_run.c))).scalar_one()
    assert claim(database, name_owner()) == run_id


def test_a_process_of_somebody_else_lives(database: Database, run_id: int) -> None:
    # The first process of a machine is not ours, unless we are root.
    assert claim(database, f"{socket.gethostname()}:1:00000000") == run_id
    assert claim(database, name_owner()) is None


def test_who_lost_a_run_can_write_no_more(database: Database, run_id: int) -> None:
    claim(database, ELSEWHERE)
    change(database, lease_until=datetime.now(UTC) - timedelta(seconds=1))
    claim(database, name_owner())
    delay = timedelta(seconds=1)
    with database.write() as connection:
        assert not RUNS.renew(connection, run_id, ELSEWHERE)
        assert not RUNS.finish(connection, run_id, ELSEWHERE, "completed")
        assert not RUNS.requeue(connection, run_id, ELSEWHERE)
        assert not RUNS.postpone(connection, run_id, ELSEWHERE, delay)
    assert load(database).state == "running"


def test_a_keeper_renews_a_claim(database: Database, run_id: int) -> None:
    owner = name_owner()
    claim(database, owner)
    before = load(database).lease_until
    with LeaseKeeper(database, RUNS, run_id, owner) as keeper:
        wait_until(lambda: load(database).lease_until > before + LEASE / RENEWALS / 2)
        assert not keeper.cancelled.is_set()


def test_a_waiting_run_is_cancelled_at_once(database: Database, run_id: int) -> None:
    change(database, lease_until=datetime.now(UTC) + timedelta(days=1))
    assert cancel(database, run_id)
    cancelled = load(database)
    assert (cancelled.state, cancelled.lease_until) == (CANCELLED, None)
    assert cancelled.finished_at == cancelled.cancel_requested_at is not None
    assert not cancel(database, run_id)
    assert claim(database, name_owner()) is None


def test_a_waiting_run_with_something_to_hand_back_is_claimed_first(database: Database, run_id: int) -> None:
    change(database, lease_until=datetime.now(UTC) + timedelta(days=1))
    assert cancel(database, run_id, hands_back=True)
    assert load(database).finished_at is None
    owner = name_owner()
    wait_until(lambda: claim(database, owner) == run_id)
    with LeaseKeeper(database, RUNS, run_id, owner) as keeper:
        assert keeper.cancelled.is_set()
    with database.write() as connection:
        assert RUNS.finish(connection, run_id, owner, CANCELLED)
    assert load(database).finished_at is not None


@pytest.mark.parametrize("hands_back", [False, True])
def test_who_works_on_a_run_is_told_that_it_is_cancelled(database: Database, run_id: int, hands_back: bool) -> None:
    owner = name_owner()
    claim(database, owner)
    with LeaseKeeper(database, RUNS, run_id, owner) as keeper:
        assert cancel(database, run_id, hands_back=hands_back)
        first = load(database)
        assert (first.state, first.lease_owner) == ("running", owner)
        assert keeper.cancelled.wait(PATIENCE)
        assert cancel(database, run_id)
        assert load(database).cancel_requested_at == first.cancel_requested_at


@pytest.mark.parametrize("state", ["completed", "failed", "skipped", CANCELLED])
def test_a_run_that_has_ended_cannot_be_cancelled(database: Database, run_id: int, state: str) -> None:
    change(database, state=state)
    assert not cancel(database, run_id)
    assert not cancel(database, run_id + 1)
    assert load(database).state == state


@pytest.mark.parametrize("state", ["failed", CANCELLED])
def test_what_failed_or_was_cancelled_is_begun_anew(database: Database, run_id: int, state: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    ended = {"error_text": "It failed.", "file_name": "a.csv", "rows": 5, "covers_until": NOW, "attempts": 4}
    change(database, state=state, finished_at=NOW, started_at=NOW, cancel_requested_at=NOW, lease_until=later, **ended)
    with database.write() as connection:
        assert RUNS.retry(connection, run_id)
        assert not RUNS.retry(connection, run_id)
    queued = load(database)
    assert (queued.state, queued.attempts) == ("queued", 0)
    assert {queued.error_text, queued.file_name, queued.rows, queued.covers_until, queued.finished_at} == {None}
    assert {queued.started_at, queued.cancel_requested_at, queued.lease_until} == {None}
    assert claim(database, name_owner()) == run_id


@pytest.mark.parametrize("state", ["failed", CANCELLED])
def test_what_had_begun_to_deliver_goes_on_with_that(database: Database, run_id: int, state: str) -> None:
    begun = {"file_name": "a.csv", "rows": 5, "files": ["export/a.csv"], "covers_until": NOW}
    change(database, state=state, finished_at=NOW, **begun)
    with database.write() as connection:
        assert RUNS.retry(connection, run_id)
    queued = load(database)
    assert (queued.state, queued.finished_at) == ("queued", None)
    assert {name: getattr(queued, name) for name in begun} == begun


@pytest.mark.parametrize("state", ["queued", "running"])
def test_what_is_being_delivered_is_not_cancelled(database: Database, run_id: int, state: str) -> None:
    change(database, state=state, files=["export/a.csv"])
    before = load(database)
    assert not cancel(database, run_id)
    assert load(database) == before
    with pytest.raises(JobRefused, match="its files are being delivered"):
        cancel_job(database, "export", run_id)


@pytest.mark.parametrize("state", ["queued", "running", "completed", "skipped"])
def test_what_did_not_fail_is_not_begun_anew(database: Database, run_id: int, state: str) -> None:
    change(database, state=state)
    with database.write() as connection:
        assert not RUNS.retry(connection, run_id)


def test_an_owner_names_its_process() -> None:
    host, process, nonce = name_owner().rsplit(":", 2)
    assert (host, process) == (socket.gethostname(), str(os.getpid()))
    assert len(nonce.rpartition("-")[2]) == 8
    assert name_owner() != name_owner()


def test_a_process_that_got_the_number_of_a_dead_one_is_not_the_dead_one(database: Database, run_id: int) -> None:
    host, process, nonce = name_owner().rsplit(":", 2)
    start, _, random = nonce.partition("-")
    assert claim(database, f"{host}:{process}:{int(start) - 1}-{random}") == run_id
    assert claim(database, name_owner()) == run_id
    assert claim(database, name_owner()) is None
