"""Jobs of all kinds in one listing, and their end and new beginning on request."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import Account, add_account
from db.engine import Database
from db.leases import name_owner
from db.tables import export, export_run, feed, import_run, remote_server, transfer, transfer_run
from exchange.profiles import Profile
from jobs.feeds import open_list
from jobs.imports import run_next_import
from jobs.job_listing import (
    JobKind,
    JobRefused,
    UnknownJob,
    cancel_job,
    find_job,
    job_history,
    retry_job,
    unfinished_jobs,
)
from jobs.queue import ImportRequest, enqueue_import, spool
from jobs.storage import Storage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS: tuple[JobKind, ...] = ("import", "export", "transfer")


@pytest.fixture
def account(database: Database, storage: Storage) -> Account:
    """An account with an import from a folder, a run of an export and one of a transfer, all waiting."""
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        open_list(connection, storage, account, "First", {})
        feed_id = connection.execute(select(feed.c.id)).scalar_one()
        made = {"account_id": account.id, "created_at": NOW}
        connection.execute(export.insert().values(type="unsubscribers", settings={}, **made))
        server = {"name": "partner", "protocol": "sftp", "host": "sftp.example.com", "port": 22, "user_name": "crm"}
        connection.execute(remote_server.insert().values(**server, **made))
        values = {"remote_id": 1, "direction": "fetch", "folder": "/out", "feed_id": feed_id, "settings": {}}
        connection.execute(transfer.insert().values(**values, **made))
        run = {"due_at": NOW, "scheduled": True, "state": "queued"}
        connection.execute(export_run.insert().values(export_id=1, **run, lease_until=NOW + timedelta(minutes=10)))
        connection.execute(transfer_run.insert().values(transfer_id=1, **run))
        add_import(connection, storage, account, feed_id)
    return account


def add_import(connection: Any, storage: Storage, account: Account, feed_id: int | None) -> int:
    spooled = spool(storage, io.BytesIO(b"email\r\nanna@example.com\r\n"))
    request = ImportRequest(
        account_id=account.id,
        list_id=1,
        profile=Profile(),
        source="ftp" if feed_id else "soap",
        file_name="a.csv",
        spool_name=spooled.name,
        size=spooled.size,
        feed_id=feed_id,
    )
    return enqueue_import(connection, request)


def change(database: Database, table: Any, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(table.update().values(**values))


def tables() -> Iterator[Any]:
    yield from (import_run, export_run, transfer_run)


def test_what_waits_is_listed_with_its_account(database: Database, account: Account) -> None:
    with database.read() as connection:
        jobs = {job.kind: job for job in unfinished_jobs(connection)}
        assert job_history(connection) == []
    assert set(jobs) == set(KINDS)
    assert {(job.account_number, job.state, job.host, job.attempts) for job in jobs.values()} == {
        (7, "queued", None, 0)
    }
    assert jobs["import"].what.endswith("/a.csv")
    assert jobs["export"].what == "unsubscribers (export 1)"
    assert jobs["transfer"].what == "fetch partner:/out (transfer 1)"
    assert jobs["export"].not_before == NOW + timedelta(minutes=10)
    assert (jobs["import"].percent, jobs["export"].percent) == (0.0, None)
    assert jobs["import"].rate(NOW) is None


def test_what_runs_is_listed_first_with_its_progress(database: Database, account: Account) -> None:
    working = {"state": "running", "lease_owner": "machine:12:ab", "started_at": NOW, "attempts": 1}
    change(database, import_run, **working, size=1000, bytes_done=250, counters={"total": 500})
    change(database, transfer_run, **working, files=3, bytes=2_000)
    with database.read() as connection:
        jobs = unfinished_jobs(connection)
    assert [job.state for job in jobs] == ["running", "running", "queued"]
    importing = next(job for job in jobs if job.kind == "import")
    later = NOW + timedelta(seconds=10)
    assert (importing.percent, importing.rate(later), importing.seconds(later)) == (25.0, 50.0, 10.0)
    assert (importing.host, importing.not_before) == ("machine:12", None)


def test_history_tells_what_has_ended(database: Database, account: Account) -> None:
    for number, table in enumerate(tables()):
        change(database, table, state="completed", started_at=NOW, finished_at=NOW + timedelta(seconds=2 + number))
    change(database, export_run, rows=100, file_name="out.csv")
    with database.read() as connection:
        jobs = job_history(connection)
        assert [job.kind for job in jobs] == ["transfer", "export", "import"]
        assert [job.kind for job in job_history(connection, limit=1)] == ["transfer"]
        (exported,) = job_history(connection, export_id=1)
        assert (exported.rows, exported.file_name, exported.seconds(NOW), exported.rate(NOW)) == (
            *(100, "out.csv", 3.0),
            33.3,
        )
        assert [job.kind for job in job_history(connection, transfer_id=1)] == ["transfer"]
        folder = connection.execute(select(feed.c.folder)).scalar_one()
        assert [job.kind for job in job_history(connection, folder=folder)] == ["import"]
        assert job_history(connection, export_id=2) == job_history(connection, folder="elsewhere") == []
        assert unfinished_jobs(connection) == []


@pytest.mark.parametrize("kind", ["export", "transfer"])
def test_a_waiting_job_is_cancelled_and_begun_again(
    database: Database, storage: Storage, account: Account, kind: JobKind
) -> None:
    assert cancel_job(database, kind, 1).state == "cancelled"
    with pytest.raises(JobRefused, match="it is cancelled"):
        cancel_job(database, kind, 1)
    assert retry_job(database, storage, kind, 1).state == "queued"
    with pytest.raises(JobRefused, match="it is queued"):
        retry_job(database, storage, kind, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_job_is_asked_to_end(database: Database, account: Account, kind: JobKind) -> None:
    for table in tables():
        change(database, table, state="running", lease_owner="machine:12:ab")
    job = cancel_job(database, kind, 1)
    assert job.state == "running"
    assert job.cancel_requested_at is not None


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_job_is_told_of(database: Database, storage: Storage, account: Account, kind: JobKind) -> None:
    with pytest.raises(UnknownJob, match=f"no {kind} job 99"):
        cancel_job(database, kind, 99)
    with pytest.raises(UnknownJob):
        retry_job(database, storage, kind, 99)
    with database.read() as connection, pytest.raises(UnknownJob):
        find_job(connection, kind, 99)


def test_the_file_of_a_cancelled_import_goes_back_and_can_be_imported_again(
    database: Database, storage: Storage, account: Account
) -> None:
    with database.read() as connection:
        folder = storage.home(7) / connection.execute(select(feed.c.folder)).scalar_one()
    assert cancel_job(database, "import", 1).state == "running"
    owner = name_owner()
    while not run_next_import(database, storage, owner):
        pass
    with database.read() as connection:
        assert find_job(connection, "import", 1).state == "cancelled"
    assert _names(folder / "failed") >= {"a.csv", "a.csv.result.json"}
    assert retry_job(database, storage, "import", 1).state == "queued"
    assert run_next_import(database, storage, owner)
    with database.read() as connection:
        again = find_job(connection, "import", 1)
    assert (again.state, again.rows, again.percent) == ("completed", 1, 100.0)
    assert _names(folder / "processed") >= {"a.csv", "a.csv.result.json"}


def test_an_import_without_a_folder_is_cancelled_at_once(
    database: Database, storage: Storage, account: Account
) -> None:
    with database.write() as connection:
        run_id = add_import(connection, storage, account, None)
    assert cancel_job(database, "import", run_id).state == "cancelled"


def test_an_import_whose_copy_is_gone_is_not_begun_again(
    database: Database, storage: Storage, account: Account
) -> None:
    change(database, import_run, state="failed")
    for path in storage.imports.iterdir():
        path.unlink()
    with pytest.raises(JobRefused, match="copy of the file is gone"):
        retry_job(database, storage, "import", 1)
    with database.read() as connection:
        assert find_job(connection, "import", 1).state == "failed"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
