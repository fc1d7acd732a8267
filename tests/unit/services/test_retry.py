"""What is repeated and what is not, on a SQLite database that somebody holds (PostgreSQL: `test_http_conflicts`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from db.engine import Database
from db.retry import SQLITE_RETRIES, retry_on_conflict


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    yield database
    database.close()


class _Attempts:
    """A transaction that does not wait for the lock, and a holder who lets go after some attempts."""

    def __init__(self, database: Database, holder: sqlite3.Connection, let_go_after: int) -> None:
        self.done = 0
        self._database = database
        self._holder = holder
        self._let_go_after = let_go_after

    def __call__(self) -> int:
        self.done += 1
        try:
            with self._database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout=0")
                connection.exec_driver_sql("UPDATE account SET name = name")
                connection.commit()
        finally:
            if self.done == self._let_go_after:
                self._holder.rollback()
        return self.done


def _hold(database: Database) -> sqlite3.Connection:
    holder = sqlite3.connect(str(database.engine.url.database))
    holder.execute("BEGIN IMMEDIATE")
    return holder


def test_a_locked_database_is_tried_again(database: Database) -> None:
    with closing(_hold(database)) as holder:
        assert retry_on_conflict(_Attempts(database, holder, 1)) == 2


def test_gives_up(database: Database) -> None:
    with closing(_hold(database)) as holder:
        attempts = _Attempts(database, holder, SQLITE_RETRIES + 2)
        with pytest.raises(OperationalError):
            retry_on_conflict(attempts)
    assert attempts.done == SQLITE_RETRIES + 1


@pytest.mark.parametrize(
    ("statement", "error"),
    [("SELECT * FROM nothing", OperationalError), ("INSERT INTO account (number) VALUES (1)", IntegrityError)],
)
def test_other_errors_are_not_repeated(database: Database, statement: str, error: type[Exception]) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        with database.write() as connection:
            connection.exec_driver_sql(statement)

    with pytest.raises(error):
        retry_on_conflict(fail)
    assert len(calls) == 1
