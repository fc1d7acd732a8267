"""Repeats transactions that others got in the way of: of two that touch the same rows a database may end either."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger()

POSTGRESQL_RETRIES = 3
SQLITE_RETRIES = 1
"""Few, because each has waited the whole busy timeout before it fails."""

# serialization_failure and deadlock_detected (PostgreSQL, appendix A).
_CONFLICTS = ("40001", "40P01")

Outcome = TypeVar("Outcome")


def retry_on_conflict(function: Callable[[], Outcome]) -> Outcome:
    """Call a function and return what it returns; call it again when the database gave up its transaction.

    The function must open and end its transaction itself, and must bear being called again after that was rolled
    back. Deadlocks and serialization failures are retried `POSTGRESQL_RETRIES` times, a locked SQLite database
    `SQLITE_RETRIES` times.

    Raises:
        DBAPIError: the last conflict, or any other error at once.
    """
    retries = 0
    while True:
        try:
            return function()
        except DBAPIError as error:
            if retries >= _allowed_retries(error):
                raise
            retries += 1
            log.warning("transaction_repeated", error=type(error.orig).__name__, retry=retries)


def _allowed_retries(error: DBAPIError) -> int:
    cause = error.orig
    if isinstance(cause, sqlite3.OperationalError):
        # The lower byte is the kind of error; the rest tells more about it.
        return SQLITE_RETRIES if cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY else 0
    return POSTGRESQL_RETRIES if getattr(cause, "sqlstate", None) in _CONFLICTS else 0
