"""The export job: rows stream from the database into files that appear, finished, in the account's home.

Each run passes three points, each durable before the next, so that whoever takes over after a crash goes on there: the
files are written in the spool; their names are recorded; they are linked into the home. A run thus never gives a file
twice and never replaces the file of another run.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, BinaryIO

import structlog
from sqlalchemy import Connection, Row, Select, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from audience.accounts import load_account, select_active_ids
from audience.columns import FIELD_PREFIX
from audience.lists import fields_of, lists_of
from audience.selections import Selection
from db import streaming
from db.engine import Database
from db.leases import CANCELLED, LEASE, MAX_ATTEMPTS, LeaseKeeper, RunTable
from db.tables import export, export_run
from exchange.date_patterns import compile_date_pattern
from exchange.export_csv import CsvFormat, CsvWriter
from jobs.export_files import Naming, RunFiles, Written, remove_leftovers
from jobs.export_periods import find_stretch, fix_stretch, is_next
from jobs.export_types import TYPES
from jobs.exports import Export, find_export
from jobs.storage import Storage

log = structlog.get_logger()

PATIENCE = timedelta(days=1)
"""How long a run is tried again while the surroundings, such as the disk or the database, fail it."""
SHORTEST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
_SURROUNDINGS = (OSError, DBAPIError, PoolTimeout)
_TOO_OFTEN = f"The export was begun {MAX_ATTEMPTS} times and never came to an end."
_runs = RunTable(export_run)


class _LeaseLost(Exception):
    """Another process took the run over; this one must leave it alone."""


class _Interrupted(Exception):
    """The worker stops; the run goes back into the queue."""


class _Cancelled(Exception):
    """Somebody wants the run to end without a file."""


def run_next_export(database: Database, storage: Storage, owner: str, stopping: threading.Event | None = None) -> bool:
    """Do the oldest export run that is waiting, or that a dead process left; False when there is none.

    A run that ends its process or fails for an unknown reason is tried again, three times in all. One that the
    surroundings fail (a full disk, a home that cannot be written, a database that is away) is put back for a
    pause that grows from 30 seconds to 15 minutes, for a day, and does not use up attempts by that. One that is
    cancelled before its files are finished leaves nothing.

    Args:
        database: with the runs and the rows.
        storage: where the homes are.
        owner: from `db.leases.name_owner`.
        stopping: once set, a run whose rows are being read is put back into the queue.
    """
    run = _claim(database, owner)
    if run is None:
        return False
    try:
        _Exporting(database, storage, owner, run, stopping or threading.Event()).run()
    except _LeaseLost:
        log.warning("export_lost", run_id=run.id)
    return True


class _Exporting:
    """One claimed run on its way."""

    def __init__(
        self, database: Database, storage: Storage, owner: str, run: Row[Any], stopping: threading.Event
    ) -> None:
        self._database = database
        self._storage = storage
        self._owner = owner
        self._run = run
        self._stopping = stopping
        self._names: list[str] | None = run.files
        self._rows: int = run.rows or 0
        self._keeper = LeaseKeeper(database, _runs, run.id, owner)
        self._told = monotonic()

    def run(self) -> None:
        """Bring the run to its end, or leave it for a further attempt.

        Raises:
            _LeaseLost: another process has it now.
        """
        if self._run.attempts > MAX_ATTEMPTS and self._names is None:
            self._give_up(f"{_TOO_OFTEN} Each time the process that did it ended.")
            return
        try:
            self._export_rows()
        except _LeaseLost:
            raise
        except _Interrupted:
            with self._database.write() as connection:
                _runs.requeue(connection, self._run.id, self._owner)
        except _Cancelled:
            self._finish(CANCELLED, rows=None)
            log.info("export_cancelled", run_id=self._run.id)
        except _SURROUNDINGS as error:
            self._postpone(error)
        except Exception as error:  # whatever it is, the other runs must have their turn
            self._try_again(error)

    def _export_rows(self) -> None:
        with self._database.read() as connection:
            self._export = find_export(connection, self._run.export_id)
            self._account = load_account(connection, self._export.account_id)
        files = RunFiles(self._storage, self._run.id, self._account.number, self._naming())
        with self._keeper:
            if self._names is None:
                self._names = files.name(self._write(files), self._record)
            self._names = files.deliver(self._names, self._record)
        self._finish("completed", error_text=None)
        log.info("export_completed", run_id=self._run.id, export_id=self._export.id, rows=self._rows)

    def _naming(self) -> Naming:
        exported = self._export
        values = {"type": exported.type, "account": str(self._account.number), "id": str(exported.id)}
        return Naming(exported.settings, values, self._run.due_at.astimezone(self._account.zone))

    def _write(self, files: RunFiles) -> list[Written]:
        """Write the files in the spool; return what they are."""
        written: list[Written] = []
        self._rows = 0
        with self._database.read() as connection:
            streaming.begin_reading(connection)
            for list_number in self._list_numbers(connection):
                place = len(written)
                with files.create(place, list_number) as out:
                    rows = self._write_file(connection, out, list_number)
                    # Whoever has lost the run must not put his file in place of its owner's.
                    self._renew(rows=self._rows)
                if rows or self._export.settings.empty == "write":
                    written.append(files.describe(place, list_number, rows))
                else:
                    files.remove(place)
        return written

    def _list_numbers(self, connection: Connection) -> Sequence[int | None]:
        """Return the numbers of the lists that have files of their own; None alone: one file is about all of them."""
        settings = self._export.settings
        if not settings.split_by_list:
            return [None]
        numbers = [mailing.number for mailing in lists_of(connection, self._account.id)]
        wanted = numbers if settings.lists is None else settings.lists
        return [number for number in numbers if number in wanted and number not in settings.exclude_lists]

    def _write_file(self, connection: Connection, out: BinaryIO, list_number: int | None) -> int:
        csv_format = self._export.settings.csv
        query = self._query(list_number, csv_format)
        writer = CsvWriter(out, csv_format, streaming.date_positions(query))
        writer.write_header(_header(connection, self._export))
        before = self._rows
        # A cursor of the server's must be closed before its connection, also when writing fails.
        with closing(_write_rows(connection, query, csv_format, writer)) as steps:
            for _step in steps:
                self._look_around()
                self._rows = before + writer.rows
        writer.close()
        self._rows = before + writer.rows
        return writer.rows

    def _query(self, list_number: int | None, csv_format: CsvFormat) -> Select[*tuple[Any, ...]]:
        settings = self._export.settings
        since, until = find_stretch(self._run, self._export, self._account)
        selection = Selection(
            account_id=self._account.id,
            lists=settings.lists if list_number is None else (list_number,),
            exclude_lists=settings.exclude_lists,
            since=since,
            until=until,
            reasons=settings.reasons,
            exclude_reasons=settings.exclude_reasons,
            conditions=settings.conditions(),
            words=settings.words,
        )
        query = TYPES[self._export.type].select(selection, settings.columns_for(self._export.type))
        return streaming.shape_text(query, csv_format.defused)

    def _look_around(self) -> None:
        """Stop if somebody wants that, and tell now and then how far the run is."""
        if self._stopping.is_set():
            raise _Interrupted
        if self._keeper.cancelled.is_set():
            raise _Cancelled
        if monotonic() - self._told > LEASE.total_seconds() / 5:
            self._renew(rows=self._rows)
            self._told = monotonic()

    def _record(self, names: list[str]) -> None:
        first = names[0].rpartition("/")[2] if names else None
        self._renew(files=names, file_name=first, rows=self._rows)
        self._names = names

    def _postpone(self, error: Exception) -> None:
        """Leave the run for later, as if it had not been begun: it is not the run that is at fault."""
        now = datetime.now(UTC)
        since = self._run.started_at if self._run.error_text else now
        # Once its files have names, the partner may have some of them already.
        if now - since >= PATIENCE and self._names is None:
            self._give_up(f"The export could not be made for a day. {_describe(error)}")
            return
        # As long as it has failed already, so that pauses double.
        pause = min(max(now - since, SHORTEST_PAUSE), LONGEST_PAUSE)
        log.warning("export_postponed", run_id=self._run.id, error=type(error).__name__, seconds=pause.seconds)
        text = f"The export could not be made yet. {_describe(error)}"
        self._put_back(now + pause, attempts=self._run.attempts - 1, started_at=since, error_text=text)

    def _try_again(self, error: Exception) -> None:
        attempt = self._run.attempts
        # Its text may hold addresses, so the log tells only the kind.
        log.warning("export_attempt_failed", run_id=self._run.id, attempt=attempt, error=type(error).__name__)
        if self._names is not None:
            self._postpone(error)  # which goes on until everything is delivered
        elif attempt >= MAX_ATTEMPTS:
            self._give_up(f"{_TOO_OFTEN} {_describe(error)}")
        else:
            self._put_back(datetime.now(UTC) + LEASE)

    def _put_back(self, not_before: datetime, **values: Any) -> None:
        values |= {"state": _runs.queued, "lease_owner": None}
        with self._database.write() as connection:
            if not _runs.renew(connection, self._run.id, self._owner, **values):
                raise _LeaseLost
            _change(connection, self._run.id, lease_until=not_before)

    def _give_up(self, text: str) -> None:
        self._finish("failed", error_text=text)
        log.error("export_failed", run_id=self._run.id, export_id=self._run.export_id)

    def _renew(self, **values: Any) -> None:
        with self._database.write() as connection:
            if not _runs.renew(connection, self._run.id, self._owner, **values):
                raise _LeaseLost

    def _finish(self, state: str, **values: Any) -> None:
        with self._database.write() as connection:
            if not _runs.finish(connection, self._run.id, self._owner, state, **values):
                raise _LeaseLost
        with suppress(OSError):  # housekeeping takes away what stays
            remove_leftovers(self._storage, self._run.id)


def _write_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], csv_format: CsvFormat, writer: CsvWriter
) -> Generator[None, None, None]:
    """Write the rows of one query, some thousand at a step; a step comes before its rows are written."""
    if streaming.can_copy(connection, query, csv_format.time_zone):
        line_format = streaming.LineFormat(
            separator=csv_format.separator,
            quote=csv_format.quote,
            date_format=compile_date_pattern(csv_format.date_format),
            time_zone=csv_format.time_zone,
        )
        with closing(streaming.copy_lines(connection, query, line_format)) as blocks:
            for lines in blocks:
                yield
                writer.write_lines(lines)
        return
    with closing(streaming.read_batches(connection, query)) as batches:
        for rows in batches:
            yield
            writer.write_batch(rows)


def _claim(database: Database, owner: str) -> Row[Any] | None:
    runs = export_run.c
    now = datetime.now(UTC)
    # Of an account that is not active it waits.
    served = runs.export_id.in_(select(export.c.id).where(export.c.account_id.in_(select_active_ids())))
    # A run in the queue with an end of a claim waits for that instant.
    ready = or_(runs.state == _runs.running, runs.lease_until.is_(None), runs.lease_until <= now) & served
    unfinished = select(export_run).where(runs.state.in_((_runs.queued, _runs.running)), ready)
    with database.read() as connection:
        if not connection.execute(select(unfinished.exists())).scalar_one():
            return None
    begun = unfinished.where(runs.started_at.is_not(None))
    with database.write() as connection:
        before = {run.id: run for run in connection.execute(begun)}
        run_id = _runs.claim(connection, owner, ready, is_next())
        if run_id is None:
            return None
        fix_stretch(connection, run_id)
        if run_id in before:
            _correct(connection, before[run_id], owner, now)
        return connection.execute(select(export_run).where(runs.id == run_id)).one()


def _correct(connection: Connection, before: Row[Any], owner: str, now: datetime) -> None:
    """Take back what a claim counted against a run that is not at fault."""
    if before.state == _runs.running and before.lease_owner == owner:
        # This owner lives: it could not put the run back, because the database was away.
        _change(connection, before.id, attempts=before.attempts)
    elif before.state == _runs.queued and before.error_text and before.lease_until:
        # Time in which no worker was there to try is no part of the day for which it is tried.
        _change(connection, before.id, started_at=before.started_at + (now - before.lease_until))


def _change(connection: Connection, run_id: int, **values: Any) -> None:
    connection.execute(export_run.update().where(export_run.c.id == run_id).values(**values))


def _header(connection: Connection, exported: Export) -> list[str]:
    settings = exported.settings
    names = {f"{FIELD_PREFIX}{number}": name for number, name in fields_of(connection, exported.account_id).items()}
    return [settings.headers.get(key) or names.get(key, key) for key in settings.columns_for(exported.type)]


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"The last time: {error.strerror}."
    return f"The last time: {error}" if isinstance(error, ValueError) else f"The last time: {type(error).__name__}."
