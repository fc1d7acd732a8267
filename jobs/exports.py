"""The export job: rows stream from the database into a file that appears, finished, in the account's home.

Each run passes three points, each durable before the next, so that whoever takes over after a crash goes on there:
the file is written in the spool; its name is recorded; it is linked into the home. A run thus never gives two files
and never replaces the file of another run.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any, Literal, Self, get_args

import structlog
from sqlalchemy import Connection, Row, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from audience.accounts import Account, load_account
from audience.lists import fields_of, lists_of
from audience.unsubscribed import (
    COLUMNS,
    FIELD_PREFIX,
    UnsubscribedFilter,
    check_column,
    parse_reason,
    select_unsubscribed,
)
from db.engine import Database
from db.tables import export, export_run
from exchange.export_csv import CsvFormat, write_rows
from exchange.file_names import DEFAULT_PATTERN, render_name
from jobs.leases import LEASE, MAX_ATTEMPTS, LeaseKeeper, RunTable
from jobs.schedules import Period, day_before, due_day, enqueue_run, parse_time, settled_at
from jobs.storage import Storage, free_name, publish, sync_directory

log = structlog.get_logger()

ExportType = Literal["unsubscribers"]
EXPORT_FOLDER = "export"
DEFAULT_COLUMNS = COLUMNS
PATIENCE = timedelta(days=1)
"""How long a run is tried again while the surroundings, such as the disk or the database, fail it."""
SHORTEST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
_SURROUNDINGS = (OSError, DBAPIError, PoolTimeout)
_FETCHED_ROWS = 2_000
_TOO_OFTEN = f"The export was begun {MAX_ATTEMPTS} times and never came to an end."
_runs = RunTable(export_run)


class ExportError(ValueError):
    """An export cannot be made as asked; the text is fit for the caller."""


class UnknownExport(ExportError):
    """There is no export with that id."""


class _LeaseLost(Exception):
    """Another process took the run over; this one must leave it alone."""


class _Interrupted(Exception):
    """The worker stops; the run goes back into the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What an export contains and how its file looks; everything is checked when it is made.

    Raises:
        ExportError: something cannot be used; the text says what.
    """

    lists: tuple[int, ...] | None = None
    """Numbers of the lists that count; None: all of them, those added later too."""
    exclude_lists: tuple[int, ...] = ()
    period: Period = "full"
    """`previous-day`: what happened on the calendar day before the due time, in the account's time zone."""
    reasons: tuple[int, ...] | None = None
    """Codes as `audience.unsubscribed.parse_reason` takes them; None: whatever the reason."""
    exclude_reasons: tuple[int, ...] = ()
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    """Keys of `audience.unsubscribed.COLUMNS` or `field:<number>`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header cell by column; a column without one is headed by its field's name, or else by its key."""
    csv: CsvFormat = field(default_factory=CsvFormat)
    name_pattern: str = DEFAULT_PATTERN
    folder: str = EXPORT_FOLDER
    """Relative to the account's home: `export` or a folder below it."""

    def __post_init__(self) -> None:
        try:
            self._check_filters()
            self._check_form()
        except ExportError:
            raise
        except ValueError as error:
            raise ExportError(str(error)) from None

    def _check_filters(self) -> None:
        if any(number < 1 for number in (*(self.lists or ()), *self.exclude_lists)):
            raise ExportError("A list number is a positive whole number.")
        if self.lists == () or self.reasons == ():
            raise ExportError("Lists or reasons that count are none at all; leave them out for every one.")
        if self.period not in get_args(Period):
            raise ExportError(f"{self.period!r} is not a period: choose among {', '.join(get_args(Period))}.")
        for code in (*(self.reasons or ()), *self.exclude_reasons):
            parse_reason(code)

    def _check_form(self) -> None:
        for key in (*self.columns, *self.headers):
            check_column(key)
        if not 0 < len(self.columns) == len(set(self.columns)):
            raise ExportError("An export has at least one column, and none of them twice.")
        _check_folder(self.folder)
        render_name(self.name_pattern, values=_name_values("unsubscribers", 1, 1), at=datetime.now(UTC))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form that `from_dict` reads back."""
        stored = {item.name: getattr(self, item.name) for item in fields(self)}
        return stored | {"headers": dict(self.headers), "csv": self.csv.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild settings from their JSON form; keys that are missing take their defaults.

        Raises:
            ExportError: something cannot be used.
        """
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        if "csv" in values:
            values["csv"] = CsvFormat.from_dict(values["csv"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Export:
    """Something an account has written to a file, daily or on request."""

    id: int
    account_id: int
    type: str
    settings: ExportSettings
    at: str | None
    """Time of day `HH:MM` in the account's time zone; None: on request only."""
    created_at: datetime


def add_export(
    connection: Connection, account: Account, type: ExportType, settings: ExportSettings, at: str | None = None
) -> int:
    """Add an export; return its id.

    Args:
        connection: in a writing transaction.
        account: whose people and whose home.
        type: what is exported.
        settings: which rows, which columns, which form.
        at: time of day `HH:MM` in the account's time zone at which it runs daily; None: on request only.

    Raises:
        ExportError: the type, the time or a list is unknown.
    """
    if type not in get_args(ExportType):
        raise ExportError(f"{type!r} is not a type of export: choose among {', '.join(get_args(ExportType))}.")
    _check_time(at)
    _check_lists(connection, account, settings)
    now = datetime.now(UTC)
    values = {"account_id": account.id, "type": type, "settings": settings.to_dict(), "at": at}
    inserted = connection.execute(export.insert().values(**values, scheduled_since=now, created_at=now))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def exports_of(connection: Connection, account_id: int) -> list[Export]:
    """Return the exports of an account, oldest first."""
    query = select(export).where(export.c.account_id == account_id).order_by(export.c.id)
    return [_export(row) for row in connection.execute(query)]


def find_export(connection: Connection, export_id: int) -> Export:
    """Return an export.

    Raises:
        UnknownExport: there is none with this id.
    """
    row = connection.execute(select(export).where(export.c.id == export_id)).one_or_none()
    if row is None:
        raise UnknownExport(f"There is no export {export_id}.")
    return _export(row)


def request_run(connection: Connection, export_id: int) -> int:
    """Queue a run of an export that is due now; return the run's id.

    The run of a previous-day export begins when that day is settled, see `jobs.schedules.settled_at`.

    Raises:
        UnknownExport: there is no export with this id.
    """
    wanted = find_export(connection, export_id)
    zone = load_account(connection, wanted.account_id).zone
    while True:
        due = datetime.now(UTC)
        settled = settled_at(due.astimezone(zone).date(), zone) if wanted.settings.period == "previous-day" else None
        run_id = enqueue_run(connection, export_id, due, scheduled=False, not_before=settled)
        # Somebody else asked within the same microsecond: each gets a run of his own.
        if run_id is not None:
            return run_id


def run_next_export(database: Database, storage: Storage, owner: str, stopping: threading.Event | None = None) -> bool:
    """Do the oldest export run that is waiting, or that a dead process left; False when there is none.

    A run that ends its process or fails for an unknown reason is tried again, three times in all. One that the
    surroundings fail (a full disk, a home that cannot be written, a database that is away) is put back for a
    pause that grows from 30 seconds to 15 minutes, for a day, and does not use up attempts by that.

    Args:
        database: with the runs and the rows.
        storage: where the homes are.
        owner: from `jobs.leases.name_owner`.
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
        self._ready = storage.exports / f"{run.id}.ready"

    def run(self) -> None:
        """Bring the run to its end, or leave it for a further attempt.

        Raises:
            _LeaseLost: another process has it now.
        """
        run = self._run
        if run.attempts > MAX_ATTEMPTS and run.file_name is None:
            self._give_up(f"{_TOO_OFTEN} Each time the process that did it ended.")
            return
        try:
            self._export_rows()
        except _LeaseLost:
            raise
        except _Interrupted:
            with self._database.write() as connection:
                _runs.requeue(connection, run.id, self._owner)
        except _SURROUNDINGS as error:
            self._postpone(error)
        except Exception as error:  # whatever it is, the other runs must have their turn
            self._try_again(error)

    def _export_rows(self) -> None:
        with self._database.read() as connection:
            self._export = find_export(connection, self._run.export_id)
            self._account = load_account(connection, self._export.account_id)
        with LeaseKeeper(self._database, _runs, self._run.id, self._owner):
            name, rows = self._run.file_name, self._run.rows
            if name is None:
                rows = self._write()
                name = self._choose_name(rows)
            name = self._deliver(name, rows)
        self._finish("completed", error_text=None)
        log.info("export_completed", run_id=self._run.id, export_id=self._export.id, rows=rows)

    def _postpone(self, error: Exception) -> None:
        """Leave the run for later, as if it had not been begun: it is not the run that is at fault."""
        now = datetime.now(UTC)
        since = self._run.started_at if self._run.error_text else now
        if now - since >= PATIENCE:
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
        if attempt >= MAX_ATTEMPTS:
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

    def _write(self) -> int:
        """Write the file in the spool; return the number of its rows."""
        part = self._storage.exports / f"{self._run.id}.{secrets.token_hex(4)}.part"
        try:
            with part.open("wb") as out, self._database.read() as connection:
                header = _header(connection, self._export)
                # A cursor of the server's must be closed before its connection, also when writing fails.
                with closing(self._rows(connection)) as stream:
                    rows = write_rows(out, self._export.settings.csv, header, stream)
            self._renew()
            publish(part, self._ready)
        finally:
            part.unlink(missing_ok=True)
        return rows

    def _rows(self, connection: Connection) -> Generator[Sequence[Any], None, None]:
        """Stream the rows of one statement, which sees one state of the database however long it takes."""
        query = select_unsubscribed(self._filter(), self._export.settings.columns)
        renewed = monotonic()
        with connection.execute(query, execution_options={"yield_per": _FETCHED_ROWS}) as result:
            for row in result:
                if self._stopping.is_set():
                    raise _Interrupted
                if monotonic() - renewed > LEASE.total_seconds() / 5:
                    self._renew()
                    renewed = monotonic()
                yield row

    def _filter(self) -> UnsubscribedFilter:
        settings = self._export.settings
        wanted = UnsubscribedFilter(
            account_id=self._account.id,
            lists=settings.lists,
            exclude_lists=settings.exclude_lists,
            reasons=settings.reasons,
            exclude_reasons=settings.exclude_reasons,
        )
        if settings.period == "full":
            return wanted
        since, until = self._previous_day()
        return replace(wanted, since=since, until=until)

    def _previous_day(self) -> tuple[datetime, datetime]:
        zone = self._account.zone
        if self._run.scheduled and self._export.at is not None:
            return day_before(due_day(parse_time(self._export.at), zone, self._run.due_at), zone)
        return day_before(self._run.due_at.astimezone(zone).date(), zone)

    def _choose_name(self, rows: int) -> str:
        """Record a free name for the file; from here on the rows are not read again."""
        due = self._run.due_at.astimezone(self._account.zone)
        values = _name_values(self._export.type, self._account.number, self._export.id)
        name = render_name(self._export.settings.name_pattern, values=values, at=due)
        name = free_name(self._folder(), name).name
        self._renew(file_name=name, rows=rows)
        return name

    def _deliver(self, name: str, rows: int) -> str:
        """Put the file into the home, unless an attempt before did; return the name that it has there."""
        # A spool that is away must not look like one from which the file was delivered.
        self._storage.exports.stat()
        while self._ready.exists():
            target = self._folder() / name
            try:
                # Not a rename: that would replace a file which got this name in the meantime.
                target.hardlink_to(self._ready)
            except FileExistsError:
                if not target.samefile(self._ready):
                    name = self._choose_name(rows)
                    continue
            sync_directory(target.parent)
            self._ready.unlink(missing_ok=True)
        return name

    def _folder(self) -> Path:
        folder = self._export.settings.folder
        return self._storage.prepare_home(self._account.number, folder) / folder

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


def remove_leftovers(storage: Storage, run_id: int) -> int:
    """Remove what attempts of a finished run left in the spool; return the number of files."""
    leftovers = list(storage.exports.glob(f"{run_id}.*"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _claim(database: Database, owner: str) -> Row[Any] | None:
    runs = export_run.c
    now = datetime.now(UTC)
    # A run in the queue with an end of a claim waits for that instant.
    ready = or_(runs.state == _runs.running, runs.lease_until.is_(None), runs.lease_until <= now)
    unfinished = select(export_run).where(runs.state.in_((_runs.queued, _runs.running)), ready)
    with database.read() as connection:
        if not connection.execute(select(unfinished.exists())).scalar_one():
            return None
    begun = unfinished.where(runs.started_at.is_not(None))
    with database.write() as connection:
        before = {run.id: run for run in connection.execute(begun)}
        run_id = _runs.claim(connection, owner, ready)
        if run_id is None:
            return None
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


def _export(row: Row[Any]) -> Export:
    return Export(row.id, row.account_id, row.type, ExportSettings.from_dict(row.settings), row.at, row.created_at)


def _header(connection: Connection, exported: Export) -> list[str]:
    settings = exported.settings
    names = {f"{FIELD_PREFIX}{number}": name for number, name in fields_of(connection, exported.account_id).items()}
    return [settings.headers.get(key) or names.get(key, key) for key in settings.columns]


def _name_values(type: str, account_number: int, export_id: int) -> dict[str, str]:
    return {"type": type, "account": str(account_number), "id": str(export_id)}


def _check_time(at: str | None) -> None:
    try:
        if at is not None:
            parse_time(at)
    except ValueError as error:
        raise ExportError(str(error)) from None


def _check_folder(folder: str) -> None:
    parts = PurePosixPath(folder).parts
    if not parts or parts[0] != EXPORT_FOLDER or ".." in parts or "\0" in folder or "\\" in folder:
        raise ExportError(f"{folder!r} is not {EXPORT_FOLDER} or a folder below it.")


def _check_lists(connection: Connection, account: Account, settings: ExportSettings) -> None:
    known = {mailing.number for mailing in lists_of(connection, account.id)}
    for number in (*(settings.lists or ()), *settings.exclude_lists):
        if number not in known:
            raise ExportError(f"There is no list {number} in account {account.number}.")


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"The last time: {error.strerror}."
    return f"The last time: {error}" if isinstance(error, ValueError) else f"The last time: {type(error).__name__}."
