"""When an import may begin: at once, at a time of day, or together with the files that it belongs with.

Folders of an account whose profiles share a bundle name get files that belong together, one from each. Their imports
wait until every folder has one, or until the time at which no longer is waited for the rest, and are then done in
the order of their folders' places.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from audience.accounts import load_account
from db.engine import Database
from db.tables import import_run
from jobs.feeds import Feed, feeds_of
from jobs.schedules import local_instant, parse_time

NEVER = datetime(9999, 12, 30, tzinfo=UTC)
"""Of a file that waits for the rest of its bundle however long that takes."""
_DAY = timedelta(days=1)


def first_start(connection: Connection, feed: Feed, now: datetime) -> datetime | None:
    """Return when the import of a file that arrived now may begin at the earliest; None: at once."""
    profile = feed.profile
    if profile.bundle is None:
        return _next_time(connection, feed, profile.start_at, now)
    return _next_time(connection, feed, profile.wait_until, now) or NEVER


def release_bundle(connection: Connection, account_id: int, bundle: str | None, now: datetime) -> bool:
    """Let the imports of a bundle begin if every one of its folders has a file that waits; say whether.

    Args:
        connection: in a writing transaction.
        account_id: whose bundle it is.
        bundle: a folder of which just got a file, or left it; None does nothing.
        now: the instant.
    """
    if bundle is None:
        return False
    waiting = _waiting(account_id, bundle, now)
    present = set(connection.execute(select(import_run.c.feed_id).where(waiting)).scalars())
    members = [feed for feed in feeds_of(connection, account_id) if feed.profile.bundle == bundle]
    alone = and_(waiting, import_run.c.feed_id.not_in([member.id for member in members]))
    connection.execute(import_run.update().where(alone).values(not_before=now))
    if not all(member.id in present for member in members):
        return False
    start = max((_start_of(connection, member, now) for member in members), default=now)
    connection.execute(import_run.update().where(waiting).values(not_before=start))
    return True


def release_bundles(database: Database, now: datetime) -> int:
    """Let imports begin that wait for folders which are gone or have left; return how many bundles were released.

    Files that arrive look after their bundle themselves; this is for changes of profiles.
    """
    columns = import_run.c
    waits = and_(columns.bundle.is_not(None), columns.state == "queued", columns.not_before > now)
    with database.read_once() as connection:
        bundles = connection.execute(select(columns.account_id, columns.bundle).where(waits).distinct()).all()
    released = 0
    for account_id, bundle in bundles:
        with database.write() as connection:
            released += release_bundle(connection, account_id, bundle, now)
    return released


def may_begin(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a waiting import need not wait for a time, nor for others of its bundle."""
    other = import_run.alias("earlier_in_bundle")
    columns = import_run.c
    goes_first = or_(
        other.c.bundle_place < columns.bundle_place,
        and_(other.c.bundle_place == columns.bundle_place, other.c.id < columns.id),
    )
    is_unfinished = or_(other.c.state == "running", and_(other.c.state == "queued", other.c.not_before <= now))
    waits_for_other = exists().where(
        other.c.account_id == columns.account_id, other.c.bundle == columns.bundle, goes_first, is_unfinished
    )
    is_time = or_(columns.not_before.is_(None), columns.not_before <= now)
    # One that had begun already goes on.
    return or_(columns.state == "running", and_(is_time, or_(columns.bundle.is_(None), ~waits_for_other)))


def _waiting(account_id: int, bundle: str, now: datetime) -> ColumnElement[bool]:
    """Return the condition that an import waits for its bundle; one that need not any more is of an earlier set."""
    columns = import_run.c
    is_of_bundle = and_(columns.account_id == account_id, columns.bundle == bundle)
    return and_(is_of_bundle, columns.state == "queued", columns.not_before > now)


def _start_of(connection: Connection, feed: Feed, now: datetime) -> datetime:
    return _next_time(connection, feed, feed.profile.start_at, now) or now


def _next_time(connection: Connection, feed: Feed, at: str | None, now: datetime) -> datetime | None:
    """Return the next instant at which a time of day comes in the account's time zone; None without one."""
    if at is None:
        return None
    zone, time = load_account(connection, feed.account_id).zone, parse_time(at)
    today = now.astimezone(zone).date()
    coming = (local_instant(today + days * _DAY, time, zone) for days in range(3))
    return next(instant for instant in coming if instant >= now)
