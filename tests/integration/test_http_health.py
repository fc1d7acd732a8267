"""What those who watch the server are told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from web_server import Site, serve

from audience.accounts import add_account
from db.engine import Database
from db.tables import arrival, export, export_run, feed, heartbeat, import_run
from jobs.feeds import open_list
from jobs.readiness import HEARTBEAT_AGE
from jobs.storage import Storage


def _beat(database: Database, role: str, age: timedelta = timedelta()) -> None:
    with database.write() as connection:
        values = {"role": role, "owner": f"{role}-{age}", "at": datetime.now(UTC) - age}
        connection.execute(heartbeat.insert().values(**values))


def _ready(site: Site) -> tuple[int, dict[str, str]]:
    reply = site.get("/readyz")
    return reply.status, json.loads(reply.body)


def test_alive(database: Database, storage: Storage) -> None:
    with serve(database, storage) as site:
        assert (site.get("/healthz").status, site.get("/healthz").text) == (200, "ok")


def test_ready(database: Database, storage: Storage) -> None:
    for role in ("worker", "ftp", "mail"):
        _beat(database, role, timedelta(days=1))
        _beat(database, role)
    with serve(database, storage) as site:
        assert _ready(site) == (200, dict.fromkeys(("database", "spool", "disk", "scheduler", "ftp", "mail"), "ok"))
    assert list(storage.receiving.iterdir()) == []


@pytest.mark.parametrize(("role", "check"), [("worker", "scheduler"), ("ftp", "ftp"), ("mail", "mail")])
def test_roles_that_are_silent(sqlite_url: str, storage: Storage, role: str, check: str) -> None:
    database = Database(sqlite_url)
    for other in {"worker", "ftp", "mail"} - {role}:
        _beat(database, other)
    with serve(database, storage) as site:
        status, checks = _ready(site)
        assert (status, checks[check]) == (503, "has never been alive")
        _beat(database, role, HEARTBEAT_AGE + timedelta(minutes=1))
        status, checks = _ready(site)
        assert status == 503
        assert checks[check].startswith("last alive 7")
        assert [name for name, state in checks.items() if state != "ok"] == [check]
    database.close()


def test_spool_and_disk(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    storage.receiving.rmdir()
    with serve(database, Storage(storage.root, reserve=2**62)) as site:
        status, checks = _ready(site)
    database.close()
    assert status == 503
    assert checks["spool"] == "the check failed: FileNotFoundError"
    assert checks["disk"] == "less disk is free than the reserve"


def test_database_of_another_schema(tmp_path: Path, storage: Storage) -> None:
    database = Database(f"sqlite:///{tmp_path}/empty.db")
    with serve(database, storage) as site:
        status, checks = _ready(site)
        assert status == 503
        assert "listbridge migrate" in checks["database"]
        assert checks["scheduler"] == "the check failed: OperationalError"
        assert "listbridge_database_up 0.0" in site.get("/metrics").text
    database.close()


def test_metrics(database: Database, storage: Storage) -> None:
    now = datetime.now(UTC)
    with database.write() as connection:
        account = add_account(connection, 7, password="secret")
        mailing = open_list(connection, storage, account, "News", {})
        (feed_id,) = connection.execute(feed.select().with_only_columns(feed.c.id)).one()
        run = {
            "account_id": account.id,
            "list_id": mailing.id,
            "source": "ftp",
            "file_name": "x",
            "spool_name": "x",
            "profile": {},
            "size": 1,
        }
        states = [("completed", {"new": 3, "existing": 4}), ("completed", {"new": 2}), ("queued", {})]
        for number, (state, counters) in enumerate(states):
            created = now - timedelta(seconds=100)
            values = {**run, "number": number, "state": state, "counters": counters, "created_at": created}
            connection.execute(import_run.insert().values(**values))
        for key, complete, age in (("a", True, 500), ("b", True, 200), ("c", False, 1)):
            values = {"account_id": account.id, "feed_id": feed_id, "key": key, "name": key, "size": 1, "reason": "x"}
            at = now - timedelta(seconds=age)
            connection.execute(arrival.insert().values(**values, complete=complete, at=at))
        values = {"account_id": account.id, "type": "unsubscribers", "settings": {}}
        added = connection.execute(export.insert().values(**values, created_at=now).returning(export.c.id))
        values = {"export_id": added.scalar_one(), "due_at": now, "scheduled": True, "state": "completed"}
        connection.execute(export_run.insert().values(**values))
    _beat(database, "worker", timedelta(seconds=50))
    with serve(database, storage) as site:
        site.get("/frontend/xmlSubscribe.aspx")
        site.get("/no/such/page")
        reply = site.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#"))
    assert float(lines['listbridge_imports{state="completed"}']) == 2
    assert float(lines['listbridge_imports{state="queued"}']) == 1
    assert float(lines['listbridge_imported_rows_total{outcome="new"}']) == 5
    assert float(lines['listbridge_imported_rows_total{outcome="existing"}']) == 4
    assert 100 <= float(lines["listbridge_import_queue_oldest_seconds"]) < 200
    assert 200 <= float(lines['listbridge_feed_newest_arrival_seconds{account="7",folder="import/1"}']) < 300
    assert float(lines['listbridge_export_runs{state="completed"}']) == 1
    assert 50 <= float(lines['listbridge_heartbeat_age_seconds{role="worker"}']) < 150
    assert float(lines["listbridge_database_up"]) == 1
    assert float(lines['listbridge_http_requests_total{endpoint="mailup.xmlsubscribe",status="200"}']) >= 1
    assert float(lines['listbridge_http_requests_total{endpoint="other",status="404"}']) >= 1
    assert "/no/such/page" not in reply.text
