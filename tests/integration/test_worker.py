"""Workers at work: everything is picked up, nothing stops them but the signal, and a killed one is replaced."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.status_rules import Channel, Status
from db.engine import Database
from db.tables import export_run, heartbeat, import_run, mailing_list, recipient, schedule, subscription
from exchange.export_csv import CsvFormat
from exchange.profiles import Profile
from jobs.exports import ExportSettings, add_export, request_run
from jobs.feeds import open_list
from jobs.housekeeping import remove_export_leftovers
from jobs.queue import ImportRequest, enqueue_import, spool
from jobs.storage import Storage
from jobs.worker import WorkerOptions, run_worker

QUICK = WorkerOptions(poll_seconds=0.02, schedule_seconds=0.02, heartbeat_seconds=0.1, housekeeping_seconds=0.3)
PATIENCE = 60.0
PLAIN = {"columns": ("email",), "csv": CsvFormat(header=False), "name_pattern": "{type}.csv"}
WORKER = """
import sys, threading
from pathlib import Path
from db.engine import Database
from jobs.storage import Storage
from jobs.worker import WorkerOptions, run_worker
options = WorkerOptions(poll_seconds=0.02, schedule_seconds=0.1, heartbeat_seconds=0.2)
run_worker(Database(sys.argv[1]), Storage(Path(sys.argv[2]), reserve=0), options, threading.Event())
"""


@pytest.fixture
def account(database: Database, storage: Storage) -> Account:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        open_list(connection, storage, account, "First", {})
    return account


@contextmanager
def working(database: Database, storage: Storage, options: WorkerOptions = QUICK) -> Iterator[None]:
    """Let a worker work while the block lasts; it must have ended in order afterwards."""
    stop = threading.Event()
    thread = threading.Thread(target=run_worker, args=(database, storage, options, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def values(database: Database, column: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(column).order_by(column)).scalars())


def enqueue(database: Database, storage: Storage, content: bytes) -> None:
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


def export_now(database: Database, account: Account, **settings: Any) -> int:
    with database.write() as connection:
        export_id = add_export(connection, account, "unsubscribers", ExportSettings(**{**PLAIN, **settings}))
        return request_run(connection, export_id)


def exported(storage: Storage) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in sorted((storage.home(7) / "export").iterdir())}


def test_a_worker_does_what_waits_and_what_comes(database: Database, storage: Storage, account: Account) -> None:
    enqueue(database, storage, b"email\r\nanna@example.com\r\n")
    with working(database, storage):
        enqueue(database, storage, b"email\r\nbruno@example.com\r\n")
        export_now(database, account)
        wait_until(lambda: values(database, import_run.c.state) == ["completed"] * 2)
        wait_until(lambda: values(database, export_run.c.state) == ["completed"])
    assert values(database, recipient.c.email) == ["anna@example.com", "bruno@example.com"]
    assert exported(storage) == {"unsubscribers.csv": ""}


def test_a_worker_runs_exports_when_they_are_due(database: Database, storage: Storage, account: Account) -> None:
    settings = ExportSettings(**{**PLAIN, "name_pattern": "{date:yyyyMMdd}.csv"}, period="previous-day")
    three_days_ago = datetime.now(UTC) - timedelta(days=3)
    with database.write() as connection:
        add_export(connection, account, "unsubscribers", settings, "12:00")
        connection.execute(schedule.update().values(since=three_days_ago))
    with working(database, storage):
        wait_until(lambda: values(database, export_run.c.state) == ["completed"] * 3)
    assert len(exported(storage)) == 3


def test_a_worker_shows_that_it_lives_and_leaves_no_trace(database: Database, storage: Storage) -> None:
    with working(database, storage):
        wait_until(lambda: values(database, heartbeat.c.role) == ["worker"])
        (first,) = values(database, heartbeat.c.at)
        wait_until(lambda: values(database, heartbeat.c.at) > [first])
    assert values(database, heartbeat.c.role) == []


def test_a_worker_keeps_house(database: Database, storage: Storage) -> None:
    leftover = storage.exports / "1.0123abcd.part"
    leftover.touch()
    with working(database, storage):
        wait_until(lambda: not leftover.exists())


def test_a_job_that_goes_wrong_stops_neither_itself_nor_others(
    database: Database, storage: Storage, account: Account
) -> None:
    rename = "ALTER TABLE {} RENAME TO {}".format
    with database.write() as connection:
        connection.exec_driver_sql(rename("heartbeat", "elsewhere"))
    with working(database, storage):
        export_now(database, account)
        wait_until(lambda: values(database, export_run.c.state) == ["completed"])
        with database.write() as connection:
            connection.exec_driver_sql(rename("elsewhere", "heartbeat"))
        wait_until(lambda: values(database, heartbeat.c.role) == ["worker"])


def test_a_worker_stops_in_the_middle_of_its_work_and_goes_on_later(
    database: Database, storage: Storage, account: Account
) -> None:
    content = b"email\r\n" + b"".join(b"person%d@example.com\r\n" % number for number in range(45_000))
    enqueue(database, storage, content)
    with working(database, storage):
        wait_until(lambda: values(database, import_run.c.rows_done) > [0])
    assert values(database, import_run.c.state) in (["queued"], ["completed"])
    assert values(database, import_run.c.lease_owner) == [None]
    with working(database, storage):
        wait_until(lambda: values(database, import_run.c.state) == ["completed"])
    assert values(database, import_run.c.attempts) == [1]
    assert len(values(database, recipient.c.id)) == 45_000


def add_unsubscribers(database: Database, count: int) -> str:
    """Add unsubscribed people; return what an export of them contains."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    numbers = range(1, count + 1)
    dates = {"created_at": now, "updated_at": now}
    people = [{"id": n, "account_id": 1, "email": f"p{n}@example.com", "fields": {}, **dates} for n in numbers]
    ended = {"list_id": 1, "channel": Channel.EMAIL, "status": Status.UNSUBSCRIBED, "source": "page"}
    ended |= {"changed_at": now, "unsubscribed_at": now}
    with database.write() as connection:
        assert connection.execute(select(mailing_list.c.id)).scalar_one() == 1
        connection.execute(recipient.insert(), people)
        connection.execute(subscription.insert(), [{"recipient_id": number, **ended} for number in numbers])
    return "".join(f"p{number}@example.com\r\n" for number in numbers)


@contextmanager
def worker_processes(url: str, storage: Storage, count: int) -> Iterator[Callable[[int], None]]:
    """Keep that many worker processes running; gives a function that kills one, at once, and starts another."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WORKER, url, str(storage.root)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)

    running = {process.pid: process for process in (start() for _ in range(count))}

    def replace(pid: int) -> None:
        killed = running.pop(pid)
        killed.send_signal(signal.SIGKILL)
        killed.wait(PATIENCE)
        started = start()
        running[started.pid] = started

    try:
        yield replace
    finally:
        for process in running.values():
            process.kill()
            process.wait(PATIENCE)


def test_a_killed_worker_is_replaced_and_its_export_written_once(
    database: Database, database_url: str, storage: Storage, account: Account
) -> None:
    whole = add_unsubscribers(database, 20_000)
    runs: list[int] = []
    taken_over = 0
    with worker_processes(database_url, storage, 2) as replace:
        while taken_over < 3 and len(runs) < 30:
            runs.append(export_now(database, account))
            replace(wait_for_owner(database, runs[-1]))
            wait_until(lambda: state_of(database, runs[-1])[0] == "completed")
            taken_over += state_of(database, runs[-1])[1] > 1
            assert list(exported(storage).values()) == [whole] * len(runs)
    assert taken_over == 3
    # The last one may have been killed when the run had ended and only its remains were left to be removed.
    remove_export_leftovers(database, storage)
    assert list(storage.exports.iterdir()) == []


def wait_for_owner(database: Database, run_id: int) -> int:
    """Return the process that works on a run, or did a moment ago."""
    owners: list[str] = []

    def is_owned() -> bool:
        with database.read() as connection:
            owner = connection.execute(select(export_run.c.lease_owner).where(export_run.c.id == run_id)).scalar_one()
        owners.extend([owner] if owner else [])
        return bool(owners)

    wait_until(is_owned)
    return int(owners[-1].split(":")[-2])


def state_of(database: Database, run_id: int) -> tuple[str, int]:
    with database.read() as connection:
        query = select(export_run.c.state, export_run.c.attempts).where(export_run.c.id == run_id)
        state, attempts = connection.execute(query).one()
    return state, attempts
