"""Export runs that must wait: for better surroundings, for a day to be settled, for somebody to run them again."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from audience.accounts import Account, add_account
from audience.lists import add_list
from db.engine import Database
from db.leases import name_owner
from db.tables import export_run, schedule
from exchange.export_csv import CsvFormat
from jobs.export_runs import run_next_export
from jobs.exports import ExportSettings, add_export, request_run
from jobs.schedules import enqueue_due, enqueue_failed, local_instant
from jobs.storage import Storage

LONG_AGO = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAIN = {"columns": ("email",), "csv": CsvFormat(header=False), "name_pattern": "{date:yyyyMMdd}.csv"}
NOT_YET = "The export could not be made yet. The last time: "


@pytest.fixture
def account(database: Database) -> Account:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        add_list(connection, account.id, "First")
    return account


def add(database: Database, account: Account, at: str | None = None, **settings: Any) -> int:
    values: dict[str, Any] = {**PLAIN, **settings}
    with database.write() as connection:
        export_id = add_export(connection, account, "unsubscribers", ExportSettings(**values), at)
        connection.execute(schedule.update().values(since=LONG_AGO))
    return export_id


def request(database: Database, export_id: int) -> int:
    with database.write() as connection:
        return request_run(connection, export_id)


def load_run(database: Database, run_id: int) -> Any:
    with database.read() as connection:
        return connection.execute(select(export_run).where(export_run.c.id == run_id)).one()


def load_runs(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(export_run).order_by(export_run.c.due_at)))


def change_run(database: Database, run_id: int, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(export_run.update().where(export_run.c.id == run_id).values(**values))


def run_all(database: Database, storage: Storage) -> None:
    owner = name_owner()
    while run_next_export(database, storage, owner):
        pass


def exported(storage: Storage) -> list[str]:
    return sorted(path.name for path in (storage.home(7) / "export").iterdir())


def block(storage: Storage) -> Path:
    """Put a file where the folder of the exports should be, which fails them until it is gone."""
    storage.home(7).mkdir(parents=True)
    blocking = storage.home(7) / "export"
    blocking.touch()
    return blocking


def test_failing_surroundings_use_up_no_attempts(database: Database, storage: Storage, account: Account) -> None:
    blocking = block(storage)
    run_id = request(database, add(database, account))
    for _attempt in range(12):
        assert run_next_export(database, storage, name_owner())
        found = load_run(database, run_id)
        assert (found.state, found.attempts, found.lease_owner) == ("queued", 0, None)
        assert found.error_text == f"{NOT_YET}File exists."
        assert not run_next_export(database, storage, name_owner())
        change_run(database, run_id, lease_until=datetime.now(UTC))
    blocking.unlink()
    run_all(database, storage)
    found = load_run(database, run_id)
    assert (found.state, found.attempts, found.error_text) == ("completed", 1, None)
    assert exported(storage) == [found.file_name]
    assert list(storage.exports.iterdir()) == []


@pytest.mark.parametrize(("failing_for", "pause"), [(0, 30), (29, 30), (300, 300), (900, 900), (80_000, 900)])
def test_pauses_grow(database: Database, storage: Storage, account: Account, failing_for: int, pause: int) -> None:
    block(storage)
    run_id = request(database, add(database, account))
    assert run_next_export(database, storage, name_owner())
    begin = datetime.now(UTC)
    since = begin - timedelta(seconds=failing_for)
    change_run(database, run_id, started_at=since, lease_until=begin)
    assert run_next_export(database, storage, name_owner())
    waited = datetime.now(UTC) - begin
    until = load_run(database, run_id).lease_until
    assert timedelta(seconds=pause) <= until - begin <= timedelta(seconds=pause) + 2 * waited


def test_a_run_is_given_up_after_a_day(database: Database, storage: Storage, account: Account) -> None:
    block(storage)
    run_id = request(database, add(database, account))
    assert run_next_export(database, storage, name_owner())
    now = datetime.now(UTC)
    change_run(database, run_id, started_at=now - timedelta(days=1, minutes=1), lease_until=now)
    assert run_next_export(database, storage, name_owner())
    found = load_run(database, run_id)
    assert found.state == "failed"
    assert found.error_text == "The export could not be made for a day. The last time: File exists."


def test_days_without_a_worker_are_not_counted(database: Database, storage: Storage, account: Account) -> None:
    block(storage)
    run_id = request(database, add(database, account))
    assert run_next_export(database, storage, name_owner())
    stopped = datetime.now(UTC) - timedelta(days=3)
    change_run(database, run_id, started_at=stopped - timedelta(hours=20), lease_until=stopped)
    assert run_next_export(database, storage, name_owner())
    found = load_run(database, run_id)
    assert found.state == "queued"
    assert timedelta(hours=19) < datetime.now(UTC) - found.started_at < timedelta(hours=21)


def test_a_postponed_run_may_be_interrupted(database: Database, storage: Storage, account: Account) -> None:
    blocking = block(storage)
    run_id = request(database, add(database, account))
    assert run_next_export(database, storage, name_owner())
    # What a worker leaves that stops during the next attempt.
    change_run(database, run_id, lease_until=None)
    blocking.unlink()
    run_all(database, storage)
    assert load_run(database, run_id).state == "completed"


def test_a_postponed_run_lets_the_others_pass(database: Database, storage: Storage, account: Account) -> None:
    run_id, following = (request(database, add(database, account)) for _ in range(2))
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    change_run(database, run_id, lease_until=in_an_hour)
    run_all(database, storage)
    assert [load_run(database, number).state for number in (run_id, following)] == ["queued", "completed"]


def test_an_error_of_the_database_uses_up_no_attempts(database: Database, storage: Storage, account: Account) -> None:
    run_id = request(database, add(database, account))
    with database.write() as connection:
        connection.execute(text("ALTER TABLE subscription RENAME TO gone"))
    assert run_next_export(database, storage, name_owner())
    found = load_run(database, run_id)
    assert (found.state, found.attempts) == ("queued", 0)
    assert found.error_text.startswith(NOT_YET)
    with database.write() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO subscription"))
    change_run(database, run_id, lease_until=datetime.now(UTC))
    run_all(database, storage)
    assert load_run(database, run_id).state == "completed"


def test_a_living_owner_takes_up_its_run_uncounted(database: Database, storage: Storage, account: Account) -> None:
    # What is left when the database goes away during a run and stays away longer than the claim.
    run_id, owner = request(database, add(database, account)), name_owner()
    change_run(database, run_id, state="running", attempts=3, started_at=LONG_AGO)
    change_run(database, run_id, lease_owner=owner, lease_until=LONG_AGO)
    assert run_next_export(database, storage, owner)
    found = load_run(database, run_id)
    assert (found.state, found.attempts) == ("completed", 3)


def test_a_spool_that_is_away_is_waited_for(database: Database, storage: Storage, account: Account) -> None:
    run_id = request(database, add(database, account))
    change_run(database, run_id, state="running", attempts=1, files=["export/daily.csv"], rows=1)
    change_run(database, run_id, lease_owner="elsewhere:1:0", lease_until=LONG_AGO)
    shutil.rmtree(storage.exports)
    assert run_next_export(database, storage, name_owner())
    assert load_run(database, run_id).error_text == f"{NOT_YET}No such file or directory."
    storage.prepare()
    (storage.exports / f"{run_id}.0.ready").write_text("written before")
    change_run(database, run_id, lease_until=LONG_AGO)
    run_all(database, storage)
    assert (storage.home(7) / "export" / "daily.csv").read_text() == "written before"


def test_what_has_begun_to_be_delivered_is_not_given_up(database: Database, storage: Storage, account: Account) -> None:
    run_id = request(database, add(database, account))
    change_run(database, run_id, attempts=9, files=["export/daily\0.csv"], rows=1)
    (storage.exports / f"{run_id}.0.ready").write_text("written before")
    assert run_next_export(database, storage, name_owner())
    found = load_run(database, run_id)
    assert (found.state, found.lease_until > datetime.now(UTC)) == ("queued", True)
    change_run(database, run_id, files=["export/daily.csv"], lease_until=LONG_AGO)
    run_all(database, storage)
    assert (storage.home(7) / "export" / "daily.csv").read_text() == "written before"


def test_a_requested_run_waits_until_the_day_before_is_settled(
    database: Database, storage: Storage, account: Account
) -> None:
    run_id = request(database, add(database, account, period="previous-day"))
    found = load_run(database, run_id)
    today = found.due_at.astimezone(account.zone).date()
    assert found.lease_until == local_instant(today, time(0, 10), account.zone)
    change_run(database, run_id, lease_until=datetime.now(UTC) + timedelta(minutes=5))
    assert not run_next_export(database, storage, name_owner())
    change_run(database, run_id, lease_until=datetime.now(UTC))
    run_all(database, storage)
    assert load_run(database, run_id).state == "completed"


@pytest.mark.parametrize(("period", "waits"), [("full", False), ("previous-day", True), ("incremental", False)])
def test_a_run_due_at_midnight_waits_until_the_day_before_is_settled(
    database: Database, account: Account, period: str, waits: bool
) -> None:
    add(database, account, "00:00", period=period)
    # By the clock of Rome, the second of March begins at 23:00.
    midnight = datetime(2026, 3, 1, 23, tzinfo=UTC)
    assert enqueue_due(database, midnight) == 1
    (run,) = load_runs(database)
    assert (run.due_at, run.lease_until) == (midnight, midnight + timedelta(minutes=10) if waits else None)


FAILED = {"state": "failed", "attempts": 3, "error_text": "a text", "rows": 1, "file_name": None, "files": None}


@pytest.mark.parametrize(("period", "again"), [("previous-day", [0, 2]), ("full", [2])])
def test_failed_runs_are_run_again_with_their_own_due_times(
    database: Database, storage: Storage, account: Account, period: str, again: list[int]
) -> None:
    export_id = add(database, account, "02:30", period=period)
    for day in (2, 3, 4):
        assert enqueue_due(database, datetime(2026, 3, day, 12, tzinfo=UTC)) == 1
    run_all(database, storage)
    runs = load_runs(database)
    for number in (0, 2):
        change_run(database, runs[number].id, **FAILED)
        (storage.home(7) / "export" / runs[number].file_name).unlink()
    with database.write() as connection:
        assert enqueue_failed(connection, export_id) == [runs[number].id for number in again]
        assert enqueue_failed(connection, export_id) == []
    run_all(database, storage)
    for number in again:
        found = load_run(database, runs[number].id)
        assert (found.state, found.attempts, found.error_text) == ("completed", 1, None)
        assert (found.due_at, found.file_name) == (runs[number].due_at, f"2026030{number + 2}.csv")
        assert found.file_name in exported(storage)


def test_a_full_export_whose_newest_run_completed_has_nothing_to_run_again(
    database: Database, storage: Storage, account: Account
) -> None:
    export_id = add(database, account, "02:30")
    for day in (2, 3):
        enqueue_due(database, datetime(2026, 3, day, 12, tzinfo=UTC))
    run_all(database, storage)
    change_run(database, load_runs(database)[0].id, **FAILED)
    change_run(database, request(database, export_id), **FAILED)
    with database.write() as connection:
        assert enqueue_failed(connection, export_id) == []
