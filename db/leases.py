"""Who works on what: a run is claimed for a short time, renewed while it goes on, and free again when its owner died.

An owner is named HOST:PID:START-NONCE, START being when its process began, where the system tells. A claim ends when
its time is over, later when the owner is a living process of this host, at once when it was one that no longer exists.
The clocks of all hosts on one database must agree within a second or two.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Table, and_, case, false, func, literal, not_, null, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.engine import Database
from db.types import UtcDateTime

LEASE = timedelta(seconds=12)
"""So long that two renewals may fail, so short that a dead host's run is taken over within fifteen seconds."""
LEASE_OF_LIVING = timedelta(seconds=60)
"""Of a living process of this host: what keeps it from renewing is over soon, unless it was stopped for good."""
RENEWALS = 3
"""In the time of a lease."""
MAX_ATTEMPTS = 3
CANCELLED = "cancelled"
_LOOK_SECONDS = 1.0
_IDLE_SECONDS = 5
_OF_LAST_TIME = (
    *("error_code", "error_text", "not_before", "started_at", "finished_at"),
    *("cancel_requested_at", "lease_owner", "lease_until"),
)
_OF_FILES = ("covers_since", "covers_until", "rows", "file_name", "files")


def name_owner() -> str:
    """Return a name for this process that no other process has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class RunTable:
    """A table whose rows are runs.

    Its columns are `state`, `attempts`, `lease_owner`, `lease_until`, `started_at`, `finished_at` and
    `cancel_requested_at`. A run ends as `completed`, `failed`, `skipped` or `cancelled`.
    """

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
            give_up_when_idle(connection)
            # Conditions may look at other runs, so two claims must not be decided at the same moment.
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(self.table.name))))
        free = or_(
            columns.state == self.queued,
            (columns.state == self.running) & self._is_over(connection, columns, owner),
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

    def request_cancel(self, connection: Connection, run_id: int, *, hands_back: bool = False) -> bool:
        """End a queued run as cancelled, or ask the owner of a running one to do so; False when it is too late.

        It is when the run has ended, or begun to deliver its files. The owner is told by `LeaseKeeper.cancelled`.

        Args:
            connection: in a writing transaction.
            run_id: of the run.
            hands_back: a queued run is not ended here but claimable at once, whatever it waits for, since its owner
                has something to give back to somebody.
        """
        columns = self.table.c
        now = literal(datetime.now(UTC), UtcDateTime)
        waits = columns.state == self.queued
        values = {
            "state": case((waits, self.running if hands_back else CANCELLED), else_=columns.state),
            "lease_until": case((waits, now if hands_back else null()), else_=columns.lease_until),
            "cancel_requested_at": func.coalesce(columns.cancel_requested_at, now),
        }
        if not hands_back:
            values["finished_at"] = case((waits, now), else_=columns.finished_at)
        unfinished = (columns.id == run_id, columns.state.in_((self.queued, self.running)), not_(self._delivers()))
        return connection.execute(self.table.update().where(*unfinished).values(values)).rowcount == 1

    def retry(self, connection: Connection, run_id: int) -> bool:
        """Queue a run that failed or was cancelled once more; False when it did neither.

        One that had begun to deliver its files goes on with that; others begin anew.
        """
        columns = self.table.c
        ended = self.table.update().where(columns.id == run_id, columns.state.in_(("failed", CANCELLED)))
        emptied: dict[str, Any] = {name: None for name in _OF_LAST_TIME if name in columns}
        for name in _OF_FILES:
            if name in columns and columns[name].nullable:
                emptied[name] = case((self._delivers(), columns[name]), else_=null())
        values = {**emptied, "state": self.queued, "attempts": 0}
        return connection.execute(ended.values(values)).rowcount == 1

    def is_cancelled(self, connection: Connection, run_id: int) -> bool:
        """Return whether somebody asked for the end of a run."""
        asked = select(self.table.c.cancel_requested_at.is_not(None)).where(self.table.c.id == run_id)
        return bool(connection.execute(asked).scalar_one_or_none())

    def is_live(self, connection: Connection, run: Any) -> ColumnElement[bool]:
        """Return the condition that somebody living works on a run; `run` is the columns of the table or an alias."""
        return and_(
            run.state == self.running, run.lease_owner.is_not(None), not_(self._is_over(connection, run, owner=None))
        )

    def _release(self, connection: Connection, run_id: int) -> bool:
        released = self.table.update().where(self.table.c.id == run_id).values(lease_owner=None, lease_until=None)
        return connection.execute(released).rowcount == 1

    def _delivers(self) -> ColumnElement[bool]:
        """Return the condition that the names of a run's files are recorded, so that some may have been handed out."""
        files = self.table.c.get("files")
        return files.is_not(None) if files is not None and files.nullable else false()

    def _is_over(self, connection: Connection, run: Any, owner: str | None) -> ColumnElement[bool]:
        """Return the condition that the claim on a running run has ended, for this owner, who knows of itself."""
        now = datetime.now(UTC)
        owners = connection.execute(
            select(self.table.c.lease_owner).where(self.table.c.state == self.running).distinct()
        ).scalars()
        here = {name: _is_dead(name) for name in owners if name is not None and name != owner and _is_here(name)}
        dead = [name for name, is_dead in here.items() if is_dead]
        living = [name for name, is_dead in here.items() if not is_dead]
        return or_(
            run.lease_until < now - (LEASE_OF_LIVING - LEASE),
            run.lease_owner.in_(dead),
            (run.lease_until < now) & or_(run.lease_owner.is_(None), run.lease_owner.not_in(living)),
        )


def give_up_when_idle(connection: Connection) -> None:
    """Have PostgreSQL end this transaction when its process stands still: others must not wait for what it locked.

    A machine that lost its power, or a process that was stopped, would keep its locks for hours otherwise.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")


def is_gone(owner: str) -> bool | None:
    """Return whether an owner's process does not exist any more; None when it is of another host."""
    return _is_dead(owner) if _is_here(owner) else None


class LeaseKeeper:
    """Renews a claim every few seconds from a thread of its own, while a `with` block lasts."""

    cancelled: threading.Event
    """Set once somebody has asked for the end of the run, within about a second."""

    def __init__(self, database: Database, runs: RunTable, run_id: int, owner: str) -> None:
        self.cancelled = threading.Event()
        self._database = database
        self._runs = runs
        self._run_id = run_id
        self._owner = owner
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{runs.table.name}-{run_id}", daemon=True)

    def __enter__(self) -> Self:
        # A run may have been claimed, after a crash or a restart, that somebody had asked to end.
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _keep(self) -> None:
        renewed = monotonic()
        while not self._stop.wait(_LOOK_SECONDS):
            # What fails now may not in a second, and the owner finds out for itself when it writes.
            with suppress(DBAPIError, PoolTimeout):
                self._look()
                if monotonic() - renewed >= LEASE.total_seconds() / RENEWALS:
                    self._renew()
                    renewed = monotonic()

    def _look(self) -> None:
        if not self.cancelled.is_set():
            with self._database.read_once() as connection:
                if self._runs.is_cancelled(connection, self._run_id):
                    self.cancelled.set()

    def _renew(self) -> None:
        with self._database.write() as connection:
            self._runs.renew(connection, self._run_id, self._owner)


def _is_here(owner: str) -> bool:
    return owner.rsplit(":", 2)[0] == socket.gethostname()


def _is_dead(owner: str) -> bool:
    """Return whether a process of this host does not exist any more."""
    process, nonce = owner.rsplit(":", 2)[1:]
    start, dash, _random = nonce.partition("-")
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process, but a living one
    # Another one has its number by now, as the first process of a container has each time.
    return bool(dash and start) and start != _start_of(int(process))


def _start_of(process: int) -> str:
    """Return when a process began, in clock ticks since the boot of the machine; empty where that cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19]
