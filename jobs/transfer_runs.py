"""Runs of transfers: claimed by one worker, one at a time per server, tried again with pauses, given up after a day."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Row, and_, exists, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from audience.accounts import load_account, select_active_ids
from audience.notices import add_notice
from db.engine import Database
from db.leases import CANCELLED, LEASE, MAX_ATTEMPTS, LeaseKeeper
from db.retry import retry_on_conflict
from db.tables import transfer, transfer_run
from jobs.remote_access import Dialer
from jobs.remote_servers import RemoteServer, load_remote_server
from jobs.remote_sessions import RemoteError, RemoteRefused
from jobs.storage import Storage
from jobs.transfer_deliver import deliver_files
from jobs.transfer_fetch import fetch_files
from jobs.transfer_work import Cancelled, Interrupted, LeaseLost, Work
from jobs.transfers import RUNS, find_transfer

log = structlog.get_logger()

PATIENCE = timedelta(days=1)
"""How long a run is tried again while the server, or the surroundings here, fail it."""
SHORTEST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
_SURROUNDINGS = (DBAPIError, PoolTimeout, OSError)
_TOO_OFTEN = f"The transfer was begun {MAX_ATTEMPTS} times and never came to an end."


def run_next_transfer(
    database: Database,
    storage: Storage,
    owner: str,
    stopping: threading.Event | None = None,
    *,
    dialer: Dialer,
) -> bool:
    """Do the oldest transfer run that is waiting, or that a dead process left; False when there is none.

    Runs with one server are done one after the other. A run does the work of all of its transfer that wait at its
    begin, which end as skipped. What fails is put back for a pause that grows from 30 seconds to 15 minutes, for a
    day; what only a change of settings can heal fails at once. When a run is given up, the account's technical
    contact gets a notice.

    Args:
        database: with the runs.
        storage: where spool and homes are.
        owner: from `db.leases.name_owner`.
        stopping: once set, a run is put back into the queue.
        dialer: connects to the servers.
    """
    run = retry_on_conflict(lambda: _claim(database, owner))
    if run is None:
        return False
    try:
        _Running(database, storage, owner, run, stopping or threading.Event(), dialer).run()
    except LeaseLost:
        log.warning("transfer_lost", run_id=run.id)
    return True


class _Running:
    """One claimed run on its way."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        owner: str,
        run: Row[Any],
        stopping: threading.Event,
        dialer: Dialer,
    ) -> None:
        self._database = database
        self._storage = storage
        self._owner = owner
        self._run = run
        self._stopping = stopping
        self._dialer = dialer
        with database.read() as connection:
            self._transfer = find_transfer(connection, run.transfer_id)
            self._account = load_account(connection, self._transfer.account_id)
            self._server: RemoteServer = load_remote_server(connection, self._transfer.remote_id)

    def run(self) -> None:
        """Bring the run to its end, or leave it for a further attempt.

        Raises:
            LeaseLost: another process has it now.
        """
        if self._run.attempts > MAX_ATTEMPTS:
            self._give_up(f"{_TOO_OFTEN} Each time the process that did it ended.")
            return
        try:
            self._transfer_files()
        except LeaseLost:
            raise
        except Cancelled:
            self._finish(CANCELLED, error_text=None)
        except Interrupted:
            with self._database.write() as connection:
                RUNS.requeue(connection, self._run.id, self._owner)
        except RemoteRefused as error:
            self._give_up(str(error))
        except RemoteError as error:
            self._postpone(str(error))
        except _SURROUNDINGS as error:
            self._postpone(_describe(error))
        except Exception as error:  # whatever it is, the other runs must have their turn
            self._try_again(error)

    def _transfer_files(self) -> None:
        with LeaseKeeper(self._database, RUNS, self._run.id, self._owner) as keeper:
            work = Work(
                database=self._database,
                storage=self._storage,
                run_id=self._run.id,
                owner=self._owner,
                transfer=self._transfer,
                account=self._account,
                access=self._server.access,
                stopping=self._stopping,
                cancelled=keeper.cancelled,
                files=self._run.files,
                bytes=self._run.bytes,
            )
            work.check()
            (fetch_files if self._transfer.direction == "fetch" else deliver_files)(work, self._dialer)
        if work.problems:
            raise RemoteError(work.describe_problems())
        self._finish("completed", error_text=" ".join(work.remarks) or None)
        log.info("transfer_completed", run_id=self._run.id, files=work.files, bytes=work.bytes)

    def _postpone(self, text: str) -> None:
        """Leave the run for later, as if it had not been begun."""
        now = datetime.now(UTC)
        since = self._run.started_at if self._run.error_text else now
        if now - since >= PATIENCE:
            self._give_up(f"It was tried for a day. {text}")
            return
        # As long as it has failed already, so that pauses double.
        pause = min(max(now - since, SHORTEST_PAUSE), LONGEST_PAUSE)
        log.warning("transfer_postponed", run_id=self._run.id, seconds=pause.seconds)
        self._put_back(now + pause, attempts=self._run.attempts - 1, started_at=since, error_text=text)

    def _try_again(self, error: Exception) -> None:
        # Its text may hold anything, so only the kind is told.
        log.warning("transfer_attempt_failed", run_id=self._run.id, error=type(error).__name__)
        if self._run.attempts >= MAX_ATTEMPTS:
            self._give_up(f"{_TOO_OFTEN} {_describe(error)}")
        else:
            self._put_back(datetime.now(UTC) + LEASE)

    def _put_back(self, not_before: datetime, **values: Any) -> None:
        def write() -> None:
            with self._database.write() as connection:
                if not RUNS.renew(connection, self._run.id, self._owner, state=RUNS.queued, lease_owner=None, **values):
                    raise LeaseLost
                later = transfer_run.update().where(transfer_run.c.id == self._run.id)
                connection.execute(later.values(lease_until=not_before))

        retry_on_conflict(write)

    def _give_up(self, text: str) -> None:
        self._finish("failed", error_text=text)
        log.error("transfer_failed", run_id=self._run.id, transfer_id=self._transfer.id)

    def _finish(self, state: str, **values: Any) -> None:
        def write() -> None:
            with self._database.write() as connection:
                if not RUNS.finish(connection, self._run.id, self._owner, state, **values):
                    raise LeaseLost
                if state == "failed":
                    self._tell_contact(connection, values["error_text"])

        retry_on_conflict(write)

    def _tell_contact(self, connection: Connection, text: str) -> None:
        way = "from" if self._transfer.direction == "fetch" else "to"
        add_notice(
            connection,
            self._account.id,
            key=f"transfer:{self._run.id}",
            kind="transfer",
            subject=f"Transfer {self._transfer.id} {way} {self._server.name} failed",
            text=f"Transfer {self._transfer.id} {way} the server {self._server.name} was given up. {text}\n",
        )


def _claim(database: Database, owner: str) -> Row[Any] | None:
    runs = transfer_run.c
    now = datetime.now(UTC)
    # A run in the queue with an end of a claim waits for that instant.
    ready = or_(runs.state == RUNS.running, runs.lease_until.is_(None), runs.lease_until <= now) & _is_served()
    unfinished = select(transfer_run).where(
        runs.state.in_((RUNS.queued, RUNS.running)), ready, ~_waits_behind_another()
    )
    with database.read_once() as connection:
        if not connection.execute(select(unfinished.exists())).scalar_one():
            return None
    with database.write() as connection:
        run_id = RUNS.claim(connection, owner, ready, ~_server_is_busy(connection), ~_waits_behind_another())
        if run_id is None:
            return None
        run = connection.execute(select(transfer_run).where(runs.id == run_id)).one()
        _absorb(connection, run, now)
        return run


def _is_served() -> ColumnElement[bool]:
    """Return the condition that a run is of an account that is active; those of others wait."""
    served = select(transfer.c.id).where(transfer.c.account_id.in_(select_active_ids()))
    return transfer_run.c.transfer_id.in_(served)


def _server_is_busy(connection: Connection) -> ColumnElement[bool]:
    """Return the condition that another run with the same server is at work."""
    other, mine, others = transfer_run.alias(), transfer.alias(), transfer.alias()
    return exists().where(
        mine.c.id == transfer_run.c.transfer_id,
        others.c.remote_id == mine.c.remote_id,
        other.c.transfer_id == others.c.id,
        other.c.id != transfer_run.c.id,
        RUNS.is_live(connection, other.c),
    )


def _waits_behind_another() -> ColumnElement[bool]:
    """Return the condition that a scheduled run must leave the next attempt to one that failed before it.

    Otherwise each due time would begin the pauses, and the day after which one gives up, anew.
    """
    other = transfer_run.alias()
    failing = exists().where(
        other.c.transfer_id == transfer_run.c.transfer_id,
        other.c.id != transfer_run.c.id,
        other.c.state == RUNS.queued,
        other.c.error_text.is_not(None),
    )
    return and_(transfer_run.c.scheduled, transfer_run.c.error_text.is_(None), failing)


def _absorb(connection: Connection, run: Row[Any], now: datetime) -> None:
    """End the other waiting runs of a transfer: the one that begins now does what they would have done."""
    columns = transfer_run.c
    others = (columns.transfer_id == run.transfer_id) & (columns.id != run.id) & (columns.state == RUNS.queued)
    values = {"state": "skipped", "finished_at": now, "lease_until": None, "error_text": f"Run {run.id} did its work."}
    connection.execute(transfer_run.update().where(others, columns.due_at <= now).values(values))


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"Here: {error.strerror}."
    return f"Here: {type(error).__name__}."
