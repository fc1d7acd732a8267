"""An import whose process is killed at random moments ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import jobs.imports
from audience.accounts import add_account, find_account
from audience.lists import add_group, set_field
from db.engine import Database
from db.leases import name_owner
from db.migration import migrate
from db.tables import group_member, history, import_error, import_run, recipient, subscription
from exchange.profiles import Profile
from jobs.feeds import find_feed, open_list, set_feed
from jobs.imports import run_next_import
from jobs.queue import enqueue_arrival, spool
from jobs.storage import Storage

ROWS = 3_000
CHUNK = 50
KILLS = 30
_fork = multiprocessing.get_context("fork")


def write_file(path: Path, seed: int = 0) -> Path:
    """New people, people twice, people who leave, bad rows and shared numbers."""
    chance = random.Random(seed)
    lines = ["email;mobile;1;optout;group"]
    for row in range(ROWS):
        person = chance.randrange(ROWS)
        email = f"person{person}@example.com" if row % 97 else "nobody"
        lines.append(f"{email};+39320{person % 2500:07};value {row};{int(row % 11 != 0)};{1 + row % 2}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def set_up(database: Database, storage: Storage) -> None:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = open_list(connection, storage, account, "News", {})
        add_group(connection, mailing, "Red")
        add_group(connection, mailing, "Blue")
        set_field(connection, account.id, 1, "Name")
        set_feed(connection, storage, account, "import/1", Profile(status="column", column_names={"optout": "status"}))


def arrive(database: Database, storage: Storage, file: Path) -> None:
    """Do what the FTP door does with a complete file."""
    visible = storage.home(1) / "import" / "1" / file.name
    visible.write_bytes(file.read_bytes())
    with visible.open("rb") as content:
        spooled = spool(storage, content)
    (storage.imports / spooled.name).unlink()
    os.link(visible, storage.imports / spooled.name)
    with database.write() as connection:
        feed = find_feed(connection, find_account(connection, 1).id, "import/1")
        assert feed is not None
        facts = {"name": file.name, "size": spooled.size, "sha256": spooled.sha256}
        enqueue_arrival(connection, feed, key=spooled.name, reason="test", **facts)  # type: ignore[arg-type]


def work(url: str, storage: Storage) -> None:
    """Do what is queued, as a worker would; the body of the process that gets killed."""
    jobs.imports.CHUNK_ROWS = jobs.imports.SQLITE_CHUNK_ROWS = CHUNK
    # Kills between a claim and its first chunk are what this test is about, not what puts a file aside.
    jobs.imports.MAX_ATTEMPTS = 1000
    database, owner = Database(url), name_owner()
    while run_next_import(database, storage, owner):
        pass
    os._exit(0)


def run_killed(url: str, storage: Storage, chance: random.Random, kills: int) -> int:
    """Start workers and kill them until one comes to the end; return how many were killed."""
    killed = 0
    while True:
        worker = _fork.Process(target=work, args=(url, storage))
        worker.start()
        if killed < kills:
            time.sleep(chance.uniform(0.01, 0.2))
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            killed += 1
        worker.join(120)
        if worker.exitcode == 0:
            return killed
        assert worker.exitcode == -signal.SIGKILL


def snapshot(database: Database) -> dict[str, Any]:
    """Everything the import wrote, without ids and instants."""
    with database.read() as connection:
        people = {row.id: (row.email, row.mobile, row.fields) for row in connection.execute(select(recipient))}
        return {
            "people": sorted(json.dumps(person) for person in people.values()),
            "statuses": sorted(
                (str(people[row.recipient_id]), row.channel, row.status)
                for row in connection.execute(select(subscription))
            ),
            "groups": sorted(
                (str(people[row.recipient_id]), row.group_id) for row in connection.execute(select(group_member))
            ),
            "history": sorted(
                (str(people[row.recipient_id]), row.kind, row.channel or 0, row.old_status or 0, row.new_status or 0)
                for row in connection.execute(select(history))
            ),
            "errors": [tuple(row) for row in connection.execute(select(import_error).order_by(import_error.c.line))],
            "runs": [
                (row.state, row.counters) for row in connection.execute(select(import_run).order_by(import_run.c.id))
            ],
        }


@pytest.mark.parametrize("kills", [KILLS, pytest.param(200, marks=pytest.mark.torture)])
def test_a_killed_import_ends_like_an_undisturbed_one(database_url: str, tmp_path: Path, kills: int) -> None:
    undisturbed, killed = Database(f"sqlite:///{tmp_path}/undisturbed.db"), Database(database_url)
    storages = [Storage(tmp_path / name, reserve=0) for name in ("undisturbed", "killed")]
    for database, storage in zip((undisturbed, killed), storages, strict=True):
        storage.prepare()
        migrate(database)
        set_up(database, storage)
    chance, done, files = random.Random(), 0, 0
    while done < kills:
        file = write_file(tmp_path / f"daily{files}.csv", files)
        for database, storage in zip((undisturbed, killed), storages, strict=True):
            arrive(database, storage, file)
            database.close()
        run_killed(undisturbed.url, storages[0], chance, 0)
        done += run_killed(database_url, storages[1], chance, kills - done)
        files += 1
    assert snapshot(killed) == snapshot(undisturbed)
    assert {state for state, _ in snapshot(killed)["runs"]} == {"completed"}
    assert contents(storages[0]) == contents(storages[1])
    killed.close()
    undisturbed.close()


def contents(storage: Storage) -> dict[str, bytes]:
    """What the sender finds, without the results, which have times in them."""
    folder = storage.home(1) / "import" / "1"
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert all(name.startswith("processed/") for name in files)
    return {name: b"" if name.endswith(".json") else path.read_bytes() for name, path in sorted(files.items())}


def test_a_poison_file_is_put_aside(sqlite_url: str, storage: Storage, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    set_up(database, storage)
    arrive(database, storage, write_file(tmp_path / "daily.csv"))
    with database.write() as connection:
        connection.execute(import_run.update().values(attempts=3))
    assert run_next_import(database, storage, name_owner())
    with database.read() as connection:
        run = connection.execute(select(import_run)).one()
        assert find_account(connection, 1).number == 1
    assert (run.state, run.error_code) == ("failed", "gave-up")
    assert (storage.home(1) / "import/1/failed/daily.csv").exists()
    assert not (storage.home(1) / "import/1/daily.csv").exists()
    database.close()


@pytest.mark.parametrize("moment", ["before the files", "after the files"])
def test_handing_back_twice_gives_the_same_files(
    sqlite_url: str, storage: Storage, tmp_path: Path, moment: str
) -> None:
    database = Database(sqlite_url)
    set_up(database, storage)
    arrive(database, storage, write_file(tmp_path / "daily.csv"))
    assert run_next_import(database, storage, name_owner())
    folder = storage.home(1) / "import" / "1"
    if moment == "before the files":
        (folder / "processed/daily.csv.result.json").unlink()
        (folder / "processed/daily.csv").rename(folder / "daily.csv")
    with database.write() as connection:
        connection.execute(import_run.update().values(state="queued"))
    assert run_next_import(database, storage, name_owner())
    names = sorted(path.name for path in (folder / "processed").iterdir())
    assert names == ["daily.csv", "daily.csv.errors.csv", "daily.csv.result.json"]
    database.close()
