"""`listbridge export run` when a run failed, or cannot be done at present."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_results import Run

from db.engine import Database
from db.tables import export, export_run
from jobs.schedules import enqueue_due

ADD = ("export", "add", "--account", "7", "--type", "unsubscribers", "--name-pattern", "{date:yyyyMMdd}.csv")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    yield opened
    opened.close()


def test_failed_days_are_run_again(customer: Run, database: Database) -> None:
    export_id = customer(*ADD, "--period", "previous-day", "--at", "02:30").out.strip()
    with database.write() as connection:
        connection.execute(export.update().values(scheduled_since=datetime(2026, 3, 1, 12, tzinfo=UTC)))
    assert enqueue_due(database, datetime(2026, 3, 3, 12, tzinfo=UTC)) == 2
    with database.write() as connection:
        connection.execute(export_run.update().values(state="failed", error_text="The disk was full."))
    result = customer("export", "run", export_id)
    assert result.code == 0
    assert result.out == "export/20260302.csv\nexport/20260303.csv\n"
    for day in ("2026-03-02", "2026-03-03"):
        assert f"The run due at {day} 02:30 failed; it is run again.\n" in result.err
    listed = json.loads(customer("jobs", "list", "--json").out)
    assert [(job["state"], job["created_at"]) for job in listed] == [
        ("completed", "2026-03-03T01:30:00Z"),
        ("completed", "2026-03-02T01:30:00Z"),
    ]


def test_a_run_that_has_to_wait_is_told(customer: Run, tmp_path: Path) -> None:
    export_id = customer(*ADD).out.strip()
    folder = tmp_path / "var/homes/7/export"
    folder.rmdir()
    folder.touch()
    result = customer("export", "run", export_id)
    assert (result.code, result.out) == (1, "")
    reason = "The export could not be made yet. The last time: File exists."
    assert f"listbridge: {reason} A running server tries it again for a day.\n" in result.err
    (listed,) = json.loads(customer("export", "list", "--json").out)
    assert (listed["last_state"], listed["last_error"]) == ("queued", reason)
