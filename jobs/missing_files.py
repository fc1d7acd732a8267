"""The alarm for files that were expected by a time of day and have not come.

A day's file is missing when no complete file has arrived in its folder since local midnight, once the time is there.
Each is told of once, whichever worker sees it first, and on that day only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, select

from audience.notices import add_notice
from db.engine import Database
from db.functions import insert_into
from db.retry import retry_on_conflict
from db.tables import account, feed, import_run, mailing_list, missing_file
from exchange.profiles import Profile
from jobs.local_times import local_instant, parse_time

log = structlog.get_logger()

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFile:
    """A folder whose file of today has not come by its time."""

    feed_id: int
    account_id: int
    account_number: int
    folder: str
    expected_by: str
    """Time of day in the account's time zone."""
    day: date
    """In the account's time zone."""
    since: datetime
    """Begin of that day."""
    due_at: datetime
    contact: str | None
    """Who is told, when it is not the account's technical contact."""


def missing_today(
    connection: Connection, account_id: int | None = None, *, now: datetime | None = None
) -> list[MissingFile]:
    """Return the folders of one account, or of all, whose file of today should be there and is not, by folder.

    Accounts that are closed, and folders of lists that were deleted, miss nothing.
    """
    now = now or datetime.now(UTC)
    query = (
        select(
            feed.c.id,
            feed.c.account_id,
            feed.c.folder,
            feed.c.profile,
            feed.c.created_at,
            account.c.number,
            account.c.time_zone,
        )
        .join(account, account.c.id == feed.c.account_id)
        .join(mailing_list, mailing_list.c.id == feed.c.list_id)
        .where(feed.c.profile["expected_by"].as_string().is_not(None))
        .where(account.c.state == "active", mailing_list.c.deleted_at.is_(None))
        .order_by(account.c.number, feed.c.folder)
    )
    if account_id is not None:
        query = query.where(feed.c.account_id == account_id)
    found = [_find_missing(connection, row, now) for row in connection.execute(query).all()]
    return [missing for missing in found if missing is not None]


def tell_missing(database: Database, now: datetime) -> int:
    """Note, log and mail each missing file that nobody has told of yet; return how many those were."""
    with database.read() as connection:
        news = [missing for missing in missing_today(connection, now=now) if not _is_noted(connection, missing)]
    return sum(retry_on_conflict(partial(_tell, database, missing, now)) for missing in news)


def forgive_passed(connection: Connection, feed_id: int, profile: Profile, zone: ZoneInfo) -> None:
    """Have nobody told of the file of today when its time has passed already; for profiles that are just being set.

    Args:
        connection: in the writing transaction.
        feed_id: the folder.
        profile: its new profile.
        zone: of the account.
    """
    if profile.expected_by is None:
        return
    now = datetime.now(UTC)
    for _, due in _passed_today(profile.expected_by, zone, now):
        _note(connection, feed_id, due, now)


def _tell(database: Database, missing: MissingFile, now: datetime) -> bool:
    with database.write() as connection:
        # Another worker may have been faster, and so may the file.
        if _has_arrived(connection, missing) or not _note(connection, missing.feed_id, missing.due_at, now):
            return False
        add_notice(
            connection,
            missing.account_id,
            key=f"missing-file:{missing.feed_id}:{missing.day}",
            kind="missing-file",
            subject=f"No file in {missing.folder} on {missing.day}",
            text=(
                f"Folder: {missing.folder}\nDay: {missing.day}\nExpected by: {missing.expected_by}\n\n"
                "No complete file has come to this folder today.\n"
            ),
            address=missing.contact,
        )
    log.warning("file_missing", account=missing.account_number, feed=missing.feed_id, due=missing.due_at.isoformat())
    return True


def _note(connection: Connection, feed_id: int, due: datetime, now: datetime) -> bool:
    """Write down that a missing file is dealt with; False when somebody has done so."""
    insert = insert_into(connection, missing_file).values(feed_id=feed_id, due_at=due, noted_at=now)
    noted = connection.execute(insert.on_conflict_do_nothing().returning(missing_file.c.feed_id))
    return noted.one_or_none() is not None


def _is_noted(connection: Connection, missing: MissingFile) -> bool:
    here = (missing_file.c.feed_id == missing.feed_id) & (missing_file.c.due_at == missing.due_at)
    return connection.execute(select(missing_file.c.feed_id).where(here)).first() is not None


def _find_missing(connection: Connection, row: Any, now: datetime) -> MissingFile | None:
    profile, zone = Profile.from_dict(row.profile), ZoneInfo(row.time_zone)
    assert profile.expected_by is not None
    for day, due in _passed_today(profile.expected_by, zone, now):
        missing = MissingFile(
            feed_id=row.id,
            account_id=row.account_id,
            account_number=row.number,
            folder=row.folder,
            expected_by=profile.expected_by,
            day=day,
            since=local_instant(day, time(), zone),
            due_at=due,
            contact=profile.contact,
        )
        if due > row.created_at and not _has_arrived(connection, missing):
            return missing
    return None


def _has_arrived(connection: Connection, missing: MissingFile) -> bool:
    # Every complete file has an import, and imports are found by their folder.
    here = (import_run.c.feed_id == missing.feed_id) & (import_run.c.created_at >= missing.since)
    return connection.execute(select(import_run.c.id).where(here).limit(1)).first() is not None


def _passed_today(expected_by: str, zone: ZoneInfo, now: datetime) -> Iterator[tuple[date, datetime]]:
    """Yield day and instant of the time that has passed today; a gap over midnight puts one off to the next day."""
    today, at = now.astimezone(zone).date(), parse_time(expected_by)
    for day in (today - _DAY, today):
        due = local_instant(day, at, zone)
        if due <= now and due.astimezone(zone).date() == today:
            yield day, due
