"""Who works on what: a run is claimed for a short time, renewed while it goes on, and free again when its owner died.

An owner is named HOST:PID:NONCE. A claim ends when its time is over, or at once when the owner was a process
of this host that no longer exists.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, literal, or_, select
from sqlalchemy.exc import DBAPIError

from db.engine import Database
from db.types import UtcDateTime

LEASE = timedelta(seconds=15)
MAX_ATTEMPTS = 3


def name_owner() -> str:
    """Return a name for this process that no other process has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class RunTable:
    """A table whose rows are runs: columns `state`, `attempts`, `lease_owner`, `lease_until`."""

    table: Table
    queued: str = "queued"
    running: str = "running"

    def claim(self, connection: Connection, owner: str, *conditions: ColumnElement[bool]) -> int | None:
        """Take the oldest run that is queued, or whose owner died; return its id, None when there is none.

        Args:
            connection: in a writing transaction.
            owner: from `name_owner`.
            conditions: further conditions on the run.
        """
        now = datetime.now(UTC)
        columns = self.table.c
        if connection.dialect.name == "postgresql":
            # Conditions may look at other runs, so two claims must not be decided at the same moment.
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(self.table.name))))
        free = or_(
            columns.state == self.queued,
            (columns.state == self.running)
            & or_(columns.lease_until < now, columns.lease_owner.in_(self._dead_owners(connection))),
        )
        candidate = (
            select(columns.id).where(free, *conditions).order_by(columns.id).limit(1).with_for_update(skip_locked=True)
        )
        run_id = connection.execute(candidate).scalar_one_or_none()
        if run_id is None:
            return None
        connection.execute(
            self.table.update()
            .where(columns.id == run_id)
            .values(
                state=self.running,
                attempts=columns.attempts + 1,
                lease_owner=owner,
                lease_until=now + LEASE,
                started_at=func.coalesce(columns.started_at, literal(now, UtcDateTime)),
            )
        )
        return int(run_id)

    def renew(self, connection: Connection, run_id: int, owner: str, **values: Any) -> bool:
        """Prolong a claim, writing further column values with it; False when the run is someone else's now."""
        renewed = connection.execute(
            self.table.update()
            .where(self.table.c.id == run_id, self.table.c.lease_owner == owner, self.table.c.state == self.running)
            .values(lease_until=datetime.now(UTC) + LEASE, **values)
        )
        return renewed.rowcount == 1

    def finish(self, connection: Connection, run_id: int, owner: str, state: str, **values: Any) -> bool:
        """End a claimed run in a final state; False when the run is someone else's now."""
        return self.renew(
            connection, run_id, owner, state=state, finished_at=datetime.now(UTC), **values
        ) and self._release(connection, run_id)

    def requeue(self, connection: Connection, run_id: int, owner: str) -> bool:
        """Put a claimed run back into the queue, as if it had not been claimed; False when it is someone else's."""
        attempts = self.table.c.attempts - 1
        return self.renew(connection, run_id, owner, state=self.queued, attempts=attempts) and self._release(
            connection, run_id
        )

    def postpone(self, connection: Connection, run_id: int, owner: str, delay: timedelta, **values: Any) -> bool:
        """Give a claimed run up until later, when anyone may claim it; False when it is someone else's."""
        postponed = self.renew(connection, run_id, owner, lease_owner=None, **values)
        later = self.table.update().where(self.table.c.id == run_id).values(lease_until=datetime.now(UTC) + delay)
        return postponed and connection.execute(later).rowcount == 1

    def is_live(self, connection: Connection, run: Any) -> ColumnElement[bool]:
        """Return the condition that somebody living works on a run; `run` is the columns of the table or an alias."""
        dead = self._dead_owners(connection)
        return and_(
            run.state == self.running,
            run.lease_owner.is_not(None),
            run.lease_owner.not_in(dead),
            run.lease_until >= datetime.now(UTC),
        )

    def _release(self, connection: Connection, run_id: int) -> bool:
        released = self.table.update().where(self.table.c.id == run_id).values(lease_owner=None, lease_until=None)
        return connection.execute(released).rowcount == 1

    def _dead_owners(self, connection: Connection) -> list[str]:
        owners = connection.execute(
            select(self.table.c.lease_owner).where(self.table.c.state == self.running).distinct()
        ).scalars()
        return [owner for owner in owners if owner is not None and _is_dead(owner)]


class LeaseKeeper:
    """Renews a claim every few seconds from a thread of its own, while a `with` block lasts."""

    def __init__(self, database: Database, runs: RunTable, run_id: int, owner: str) -> None:
        self._renewing = (database, runs, run_id, owner)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{runs.table.name}-{run_id}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        database, runs, run_id, owner = self._renewing
        while not self._stop.wait(LEASE.total_seconds() / 3):
            # A renewal that fails is not the end: the next may not, and the owner finds out when it writes.
            with suppress(DBAPIError), database.write() as connection:
                runs.renew(connection, run_id, owner)


def _is_dead(owner: str) -> bool:
    host, process, _nonce = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process, but a living one
    return False
