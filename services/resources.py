"""What every door of the web application works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from db.engine import Database
from delivery.outgoing_http import Network, OutgoingClient
from delivery.sending_requests import SendingRules
from jobs.storage import Storage
from services.throttle import Lanes, LoginThrottle, Places

LARGE_TEXTS = 4
"""Calls whose large text one process keeps on the disk at once."""

FETCHES = 4
"""Calls that wait for other servers at once in one process, so that most of its threads stay free."""

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
    fetches: Places = field(default_factory=lambda: Places(FETCHES))
    content_networks: tuple[Network, ...] = ()
    """Networks that the pages and images of messages may lie in although they are not public."""
    sending_rules: SendingRules = field(default_factory=SendingRules)
    """What is demanded of all sendings."""
    public_url: str = ""
    """Under which readers of mails reach this server's pages, without a slash at its end."""

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Do a small piece of work that only reads, in a lane; see `Database.read_with`."""
        with self.lanes:
            return self.database.read_with(work)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do a small piece of work that may write; see `Database.write_shared`."""
        # Not in a lane: on SQLite those who wait share a transaction, and on PostgreSQL one account's wait for a lock
        # would keep the lane from the others.
        return self.database.write_shared(work)

    def fetch(self, work: Callable[[OutgoingClient], Result]) -> Result:
        """Do work of a SOAP call that waits for servers that customers chose, outside of its lane.

        Raises:
            NoPlace: others wait already.
        """
        with self.fetches.take(), self.lanes.left():
            return work(OutgoingClient(self.content_networks))
