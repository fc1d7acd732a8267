"""The alarm for files that do not come: when, about which day, and once whoever sees it first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from feed_folders import FeedFolder, open_feed_folder
from sqlalchemy import select

from audience.accounts import set_account_state
from audience.notices import set_contact
from db.engine import Database
from db.tables import account, feed, import_run, mailing_list, missing_file
from jobs.missing_files import missing_today, tell_missing
from jobs.storage import Storage

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.fixture
def folder(sqlite_url: str, storage: Storage) -> Iterator[FeedFolder]:
    """A folder, there for years, that expects a file by nine in Rome."""
    database = Database(sqlite_url)
    yield prepare(database, storage)
    database.close()


@pytest.fixture
def any_folder(database: Database, storage: Storage) -> FeedFolder:
    """The same in either kind of database."""
    return prepare(database, storage)


def prepare(database: Database, storage: Storage) -> FeedFolder:
    folder = open_feed_folder(database, storage)
    with database.write() as connection:
        set_contact(connection, folder.account.id, "operator@example.com")
    expect(folder, "09:00")
    return folder


def expect(folder: FeedFolder, time: str | None, **values: Any) -> None:
    folder.set_profile(expected_by=time, **values)
    with folder.database.write() as connection:
        connection.execute(feed.update().values(created_at=LONG_AGO))
        connection.execute(missing_file.delete())


def tell(folder: FeedFolder, now: str) -> int:
    return tell_missing(folder.database, at(now))


def missing(folder: FeedFolder, now: str) -> list[date]:
    with folder.database.read() as connection:
        return [found.day for found in missing_today(connection, folder.account.id, now=at(now))]


def arrive(folder: FeedFolder, instant: str) -> None:
    import_id = folder.arrive()
    with folder.database.write() as connection:
        here = import_run.c.id == import_id
        connection.execute(import_run.update().where(here).values(created_at=at(instant)))


def test_a_missing_file_is_told_of_once_a_day(any_folder: FeedFolder) -> None:
    assert tell(any_folder, "2026-07-01T08:59:59+02:00") == 0
    assert tell(any_folder, "2026-07-01T09:00:00+02:00") == 1
    assert tell(any_folder, "2026-07-01T09:00:30+02:00") == 0
    assert tell(any_folder, "2026-07-01T23:59:59+02:00") == 0
    assert tell(any_folder, "2026-07-02T08:00:00+02:00") == 0
    assert tell(any_folder, "2026-07-02T09:01:00+02:00") == 1
    notices = any_folder.notices()
    assert [notice.subject for notice in notices] == [
        "No file in import/1 on 2026-07-01",
        "No file in import/1 on 2026-07-02",
    ]
    assert {(notice.kind, notice.address) for notice in notices} == {("missing-file", "operator@example.com")}


@pytest.mark.parametrize(
    ("arrived", "told"),
    [
        ("2026-07-01T00:00:00+02:00", 0),
        ("2026-07-01T08:59:00+02:00", 0),
        ("2026-06-30T23:59:59+02:00", 1),
    ],
)
def test_what_counts_is_a_file_of_the_day(folder: FeedFolder, arrived: str, told: int) -> None:
    arrive(folder, arrived)
    assert len(missing(folder, "2026-07-01T09:00:10+02:00")) == told
    assert tell(folder, "2026-07-01T09:00:10+02:00") == told


def test_a_server_that_was_down_tells_when_it_is_back_on_that_day(folder: FeedFolder) -> None:
    assert tell(folder, "2026-07-01T23:30:00+02:00") == 1
    assert tell(folder, "2026-07-03T00:10:00+02:00") == 0


def test_a_file_that_came_late_is_not_missing_any_more(folder: FeedFolder) -> None:
    assert tell(folder, "2026-07-01T09:30:00+02:00") == 1
    arrive(folder, "2026-07-01T10:00:00+02:00")
    assert missing(folder, "2026-07-01T11:00:00+02:00") == []
    other = folder.with_list()
    expect(other, "09:00")
    arrive(other, "2026-07-01T10:00:00+02:00")
    assert tell(other, "2026-07-01T11:00:00+02:00") == 0


@pytest.mark.parametrize(
    ("zone", "expected_by", "now", "day"),
    [
        # The clock goes from 2:00 to 3:00: half past two is at three.
        ("Europe/Rome", "02:30", "2026-03-29T00:59:59+00:00", None),
        ("Europe/Rome", "02:30", "2026-03-29T01:00:00+00:00", date(2026, 3, 29)),
        # It goes from 3:00 back to 2:00: the first half past two counts.
        ("Europe/Rome", "02:30", "2026-10-25T00:29:59+00:00", None),
        ("Europe/Rome", "02:30", "2026-10-25T00:30:00+00:00", date(2026, 10, 25)),
        ("Asia/Tokyo", "09:00", "2026-07-01T00:00:00+00:00", date(2026, 7, 1)),
        ("America/New_York", "22:00", "2026-07-02T02:00:00+00:00", date(2026, 7, 1)),
        # The day without a midnight begins at one.
        ("America/Santiago", "00:30", "2026-09-06T04:00:00+00:00", date(2026, 9, 6)),
        # The clock goes over midnight: what is put off to the next day is told of with that.
        ("America/Scoresbysund", "23:30", "2026-03-29T01:00:00+00:00", date(2026, 3, 28)),
    ],
)
def test_the_accounts_clock_counts(folder: FeedFolder, zone: str, expected_by: str, now: str, day: date | None) -> None:
    with folder.database.write() as connection:
        connection.execute(account.update().values(time_zone=zone))
    expect(folder, expected_by)
    assert missing(folder, now) == ([day] if day is not None else [])
    assert tell(folder, now) == (day is not None)


@pytest.mark.parametrize("first", ["2026-03-28", "2026-10-24"])
def test_each_day_around_a_change_of_the_clock_is_told_of_once(folder: FeedFolder, first: str) -> None:
    expect(folder, "02:30")
    start = at(f"{first}T00:00:00+00:00")
    told = [tell_missing(folder.database, start + timedelta(hours=hours)) for hours in range(24 * 4)]
    assert sum(told) == 4


def test_many_workers_tell_once(any_folder: FeedFolder) -> None:
    now = at("2026-07-01T09:00:00+02:00")
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda _: tell_missing(any_folder.database, now), range(16)))
    assert sum(told) == 1
    assert len(any_folder.notices()) == 1
    with any_folder.database.read() as connection:
        assert len(connection.execute(select(missing_file)).all()) == 1


def test_nothing_is_missing_before_it_was_expected(database: Database, storage: Storage) -> None:
    folder = open_feed_folder(database, storage)
    now = datetime.now(folder.account.zone)
    # Whatever the time is, it has passed: the profile was set after it.
    folder.set_profile(expected_by="00:00")
    assert tell_missing(database, now) == 0
    assert tell_missing(database, now + timedelta(days=1)) == 1


def test_a_profile_that_is_changed_expects_nothing_of_the_past(folder: FeedFolder) -> None:
    folder.set_profile(expected_by="00:00")
    assert tell_missing(folder.database, datetime.now(UTC)) == 0


def test_who_is_not_looked_at(any_folder: FeedFolder) -> None:
    now = "2026-07-01T09:30:00+02:00"
    assert len(missing(any_folder, now)) == 1
    with any_folder.database.write() as connection:
        set_account_state(connection, any_folder.account.id, "suspended")
    assert missing(any_folder, now) == []
    with any_folder.database.write() as connection:
        set_account_state(connection, any_folder.account.id, "active")
        connection.execute(mailing_list.update().values(deleted_at=LONG_AGO))
    assert missing(any_folder, now) == []
    with any_folder.database.write() as connection:
        connection.execute(mailing_list.update().values(deleted_at=None))
    expect(any_folder, None)
    assert missing(any_folder, now) == []


def test_another_account_is_not_told_of(folder: FeedFolder) -> None:
    with folder.database.read() as connection:
        now = at("2026-07-01T09:30:00+02:00")
        assert missing_today(connection, folder.account.id + 1, now=now) == []
        assert len(missing_today(connection, now=now)) == 1


def test_the_folders_contact_is_told(folder: FeedFolder) -> None:
    expect(folder, "09:00", contact="crm@example.com")
    tell(folder, "2026-07-01T09:00:00+02:00")
    assert [notice.address for notice in folder.notices()] == ["crm@example.com"]
