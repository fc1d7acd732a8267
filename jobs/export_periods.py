"""Which stretch of time a run of an export is about: none, the day before, or what no run before it was about.

The stretches of an incremental export follow each other without gap or overlap: a run's begins where that of the
newest completed run ends, and is fixed when the run begins, so that it stays the same however often it is tried. While
a run has one and has not ended, no other run of the export begins.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, not_, select

from audience.accounts import Account
from db.settled import settled_until
from db.tables import export, export_run
from jobs.export_settings import ExportSettings
from jobs.exports import Export
from jobs.schedules import day_before

Stretch = tuple[datetime | None, datetime | None]
"""From the first instant (inclusive) to the second (exclusive); None: without an end on that side."""


def is_next() -> ColumnElement[bool]:
    """Return the condition that no other run of the same export has a stretch and has not ended."""
    other = export_run.alias("other")
    before = exists().where(
        other.c.export_id == export_run.c.export_id,
        other.c.id != export_run.c.id,
        other.c.state.in_(("queued", "running")),
        other.c.covers_until.is_not(None),
    )
    return not_(before.correlate(export_run))


def fix_stretch(connection: Connection, run_id: int) -> None:
    """Give a run of an incremental export its stretch, unless it has one; in the transaction that claims it."""
    run = connection.execute(
        select(export_run.c.export_id, export_run.c.covers_until, export.c.settings, export.c.created_at)
        .join(export, export.c.id == export_run.c.export_id)
        .where(export_run.c.id == run_id)
    ).one()
    # Settings that cannot be used any more are told of by the run itself.
    if run.settings.get("period") != "incremental" or run.covers_until is not None:
        return
    since = _end_of_last(connection, run)
    values = {"covers_since": since, "covers_until": max(since, settled_until(connection))}
    connection.execute(export_run.update().where(export_run.c.id == run_id).values(values))


def find_stretch(run: Row[Any], exported: Export, account: Account) -> Stretch:
    """Return the stretch of a claimed run."""
    period = exported.settings.period
    if period == "full":
        return None, None
    if period == "incremental":
        return run.covers_since, run.covers_until
    if run.scheduled and exported.schedule is not None:
        return day_before(exported.schedule.local_day_of(run.due_at), account.zone)
    return day_before(run.due_at.astimezone(account.zone).date(), account.zone)


def _end_of_last(connection: Connection, run: Any) -> datetime:
    completed = (export_run.c.export_id == run.export_id) & (export_run.c.state == "completed")
    last: datetime | None = connection.execute(select(func.max(export_run.c.covers_until)).where(completed)).scalar()
    if last is not None:
        return last
    begin: datetime = run.created_at
    try:
        return ExportSettings.from_dict(run.settings).first_instant or begin
    except ValueError:
        return begin
