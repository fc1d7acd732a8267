"""`listbridge schedule` and `listbridge jobs`, as an operator types them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from command_results import Run

from db.engine import Database
from jobs.sending_queue import SendingFileRequest, enqueue_sending_file

DAILY = ("schedule", "set", "--export", "1")


@pytest.fixture
def export(run: Run, customer: Run) -> None:
    assert run("export", "add", "--account", "7", "--type", "unsubscribers").code == 0


def test_a_schedule_from_its_setting_to_its_end(run: Run, export: None) -> None:
    assert run("schedule", "list").out == "There are no schedules.\n"
    told = run(*DAILY, "--weekly", "mon,thu@02:30", "--missed", "skip")
    assert told.out.startswith("The export 1 runs mon, thu at 02:30, first at ")
    shown = json.loads(run("schedule", "show", "--export", "1", "--json").out)
    assert shown["rule"] == {"kind": "weekly", "days": ["mon", "thu"], "at": "02:30"}
    assert (shown["account"], shown["time_zone"], shown["missed"], shown["paused_at"]) == (
        7,
        "Europe/Rome",
        "skip",
        None,
    )
    times = [datetime.fromisoformat(text).astimezone(ZoneInfo("Europe/Rome")) for text in shown["next_times"]]
    assert [f"{at:%H:%M}" for at in times] == ["02:30"] * 5
    assert len(run("schedule", "show", "--export", "1").out.splitlines()) == 10 + 5
    assert run("schedule", "pause", "--export", "1").code == 0
    assert json.loads(run("schedule", "list", "--account", "7", "--json").out)[0]["next_at"] is None
    assert run("schedule", "resume", "--export", "1").code == 0
    assert json.loads(run("schedule", "list", "--json").out)[0]["next_at"] is not None
    assert run("schedule", "remove", "--export", "1").code == 0
    for command in ("remove", "show", "pause", "resume"):
        refused = run("schedule", command, "--export", "1")
        assert (refused.code, refused.err) == (1, "listbridge: The export 1 has no schedule.\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--daily", "02:30"), "daily at 02:30"),
        (("--cron", "0 9-17/4 * * mon-fri"), "cron 0 9-17/4 * * mon-fri"),
        (("--every", "30"), "every 30 minutes"),
        (
            ("--every", "15", "--slot", "12:00-14:00", "--days", "Mon, tue"),
            "every 15 minutes from 12:00 to 14:00 on mon, tue",
        ),
        (("--daily", "02:30", "--time-zone", "Asia/Tokyo"), "daily at 02:30"),
    ],
)
def test_every_kind_of_rule_can_be_set(run: Run, export: None, options: tuple[str, ...], words: str) -> None:
    assert run(*DAILY, *options).out.startswith(f"The export 1 runs {words}, first at ")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((*DAILY,), 2, "give one of --daily"),
        ((*DAILY, "--daily", "02:30", "--every", "5"), 2, "give one of --daily"),
        ((*DAILY, "--daily", "02:30", "--slot", "12:00-14:00"), 2, "go with --every"),
        ((*DAILY, "--transfer", "1", "--daily", "02:30"), 2, "one of --export and --transfer"),
        (("schedule", "show"), 2, "one of --export and --transfer"),
        ((*DAILY, "--daily", "25:00"), 1, "HH:MM"),
        ((*DAILY, "--weekly", "monday@02:30"), 1, "choose among mon, tue"),
        ((*DAILY, "--cron", "0 0 30 2 *"), 1, "never comes true"),
        ((*DAILY, "--every", "5", "--slot", "12:00"), 1, "HH:MM"),
        ((*DAILY, "--daily", "02:30", "--time-zone", "Europe/Roma"), 1, "not a time zone"),
        (("schedule", "set", "--export", "9", "--daily", "02:30"), 1, "There is no export 9."),
        (("schedule", "run", "--transfer", "9"), 1, "There is no transfer 9."),
        (("jobs", "show", "export", "9"), 1, "There is no export job 9."),
        (("jobs", "cancel", "import", "9"), 1, "There is no import job 9."),
    ],
)
def test_what_cannot_be_is_refused(run: Run, export: None, arguments: tuple[str, ...], code: int, told: str) -> None:
    refused = run(*arguments)
    assert refused.code == code
    assert told in " ".join(refused.err.split())


def test_a_job_from_its_request_to_its_second_beginning(run: Run, export: None) -> None:
    assert run("jobs").out == "Nothing runs or waits.\n"
    assert run("jobs", "history").out == "There are no jobs that have ended.\n"
    assert run("schedule", "run", "--export", "1").out == "1\n"
    assert "unsubscribers (export 1)" in run("jobs").out
    (waiting,) = json.loads(run("jobs", "running", "--json").out)
    assert (waiting["kind"], waiting["id"], waiting["state"], waiting["account"]) == ("export", 1, "queued", 7)
    assert run("jobs", "cancel", "export", "1").out == "The export job 1 was cancelled after 0 rows.\n"
    refused = run("jobs", "cancel", "export", "1")
    assert refused.err == "listbridge: The export job 1 cannot be cancelled: it is cancelled.\n"
    (ended,) = json.loads(run("jobs", "history", "--export", "1", "--json").out)
    assert (ended["state"], ended["file"], ended["rows"]) == ("cancelled", None, None)
    assert run("jobs", "retry", "export", "1").out == "The export job 1 is queued.\n"
    assert json.loads(run("jobs", "show", "export", "1", "--json").out)["state"] == "queued"
    assert "state" in run("jobs", "show", "export", "1").out


def test_a_file_that_sends_is_a_job(run: Run, customer: Run, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    with database.write() as connection:
        request = SendingFileRequest(account_id=1, kind="parcel", file_name="a.zip", spool_name="gone", size=9)
        assert enqueue_sending_file(connection, request) == 1
    (waiting,) = json.loads(run("jobs", "running", "--json").out)
    assert (waiting["kind"], waiting["id"], waiting["what"]) == ("sending-file", 1, "a.zip")
    (listed,) = json.loads(run("jobs", "list", "--json").out)
    assert (listed["kind"], listed["file"], listed["state"]) == ("sending-file", "a.zip", "queued")
    assert json.loads(run("jobs", "show", "sending-file", "1", "--json").out)["size"] == 9
    assert "was asked to end" in run("jobs", "cancel", "sending-file", "1", "--wait", "0").out
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE sending_file SET state = 'cancelled', finished_at = created_at")
    database.close()
    (ended,) = json.loads(run("jobs", "history", "--json").out)
    assert (ended["kind"], ended["state"]) == ("sending-file", "cancelled")
    assert "copy of the file is gone" in run("jobs", "retry", "sending-file", "1").err
