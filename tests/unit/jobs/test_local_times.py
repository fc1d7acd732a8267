"""What a time of day means, through both clock changes of the year and stranger ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.local_times import day_before, local_instant, parse_time, settled_at


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
