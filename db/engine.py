"""Opens SQLite or PostgreSQL so that the rest of the program need not know which.

SQLite runs in WAL mode with full synchronisation. Its writers take the write lock when they begin
(`BEGIN IMMEDIATE`): a transaction that reads first and writes later would fail at once when another
writer got in between, whatever the busy timeout. SQLite itself lets waiting writers sleep and try again, so
that one who writes chunk after chunk can keep the others out for seconds; therefore writers queue for a
lock on a file beside the database first, where the kernel wakes who waits.
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from db.shared_writes import SharedWrites

SQLITE_BUSY_SECONDS = 60
PING_SECONDS = 5.0
"""A connection to PostgreSQL that was idle for longer is tried before it is used."""
_WRITES = "listbridge_writes"
_ALONE = "listbridge_alone"
_USED = "listbridge_used"
_SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-65536",
    # A chunk of an import is staged in temporary tables of some 20 MB.
    "temp_store=MEMORY",
    # Pages; a chunk fills several times the default of 1000, and each of its commits would copy the log back.
    "wal_autocheckpoint=16384",
)

Result = TypeVar("Result")


class Database:
    """One database, whichever kind, with transactions for reading and for writing."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """Open lazily: the first transaction connects.

        Args:
            url: a SQLAlchemy URL, `sqlite:///PATH` or `postgresql+psycopg://…`.
            pool_size: connections kept open by this process.
        """
        self.url = url
        self.engine = _create_engine(url, pool_size)
        self._alone = self.engine.execution_options(**{_ALONE: True})
        file = self.engine.url.database if self.is_sqlite else None
        self._lock_path = f"{file}-lock" if file else None
        self._shared = SharedWrites(self.write)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it sees one snapshot and never waits for writers."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read_once(self) -> Iterator[Connection]:
        """For one statement that only reads; without a transaction, whose begin and end cost as much as a look-up."""
        with self._alone.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; committed when the block ends, rolled back when it raises."""
        with self._turn(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def write_shared(self, work: Callable[[Connection], Result]) -> Result:
        """Do a small piece of work in a writing transaction and return its result; for doors that many call at once.

        On SQLite it may share the transaction with the work of other threads; it is kept whole or, when it raises,
        not at all, in any case. It has been committed when this returns.
        """
        if self.is_sqlite:
            return self._shared.run(work)
        with self.write() as connection:
            return work(connection)

    def read_with(self, work: Callable[[Connection], Result]) -> Result:
        """Do a piece of work that only reads, each of its statements by itself, and return its result."""
        with self.read_once() as connection:
            return work(connection)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this writer's turn, on SQLite; the kernel ends the turn of a process that dies."""
        if self._lock_path is None:
            yield
            return
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close this process's connections."""
        self.engine.dispose()


def _create_engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    options: dict[str, Any] = {
        "json_serializer": _dump_json,
        "json_deserializer": orjson.loads,
        "pool_size": pool_size,
        "max_overflow": pool_size,
        # Errors end in logs, and parameters are people's addresses.
        "hide_parameters": True,
    }
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
        engine = create_engine(parsed, **options)
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = create_engine(parsed, **options)
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "checkout", _check_postgresql)
        event.listen(engine, "checkin", _note_use)
    event.listen(engine, "begin", _begin)
    return engine


def _dump_json(value: object) -> str:
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself; `_begin` does.
    connection.isolation_level = None
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # As for SQLite.
    connection.autocommit = True


def _check_postgresql(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Have the pool replace a connection that has ended.

    What the server ended, by a restart for example, this side of the connection knows. A network that lost it tells
    nobody, so after some time the server is asked; asking each time would cost as much as a look-up.
    """
    idle = time.monotonic() - record.info.get(_USED, math.inf)
    try:
        # The server sends nothing unasked but its farewell.
        ended = _is_readable(connection.fileno())
        if not ended and idle > PING_SECONDS:
            connection.execute("SELECT 1")
    except connection.OperationalError as error:
        raise DisconnectionError from error
    if ended:
        raise DisconnectionError


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(_ALONE):
        return
    immediate = options.get(_WRITES) and connection.dialect.name == "sqlite"
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
