"""Writes that share a transaction are kept one by one, whatever becomes of their neighbours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from db.engine import Database
from db.tables import heartbeat

THREADS = 16
EACH = 25


def add(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.exec_driver_sql(
            "INSERT INTO heartbeat (role, owner, at) VALUES ('test', '" + name + "', '2026-01-01 00:00:00')"
        )
        return name

    return work


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(heartbeat)).scalar_one())


def test_each_thread_gets_its_own_result(database: Database) -> None:
    names = [f"{thread}-{number}" for thread in range(THREADS) for number in range(EACH)]
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(lambda name: database.write_shared(add(name)), names)) == names
    assert count(database) == len(names)


def test_who_fails_fails_alone(database: Database) -> None:
    class Refused(Exception):
        pass

    def fail(name: str) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            add(name)(connection)
            raise Refused(name)

        return work

    def attempt(number: int) -> bool:
        if number % 3:
            return database.write_shared(add(str(number))) == str(number)
        with pytest.raises(Refused, match=f"^{number}$"):
            database.write_shared(fail(str(number)))
        return False

    with ThreadPoolExecutor(THREADS) as pool:
        kept = sum(pool.map(attempt, range(300)))
    assert kept == count(database) == 200


def test_a_conflict_of_keys_fails_alone(database: Database) -> None:
    def attempt(number: int) -> bool:
        try:
            database.write_shared(add(str(number // 2)))
        except Exception:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(attempt, range(100))) == 50
    assert count(database) == 50


def test_those_who_wait_share_one_transaction(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    commits: list[Any] = []
    event.listen(database.engine, "commit", commits.append)
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        held.set()
        release.wait(30)

    with ThreadPoolExecutor(THREADS + 1) as pool:
        first = pool.submit(database.write_shared, hold)
        held.wait(30)
        others = [pool.submit(database.write_shared, lambda _connection: None) for _ in range(THREADS)]
        while len(database._shared._waiting) < THREADS:
            pass
        release.set()
        for future in (first, *others):
            future.result(30)
    assert len(commits) == 2
    database.close()


def test_a_transaction_that_cannot_begin_fails_its_leader_only(sqlite_url: str) -> None:
    from db.shared_writes import SharedWrites

    database = Database(sqlite_url)
    attempts = []

    @contextmanager
    def write() -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no disk")
        with database.write() as connection:
            yield connection

    shared = SharedWrites(write)
    with pytest.raises(OSError, match="no disk"):
        shared.run(lambda _connection: 1)
    assert shared.run(lambda _connection: 2) == 2
    database.close()
