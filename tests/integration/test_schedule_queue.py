"""Due times become runs exactly once, whoever looks, however often, and after a standstill."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from audience.accounts import add_account, find_account
from db.engine import Database
from db.tables import export, export_run
from jobs.exports import ExportSettings, add_export, request_run
from jobs.schedules import MAX_CATCH_UP, Period, enqueue_due

START = datetime(2026, 3, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LOOK = """
import json, sys
from datetime import datetime
from db.engine import Database
from jobs.schedules import enqueue_due
database = Database(sys.argv[1])
print(sum(enqueue_due(database, datetime.fromisoformat(moment)) for moment in json.loads(sys.argv[2])))
"""


def add(
    database: Database, *, period: Period = "full", at: str | None = "02:30", zone: str = "Europe/Rome", number: int = 1
) -> int:
    """Add an export that is scheduled since `START`."""
    with database.write() as connection:
        account = add_account(connection, number, password="a long password", time_zone=zone)
        export_id = add_export(connection, account, "unsubscribers", ExportSettings(period=period), at)
        connection.execute(export.update().values(scheduled_since=START))
    return export_id


def due(database: Database, export_id: int) -> list[str]:
    """Return the scheduled due times of an export in the order of their runs."""
    query = select(export_run.c.due_at).where(export_run.c.export_id == export_id, export_run.c.scheduled)
    with database.read() as connection:
        return [f"{at:%m-%dT%H:%M}" for at in connection.execute(query.order_by(export_run.c.id)).scalars()]


def test_each_due_time_is_queued_once_through_the_clock_change(database: Database) -> None:
    export_id = add(database)
    moments = [START + timedelta(minutes=20 * step) for step in range(3 * 24 * 3)]
    assert sum(enqueue_due(database, moment) for moment in moments) == 3
    assert due(database, export_id) == ["03-28T01:30", "03-29T01:00", "03-30T00:30"]


def test_a_clock_that_goes_back_queues_nothing_again(database: Database) -> None:
    export_id = add(database)
    ahead = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    assert enqueue_due(database, ahead) == 1
    for minutes in (-61, -60, -1, 0, 1):
        assert enqueue_due(database, ahead + timedelta(minutes=minutes)) == 0
    assert enqueue_due(database, START - 400 * DAY) == 0
    assert due(database, export_id) == ["03-28T01:30"]


def test_nothing_is_due_without_a_time_or_before_the_export_was_added(database: Database) -> None:
    add(database, at=None)
    add(database, number=2)
    assert enqueue_due(database, START + timedelta(hours=13)) == 0


def test_a_requested_run_does_not_replace_a_scheduled_one(database: Database) -> None:
    export_id = add(database)
    with database.write() as connection:
        run_id = request_run(connection, export_id)
        connection.execute(export_run.update().values(due_at=START + 2 * DAY))
    assert run_id > 0
    assert enqueue_due(database, START + DAY) == 1


def test_after_a_standstill_a_full_export_runs_once(database: Database) -> None:
    export_id = add(database)
    assert enqueue_due(database, START + 10 * DAY) == 1
    assert enqueue_due(database, START + 10 * DAY) == 0
    assert due(database, export_id) == ["04-06T00:30"]


def test_after_a_standstill_a_daily_export_makes_up_for_each_day(database: Database) -> None:
    export_id = add(database, period="previous-day")
    assert enqueue_due(database, START + 3 * DAY) == 3
    assert due(database, export_id) == ["03-28T01:30", "03-29T01:00", "03-30T00:30"]


def test_after_a_long_standstill_only_the_last_days_are_made_up_for(database: Database) -> None:
    export_id = add(database, period="previous-day", zone="UTC")
    assert enqueue_due(database, START + 100 * DAY) == MAX_CATCH_UP
    assert enqueue_due(database, START + 100 * DAY) == 0
    found = due(database, export_id)
    assert (found[0], found[-1]) == ("06-05T02:30", "07-05T02:30")


def test_a_daily_export_at_midnight_waits_until_the_day_has_settled(database: Database) -> None:
    export_id = add(database, period="previous-day", at="00:00", zone="UTC")
    midnight = datetime(2026, 3, 28, tzinfo=UTC)
    assert enqueue_due(database, midnight + timedelta(minutes=9, seconds=59)) == 0
    assert enqueue_due(database, midnight + timedelta(minutes=10)) == 1
    assert due(database, export_id) == ["03-28T00:00"]


def test_time_zones_of_accounts_count(database: Database) -> None:
    rome, lord_howe = add(database, number=1), add(database, zone="Australia/Lord_Howe", number=2)
    assert enqueue_due(database, START + DAY) == 2
    assert (due(database, rome), due(database, lord_howe)) == (["03-28T01:30"], ["03-27T15:30"])


def test_many_threads_queue_each_due_time_once(database: Database) -> None:
    full, daily = add(database), add(database, period="previous-day", number=2)
    moments = [START + timedelta(hours=step) for step in range(0, 24 * 6, 2)]

    def look(_number: int) -> int:
        return sum(enqueue_due(database, moment) for moment in moments)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(look, range(4))) == 12
    for export_id in (full, daily):
        found = due(database, export_id)
        assert len(found) == len(set(found)) == 6


def test_many_processes_queue_each_due_time_once(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    export_id = add(database, period="previous-day")
    moments = json.dumps([(START + timedelta(hours=step)).isoformat() for step in range(0, 24 * 6, 3)])
    arguments = [sys.executable, "-W", "error", "-c", LOOK, sqlite_url, moments]
    root = Path(__file__).parents[2]
    for _restart in range(2):
        running = [subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        answers = [process.communicate(timeout=120)[0] for process in running]
        assert all(process.returncode == 0 for process in running)
        assert sum(map(int, answers)) == (6 if _restart == 0 else 0)
    found = due(database, export_id)
    assert len(found) == len(set(found)) == 6
    database.close()


@pytest.mark.parametrize("at", ["2:30", "24:00", ""])
def test_a_time_that_is_none_is_refused(sqlite_url: str, at: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(ValueError, match="HH:MM"), database.write() as connection:
        account = add_account(connection, 1, password="a long password")
        add_export(connection, find_account(connection, account.number), "unsubscribers", ExportSettings(), at)
    database.close()
