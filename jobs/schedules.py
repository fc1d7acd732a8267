"""What runs by itself: the due times of each schedule become run rows, exactly once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import ColumnElement, Connection, Table, select

from audience.accounts import select_active_ids
from db.engine import Database
from db.functions import insert_into
from db.leases import RunTable, give_up_when_idle
from db.retry import retry_on_conflict
from db.tables import account, export, export_run, schedule, transfer, transfer_run
from jobs.local_times import day_before, first_instant, local_instant, parse_time, settled_at
from jobs.schedule_rules import InvalidRule, Rule, newest_times, next_times, parse_rule

# Those of `jobs.local_times` are part of what a schedule means.
__all__ = [
    "GRACE",
    "MAX_CATCH_UP",
    "Missed",
    "Period",
    "Schedule",
    "Subject",
    "UnknownSubject",
    "account_of",
    "day_before",
    "default_missed",
    "enqueue_due",
    "enqueue_failed",
    "enqueue_run",
    "find_schedule",
    "first_instant",
    "list_schedules",
    "local_day_of",
    "local_instant",
    "parse_time",
    "pause_schedule",
    "remove_schedule",
    "request_run",
    "resume_schedule",
    "set_schedule",
    "settled_at",
]

log = structlog.get_logger()

Period = Literal["full", "previous-day", "incremental"]
Subject = Literal["export", "transfer"]
Missed = Literal["all", "last", "skip"]
"""What becomes of due times that nobody was there for: each is made up for, the newest of them, or none."""

MAX_CATCH_UP = 31
"""Due times that are made up for at most."""
GRACE = timedelta(minutes=5)
"""How late a due time is still taken as kept, where missed ones are skipped."""

_SUBJECTS: dict[str, Table] = {"export": export, "transfer": transfer}
_RUNS: dict[str, Table] = {"export": export_run, "transfer": transfer_run}


class UnknownSubject(LookupError):
    """There is no export or transfer with that id."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an export or a transfer runs by itself."""

    id: int
    account_id: int
    subject: Subject
    subject_id: int
    rule: Rule
    zone: ZoneInfo
    missed: Missed
    since: datetime
    """Due times up to this instant are not made up for."""
    last_due_at: datetime | None
    """The newest due time that was dealt with."""
    paused_at: datetime | None

    def next_times(self, now: datetime, count: int = 5) -> list[datetime]:
        """Return the next due times after an instant, in UTC; none while the schedule is paused."""
        return [] if self.paused_at is not None else next_times(self.rule, self.zone, max(now, self._after), count)

    def local_day_of(self, due: datetime) -> date:
        """Return the local day that a due time belongs to; see `jobs.schedule_rules.Rule.local_day_of`."""
        return self.rule.local_day_of(self.zone, due)

    def due_times(self, now: datetime) -> list[datetime]:
        """Return the due times since the newest that was dealt with, ascending; the last 31 when there are more."""
        # The answer stays the same until this due time, so that looking costs next to nothing.
        first = _first_after(self.rule, self.zone, self._after)
        if first is None or first > now:
            return []
        return newest_times(self.rule, self.zone, self._after, now, MAX_CATCH_UP)

    @property
    def _after(self) -> datetime:
        return max(self.since, self.last_due_at or self.since)


def set_schedule(
    connection: Connection,
    account_id: int,
    subject: Subject,
    subject_id: int,
    rule: Mapping[str, Any],
    *,
    time_zone: str,
    missed: Missed,
) -> None:
    """Have an export or transfer run by a rule from now on, in place of the rule that it had.

    Args:
        connection: in a writing transaction.
        account_id: whose it is.
        subject: what runs.
        subject_id: its id; it must exist.
        rule: see `jobs.schedule_rules.parse_rule`.
        time_zone: name in the IANA database, by whose clock the rule goes.
        missed: what becomes of due times that no server was there for, see `Missed`.

    Raises:
        InvalidRule: the rule, the time zone or the word for missed ones cannot be used.
    """
    if missed not in get_args(Missed):
        raise InvalidRule(f"{missed!r} is no rule for missed runs: choose among {', '.join(get_args(Missed))}.")
    _check_time_zone(time_zone)
    now = datetime.now(UTC)
    values = {"account_id": account_id, "rule": parse_rule(rule).to_dict(), "time_zone": time_zone, "missed": missed}
    values |= {"since": now, "last_due_at": None, "paused_at": None, "created_at": now}
    insert = insert_into(connection, schedule).values(subject=subject, subject_id=subject_id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["subject", "subject_id"], set_=values))


def remove_schedule(connection: Connection, subject: Subject, subject_id: int) -> bool:
    """Have an export or transfer run on request only; False when it did so already."""
    return connection.execute(schedule.delete().where(_is_of(subject, subject_id))).rowcount == 1


def find_schedule(connection: Connection, subject: Subject, subject_id: int) -> Schedule | None:
    """Return the schedule of an export or transfer; None when it has none."""
    row = connection.execute(select(schedule).where(_is_of(subject, subject_id))).one_or_none()
    return None if row is None else _schedule(row)


def list_schedules(connection: Connection, account_id: int | None = None) -> list[Schedule]:
    """Return the schedules, of one account or of all, in the order in which they were made first."""
    query = select(schedule).order_by(schedule.c.id)
    if account_id is not None:
        query = query.where(schedule.c.account_id == account_id)
    return [_schedule(row) for row in connection.execute(query)]


def account_of(connection: Connection, subject: Subject, subject_id: int) -> int:
    """Return the id of the account that an export or transfer belongs to.

    Raises:
        UnknownSubject: there is none with this id.
    """
    table = _SUBJECTS[subject]
    account_id = connection.execute(select(table.c.account_id).where(table.c.id == subject_id)).scalar_one_or_none()
    if account_id is None:
        raise UnknownSubject(f"There is no {subject} {subject_id}.")
    return int(account_id)


def default_missed(connection: Connection, subject: Subject, subject_id: int) -> Missed:
    """Return what becomes of missed due times where nobody says it.

    Each day of an export of the previous day is made up for, since no other file holds it; otherwise the newest is.
    """
    return "all" if subject == "export" and _is_of_a_day(connection, subject_id) else "last"


def pause_schedule(connection: Connection, subject: Subject, subject_id: int) -> bool:
    """Have nothing fall due until `resume_schedule`; False when there is no schedule, or it is paused already."""
    running = schedule.update().where(_is_of(subject, subject_id), schedule.c.paused_at.is_(None))
    return connection.execute(running.values(paused_at=datetime.now(UTC))).rowcount == 1


def resume_schedule(connection: Connection, subject: Subject, subject_id: int) -> bool:
    """Let a paused schedule go on from now; False when there is none that is paused."""
    paused = schedule.update().where(_is_of(subject, subject_id), schedule.c.paused_at.is_not(None))
    values = {"paused_at": None, "since": datetime.now(UTC), "last_due_at": None}
    return connection.execute(paused.values(values)).rowcount == 1


def enqueue_run(
    connection: Connection,
    subject: Subject,
    subject_id: int,
    due: datetime,
    *,
    scheduled: bool,
    not_before: datetime | None = None,
) -> int | None:
    """Queue a run of an export or transfer, unless it has one of that due time; return the run's id, None when it has.

    Args:
        connection: in a writing transaction.
        subject: what runs.
        subject_id: its id; it must exist.
        due: the instant that the run is about.
        scheduled: False when somebody asked for it.
        not_before: when it may begin; None: at once.
    """
    runs = _RUNS[subject]
    run = {f"{subject}_id": subject_id, "due_at": due, "scheduled": scheduled, "state": "queued"}
    insert = insert_into(connection, runs).values(**run, lease_until=not_before).on_conflict_do_nothing()
    return connection.execute(insert.returning(runs.c.id)).scalar_one_or_none()


def request_run(
    connection: Connection, subject: Subject, subject_id: int, *, not_before: datetime | None = None
) -> int:
    """Queue a run that somebody asks for, due now; return its id. The arguments are those of `enqueue_run`."""
    while True:
        now = datetime.now(UTC)
        run_id = enqueue_run(connection, subject, subject_id, now, scheduled=False, not_before=not_before)
        # Somebody else asked within the same microsecond: each gets a run of his own.
        if run_id is not None:
            return run_id


def enqueue_due(database: Database, now: datetime) -> int:
    """Queue runs for the due times that have come since those dealt with; return how many were added.

    Any number of processes may do this at once: the newest due time dealt with is recorded with the runs, and a run
    is unique per due time. After a standstill the schedule's rule for missed due times counts, see `Missed`; more than
    31 are never made up for. The run of a previous-day export begins ten minutes after that day has ended, see
    `settled_at`. A clock that goes back queues nothing until it has caught up. Due times of accounts that are not
    active are missed ones, once they are active again.

    Args:
        database: with the schedules.
        now: the time, aware.
    """
    served = schedule.c.paused_at.is_(None) & schedule.c.account_id.in_(select_active_ids())
    with database.read_once() as connection:
        rows = connection.execute(select(schedule).where(served).order_by(schedule.c.id)).all()
    return sum(_enqueue_due(database, row, now) for row in rows)


def enqueue_failed(connection: Connection, export_id: int) -> list[int]:
    """Queue the scheduled runs of an export that failed once more, with their own due times; return their ids.

    Of a full or incremental export that is the newest run, if it failed, since its file holds what those before it
    would have; of a previous-day export each that failed among the newest 31, oldest first, since no other file
    holds its day.
    """
    newest = (
        select(export_run.c.id, export_run.c.state)
        .where(export_run.c.export_id == export_id, export_run.c.scheduled)
        .order_by(export_run.c.due_at.desc())
        .limit(MAX_CATCH_UP if _is_of_a_day(connection, export_id) else 1)
    )
    failed = [run.id for run in connection.execute(newest) if run.state == "failed"]
    return [run_id for run_id in reversed(failed) if RunTable(export_run).retry(connection, run_id)]


def local_day_of(rule: Rule, zone: ZoneInfo, due: datetime) -> date:
    """Return the local day that a due time of a rule belongs to; see `jobs.schedule_rules.Rule.local_day_of`."""
    return rule.local_day_of(zone, due)


def _enqueue_due(database: Database, row: Any, now: datetime) -> int:
    try:
        found = _schedule(row)
        due = found.due_times(now)
        return retry_on_conflict(lambda: _queue_runs(database, found, due, now)) if due else 0
    except (ValueError, LookupError, OSError) as error:  # a time zone that is gone is a KeyError
        # One that cannot be read must not keep the others from their runs.
        log.error("schedule_unreadable", schedule_id=row.id, error=str(error))
        return 0


def _queue_runs(database: Database, found: Schedule, due: list[datetime], now: datetime) -> int:
    wanted = _wanted(found, due, now)
    with database.write() as connection:
        give_up_when_idle(connection)
        if not _advance(connection, found, due[-1]):
            return 0
        zone = _settling_zone(connection, found)
        added = 0
        for instant in wanted:
            begin = None if zone is None else settled_at(found.local_day_of(instant), zone)
            run = enqueue_run(connection, found.subject, found.subject_id, instant, scheduled=True, not_before=begin)
            added += run is not None
    if added < len(due):
        log.info("due_times_passed_over", schedule_id=found.id, count=len(due) - added)
    return added


def _wanted(found: Schedule, due: list[datetime], now: datetime) -> list[datetime]:
    if found.missed == "last":
        return due[-1:]
    if found.missed == "skip":
        return [instant for instant in due if now - instant <= GRACE]
    return due


def _advance(connection: Connection, found: Schedule, newest: datetime) -> bool:
    """Record that due times were dealt with; False when the schedule has changed, or another process was faster."""
    unchanged = (
        schedule.c.id == found.id,
        schedule.c.since == found.since,
        schedule.c.last_due_at.is_not_distinct_from(found.last_due_at),
        schedule.c.paused_at.is_(None),
    )
    return connection.execute(schedule.update().where(*unchanged).values(last_due_at=newest)).rowcount == 1


def _settling_zone(connection: Connection, found: Schedule) -> ZoneInfo | None:
    """Return by whose midnight a day must have ended before a run is about it; None: a run is not about a day."""
    if found.subject != "export" or not _is_of_a_day(connection, found.subject_id):
        return None
    query = select(account.c.time_zone).where(account.c.id == found.account_id)
    return ZoneInfo(connection.execute(query).scalar_one())


def _is_of_a_day(connection: Connection, export_id: int) -> bool:
    settings = connection.execute(select(export.c.settings).where(export.c.id == export_id)).scalar_one()
    return bool(settings.get("period") == "previous-day")


def _is_of(subject: Subject, subject_id: int) -> ColumnElement[bool]:
    return (schedule.c.subject == subject) & (schedule.c.subject_id == subject_id)


def _schedule(row: Any) -> Schedule:
    return Schedule(
        id=row.id,
        account_id=row.account_id,
        subject=row.subject,
        subject_id=row.subject_id,
        rule=parse_rule(row.rule),
        zone=ZoneInfo(row.time_zone),
        missed=row.missed,
        since=row.since,
        last_due_at=row.last_due_at,
        paused_at=row.paused_at,
    )


@lru_cache(maxsize=4096)
def _first_after(rule: Rule, zone: ZoneInfo, after: datetime) -> datetime | None:
    return next(rule.instants(zone, after), None)


def _check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise InvalidRule(f"{name!r} is not a time zone of the IANA database.") from None
