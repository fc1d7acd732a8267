"""When daily jobs are due, through both clock changes of the year and stranger ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.schedules import day_before, due_day, due_times, local_instant, parse_time, settled_at

TIMES = [time(0, 0), time(0, 30), time(1, 59), time(2, 0), time(2, 30), time(12, 0), time(23, 30), time(23, 59)]
YEARS = [
    ("Europe/Rome", 2026),
    ("Europe/Rome", 2027),
    ("America/Sao_Paulo", 2018),  # the clock skips from midnight to one
    ("America/Havana", 2026),  # midnight comes twice
    ("America/Nuuk", 2024),  # the clock skips from eleven at night to midnight
    ("Australia/Lord_Howe", 2026),  # the clock changes by half an hour
    ("Africa/Casablanca", 2026),
    ("Asia/Kathmandu", 2026),
    ("Pacific/Apia", 2011),  # 30 December did not exist
    ("UTC", 2028),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["00:00", "02:30", "23:59"])
def test_reads_a_time_of_day(text: str) -> None:
    assert parse_time(text).strftime("%H:%M") == text


@pytest.mark.parametrize("text", ["", "2:30", "24:00", "12:60", "0230", "02.30", "02:30:00", "-1:30", "٠٢:٣٠", "T2:30"])
def test_refuses_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM"):
        parse_time(text)


@pytest.mark.parametrize(
    ("zone", "day", "at", "expected"),
    [
        ("Europe/Rome", "2026-01-15", "02:30", "2026-01-15T01:30"),
        ("Europe/Rome", "2026-07-15", "02:30", "2026-07-15T00:30"),
        # In the spring 02:00 becomes 03:00, in the autumn 03:00 becomes 02:00.
        ("Europe/Rome", "2026-03-29", "01:59", "2026-03-29T00:59"),
        ("Europe/Rome", "2026-03-29", "02:00", "2026-03-29T01:00"),
        ("Europe/Rome", "2026-03-29", "02:30", "2026-03-29T01:00"),
        ("Europe/Rome", "2026-03-29", "03:00", "2026-03-29T01:00"),
        ("Europe/Rome", "2026-10-25", "01:59", "2026-10-24T23:59"),
        ("Europe/Rome", "2026-10-25", "02:30", "2026-10-25T00:30"),
        ("Europe/Rome", "2026-10-25", "03:00", "2026-10-25T02:00"),
        ("America/Sao_Paulo", "2018-11-04", "00:00", "2018-11-04T03:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30"),
        ("America/Nuuk", "2024-03-30", "23:30", "2024-03-31T01:00"),
        ("America/Havana", "2026-11-01", "00:30", "2026-11-01T04:30"),
        ("Pacific/Apia", "2011-12-30", "02:30", "2011-12-30T10:00"),
    ],
)
def test_finds_the_instant_of_a_local_time(zone: str, day: str, at: str, expected: str) -> None:
    assert local_instant(date.fromisoformat(day), parse_time(at), ZoneInfo(zone)) == utc(expected)


def test_due_times_leave_out_the_start_and_take_in_the_end() -> None:
    rome = ZoneInfo("Europe/Rome")
    found = due_times(time(2, 30), rome, utc("2026-01-01T01:30"), utc("2026-01-03T01:30"))
    assert found == [utc("2026-01-02T01:30"), utc("2026-01-03T01:30")]


@pytest.mark.parametrize("until", ["2026-01-01T01:29:59", "2026-01-01T01:30", "2025-06-01T00:00"])
def test_nothing_is_due_before_its_time_or_when_the_clock_went_back(until: str) -> None:
    assert due_times(time(2, 30), ZoneInfo("Europe/Rome"), utc("2026-01-01T01:30"), utc(until)) == []


@pytest.mark.parametrize("at", TIMES, ids=str)
@pytest.mark.parametrize(("zone", "year"), YEARS)
def test_a_year_of_daily_exports_covers_each_instant_once(zone: str, year: int, at: time) -> None:
    place = ZoneInfo(zone)
    start, end = (local_instant(date(number, 1, 1), time(), place) for number in (year, year + 1))
    due = due_times(at, place, start - timedelta(microseconds=1), end - timedelta(microseconds=1))
    days = [due_day(at, place, instant) for instant in due]
    assert days[0] == date(year, 1, 1)
    assert len(due) == len(set(days)) >= 364
    check_tiling([day_before(day, place) for day in days])


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(sorted(available_timezones())).map(ZoneInfo),
    at=st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
    start=st.datetimes(datetime(1972, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    days=st.integers(2, 200),
)
def test_daily_exports_of_any_zone_cover_each_instant_once(
    zone: ZoneInfo, at: time, start: datetime, days: int
) -> None:
    due = due_times(at, zone, start, start + timedelta(days=days))
    check_tiling([day_before(due_day(at, zone, instant), zone) for instant in due])


@settings(max_examples=100, deadline=None)
@given(
    zone=st.sampled_from(["Europe/Rome", "America/Nuuk", "Australia/Lord_Howe"]).map(ZoneInfo),
    at=st.sampled_from(TIMES),
    steps=st.lists(st.integers(1, 60 * 24 * 3), min_size=1, max_size=40),
)
def test_looking_often_or_seldom_finds_the_same_due_times(zone: ZoneInfo, at: time, steps: list[int]) -> None:
    start = moment = utc("2026-03-27T00:00")
    found: list[datetime] = []
    for minutes in steps:
        following = moment + timedelta(minutes=minutes)
        found += due_times(at, zone, moment, following)
        moment = following
    assert found == due_times(at, zone, start, moment)


def check_tiling(windows: list[tuple[datetime, datetime]]) -> None:
    for (_, end), (start, _) in pairwise(windows):
        assert end == start
    assert all(start <= end for start, end in windows)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-30", 23), ("2026-10-26", 25), ("2026-03-29", 24), ("2026-10-25", 24)]
)
def test_a_day_is_as_long_as_the_clock_makes_it(day: str, hours: int) -> None:
    start, end = day_before(date.fromisoformat(day), ZoneInfo("Europe/Rome"))
    assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Rome", "2026-01-15", "2026-01-14T23:10"),
        ("Europe/Rome", "2026-07-15", "2026-07-14T22:10"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:10"),  # the day begins at one
        ("America/Havana", "2026-11-01", "2026-11-01T04:10"),  # midnight comes again an hour later
        ("UTC", "2028-03-01", "2028-03-01T00:10"),
    ],
)
def test_a_day_is_settled_ten_minutes_after_it(zone: str, day: str, expected: str) -> None:
    assert settled_at(date.fromisoformat(day), ZoneInfo(zone)) == utc(expected)
