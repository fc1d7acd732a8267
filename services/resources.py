"""What every door of the web application works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from db.engine import Database
from jobs.storage import Storage
from services.throttle import Lanes, LoginThrottle, Places

LARGE_TEXTS = 4
"""Calls whose large text one process keeps on the disk at once."""


LANES = 3
"""Calls that one process works on at once. They compute more than they wait, and more threads than this hinder each
other, most of all in SQLite, which hands the interpreter over at each row."""


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Resources:
    """The database and the files of this server, and what this process shares out among callers."""

    database: Database
    storage: Storage
    logins: LoginThrottle = field(default_factory=LoginThrottle)
    large_texts: Places = field(default_factory=lambda: Places(LARGE_TEXTS))
    lanes: Lanes = field(default_factory=lambda: Lanes(LANES))

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Do a small piece of work that only reads, in a lane; see `Database.read_with`."""
        with self.lanes:
            return self.database.read_with(work)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do a small piece of work that may write; see `Database.write_shared`."""
        # Not in a lane: on SQLite those who wait share a transaction, and on PostgreSQL one account's wait for a lock
        # would keep the lane from the others.
        return self.database.write_shared(work)
