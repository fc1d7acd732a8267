"""Imports, files that send, exports and transfers under one name, jobs: what runs, waits and was, and how to end it.

Sendings are listed while they go on, too; how they are ended is in `delivery.sending_changes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, case, null, or_, select

from db.engine import Database
from db.leases import CANCELLED, RunTable
from db.retry import retry_on_conflict
from db.tables import (
    account,
    export,
    export_run,
    feed,
    import_run,
    remote_server,
    sending,
    sending_file,
    transfer,
    transfer_run,
)
from jobs.storage import Storage

JobKind = Literal["import", "sending-file", "export", "transfer"]

RUNS: dict[str, RunTable] = {
    "import": RunTable(import_run),
    "sending-file": RunTable(sending_file),
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

    kind: JobKind | Literal["sending"]
    id: int
    """Of a sending: its number in the account."""
    account_number: int
    subject_id: int | None
    """The export or transfer that it is a run of, the feed that its file came by, the list of a sending; or None."""
    what: str
    """For people: the file, the type of an export, the server and folder of a transfer, the message of a sending."""
    state: str
    rows: int | None
    """Records of a file or export, files of a transfer, recipients of a sending; so far while it runs."""
    bytes_done: int | None
    size: int | None
    """Bytes in all, of a file."""
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
    total: int | None = None
    """Rows in all, where that is known."""

    @property
    def percent(self) -> float | None:
        """How much of an import's file has been read, or how many of a sending's recipients are done."""
        if self.total and self.rows is not None:
            return min(100.0, round(100 * self.rows / self.total, 1))
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
    """Return the jobs and sendings that go on, then the jobs that wait, each from the oldest on."""
    jobs = [job for kind in _SELECTS for job in _jobs(connection, kind, RUNS[kind].table.c.state.in_(UNFINISHED))]
    jobs += [_read_sending(row) for row in connection.execute(_SENDINGS)]
    return sorted(jobs, key=lambda job: (job.state == "queued", job.created_at))


def newest_jobs(connection: Connection, kind: JobKind, limit: int) -> list[Job]:
    """Return the newest jobs of a kind, whatever their state, newest first."""
    return _jobs(connection, kind, limit=limit)


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
        folder: only the files of the feeds with this folder.
        limit: how many at most.
    """
    wanted: dict[JobKind, ColumnElement[bool]] = {}
    if export_id is not None:
        wanted["export"] = export_run.c.export_id == export_id
    if transfer_id is not None:
        wanted["transfer"] = transfer_run.c.transfer_id == transfer_id
    if folder is not None:
        wanted["import"] = wanted["sending-file"] = feed.c.folder == folder
    jobs: list[Job] = []
    for kind in wanted or _SELECTS:
        ended = RUNS[kind].table.c.state.not_in((*UNFINISHED, "prepared"))
        conditions = (ended, wanted[kind]) if kind in wanted else (ended,)
        jobs += _jobs(connection, kind, *conditions, limit=limit)
    return sorted(jobs, key=lambda job: job.finished_at or job.created_at, reverse=True)[:limit]


def cancel_job(database: Database, kind: JobKind, run_id: int) -> Job:
    """End a waiting job, or ask whoever works on a running one to end it at its next chunk; return the job.

    What was written until then stays. A waiting file goes back to its sender, which the worker does.

    Raises:
        UnknownJob: there is none of this kind with this id.
        JobRefused: it has ended already.
    """
    runs = RUNS[kind]

    def attempt() -> Job:
        with database.write() as connection:
            hands_back = _gives_back(connection, kind, run_id)
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
        JobRefused: it neither failed nor was cancelled, the copy of its file is gone, or its sending has ended.
    """

    def attempt() -> Job:
        with database.write() as connection:
            job = find_job(connection, kind, run_id)
            if job.state not in ("failed", CANCELLED):
                raise JobRefused(f"The {kind} job {run_id} cannot be run again: it is {job.state}.")
            if kind in _OF_FILES:
                _check_file(connection, storage, kind, run_id)
            RUNS[kind].retry(connection, run_id)
            return find_job(connection, kind, run_id)

    return retry_on_conflict(attempt)


def _gives_back(connection: Connection, kind: JobKind, run_id: int) -> bool:
    """Tell whether somebody hears of a job's end: who dropped its file into a folder, or called for its sending."""
    if kind == "sending-file":
        return True
    if kind != "import":
        return False
    query = select(import_run.c.feed_id).where(import_run.c.id == run_id)
    return connection.execute(query).scalar_one_or_none() is not None


def _check_file(connection: Connection, storage: Storage, kind: JobKind, run_id: int) -> None:
    """Refuse to work a file off once more where that can come to nothing.

    Raises:
        JobRefused: the copy of the file is gone, or its sending has ended, which none begins again.
    """
    table = RUNS[kind].table
    run = connection.execute(select(table).where(table.c.id == run_id)).one()
    if kind == "sending-file" and run.sending_id is not None:
        raise JobRefused("The sending of the file has ended; send the file again.")
    if not (storage.imports / str(run.spool_name)).exists():
        raise JobRefused("The server's copy of the file is gone; send the file again.")


def _jobs(connection: Connection, kind: JobKind, *conditions: ColumnElement[bool], limit: int = 10_000) -> list[Job]:
    query, read = _SELECTS[kind]
    newest = query.where(*conditions).order_by(RUNS[kind].table.c.id.desc()).limit(limit)
    return [read(row) for row in connection.execute(newest)]


def _common(row: Row[Any]) -> dict[str, Any]:
    names = ("id", "state", "error_text", "started_at", "finished_at", "cancel_requested_at", "attempts")
    values = {name: getattr(row, name) for name in names}
    return values | {"account_number": row.account_number, "owner": row.lease_owner, "not_before": row.begin}


def _of_file(row: Row[Any]) -> dict[str, Any]:
    what = f"{row.folder}/{row.file_name}" if row.folder else row.file_name
    return _common(row) | {"subject_id": row.feed_id, "what": what, "file_name": row.file_name, "size": row.size}


def _read_import(row: Row[Any]) -> Job:
    return Job(
        kind="import",
        rows=row.counters.get("total", 0),
        bytes_done=row.bytes_done,
        created_at=row.created_at,
        **_of_file(row),
    )


def _read_sending_file(row: Row[Any]) -> Job:
    return Job(
        kind="sending-file",
        rows=row.counters.get("rows", 0),
        bytes_done=None,
        created_at=row.created_at,
        **_of_file(row),
    )


def _read_sending(row: Row[Any]) -> Job:
    return Job(
        kind="sending",
        subject_id=row.list_id,
        what=f"{row.subject} (sending {row.id})",
        rows=row.done,
        total=row.total,
        bytes_done=None,
        size=None,
        file_name=None,
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


_OF_FILES: tuple[JobKind, ...] = ("import", "sending-file")

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
    "sending-file": (
        select(
            sending_file,
            account.c.number.label("account_number"),
            feed.c.folder,
            _waits_until(sending_file.c),
        )
        .join(account, account.c.id == sending_file.c.account_id)
        .outerjoin(feed, feed.c.id == sending_file.c.feed_id),
        _read_sending_file,
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

# Messages to one person each are far too many to list, and over at once.
_SENDINGS: Select[Any] = (
    select(
        *(column for column in sending.c if column.name not in ("id", "number")),
        sending.c.number.label("id"),
        (sending.c.sent + sending.c.failed + sending.c.skipped + sending.c.unknown).label("done"),
        account.c.number.label("account_number"),
        null().label("begin"),
    )
    .join(account, account.c.id == sending.c.account_id)
    .where(sending.c.state.in_(("preparing", "sending")), or_(sending.c.kind == "bulk", sending.c.total > 1))
)
