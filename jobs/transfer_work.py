"""A claimed run of a transfer, as the code of its direction sees it: what to do, when to stop, how to write it down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection

from audience.accounts import Account
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import transferred_file
from jobs.remote_servers import Access
from jobs.remote_sessions import RemoteError
from jobs.storage import Storage
from jobs.transfers import RUNS, Transfer

Outcome = TypeVar("Outcome")
_GRACE_SECONDS = 60.0
_SLOWEST = 1024
"""Bytes in a second, on average, below which a file's transfer is given up; a security limit."""
_SHOWN_PROBLEMS = 3


class LeaseLost(Exception):
    """Another process took the run over; this one must leave it alone."""


class Interrupted(Exception):
    """The worker stops; the run goes back into the queue."""


class Cancelled(Exception):
    """Somebody asked for the end of the run."""


@dataclass(slots=True)
class Work:
    """What a run has to do, and what has become of it so far."""

    database: Database
    storage: Storage
    run_id: int
    owner: str
    transfer: Transfer
    account: Account
    access: Access
    stopping: threading.Event
    cancelled: threading.Event
    files: int
    bytes: int
    problems: list[str] = field(default_factory=list)
    """What has to be tried again, one sentence each."""
    remarks: list[str] = field(default_factory=list)
    """What was left for good."""

    def check(self) -> None:
        """Stop when that is wanted; to be called often.

        Raises:
            Cancelled: somebody asked for the end of the run.
            Interrupted: the worker stops.
        """
        if self.cancelled.is_set():
            raise Cancelled
        if self.stopping.is_set():
            raise Interrupted

    def write(self, action: Callable[[Connection], Outcome], **values: Any) -> Outcome:
        """Do something in a writing transaction that also proves that the run is still this worker's.

        Args:
            action: must bear being called again after a rollback.
            values: of the run's columns.

        Raises:
            LeaseLost: it is not.
        """

        def attempt() -> Outcome:
            with self.database.write() as connection:
                if not RUNS.renew(connection, self.run_id, self.owner, **values):
                    raise LeaseLost
                return action(connection)

        return retry_on_conflict(attempt)

    def count(self, size: int) -> dict[str, int]:
        """Return the run's columns with one more file of this many bytes, for `write`."""
        self.files += 1
        self.bytes += size
        return {"files": self.files, "bytes": self.bytes}

    def note_file(self, connection: Connection, name: str, size: int, modified: str, sha256: str) -> None:
        """Write down that a file is transferred, so that it never is again."""
        values = {"transfer_id": self.transfer.id, "run_id": self.run_id, "at": datetime.now(UTC)}
        identity = {"name": name, "size": size, "modified": modified}
        connection.execute(transferred_file.insert().values(values | identity | {"sha256": sha256}))

    def describe_problems(self) -> str:
        """Return the first problems, and how many more there are."""
        shown = " ".join(self.problems[:_SHOWN_PROBLEMS])
        more = len(self.problems) - _SHOWN_PROBLEMS
        return f"{shown} And {more} more." if more > 0 else shown


class Pace:
    """Sees that one file does not take for ever, however small the pieces it comes in."""

    def __init__(self) -> None:
        self._begun = monotonic()

    def check(self, size: int) -> None:
        """Compare the bytes so far with the time.

        Raises:
            RemoteError: it is far too slow.
        """
        if monotonic() - self._begun > _GRACE_SECONDS + size / _SLOWEST:
            raise RemoteError(f"The transfer is slower than {_SLOWEST} bytes in a second.")
