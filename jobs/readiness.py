"""Whether this server can do its work now: the checks behind `/readyz` and `listbridge doctor`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from weakref import WeakSet

import structlog
from sqlalchemy import func, select, text

from db.engine import Database
from db.migration import is_current
from db.tables import heartbeat
from jobs.storage import Storage

log = structlog.get_logger()

OK = "ok"
HEARTBEAT_AGE = timedelta(seconds=15)
_current: WeakSet[Database] = WeakSet()


def readiness(database: Database, storage: Storage) -> dict[str, str]:
    """Check everything the server depends on; return "ok", or what is wrong, by the name of the check."""
    checks: dict[str, Callable[[], str]] = {
        "database": lambda: _check_database(database),
        "spool": lambda: _check_spool(storage),
        "disk": lambda: OK if storage.has_room() else "less disk is free than the reserve",
        "scheduler": lambda: _check_heartbeat(database, "worker"),
        "ftp": lambda: _check_heartbeat(database, "ftp"),
        "mail": lambda: _check_heartbeat(database, "mail"),
    }
    return {name: _run(name, check) for name, check in checks.items()}


def _run(name: str, check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:
        log.warning("readiness_check_failed", check=name, error=type(error).__name__)
        return f"the check failed: {type(error).__name__}"


def _check_database(database: Database) -> str:
    with database.read() as connection:
        connection.execute(text("SELECT 1"))
    # A schema does not grow old under a running program, so once is enough.
    if database not in _current:
        if not is_current(database):
            return "the schema is not the one of this program; run `listbridge migrate`"
        _current.add(database)
    return OK


def _check_spool(storage: Storage) -> str:
    path = storage.receiving / f".readiness-{uuid.uuid4().hex}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()
    return OK


def _check_heartbeat(database: Database, role: str) -> str:
    with database.read() as connection:
        newest = connection.execute(select(func.max(heartbeat.c.at)).where(heartbeat.c.role == role)).scalar_one()
    if newest is None:
        return "has never been alive"
    age = datetime.now(UTC) - newest
    return OK if age <= HEARTBEAT_AGE else f"last alive {age.total_seconds():.0f} s ago"
