"""`listbridge export run` when a run failed, or cannot be done at present."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_results import Run

from db.engine import Database
from db.tables import export_run, schedule
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
        connection.execute(schedule.update().values(since=datetime(2026, 3, 1, 12, tzinfo=UTC)))
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


def test_an_export_is_changed_shown_and_removed(customer: Run) -> None:
    added = customer(
        *("export", "add", "--account", "7", "--type", "recipients", "--at", "02:30", "--empty", "skip"),
        *("--where", "status = subscribed", "--where", "field:1 contains x", "--columns", "email,IdGroup,7"),
    )
    assert added.code == 0
    export_id = added.out.strip()
    changed = ("--period", "incremental", "--since", "2026-03-01", "--split-by-list", "--separator", "tab", "--zip")
    assert customer("export", "set", export_id, *changed).out == f"Export {export_id} is changed.\n"
    ran = customer("export", "run", export_id)
    assert (ran.code, ran.out) == (0, "")
    assert "There are no rows, and so no file." in ran.err
    shown = json.loads(customer("export", "show", export_id, "--json").out)
    names = ("type", "schedule", "period", "since", "columns", "separator", "zip", "empty", "split_by_list")
    assert [shown[name] for name in names] == [
        "recipients", "daily at 02:30", "incremental", "2026-03-01", "email,groups,7", "\t", True, "skip", True,
    ]  # fmt: skip
    assert shown["where"] == ["status = subscribed", "field:1 contains x"]
    assert [(one["state"], one["rows"], one["files"]) for one in shown["runs"]] == [("completed", 0, None)]
    assert "completed" in customer("export", "show", export_id).out
    assert customer("export", "remove", export_id).out == f"Export {export_id} is removed.\n"
    for command in ("show", "remove", "set", "run"):
        assert f"There is no export {export_id}." in customer("export", command, export_id).err


def test_what_cannot_be_used_is_told_in_a_line(customer: Run) -> None:
    common = ("export", "add", "--account", "7", "--type", "sms-statistics")
    for options, text in {
        ("--columns", "recipient"): "The column list is part of every export of sms-statistics.",
        ("--where", "list = 1"): "An export of sms-statistics cannot be filtered by where.",
        ("--word", "OK"): "'OK' is not in the form STATE=WORD.",
        ("--word", "sent=OK"): "'sent' is not a state that is told by a word: choose among delivered, queued, error.",
        ("--since", "2026-01-01"): "Only an incremental export begins at an instant.",
        ("--time-zone", "Mars"): "time_zone 'Mars' is not known",
        ("--split-by-list", "--name-pattern", "x.csv"): "the file name needs {list}.",
    }.items():
        result = customer(*common, *options)
        assert result.code == 1, options
        assert text in result.err
