"""Due times become runs exactly once, whoever looks, however often, after a standstill and whatever the clock does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.tables import export, export_run, feed, remote_server, schedule, transfer, transfer_run
from jobs.schedule_rules import InvalidRule
from jobs.schedules import (
    GRACE,
    MAX_CATCH_UP,
    Missed,
    Schedule,
    enqueue_due,
    enqueue_failed,
    enqueue_run,
    find_schedule,
    pause_schedule,
    remove_schedule,
    request_run,
    resume_schedule,
    set_schedule,
)

START = datetime(2026, 3, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NIGHTLY = {"kind": "daily", "at": "02:30"}
LOOK = """
import json, sys
from datetime import datetime
from db.engine import Database
from jobs.schedules import enqueue_due
database = Database(sys.argv[1])
print(sum(enqueue_due(database, datetime.fromisoformat(moment)) for moment in json.loads(sys.argv[2])))
"""


def add_export(database: Database, *, number: int = 1, period: str = "full") -> int:
    with database.write() as connection:
        account = add_account(connection, number, password="a long password")
        values = {"account_id": account.id, "type": "unsubscribers", "settings": {"period": period}}
        return int(
            connection.execute(export.insert().values(**values, created_at=START).returning(export.c.id)).scalar_one()
        )


def plan(
    database: Database,
    rule: Mapping[str, Any] = NIGHTLY,
    *,
    period: str = "full",
    zone: str = "Europe/Rome",
    missed: Missed | None = None,
    number: int = 1,
    since: datetime = START,
) -> int:
    """Add an export with a schedule that counts since a given time; return the export's id."""
    export_id = add_export(database, number=number, period=period)
    missed = missed or ("all" if period == "previous-day" else "last")
    with database.write() as connection:
        set_schedule(connection, number, "export", export_id, rule, time_zone=zone, missed=missed)
        connection.execute(schedule.update().where(schedule.c.subject_id == export_id).values(since=since))
    return export_id


def due(database: Database, export_id: int) -> list[str]:
    """Return the scheduled due times of an export in the order of their runs."""
    query = select(export_run.c.due_at).where(export_run.c.export_id == export_id, export_run.c.scheduled)
    with database.read() as connection:
        return [f"{at:%m-%dT%H:%M}" for at in connection.execute(query.order_by(export_run.c.id)).scalars()]


def found(database: Database, export_id: int) -> Schedule:
    with database.read() as connection:
        schedule = find_schedule(connection, "export", export_id)
    assert schedule is not None
    return schedule


def test_a_schedule_is_kept_and_found(database: Database) -> None:
    export_id = plan(database)
    schedule = found(database, export_id)
    assert (schedule.rule.to_dict(), schedule.zone.key, schedule.missed) == (NIGHTLY, "Europe/Rome", "last")
    assert (schedule.last_due_at, schedule.paused_at) == (None, None)
    assert f"{schedule.next_times(START)[1]:%m-%dT%H:%M}" == "03-29T01:00"
    with database.write() as connection:
        assert find_schedule(connection, "transfer", export_id) is None
        assert remove_schedule(connection, "export", export_id)
        assert not remove_schedule(connection, "export", export_id)
        assert find_schedule(connection, "export", export_id) is None
    assert enqueue_due(database, START + DAY) == 0


def test_a_schedule_set_again_begins_anew(database: Database) -> None:
    export_id = plan(database)
    enqueue_due(database, START + DAY)
    with database.write() as connection:
        pause_schedule(connection, "export", export_id)
        rule = {"kind": "interval", "minutes": 5}
        set_schedule(connection, 1, "export", export_id, rule, time_zone="UTC", missed="skip")
    schedule = found(database, export_id)
    assert (schedule.rule.to_dict(), schedule.zone.key, schedule.missed) == (rule, "UTC", "skip")
    assert (schedule.last_due_at, schedule.paused_at) == (None, None)
    assert schedule.since > START + DAY


@pytest.mark.parametrize(
    ("rule", "zone", "missed", "told"),
    [
        ({"kind": "daily", "at": "2:30"}, "UTC", "all", "HH:MM"),
        (NIGHTLY, "Europe/Roma", "all", "not a time zone"),
        (NIGHTLY, "../Rome", "all", "not a time zone"),
        (NIGHTLY, "", "all", "not a time zone"),
        (NIGHTLY, "UTC", "none", "choose among all, last, skip"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    sqlite_url: str, rule: Mapping[str, Any], zone: str, missed: Any, told: str
) -> None:
    database = Database(sqlite_url)
    export_id = add_export(database)
    with pytest.raises(InvalidRule, match=told), database.write() as connection:
        set_schedule(connection, 1, "export", export_id, rule, time_zone=zone, missed=missed)
    database.close()


def test_each_due_time_is_queued_once_through_the_clock_change(database: Database) -> None:
    export_id = plan(database)
    moments = [START + timedelta(minutes=20 * step) for step in range(3 * 24 * 3)]
    assert sum(enqueue_due(database, moment) for moment in moments) == 3
    assert due(database, export_id) == ["03-28T01:30", "03-29T01:00", "03-30T00:30"]


@pytest.mark.parametrize(
    ("since", "days"),
    [
        (datetime(2026, 3, 27, 12, tzinfo=UTC), 3),  # 02:30 is skipped on the 29th
        (datetime(2026, 10, 23, 12, tzinfo=UTC), 3),  # 02:30 comes twice on the 25th
        (datetime(2028, 2, 27, 12, tzinfo=UTC), 3),  # 29 February
        (datetime(2026, 12, 30, 12, tzinfo=UTC), 3),
    ],
    ids=["spring", "autumn", "leap-day", "year"],
)
@pytest.mark.parametrize("jump", [HOUR, -HOUR, 30 * HOUR, -30 * HOUR], ids=str)
def test_a_daily_job_runs_once_a_day_however_the_clock_jumps(
    sqlite_url: str, since: datetime, days: int, jump: timedelta
) -> None:
    """The clock is wrong for six hours in each night, and right before and after."""
    database = Database(sqlite_url)
    export_id = plan(database, since=since, missed="all")
    for step in range(days * 24 + 1):
        moment = since + step * HOUR
        enqueue_due(database, moment + jump if 10 <= step % 24 < 16 else moment)
    runs = due(database, export_id)
    assert len({run[:5] for run in runs}) == len(runs) == days + (jump > DAY)
    database.close()


def test_a_clock_that_goes_back_queues_nothing_again(database: Database) -> None:
    export_id = plan(database)
    ahead = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    assert enqueue_due(database, ahead) == 1
    for minutes in (-61, -60, -1, 0, 1):
        assert enqueue_due(database, ahead + timedelta(minutes=minutes)) == 0
    assert enqueue_due(database, START - 400 * DAY) == 0
    assert due(database, export_id) == ["03-28T01:30"]


def test_nothing_is_due_without_a_schedule_or_before_it_was_made(database: Database) -> None:
    add_export(database)
    plan(database, number=2)
    assert enqueue_due(database, START + timedelta(hours=13)) == 0


def test_a_requested_run_does_not_replace_a_scheduled_one(database: Database) -> None:
    export_id = plan(database)
    with database.write() as connection:
        run_id = request_run(connection, "export", export_id)
        connection.execute(export_run.update().values(due_at=START + 2 * DAY))
    assert run_id > 0
    assert enqueue_due(database, START + DAY) == 1


def test_a_run_of_a_due_time_that_is_there_is_not_queued_again(database: Database) -> None:
    export_id = plan(database)
    with database.write() as connection:
        at = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
        assert enqueue_run(connection, "export", export_id, at, scheduled=True)
        assert enqueue_run(connection, "export", export_id, at, scheduled=False) is None
    assert enqueue_due(database, START + DAY) == 0
    assert due(database, export_id) == ["03-28T01:30"]


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        ("all", 3 * DAY, ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("last", 3 * DAY, ["03-30T00:30"]),
        ("skip", 3 * DAY, []),
        ("skip", timedelta(hours=13, minutes=30) + GRACE, ["03-28T01:30"]),
        ("skip", timedelta(hours=13, minutes=30, seconds=1) + GRACE, []),
    ],
)
def test_after_a_standstill_the_rule_for_missed_runs_counts(
    database: Database, missed: Missed, late: timedelta, expected: list[str]
) -> None:
    export_id = plan(database, missed=missed)
    assert enqueue_due(database, START + late) == len(expected)
    assert enqueue_due(database, START + late) == 0
    assert due(database, export_id) == expected
    # What was passed over stays so, and what comes is kept.
    assert enqueue_due(database, datetime(2026, 3, 31, 0, 30, tzinfo=UTC)) > 0


def test_after_a_long_standstill_only_the_last_due_times_are_made_up_for(database: Database) -> None:
    export_id = plan(database, period="previous-day", zone="UTC")
    assert enqueue_due(database, START + 100 * DAY) == MAX_CATCH_UP
    assert enqueue_due(database, START + 100 * DAY) == 0
    found = due(database, export_id)
    assert (found[0], found[-1]) == ("06-05T02:30", "07-05T02:30")


def test_a_daily_export_at_midnight_waits_until_the_day_has_settled(database: Database) -> None:
    export_id = plan(database, {"kind": "daily", "at": "00:00"}, period="previous-day", zone="Europe/Rome")
    midnight = datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert enqueue_due(database, midnight) == 1
    with database.read() as connection:
        (run,) = connection.execute(select(export_run))
    assert (run.due_at, run.lease_until) == (midnight, midnight + timedelta(minutes=10))
    assert due(database, export_id) == ["03-27T23:00"]


def test_due_times_while_paused_are_not_made_up_for(database: Database) -> None:
    rule = {"kind": "interval", "minutes": 1}
    export_id = plan(database, rule, missed="all")
    with database.write() as connection:
        assert pause_schedule(connection, "export", export_id)
        assert not pause_schedule(connection, "export", export_id)
    assert found(database, export_id).next_times(START) == []
    assert enqueue_due(database, datetime.now(UTC)) == 0
    with database.write() as connection:
        assert resume_schedule(connection, "export", export_id)
        assert not resume_schedule(connection, "export", export_id)
    resumed = found(database, export_id).since
    assert enqueue_due(database, resumed) == 0
    assert enqueue_due(database, resumed + timedelta(minutes=3)) == 3


@pytest.mark.parametrize("values", [{"rule": {"kind": "lunar"}}, {"time_zone": "Mars/Base"}, {"time_zone": "../x"}])
def test_a_schedule_that_nobody_can_read_does_not_keep_others_from_their_runs(
    database: Database, values: dict[str, Any]
) -> None:
    plan(database)
    plan(database, number=2)
    with database.write() as connection:
        connection.execute(schedule.update().where(schedule.c.id == 1).values(values))
    assert enqueue_due(database, START + DAY) == 1


def test_time_zones_of_schedules_count(database: Database) -> None:
    rome, lord_howe = plan(database), plan(database, zone="Australia/Lord_Howe", number=2)
    assert enqueue_due(database, START + DAY) == 2
    assert (due(database, rome), due(database, lord_howe)) == (["03-28T01:30"], ["03-27T15:30"])


def test_transfers_run_by_schedule_too(database: Database) -> None:
    with database.write() as connection:
        account = add_account(connection, 1, password="a long password")
        add_list(connection, account.id, "First")
        connection.execute(
            feed.insert().values(account_id=account.id, list_id=1, folder="import", profile={}, created_at=START)
        )
        server = {"name": "partner", "protocol": "sftp", "host": "sftp.example.com", "port": 22, "user_name": "crm"}
        connection.execute(remote_server.insert().values(account_id=account.id, **server, created_at=START))
        values = {"direction": "fetch", "folder": "/out", "feed_id": 1, "settings": {}}
        connection.execute(transfer.insert().values(account_id=account.id, remote_id=1, **values, created_at=START))
        set_schedule(connection, account.id, "transfer", 1, NIGHTLY, time_zone="UTC", missed="all")
        connection.execute(schedule.update().values(since=START))
    assert enqueue_due(database, START + 2 * DAY) == 2
    with database.read() as connection:
        runs = connection.execute(select(transfer_run)).all()
    assert [(run.transfer_id, run.state, run.scheduled, run.files) for run in runs] == [(1, "queued", True, 0)] * 2


@pytest.mark.parametrize(("period", "again"), [("full", [2]), ("incremental", [2]), ("previous-day", [0, 2])])
def test_failed_runs_are_queued_again(database: Database, period: str, again: list[int]) -> None:
    export_id = plan(database, period=period, missed="all")
    enqueue_due(database, START + 3 * DAY)
    with database.write() as connection:
        ids = list(connection.execute(select(export_run.c.id).order_by(export_run.c.id)).scalars())
        ended = {"state": "failed", "error_text": "It failed.", "attempts": 3}
        connection.execute(export_run.update().where(export_run.c.id != ids[1]).values(**ended))
        assert enqueue_failed(connection, export_id) == [ids[number] for number in again]
        run = connection.execute(select(export_run).where(export_run.c.id == ids[2])).one()
    assert (run.state, run.error_text, run.attempts) == ("queued", None, 0)


def test_many_threads_queue_each_due_time_once(database: Database) -> None:
    full, daily = plan(database, missed="all"), plan(database, period="previous-day", number=2)
    moments = [START + timedelta(hours=step) for step in range(0, 24 * 6, 2)]

    def look(_number: int) -> int:
        return sum(enqueue_due(database, moment) for moment in moments)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(look, range(4))) == 12
    for export_id in (full, daily):
        found = due(database, export_id)
        assert len(found) == len(set(found)) == 6


def test_many_processes_queue_each_due_time_once(database_url: str) -> None:
    database = Database(database_url)
    export_id = plan(database, period="previous-day")
    moments = json.dumps([(START + timedelta(hours=step)).isoformat() for step in range(0, 24 * 6, 3)])
    arguments = [sys.executable, "-W", "error", "-c", LOOK, database_url, moments]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(arguments, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert sum(map(int, answers)) == 6
    found = due(database, export_id)
    assert len(found) == len(set(found)) == 6
    database.close()
