"""Several worker processes on one database: each due time once, and whoever dies or sleeps too long is replaced.

The processes are real; each believes that it is on a machine of its own, so that nobody can see another one die.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, Table, select

from audience.accounts import Account, add_account
from db.engine import Database
from db.leases import LEASE
from db.tables import export_run, heartbeat, import_run, recipient
from exchange.export_csv import CsvFormat
from exchange.profiles import Profile
from jobs.export_settings import ExportSettings
from jobs.exports import add_export, request_run
from jobs.feeds import open_list
from jobs.queue import ImportRequest, enqueue_import, spool
from jobs.schedules import find_schedule, pause_schedule, set_schedule
from jobs.storage import Storage

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
OFTEN = {"kind": "interval", "minutes": 1 / 20}
"""So seldom that not even a crowded machine falls 31 due times behind, more than which are not made up for."""
SETTINGS = ExportSettings(columns=("email",), csv=CsvFormat(header=False), name_pattern="{type}-{id}-{date:HHmmss}.csv")
WORKER = """
import socket, sys, threading
from pathlib import Path
socket.gethostname = lambda: sys.argv[3]
from db.engine import Database
from db import leases
from jobs.storage import Storage
from jobs.worker import WorkerOptions, run_worker
options = WorkerOptions(poll_seconds=0.2, schedule_seconds=0.2)
run_worker(Database(sys.argv[1]), Storage(Path(sys.argv[2]), reserve=0), options, threading.Event())
"""

# It sleeps as soon as it has claimed a run. No other thread is in the midst of anything then.
SLEEPER = """
import os, signal, socket, sys, time
from pathlib import Path
socket.gethostname = lambda: sys.argv[3]
from db.engine import Database
from jobs.export_runs import run_next_export
from jobs.imports import run_next_import
from db.leases import LeaseKeeper, name_owner
from jobs.storage import Storage
enter = LeaseKeeper.__enter__
def enter_and_sleep(keeper):
    LeaseKeeper.__enter__ = enter
    enter(keeper)
    os.kill(os.getpid(), signal.SIGSTOP)
    return keeper
LeaseKeeper.__enter__ = enter_and_sleep
database, storage = Database(sys.argv[1]), Storage(Path(sys.argv[2]), reserve=0)
while True:
    for run_next in (run_next_import, run_next_export):
        run_next(database, storage, name_owner())
    time.sleep(0.1)
"""


class Machines:
    """Worker processes by the names of their machines."""

    def __init__(self, url: str, storage: Storage) -> None:
        self._arguments = [url, str(storage.root)]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: str = WORKER) -> None:
        arguments = [sys.executable, "-W", "error", "-c", program, *self._arguments, name]
        self.running[name] = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def wait_until_asleep(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not os.WIFSTOPPED(os.waitpid(self.running[name].pid, os.WUNTRACED | os.WNOHANG)[1]):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    def wake(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for name in list(self.running):
            self.kill(name)


@pytest.fixture
def account(database: Database, storage: Storage) -> Account:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        open_list(connection, storage, account, "First", {})
    return account


@contextmanager
def machines_of(url: str, storage: Storage) -> Iterator[Machines]:
    machines = Machines(url, storage)
    try:
        yield machines
    finally:
        machines.stop()


def wait_until(true: Callable[[], bool], machines: Machines) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        assert all(process.poll() is None for process in machines.running.values()), "a worker ended"
        time.sleep(0.05)


def rows(database: Database, table: Any) -> list[Row[Any]]:
    with database.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def alive(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(select(heartbeat)).all())


def completed(database: Database) -> int:
    return sum(run.state == "completed" for run in rows(database, export_run))


def plan(database: Database, account: Account, count: int) -> list[int]:
    """Add exports that run every three seconds."""
    ids = []
    with database.write() as connection:
        for _ in range(count):
            ids.append(add_export(connection, account, "unsubscribers", SETTINGS))
            set_schedule(connection, account.id, "export", ids[-1], OFTEN, time_zone="Europe/Rome", missed="all")
    return ids


def pause(database: Database, export_ids: list[int]) -> None:
    with database.write() as connection:
        for export_id in export_ids:
            pause_schedule(connection, "export", export_id)


def check_each_once(database: Database, storage: Storage, export_ids: list[int]) -> None:
    """Check that each due time until the newest has one completed run with one file."""
    runs = rows(database, export_run)
    for export_id in export_ids:
        with database.read() as connection:
            schedule = find_schedule(connection, "export", export_id)
        assert schedule is not None
        assert schedule.last_due_at is not None
        wanted = schedule.rule.due_times(schedule.zone, schedule.since, schedule.last_due_at)
        assert sorted(run.due_at for run in runs if run.export_id == export_id) == wanted
    assert {run.state for run in runs} == {"completed"}
    files = {path.name for path in (storage.home(7) / "export").iterdir()}
    assert files == {run.file_name for run in runs}
    assert len(files) == len(runs)


def work_together(url: str, database: Database, storage: Storage, account: Account, seconds: float) -> None:
    with machines_of(url, storage) as machines:
        machines.start("first")
        machines.start("second")
        wait_until(lambda: alive(database) == 2, machines)
        export_ids = plan(database, account, 2)
        wait_until(lambda: completed(database) >= 4, machines)
        machines.start("third")
        machines.start("fourth")
        until = time.monotonic() + seconds
        seen = completed(database)
        wait_until(lambda: completed(database) >= seen + 6 and time.monotonic() >= until, machines)
        machines.kill("first")
        seen = completed(database)
        wait_until(lambda: completed(database) >= seen + 4, machines)
        pause(database, export_ids)
        wait_until(lambda: all(run.state == "completed" for run in rows(database, export_run)), machines)
    check_each_once(database, storage, export_ids)


def test_two_then_four_workers_do_each_due_time_once(
    database_url: str, database: Database, storage: Storage, account: Account
) -> None:
    work_together(database_url, database, storage, account, 0)


@pytest.mark.torture
def test_four_workers_do_each_due_time_once_for_ten_minutes(
    database_url: str, database: Database, storage: Storage, account: Account
) -> None:
    work_together(database_url, database, storage, account, 600)


def enqueue(database: Database, storage: Storage, count: int) -> None:
    content = b"email\r\n" + b"".join(b"person%d@example.com\r\n" % number for number in range(count))
    spooled = spool(storage, io.BytesIO(content))
    request = ImportRequest(
        account_id=1,
        list_id=1,
        profile=Profile(),
        source="soap",
        file_name="a.csv",
        spool_name=spooled.name,
        size=spooled.size,
    )
    with database.write() as connection:
        enqueue_import(connection, request)


def let_lease_end(database: Database, table: Any) -> None:
    with database.write() as connection:
        connection.execute(table.update().values(lease_until=datetime.now(UTC)))


def replace_killed(url: str, database: Database, storage: Storage, count: int, *, in_haste: bool) -> float:
    """Kill the machine that imports; return the seconds until another one goes on."""
    with machines_of(url, storage) as machines:
        machines.start("first")
        machines.start("second")
        enqueue(database, storage, count)
        wait_until(lambda: rows(database, import_run)[0].rows_done > 0, machines)
        owner = rows(database, import_run)[0].lease_owner
        machines.kill(owner.partition(":")[0])
        (left,) = rows(database, import_run)
        begin = time.monotonic()
        assert (left.state, left.lease_owner) == ("running", owner)
        assert left.lease_until <= datetime.now(UTC) + LEASE
        if in_haste:
            let_lease_end(database, import_run)
        wait_until(lambda: rows(database, import_run)[0].lease_owner != owner, machines)
        taken = time.monotonic() - begin
        wait_until(lambda: rows(database, import_run)[0].state == "completed", machines)
    assert len(rows(database, recipient)) == count
    assert rows(database, import_run)[0].counters["total"] == count
    return taken


def test_a_machine_that_dies_is_replaced(
    database_url: str, database: Database, storage: Storage, account: Account
) -> None:
    replace_killed(database_url, database, storage, 60_000, in_haste=True)


@pytest.mark.torture
def test_a_machine_that_dies_is_replaced_within_fifteen_seconds(
    database_url: str, database: Database, storage: Storage, account: Account
) -> None:
    assert replace_killed(database_url, database, storage, 60_000, in_haste=False) <= 15


def enqueue_export(database: Database, account: Account) -> None:
    with database.write() as connection:
        export_id = add_export(connection, account, "unsubscribers", SETTINGS)
        request_run(connection, export_id)


@pytest.mark.parametrize("in_haste", [True, pytest.param(False, marks=pytest.mark.torture)])
@pytest.mark.parametrize("table", [import_run, export_run], ids=str)
def test_who_slept_longer_than_its_lease_writes_no_more(
    database_url: str, database: Database, storage: Storage, account: Account, table: Table, in_haste: bool
) -> None:
    def add() -> None:
        if table is import_run:
            enqueue(database, storage, 5)
        else:
            enqueue_export(database, account)

    add()
    with machines_of(database_url, storage) as machines:
        machines.start("sleeper", SLEEPER)
        machines.wait_until_asleep("sleeper")
        if in_haste:
            let_lease_end(database, table)
        machines.start("second")
        wait_until(lambda: rows(database, table)[0].state == "completed", machines)
        (left,) = rows(database, table)
        machines.kill("second")
        machines.wake("sleeper")
        # When it does the next one, it has left the one that it lost.
        add()
        wait_until(lambda: [run.state for run in rows(database, table)] == ["completed"] * 2, machines)
    assert rows(database, table)[0] == left
    assert left.attempts == 2 if table is export_run else left.counters["total"] == 5
    assert len(rows(database, recipient)) == (5 if table is import_run else 0)
    files = sorted(path.name for path in (storage.home(7) / "export").glob("*"))
    assert files == sorted(run.file_name for run in rows(database, export_run))
