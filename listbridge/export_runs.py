"""What became of export runs, for listings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select, true

from db.tables import account, export, export_run


@dataclass(frozen=True, slots=True)
class ExportRun:
    """One run of an export."""

    id: int
    export_id: int
    account_number: int
    due_at: datetime
    scheduled: bool
    """False when it was asked for."""
    state: str
    rows: int | None
    file_name: str | None
    files: list[str] | None
    """Names of all files, relative to the account's home; None: not known yet."""
    error_text: str | None
    """Why it failed, or, while it waits to be tried again, what was in its way."""
    not_before: datetime | None
    """Of a run in the queue: when it may begin; None: at once."""
    covers_since: datetime | None
    covers_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it took from its beginning to its end; None: it has not ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds(), 3)


def list_export_runs(connection: Connection, export_id: int | None = None, *, limit: int = 100) -> list[ExportRun]:
    """Return the newest runs, of one export or of all, newest first."""
    condition = export_run.c.export_id == export_id if export_id is not None else true()
    return _select_runs(connection, condition, limit)


def load_export_run(connection: Connection, run_id: int) -> ExportRun:
    """Return one run, which must exist."""
    return _select_runs(connection, export_run.c.id == run_id, 1)[0]


def _select_runs(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[ExportRun]:
    query = (
        select(
            export_run.c.id,
            export_run.c.export_id,
            account.c.number,
            export_run.c.due_at,
            export_run.c.scheduled,
            export_run.c.state,
            export_run.c.rows,
            export_run.c.file_name,
            export_run.c.files,
            export_run.c.error_text,
            case((export_run.c.state == "queued", export_run.c.lease_until)),
            export_run.c.covers_since,
            export_run.c.covers_until,
            export_run.c.started_at,
            export_run.c.finished_at,
        )
        .join(export, export.c.id == export_run.c.export_id)
        .join(account, account.c.id == export.c.account_id)
        .where(condition)
        .order_by(export_run.c.id.desc())
        .limit(limit)
    )
    rows: list[Any] = list(connection.execute(query))
    return [ExportRun(*row) for row in rows]
