"""Exports whose process is killed at random moments give each due run its one whole file, and show nothing else."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

import jobs.export_runs
from audience.accounts import add_account, find_account
from audience.lists import add_list
from audience.status_rules import Channel, Status
from db.engine import Database
from db.leases import name_owner
from db.tables import export_run, recipient, subscription
from db.tables import schedule as schedule_table
from exchange.export_csv import CsvFormat
from jobs.export_runs import run_next_export
from jobs.exports import ExportSettings, add_export
from jobs.housekeeping import remove_export_leftovers
from jobs.schedules import enqueue_due
from jobs.storage import Storage

DAYS = 31
PEOPLE_PER_DAY = 400
KILLS = 30
"""Of processes that had a run in hand."""
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
LAST_DAY = FIRST_DAY + timedelta(days=DAYS)
_fork = multiprocessing.get_context("fork")


def set_up(database: Database) -> None:
    """Unsubscribe people on each of the days."""
    people, ended = [], []
    for number in range(DAYS * PEOPLE_PER_DAY):
        at = FIRST_DAY + timedelta(days=number // PEOPLE_PER_DAY, seconds=number % PEOPLE_PER_DAY)
        dates = {"created_at": at, "updated_at": at}
        people.append({"id": number + 1, "account_id": 1, "email": f"p{number}@example.com", "fields": {}, **dates})
        ended.append({"recipient_id": number + 1, "unsubscribed_at": at, "changed_at": at})
    same = {"list_id": 1, "channel": Channel.EMAIL, "status": Status.UNSUBSCRIBED, "source": "page"}
    with database.write() as connection:
        account = add_account(connection, 1, password="a long password", time_zone="UTC")
        add_list(connection, account.id, "News")
        connection.execute(recipient.insert(), people)
        connection.execute(subscription.insert(), [{**same, **row} for row in ended])


def schedule(database: Database) -> dict[str, str]:
    """Add a daily export that is due for each of the days; return the files that it must give."""
    settings = ExportSettings(
        period="previous-day",
        columns=("email",),
        csv=CsvFormat(header=False),
        name_pattern="{id}_{date:yyyyMMdd}.csv",
    )
    with database.write() as connection:
        export_id = add_export(connection, find_account(connection, 1), "unsubscribers", settings, "02:30")
        since = schedule_table.update().where(schedule_table.c.subject_id == export_id)
        connection.execute(since.values(since=FIRST_DAY + timedelta(hours=12)))
    assert enqueue_due(database, LAST_DAY + timedelta(hours=12)) == DAYS
    return {
        f"{export_id}_{FIRST_DAY + timedelta(days=day + 1):%Y%m%d}.csv": "".join(
            f"p{number}@example.com\r\n" for number in range(day * PEOPLE_PER_DAY, (day + 1) * PEOPLE_PER_DAY)
        )
        for day in range(DAYS)
    }


def work(url: str, storage: Storage) -> None:
    """Do what is queued, as a worker would; the body of the process that gets killed."""
    # Kills of one run again and again are what this test is about, not what makes a run be given up.
    vars(jobs.export_runs)["MAX_ATTEMPTS"] = 1000
    database, owner = Database(url), name_owner()
    while run_next_export(database, storage, owner):
        pass
    os._exit(0)


def start_and_kill(url: str, storage: Storage, pause: float | None) -> bool:
    """Start a worker and kill it after a pause, in seconds; tell whether it came to the end before."""
    worker = _fork.Process(target=work, args=(url, storage))
    worker.start()
    if pause is not None:
        time.sleep(pause)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    worker.join(120)
    assert worker.exitcode in (0, -signal.SIGKILL)
    return worker.exitcode == 0


def broken_off(database: Database) -> int:
    """Return how often a process was killed that had a run in hand."""
    with database.read() as connection:
        runs = connection.execute(select(export_run.c.attempts, export_run.c.state)).all()
    # The next process must not inherit a connection.
    database.close()
    return sum(run.attempts - (run.state == "completed") for run in runs)


def visible(storage: Storage) -> dict[str, str]:
    """Everything that the partner can see."""
    home = storage.home(1)
    files = (path for path in home.rglob("*") if path.is_file()) if home.exists() else ()
    return {str(path.relative_to(home / "export")): path.read_bytes().decode() for path in files}


@pytest.mark.parametrize("kills", [KILLS, pytest.param(300, marks=pytest.mark.torture)])
def test_killed_exports_give_each_due_run_one_whole_file(database_url: str, storage: Storage, kills: int) -> None:
    database = Database(database_url)
    set_up(database)
    chance, killed = random.Random(), 0
    expected: dict[str, str] = {}
    while killed < kills:
        expected |= schedule(database)
        database.close()
        while not start_and_kill(database_url, storage, chance.uniform(0.01, 0.15) if killed < kills else None):
            killed = broken_off(database)
            assert visible(storage).items() <= expected.items()
    assert visible(storage) == expected
    with database.read() as connection:
        runs = {row.file_name: row for row in connection.execute(select(export_run))}
    assert runs.keys() == expected.keys()
    assert {(row.state, row.rows) for row in runs.values()} == {("completed", PEOPLE_PER_DAY)}
    assert broken_off(database) == killed >= kills
    remove_export_leftovers(database, storage)
    assert list(storage.exports.iterdir()) == []
    database.close()
