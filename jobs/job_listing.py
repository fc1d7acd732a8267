"""Imports, export runs and transfer runs under one name, jobs: what runs, what waits, what was, and how to end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, case, select

from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import (
    account,
    export,
    export_run,
    feed,
    import_run,
    remote_server,
    transfer,
    transfer_run,
)
from db.leases import CANCELLED, RunTable
from jobs.storage import Storage

JobKind = Literal["import", "export", "transfer"]

RUNS: dict[str, RunTable] = {
    "import": RunTable(import_run),
    "export": RunTable(export_run),
    "transfer": RunTable(transfer_run),
}
UNFINISHED = ("running", "queued")


class UnknownJob(LookupError):
    """There is no job of that kind with that id."""


class JobRefused(ValueError):
    """A job cannot be ended or begun again; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of something."""

    kind: JobKind
    id: int
    account_number: int
    subject_id: int | None
    """The export or transfer that it is a run of, the feed that an import is of; None: an import without one."""
    what: str
    """For people: the file of an import, the type of an export, the server and folder of a transfer."""
    state: str
    rows: int | None
    """Records of an import or export, files of a transfer; so far while it runs."""
    bytes_done: int | None
    size: int | None
    """Bytes in all, of an import."""
    file_name: str | None
    error_text: str | None
    created_at: datetime
    """When an import was queued, when an export or transfer was due."""
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime | None
    """When a waiting one may begin; None: at once."""
    cancel_requested_at: datetime | None
    attempts: int
    owner: str | None
    """HOST:PID:NONCE of the process that works on it."""

    @property
    def percent(self) -> float | None:
        """How much of an import's file has been read."""
        if self.bytes_done is None or not self.size:
            return None
        # What comes after the last record is not counted.
        return 100.0 if self.state == "completed" else min(100.0, round(100 * self.bytes_done / self.size, 1))

    @property
    def host(self) -> str | None:
        """The machine and process that works on it."""
        return self.owner.rpartition(":")[0] if self.owner else None

    def seconds(self, now: datetime) -> float | None:
        """Return how long it has been going on, or went on; None when it has not begun."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.finished_at or now) - self.started_at).total_seconds())

    def rate(self, now: datetime) -> float | None:
        """Return the rows a second since it began; None when nothing can be told."""
        seconds = self.seconds(now)
        return round(self.rows / seconds, 1) if seconds and self.rows is not None else None


def unfinished_jobs(connection: Connection) -> list[Job]:
    """Return the jobs that run, then those that wait, each from the oldest on."""
    jobs = [job for kind in _SELECTS for job in _jobs(connection, kind, RUNS[kind].table.c.state.in_(UNFINISHED))]
    return sorted(jobs, key=lambda job: (UNFINISHED.index(job.state), job.created_at))


def find_job(connection: Connection, kind: JobKind, run_id: int) -> Job:
    """Return one job.

    Raises:
        UnknownJob: there is none of this kind with this id.
    """
    found = _jobs(connection, kind, RUNS[kind].table.c.id == run_id)
    if not found:
        raise UnknownJob(f"There is no {kind} job {run_id}.")
    return found[0]


def job_history(
    connection: Connection,
    *,
    export_id: int | None = None,
    transfer_id: int | None = None,
    folder: str | None = None,
    limit: int = 100,
) -> list[Job]:
    """Return the jobs that have ended, newest first: of one export, transfer or folder, or of all.

    Args:
        connection: any.
        export_id: only the runs of this export.
        transfer_id: only the runs of this transfer.
        folder: only the imports of the feeds with this folder.
        limit: how many at most.
    """
    wanted: dict[JobKind, ColumnElement[bool]] = {}
    if export_id is not None:
        wanted["export"] = export_run.c.export_id == export_id
    if transfer_id is not None:
        wanted["transfer"] = transfer_run.c.transfer_id == transfer_id
    if folder is not None:
        wanted["import"] = feed.c.folder == folder
    jobs: list[Job] = []
    for kind in wanted or _SELECTS:
        ended = RUNS[kind].table.c.state.not_in((*UNFINISHED, "prepared"))
        conditions = (ended, wanted[kind]) if kind in wanted else (ended,)
        jobs += _jobs(connection, kind, *conditions, limit=limit)
    return sorted(jobs, key=lambda job: job.finished_at or job.created_at, reverse=True)[:limit]


def cancel_job(database: Database, kind: JobKind, run_id: int) -> Job:
    """End a waiting job, or ask whoever works on a running one to end it at its next chunk; return the job.

    What was written until then stays. The file of a waiting import goes back to its sender, which the worker does.

    Raises:
        UnknownJob: there is none of this kind with this id.
        JobRefused: it has ended already.
    """
    runs = RUNS[kind]
    # A cancelled import from a folder is handed back there.
    from_folder = kind == "import"

    def attempt() -> Job:
        with database.write() as connection:
            hands_back = from_folder and _has_feed(connection, run_id)
            requested = runs.request_cancel(connection, run_id, hands_back=hands_back)
            job = find_job(connection, kind, run_id)
            if not requested and job.state in UNFINISHED:
                raise JobRefused(f"The {kind} job {run_id} cannot be cancelled: its files are being delivered.")
            if not requested:
                raise JobRefused(f"The {kind} job {run_id} cannot be cancelled: it is {job.state}.")
            return job

    return retry_on_conflict(attempt)


def retry_job(database: Database, storage: Storage, kind: JobKind, run_id: int) -> Job:
    """Queue a job once more that failed or was cancelled; return it. An import goes on from where it stood.

    Raises:
        UnknownJob: there is none of this kind with this id.
        JobRefused: it neither failed nor was cancelled, or the copy of its file is gone.
    """

    def attempt() -> Job:
        with database.write() as connection:
            job = find_job(connection, kind, run_id)
            if job.state not in ("failed", CANCELLED):
                raise JobRefused(f"The {kind} job {run_id} cannot be run again: it is {job.state}.")
            if kind == "import" and not (storage.imports / _spool_name(connection, run_id)).exists():
                raise JobRefused("The server's copy of the file is gone; send the file again.")
            RUNS[kind].retry(connection, run_id)
            return find_job(connection, kind, run_id)

    return retry_on_conflict(attempt)


def _has_feed(connection: Connection, run_id: int) -> bool:
    query = select(import_run.c.feed_id).where(import_run.c.id == run_id)
    return connection.execute(query).scalar_one_or_none() is not None


def _spool_name(connection: Connection, run_id: int) -> str:
    return str(connection.execute(select(import_run.c.spool_name).where(import_run.c.id == run_id)).scalar_one())


def _jobs(connection: Connection, kind: JobKind, *conditions: ColumnElement[bool], limit: int = 10_000) -> list[Job]:
    query, read = _SELECTS[kind]
    newest = query.where(*conditions).order_by(RUNS[kind].table.c.id.desc()).limit(limit)
    return [read(row) for row in connection.execute(newest)]


def _common(row: Row[Any]) -> dict[str, Any]:
    names = ("id", "state", "error_text", "started_at", "finished_at", "cancel_requested_at", "attempts")
    values = {name: getattr(row, name) for name in names}
    return values | {"account_number": row.account_number, "owner": row.lease_owner, "not_before": row.begin}


def _read_import(row: Row[Any]) -> Job:
    return Job(
        kind="import",
        subject_id=row.feed_id,
        what=f"{row.folder}/{row.file_name}" if row.folder else row.file_name,
        rows=row.counters.get("total", 0),
        bytes_done=row.bytes_done,
        size=row.size,
        file_name=row.file_name,
        created_at=row.created_at,
        **_common(row),
    )


def _read_export(row: Row[Any]) -> Job:
    return Job(
        kind="export",
        subject_id=row.export_id,
        what=f"{row.type} (export {row.export_id})",
        rows=row.rows,
        bytes_done=None,
        size=None,
        file_name=row.file_name,
        created_at=row.due_at,
        **_common(row),
    )


def _read_transfer(row: Row[Any]) -> Job:
    return Job(
        kind="transfer",
        subject_id=row.transfer_id,
        what=f"{row.direction} {row.server}:{row.folder} (transfer {row.transfer_id})",
        rows=row.files,
        bytes_done=row.bytes,
        size=None,
        file_name=None,
        created_at=row.due_at,
        **_common(row),
    )


def _waits_until(runs: Any) -> ColumnElement[datetime | None]:
    return case((runs.state == "queued", runs.lease_until)).label("begin")


_SELECTS: dict[JobKind, tuple[Select[Any], Callable[[Row[Any]], Job]]] = {
    "import": (
        select(
            import_run,
            account.c.number.label("account_number"),
            feed.c.folder,
            case((import_run.c.state == "queued", import_run.c.not_before)).label("begin"),
        )
        .join(account, account.c.id == import_run.c.account_id)
        .outerjoin(feed, feed.c.id == import_run.c.feed_id),
        _read_import,
    ),
    "export": (
        select(export_run, account.c.number.label("account_number"), export.c.type, _waits_until(export_run.c))
        .join(export, export.c.id == export_run.c.export_id)
        .join(account, account.c.id == export.c.account_id),
        _read_export,
    ),
    "transfer": (
        select(
            transfer_run,
            account.c.number.label("account_number"),
            transfer.c.direction,
            transfer.c.folder,
            remote_server.c.name.label("server"),
            _waits_until(transfer_run.c),
        )
        .join(transfer, transfer.c.id == transfer_run.c.transfer_id)
        .join(remote_server, remote_server.c.id == transfer.c.remote_id)
        .join(account, account.c.id == transfer.c.account_id),
        _read_transfer,
    ),
}
