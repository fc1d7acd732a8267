"""What housekeeping takes away and, above all, what it leaves."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import add_account, find_account
from audience.lists import add_list
from db.engine import Database
from db.tables import export_run, heartbeat, import_run, import_seen, inbound_mail, notice, outbox
from exchange.profiles import Profile
from jobs.export_settings import ExportSettings
from jobs.exports import add_export, request_run
from jobs.heartbeats import beat
from jobs.housekeeping import (
    keep_house,
    remove_export_leftovers,
    remove_heartbeats,
    remove_imported,
    remove_inbound,
    remove_mails,
    remove_notices,
    remove_runs,
    remove_seen,
)
from jobs.queue import ImportRequest, enqueue_import
from jobs.storage import Storage

NOW = datetime.now(UTC)
WEEK = timedelta(days=7)
UNFINISHED = ("queued", "running")


def spool(database: Database, storage: Storage, name: str, **values: Any) -> None:
    """Put a file and its import into the spool."""
    (storage.imports / name).write_text("email\r\n")
    request = ImportRequest(
        account_id=1, list_id=1, profile=Profile(), source="ftp", file_name="a.csv", spool_name=name, size=7
    )
    with database.write() as connection:
        import_id = enqueue_import(connection, request)
        connection.execute(import_run.update().where(import_run.c.id == import_id).values(**values))


@pytest.fixture
def account_id(database: Database) -> int:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        add_list(connection, account.id, "First")
    return account.id


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_spooled_files_go_a_week_after_their_import_has_ended(
    database: Database, storage: Storage, account_id: int
) -> None:
    old, recent = NOW - timedelta(days=8), NOW - timedelta(days=6)
    for state in ("completed", "failed", "skipped", "cancelled"):
        spool(database, storage, f"old-{state}", state=state, finished_at=old)
        spool(database, storage, f"recent-{state}", state=state, finished_at=recent)
    for state in ("prepared", "queued", "running"):
        spool(database, storage, f"old-{state}", state=state, created_at=old)
    for name in ("unknown", "old.part", "recent.part"):
        (storage.imports / name).write_text("email\r\n")
    for name in ("unknown", "old.part"):
        os.utime(storage.imports / name, (old.timestamp(), old.timestamp()))
    assert remove_imported(database, storage, WEEK) == 5
    assert names(storage.imports) == {
        *("recent-completed", "recent-failed", "recent-skipped", "recent-cancelled"),
        *("old-prepared", "old-queued", "old-running"),
        *("unknown", "recent.part"),
    }
    assert remove_imported(database, storage, WEEK) == 0


def test_many_spooled_files_are_asked_about_in_groups(database: Database, storage: Storage, account_id: int) -> None:
    for number in range(1_100):
        (storage.imports / f"unknown-{number:04}").touch()
    spool(database, storage, "zz", state="completed", finished_at=NOW - timedelta(days=8))
    assert remove_imported(database, storage, WEEK) == 1
    assert len(names(storage.imports)) == 1_100


def test_leftovers_of_exports_go_when_their_run_has_ended(
    database: Database, storage: Storage, account_id: int
) -> None:
    with database.write() as connection:
        account = add_account(connection, 8, password="a long password")
        export_id = add_export(connection, account, "unsubscribers", ExportSettings())
        runs = {state: request_run(connection, export_id) for state in (*UNFINISHED, "completed", "failed")}
        for state, run_id in runs.items():
            connection.execute(export_run.update().where(export_run.c.id == run_id).values(state=state))
    for run_id in (*runs.values(), 999):
        (storage.exports / f"{run_id}.0123abcd.part").write_text("half a fi")
        (storage.exports / f"{run_id}.ready").write_text("a file")
    (storage.exports / "foreign").touch()
    assert remove_export_leftovers(database, storage) == 6
    kept = {f"{runs[state]}.{rest}" for state in ("queued", "running") for rest in ("0123abcd.part", "ready")}
    assert names(storage.exports) == {*kept, "foreign"}


def test_heartbeats_of_a_day_ago_go(database: Database) -> None:
    with database.write() as connection:
        for owner in ("dead", "alive"):
            beat(connection, "worker", owner)
            beat(connection, "worker", owner)
        day_ago = NOW - timedelta(hours=25)
        connection.execute(heartbeat.update().where(heartbeat.c.owner == "dead").values(at=day_ago))
    assert remove_heartbeats(database) == 1
    with database.read() as connection:
        assert [row.owner for row in connection.execute(heartbeat.select())] == ["alive"]


def test_notices_go_thirty_days_after_they_went_out(database: Database, account_id: int) -> None:
    mail = {"account_id": account_id, "kind": "import", "address": "a@example.com", "subject": "s", "text": "t"}
    old, recent = NOW - timedelta(days=31), NOW - timedelta(days=29)
    with database.write() as connection:
        for key, state, sent in (("a", "sent", old), ("b", "sent", recent), ("c", "waiting", None)):
            connection.execute(notice.insert().values(key=key, state=state, created_at=old, sent_at=sent, **mail))
    assert remove_notices(database) == 1
    with database.write() as connection:
        assert [row.key for row in connection.execute(notice.select())] == ["b", "c"]
        connection.execute(notice.update().where(notice.c.key == "c").values(state="failed", finished_at=old))
    assert remove_notices(database) == 1


def test_mails_go_thirty_days_after_their_end(database: Database, account_id: int) -> None:
    old, recent = NOW - timedelta(days=31), NOW - timedelta(days=29)
    with database.write() as connection:
        mailing = add_list(connection, account_id, "News")
        mail = {"account_id": account_id, "list_id": mailing.id, "kind": "welcome", "created_at": old}
        states = [("sent", old), ("failed", old), ("cancelled", old), ("sent", recent), ("waiting", None)]
        for person, (state, at) in enumerate(states):
            connection.execute(outbox.insert().values(recipient_id=person, state=state, finished_at=at, **mail))
    assert remove_mails(database) == 3
    with database.read() as connection:
        assert list(connection.execute(select(outbox.c.recipient_id).order_by(outbox.c.id)).scalars()) == [3, 4]


def test_mails_that_came_back_lose_their_contents_and_go(database: Database) -> None:
    with database.write() as connection:
        for days in (None, 1, 8, 31):
            finished = NOW - timedelta(days=days) if days else None
            row = {"source": "smtp", "digest": str(days), "sender": "", "recipients": [], "content": b"x"}
            row |= {"state": "completed" if days else "waiting", "created_at": NOW, "finished_at": finished}
            connection.execute(inbound_mail.insert().values(row))
    assert remove_inbound(database) == 1
    with database.read() as connection:
        left = connection.execute(select(inbound_mail.c.digest, inbound_mail.c.content).order_by(inbound_mail.c.id))
        assert [tuple(row) for row in left] == [("None", b"x"), ("1", b"x"), ("8", None)]


def test_runs_go_after_a_year_but_what_others_go_on_from_stays(database: Database, account_id: int) -> None:
    old = NOW - timedelta(days=400)
    with database.write() as connection:
        account = find_account(connection, 7)
        for _ in range(2):
            add_export(connection, account, "unsubscribers", ExportSettings())
        for export_id, day, state in (
            *((1, 0, "completed"), (1, 1, "cancelled"), (1, 2, "completed"), (1, 3, "failed"), (1, 4, "queued")),
            *((2, 0, "completed"), (2, 1, "failed")),
        ):
            at = old + timedelta(days=day)
            run = {"export_id": export_id, "due_at": at, "scheduled": True, "state": state, "finished_at": at}
            connection.execute(export_run.insert().values(**run))
    assert remove_runs(database) == 2
    with database.read() as connection:
        kept = [(row.export_id, row.state) for row in connection.execute(export_run.select().order_by(export_run.c.id))]
    assert kept == [(1, "completed"), (1, "failed"), (1, "queued"), (2, "completed"), (2, "failed")]


def test_notes_of_imports_go_when_the_import_cannot_go_on(
    database: Database, storage: Storage, account_id: int
) -> None:
    old, recent = NOW - timedelta(days=8), NOW - timedelta(days=1)
    ended = [("completed", recent), ("failed", old), ("failed", recent), ("cancelled", recent), ("running", None)]
    for number, (state, at) in enumerate(ended):
        spool(database, storage, f"file-{number}", state=state, finished_at=at)
    met = [
        {"import_id": sign * import_id, "list_id": list_id, "recipient_id": person}
        for import_id in (1, 2, 3, 4, 5, 6)
        for sign in (1, -1)
        for list_id in (1, 2)
        for person in (1, 2, 3)
    ]
    with database.write() as connection:
        connection.execute(import_seen.insert(), met)
    assert remove_seen(database, WEEK) == 3 * 12
    with database.read() as connection:
        assert {abs(row.import_id) for row in connection.execute(import_seen.select())} == {3, 4, 5}


def test_an_empty_house_is_kept_too(database: Database, storage: Storage) -> None:
    keep_house(database, storage, WEEK)
