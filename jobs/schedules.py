"""When exports are due: times of day in an account's time zone, turned into run rows exactly once each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, Row, func, select

from db.engine import Database
from db.functions import insert_into
from db.tables import account, export, export_run

log = structlog.get_logger()

Period = Literal["full", "previous-day"]
MAX_CATCH_UP = 31
"""Missed runs of a previous-day export that are made up for after a standstill."""
SETTLING = timedelta(minutes=10)
"""How long after its end a day is taken as final: changes dated before midnight may be committed after it."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def parse_time(text: str) -> time:
    """Return the time of day that `HH:MM` means.

    Raises:
        ValueError: the text has another form, or there is no such time.
    """
    digits = text.replace(":", "", 1)
    if not (len(text) == 5 and text[2] == ":" and digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is not a time of day in the form HH:MM.")
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time of day in the form HH:MM.") from None


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a clock in this zone first shows a time of a day.

    A time that the clock skips means the first instant after the gap, one that it shows twice the first of both.
    """
    shown = datetime.combine(day, at, tzinfo=zone)
    instant = shown.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == shown.replace(tzinfo=None):
        return instant
    return _end_of_gap(shown.replace(fold=1).astimezone(UTC), instant, zone)


def due_times(at: time, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Return when a daily job is due, later than `after` and not later than `until`, in UTC and ascending.

    Args:
        at: the time of day in the zone; see `local_instant` for days on which it is skipped or comes twice.
        zone: whose clock counts.
        after: exclusive, aware.
        until: inclusive, aware.
    """
    due = {local_instant(day, at, zone) for day in _days(after, until, zone)}
    return sorted(instant for instant in due if after < instant <= until)


def due_day(at: time, zone: ZoneInfo, due: datetime) -> date:
    """Return the local day that a due time belongs to.

    That is the day its clock shows, except when the gap that put it off reached over midnight.
    """
    shown = due.astimezone(zone).date()
    earlier = shown - _DAY
    return earlier if local_instant(earlier, at, zone) == due else shown


def day_before(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the start (inclusive) and end (exclusive) of the day before a local day, from midnight to midnight."""
    return local_instant(day - _DAY, time(), zone), local_instant(day, time(), zone)


def settled_at(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant from which the day before a local day is taken as final, ten minutes after its end."""
    return day_before(day, zone)[1] + SETTLING


def enqueue_due(database: Database, now: datetime) -> int:
    """Queue a run for every due time that has come since the last one; return how many were added.

    Any number of processes may do this at once: a run is unique per export and due time. After a standstill a
    full export is run once, for the newest due time; a previous-day export for each of the last 31 days. A
    previous-day export that is due within ten minutes of midnight is queued when they are over.
    A clock that goes back queues nothing until it has caught up.
    """
    with database.read() as connection:
        due = [(row.id, instant) for row in _scheduled(connection) for instant in _due_now(row, now)]
    if not due:
        return 0
    with database.write() as connection:
        added = [enqueue_run(connection, export_id, instant, scheduled=True) for export_id, instant in due]
    return sum(run_id is not None for run_id in added)


def enqueue_run(
    connection: Connection, export_id: int, due: datetime, *, scheduled: bool, not_before: datetime | None = None
) -> int | None:
    """Queue a run of an export, unless it has one of that due time; return the run's id, None when it has.

    Args:
        connection: in a writing transaction.
        export_id: which must exist.
        due: the instant that the file is about.
        scheduled: False when somebody asked for it.
        not_before: when it may begin; None: at once.
    """
    run = {"export_id": export_id, "due_at": due, "scheduled": scheduled, "state": "queued", "lease_until": not_before}
    insert = insert_into(connection, export_run).values(**run).on_conflict_do_nothing().returning(export_run.c.id)
    return connection.execute(insert).scalar_one_or_none()


def enqueue_failed(connection: Connection, export_id: int) -> list[int]:
    """Queue the scheduled runs of an export that failed once more, with their own due times; return their ids.

    Of a full export that is the newest run, if it failed, since its file holds everything; of a previous-day
    export each that failed among the newest 31, oldest first, since no other file holds its day.
    """
    settings = connection.execute(select(export.c.settings).where(export.c.id == export_id)).scalar_one()
    newest = (
        select(export_run.c.id, export_run.c.state)
        .where(export_run.c.export_id == export_id, export_run.c.scheduled)
        .order_by(export_run.c.due_at.desc())
        .limit(MAX_CATCH_UP if settings["period"] == "previous-day" else 1)
    )
    failed = [run.id for run in connection.execute(newest) if run.state == "failed"]
    return [run_id for run_id in reversed(failed) if _enqueue_again(connection, run_id)]


def _enqueue_again(connection: Connection, run_id: int) -> bool:
    of_last_time = ("rows", "file_name", "error_text", "started_at", "finished_at", "lease_owner", "lease_until")
    again = export_run.update().where(export_run.c.id == run_id, export_run.c.state == "failed")
    values = {**dict.fromkeys(of_last_time), "state": "queued", "attempts": 0}
    return connection.execute(again.values(values)).rowcount == 1


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Halve the stretch between two instants on either side of a change of the clock until its second is found."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _days(after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[date]:
    # One day earlier, because a gap over midnight puts a due time off to the next day.
    day = after.astimezone(zone).date() - _DAY
    last = until.astimezone(zone).date()
    while day <= last:
        yield day
        day += _DAY


def _scheduled(connection: Connection) -> list[Row[Any]]:
    latest = (
        select(func.max(export_run.c.due_at))
        .where(export_run.c.export_id == export.c.id, export_run.c.scheduled)
        .scalar_subquery()
    )
    query = (
        select(export.c.id, export.c.at, export.c.settings, export.c.scheduled_since, account.c.time_zone)
        .add_columns(latest.label("latest"))
        .join_from(export, account, account.c.id == export.c.account_id)
        .where(export.c.at.is_not(None))
        .order_by(export.c.id)
    )
    return list(connection.execute(query))


def _due_now(row: Row[Any], now: datetime) -> list[datetime]:
    at, zone = parse_time(row.at), ZoneInfo(row.time_zone)
    after = max(row.scheduled_since, row.latest or row.scheduled_since)
    due = due_times(at, zone, after, now)
    if row.settings["period"] == "full":
        return due[-1:]
    due = [instant for instant in due if settled_at(due_day(at, zone, instant), zone) <= now]
    if len(due) > MAX_CATCH_UP:
        log.warning("export_days_given_up", export_id=row.id, days=len(due) - MAX_CATCH_UP)
    return due[-MAX_CATCH_UP:]
