"""When rules are due: daily, weekly, cron and interval, through both clock changes of the year and stranger ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.local_times import day_before, first_instant, local_instant
from jobs.schedule_rules import WEEKDAYS, DailyRule, InvalidRule, Rule, newest_times, next_times, parse_rule

ROME = ZoneInfo("Europe/Rome")
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
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


def rule_of(kind: str, **values: Any) -> Rule:
    return parse_rule({"kind": kind, **values})


def cron(expression: str) -> Rule:
    return rule_of("cron", expression=expression)


def shown(instants: list[datetime], zone: ZoneInfo = ROME) -> list[str]:
    """Return instants as the clock of a zone shows them, with its offset from UTC."""
    return [instant.astimezone(zone).isoformat(timespec="minutes") for instant in instants]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"kind": "daily", "at": "02:30"}, "daily at 02:30"),
        ({"kind": "weekly", "days": ["mon", "thu"], "at": "23:59"}, "mon, thu at 23:59"),
        ({"kind": "cron", "expression": "*/5 8-17 * jan,jul mon-fri"}, "cron */5 8-17 * jan,jul mon-fri"),
        ({"kind": "interval", "minutes": 30}, "every 30 minutes"),
        ({"kind": "interval", "minutes": 0.5}, "every 0.5 minutes"),
        ({"kind": "interval", "minutes": 15, "days": ["sun"]}, "every 15 minutes on sun"),
        (
            {"kind": "interval", "minutes": 15, "from": "12:00", "to": "14:00", "days": ["mon", "tue"]},
            "every 15 minutes from 12:00 to 14:00 on mon, tue",
        ),
    ],
)
def test_reads_rules_and_gives_them_back(mapping: dict[str, Any], words: str) -> None:
    rule = parse_rule(mapping)
    assert rule.to_dict() == mapping
    assert rule.describe() == words
    assert parse_rule(rule.to_dict()) == rule


def test_days_are_put_in_order_and_all_of_them_are_daily() -> None:
    assert rule_of("weekly", days=["sun", "mon", "sun"], at="02:30").to_dict()["days"] == ["mon", "sun"]
    assert rule_of("weekly", days=WEEKDAYS, at="02:30") == rule_of("daily", at="02:30")
    assert cron("  0   2 * *  MON ").to_dict()["expression"] == "0 2 * * mon"


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({}, "None is not a kind of rule: choose among daily, weekly, cron, interval."),
        ({"kind": "yearly"}, "'yearly' is not a kind"),
        ({"kind": ["daily"]}, "not a kind"),
        ({"kind": "daily"}, "A rule of the kind daily has `at`."),
        ({"kind": "daily", "at": "02:30", "days": ["mon"]}, "daily has `at`."),
        ({"kind": "daily", "at": "2:30"}, "HH:MM"),
        ({"kind": "daily", "at": 230}, "HH:MM"),
        ({"kind": "weekly", "at": "02:30"}, "weekly has `at`, `days`."),
        ({"kind": "weekly", "at": "02:30", "days": []}, "choose among mon, tue"),
        ({"kind": "weekly", "at": "02:30", "days": "mon"}, "choose among mon, tue"),
        ({"kind": "weekly", "at": "02:30", "days": ["lun"]}, "choose among mon, tue"),
        ({"kind": "weekly", "at": "02:30", "days": [["mon"]]}, "choose among mon, tue"),
        ({"kind": "interval", "minutes": 0}, "a number of minutes"),
        ({"kind": "interval", "minutes": -1}, "a number of minutes"),
        ({"kind": "interval", "minutes": True}, "a number of minutes"),
        ({"kind": "interval", "minutes": "5"}, "a number of minutes"),
        ({"kind": "interval", "minutes": float("nan")}, "a number of minutes"),
        ({"kind": "interval", "minutes": 10_081}, "up to 10080"),
        ({"kind": "interval", "minutes": 5, "from": "12:00"}, "both `from` and `to`"),
        ({"kind": "interval", "minutes": 5, "from": "12:00", "to": "12:00"}, "another time"),
        ({"kind": "interval", "minutes": 5, "at": "12:00"}, "may have `days`, `from`, `to`."),
        ({"kind": "cron", "expression": 5}, "5 is not a cron expression"),
    ],
)
def test_refuses_what_is_no_rule(mapping: Mapping[str, Any], told: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        parse_rule(mapping)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * mon-",
        "* * * * mon-fri/0",
        "* * * * fri-mon",
        "* * * * 1,",
        "* * * * lun",
        "*/0 * * * *",
        "5-1 * * * *",
        "1, * * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "\u0665 * * * *x",
        "1;2 * * * *",
    ],
)
def test_refuses_what_is_no_cron_expression(expression: str) -> None:
    with pytest.raises(InvalidRule, match="cron expression"):
        cron(expression)


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,nov *"])
def test_refuses_a_cron_expression_that_never_comes_true(expression: str) -> None:
    with pytest.raises(InvalidRule, match="never comes true"):
        cron(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # 1 January 2026 is a Thursday.
        ("30 2 * * *", ["01-01T02:30", "01-02T02:30"]),
        ("*/20 * * * *", ["01-01T00:20", "01-01T00:40"]),
        ("0 9-17/4 * * *", ["01-01T09:00", "01-01T13:00", "01-01T17:00", "01-02T09:00"]),
        ("15,45 8 * * *", ["01-01T08:15", "01-01T08:45"]),
        ("0 0 * * 0", ["01-04T00:00"]),
        ("0 0 * * 7", ["01-04T00:00"]),
        ("0 0 * * sun", ["01-04T00:00"]),
        ("0 0 * * 1", ["01-05T00:00"]),
        ("0 0 * * 5-7", ["01-02T00:00", "01-03T00:00", "01-04T00:00", "01-09T00:00"]),
        ("0 0 * * 6-0", ["01-03T00:00", "01-04T00:00", "01-10T00:00"]),
        ("0 0 * * fri-sun", ["01-02T00:00", "01-03T00:00", "01-04T00:00", "01-09T00:00"]),
        ("0 0 * * 0-6", ["01-02T00:00", "01-03T00:00"]),
        ("0 0 * * 0-0", ["01-04T00:00", "01-11T00:00"]),
        ("0 0 * * sun,wed", ["01-04T00:00", "01-07T00:00"]),
        ("0 0 * * 1-5/2", ["01-02T00:00", "01-05T00:00", "01-07T00:00"]),
        ("0 0 * * 5/1", ["01-02T00:00", "01-03T00:00", "01-09T00:00"]),
        ("0 0 * FEB Mon", ["02-02T00:00", "02-09T00:00"]),
        # Either of the two days, as crontab(5) has it.
        ("0 0 13 * fri", ["01-02T00:00", "01-09T00:00", "01-13T00:00", "01-16T00:00"]),
        # Both, when one of them begins with an asterisk.
        ("0 0 */10 * sat", ["01-31T00:00", "02-21T00:00"]),
        ("0 0 31 * *", ["01-31T00:00", "03-31T00:00"]),
    ],
)
def test_cron_fields_mean_what_crontab_says(expression: str, expected: list[str]) -> None:
    midnight = datetime(2025, 12, 31, 23, tzinfo=UTC)
    found = next_times(cron(expression), ROME, midnight, len(expected))
    assert [f"{at.astimezone(ROME):%m-%dT%H:%M}" for at in found] == expected


def test_a_leap_day_comes_every_four_years() -> None:
    rule = cron("0 12 29 2 *")
    assert [at.year for at in next_times(rule, ROME, utc("2026-01-01T00:00"), 3)] == [2028, 2032, 2036]
    assert rule_of("daily", at="12:00").due_times(ROME, utc("2028-02-28T12:00"), utc("2028-03-01T11:00")) == [
        utc("2028-02-29T11:00"),
        utc("2028-03-01T11:00"),
    ]


@pytest.mark.parametrize(
    ("rule", "spring", "autumn"),
    [
        # In the spring 02:00 becomes 03:00, in the autumn 03:00 becomes 02:00.
        (
            rule_of("daily", at="02:30"),
            ["2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
            ["2026-10-24T02:30+02:00", "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
        ),
        (
            rule_of("weekly", days=["sun"], at="02:30"),
            ["2026-03-29T03:00+02:00", "2026-04-05T02:30+02:00"],
            ["2026-10-25T02:30+02:00", "2026-11-01T02:30+01:00"],
        ),
        (
            cron("45 1-3 29,25 * *"),
            ["2026-03-29T01:45+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:45+02:00"],
            ["2026-10-25T01:45+02:00", "2026-10-25T02:45+02:00", "2026-10-25T03:45+01:00"],
        ),
        (
            rule_of("interval", minutes=60, **{"from": "00:30", "to": "04:00", "days": ["sun"]}),
            ["2026-03-29T00:30+01:00", "2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"],
            ["2026-10-25T00:30+02:00", "2026-10-25T01:30+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"],
        ),
    ],
    ids=["daily", "weekly", "cron", "interval"],
)
def test_rules_in_the_nights_of_the_clock_change(rule: Rule, spring: list[str], autumn: list[str]) -> None:
    assert shown(next_times(rule, ROME, utc("2026-03-27T12:00"), len(spring))) == spring
    assert shown(next_times(rule, ROME, utc("2026-10-23T12:00"), len(autumn))) == autumn


def test_a_slot_begins_its_own_reckoning_and_may_reach_over_midnight() -> None:
    rule = rule_of("interval", minutes=50, **{"from": "22:30", "to": "01:00", "days": ["fri"]})
    found = next_times(rule, ROME, utc("2026-01-01T00:00"), 5)
    assert [f"{at.astimezone(ROME):%a %H:%M}" for at in found] == [
        *("Fri 22:30", "Fri 23:20", "Sat 00:10", "Sat 01:00", "Fri 22:30")
    ]
    assert rule.local_day_of(ROME, found[2]) == date(2026, 1, 3)


def test_a_slot_takes_in_its_end() -> None:
    rule = rule_of("interval", minutes=60, **{"from": "12:00", "to": "14:00"})
    assert shown(next_times(rule, ROME, utc("2026-01-01T11:30"), 3)) == [
        *("2026-01-01T13:00+01:00", "2026-01-01T14:00+01:00", "2026-01-02T12:00+01:00")
    ]


def test_an_interval_on_some_days_keeps_to_them() -> None:
    rule = rule_of("interval", minutes=7 * 60, days=["tue"])
    found = rule.due_times(ROME, utc("2026-01-01T00:00"), utc("2026-02-01T00:00"))
    assert {at.astimezone(ROME).weekday() for at in found} == {1}
    assert {(at - utc("1970-01-01T00:00")) % timedelta(hours=7) for at in found} == {timedelta()}
    assert len(found) == 16


def test_due_times_leave_out_the_start_and_take_in_the_end() -> None:
    found = rule_of("daily", at="02:30").due_times(ROME, utc("2026-01-01T01:30"), utc("2026-01-03T01:30"))
    assert found == [utc("2026-01-02T01:30"), utc("2026-01-03T01:30")]


@pytest.mark.parametrize("until", ["2026-01-01T01:29:59", "2026-01-01T01:30", "2025-06-01T00:00"])
def test_nothing_is_due_before_its_time_or_when_the_clock_went_back(until: str) -> None:
    assert rule_of("daily", at="02:30").due_times(ROME, utc("2026-01-01T01:30"), utc(until)) == []
    assert newest_times(rule_of("daily", at="02:30"), ROME, utc("2026-01-01T01:30"), utc(until), 5) == []


@pytest.mark.parametrize("at", TIMES, ids=str)
@pytest.mark.parametrize(("zone", "year"), YEARS)
def test_a_year_of_daily_exports_covers_each_instant_once(zone: str, year: int, at: time) -> None:
    place, rule = ZoneInfo(zone), DailyRule(at)
    start, end = (local_instant(date(number, 1, 1), time(), place) for number in (year, year + 1))
    due = rule.due_times(place, start - timedelta(microseconds=1), end - timedelta(microseconds=1))
    days = [rule.local_day_of(place, instant) for instant in due]
    assert days[0] == date(year, 1, 1)
    assert len(due) == len(set(days)) >= 364
    check_tiling([day_before(day, place) for day in days])
    same = cron(f"{at.minute} {at.hour} * * *")
    assert same.due_times(place, start - timedelta(microseconds=1), end - timedelta(microseconds=1)) == due
    assert [same.local_day_of(place, instant) for instant in due] == days


ZONES = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1972, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
CLOCK = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
DAYS = st.sets(st.sampled_from(WEEKDAYS), min_size=1).map(sorted)
SLOTS = st.tuples(CLOCK, CLOCK).filter(lambda slot: slot[0] != slot[1])
RULES = st.one_of(
    st.builds(lambda at: rule_of("daily", at=f"{at:%H:%M}"), CLOCK),
    st.builds(lambda at, days: rule_of("weekly", at=f"{at:%H:%M}", days=days), CLOCK, DAYS),
    st.builds(lambda minute, hours: cron(f"{minute} */{hours} * * *"), st.integers(0, 59), st.integers(1, 23)),
    st.builds(lambda minutes: rule_of("interval", minutes=minutes), st.integers(7, 3_000)),
    st.builds(
        lambda minutes, slot, days: rule_of(
            "interval", minutes=minutes, days=days, **{"from": f"{slot[0]:%H:%M}", "to": f"{slot[1]:%H:%M}"}
        ),
        st.integers(7, 3_000),
        SLOTS,
        DAYS,
    ),
)


@settings(max_examples=100, deadline=None)
@given(zone=ZONES, at=CLOCK, start=MOMENTS, days=st.integers(2, 200))
def test_daily_exports_of_any_zone_cover_each_instant_once(
    zone: ZoneInfo, at: time, start: datetime, days: int
) -> None:
    rule = DailyRule(at)
    due = rule.due_times(zone, start, start + timedelta(days=days))
    check_tiling([day_before(rule.local_day_of(zone, instant), zone) for instant in due])


@settings(max_examples=100, deadline=None)
@given(zone=ZONES, rule=RULES, start=MOMENTS, steps=st.lists(st.integers(1, 60 * 24 * 3), min_size=1, max_size=20))
def test_looking_often_or_seldom_finds_the_same_due_times(
    zone: ZoneInfo, rule: Rule, start: datetime, steps: list[int]
) -> None:
    moment = start
    found: list[datetime] = []
    for minutes in steps:
        following = moment + timedelta(minutes=minutes)
        found += rule.due_times(zone, moment, following)
        moment = following
    assert found == rule.due_times(zone, start, moment)
    assert found == sorted(set(found))
    assert newest_times(rule, zone, start, moment, 7) == found[-7:]
    assert next_times(rule, zone, start, len(found)) == found


@settings(max_examples=60, deadline=None)
@given(zone=ZONES, minute=st.integers(0, 59), hours=st.integers(1, 23), start=MOMENTS)
def test_cron_due_times_are_those_that_a_walk_along_the_clock_finds(
    zone: ZoneInfo, minute: int, hours: int, start: datetime
) -> None:
    end = start + timedelta(days=3)
    day = start.astimezone(zone).date() - 2 * DAY
    walk = [datetime.combine(day, time()) + timedelta(minutes=number) for number in range(60 * 24 * 7)]
    wanted = {first_instant(at, zone) for at in walk if at.minute == minute and at.hour % hours == 0}
    found = cron(f"{minute} */{hours} * * *").due_times(zone, start, end)
    assert found == sorted(instant for instant in wanted if start < instant <= end)


@settings(max_examples=60, deadline=None)
@given(zone=ZONES, minutes=st.integers(1, 3_000), start=MOMENTS)
def test_intervals_go_by_elapsed_time(zone: ZoneInfo, minutes: int, start: datetime) -> None:
    found = next_times(rule_of("interval", minutes=minutes), zone, start, 20)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=minutes)}
    assert start < found[0] <= start + timedelta(minutes=minutes)


def test_due_times_of_seconds_are_found_at_once_after_years() -> None:
    rule = rule_of("interval", minutes=1 / 60)
    found = newest_times(rule, ROME, utc("1990-01-01T00:00"), utc("2026-01-01T00:00"), 31)
    assert len(found) == 31
    assert found[-1] - found[0] == 30 * SECOND
    assert list(islice(rule.instants(ROME, found[0]), 1)) == [found[1]]


def check_tiling(windows: list[tuple[datetime, datetime]]) -> None:
    for (_, end), (start, _) in pairwise(windows):
        assert end == start
    assert all(start <= end for start, end in windows)
