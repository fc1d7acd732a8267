"""The rules by which something runs by itself, and the instants that they mean whatever the clock of their zone does.

Daily, weekly and cron rules name what a clock shows: a time that the clock skips means the first instant after the
gap, one that it shows twice its first instant. Interval rules go by elapsed time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from jobs.local_times import first_instant, local_instant, parse_time

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_INTERVAL = 7 * 24 * 60
"""In minutes."""

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CRON_DAYS = {name: number for number, name in enumerate(("sun", *WEEKDAYS[:6]))}
_CRON_FIELDS = 5


class InvalidRule(ValueError):
    """Something is no rule; the text is fit for the caller."""


class Rule(ABC):
    """When something is due."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form that `parse_rule` reads."""

    @abstractmethod
    def describe(self) -> str:
        """Return the rule in words, such as `daily at 02:30`."""

    @abstractmethod
    def local_day_of(self, zone: ZoneInfo, due: datetime) -> date:
        """Return the local day that a due time belongs to.

        That is the day its clock shows, except when the gap that put it off reached over midnight.
        """

    @abstractmethod
    def _candidates(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """Yield all due times later than an instant, ascending; earlier or equal ones may be among them."""

    def instants(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """Yield each due time later than `after`, in UTC, ascending and without end."""
        for due in self._candidates(zone, after):
            if due > after:
                yield due
                after = due

    def due_times(self, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
        """Return when this is due, in UTC and ascending.

        Args:
            zone: whose clock counts.
            after: exclusive, aware.
            until: inclusive, aware.
        """
        return list(takewhile(lambda due: due <= until, self.instants(zone, after)))


class _ClockRule(Rule):
    """A rule that names what a clock shows."""

    @abstractmethod
    def _shown_from(self, start: datetime) -> Iterator[datetime]:
        """Yield what a clock shows at due times, not earlier than `start`; naive, ascending."""

    def _candidates(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        # What was shown earlier than now was first shown earlier than now, so nothing is left out.
        shown = after.astimezone(zone).replace(tzinfo=None)
        return (first_instant(time, zone) for time in self._shown_from(shown))

    def local_day_of(self, zone: ZoneInfo, due: datetime) -> date:
        shown = due.astimezone(zone).replace(tzinfo=None)
        # A due time that a gap put off was to be shown since the instant before the gap.
        before = (due - _MICROSECOND).astimezone(zone).replace(tzinfo=None)
        named = next(self._shown_from(before + _MICROSECOND), shown)
        return named.date() if first_instant(named, zone) == due else shown.date()


@dataclass(frozen=True, slots=True)
class DailyRule(_ClockRule):
    """Every day, or on some weekdays, at a time of day."""

    at: time
    days: tuple[str, ...] = WEEKDAYS

    def to_dict(self) -> dict[str, Any]:
        at = f"{self.at:%H:%M}"
        if self.days == WEEKDAYS:
            return {"kind": "daily", "at": at}
        return {"kind": "weekly", "days": list(self.days), "at": at}

    def describe(self) -> str:
        days = "daily" if self.days == WEEKDAYS else ", ".join(self.days)
        return f"{days} at {self.at:%H:%M}"

    def _shown_from(self, start: datetime) -> Iterator[datetime]:
        day = start.date()
        while True:
            shown = datetime.combine(day, self.at)
            if shown >= start and _name_day(day) in self.days:
                yield shown
            day += _DAY


@dataclass(frozen=True, slots=True)
class CronRule(_ClockRule):
    """When the five fields of a cron expression say so: minute, hour, day of the month, month, weekday."""

    expression: str

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "cron", "expression": self.expression}

    def describe(self) -> str:
        return f"cron {self.expression}"

    def _shown_from(self, start: datetime) -> Iterator[datetime]:
        # The trigger reckons in UTC, whose clock is never changed, with what the clock of the zone shows.
        next_time = _cron_trigger(self.expression).get_next_fire_time
        found = next_time(None, start.replace(tzinfo=UTC))
        while found is not None:
            yield found.replace(tzinfo=None)
            found = next_time(None, found + _MICROSECOND)


@dataclass(frozen=True, slots=True)
class IntervalRule(Rule):
    """Every so often, all the time or in a slot of the day that may reach over midnight, on all days or some.

    In a slot the reckoning begins with its start; without one it has gone on since 1970 began, in UTC.
    """

    step: timedelta
    slot: tuple[time, time] | None = None
    """From and to, both inclusive."""
    days: tuple[str, ...] = WEEKDAYS
    """On which a slot begins."""

    def to_dict(self) -> dict[str, Any]:
        minutes = self.step.total_seconds() / 60
        rule: dict[str, Any] = {"kind": "interval", "minutes": int(minutes) if minutes.is_integer() else minutes}
        if self.slot is not None:
            rule |= {"from": f"{self.slot[0]:%H:%M}", "to": f"{self.slot[1]:%H:%M}"}
        return rule if self.days == WEEKDAYS else rule | {"days": list(self.days)}

    def describe(self) -> str:
        words = f"every {self.step.total_seconds() / 60:g} minutes"
        if self.slot is not None:
            words += f" from {self.slot[0]:%H:%M} to {self.slot[1]:%H:%M}"
        return words if self.days == WEEKDAYS else f"{words} on {', '.join(self.days)}"

    def local_day_of(self, zone: ZoneInfo, due: datetime) -> date:
        return due.astimezone(zone).date()

    def _candidates(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        # A slot of the day before may still go on.
        day = after.astimezone(zone).date() - _DAY
        while True:
            if _name_day(day) in self.days:
                yield from self._instants_of(day, zone, after)
            day += _DAY

    def _instants_of(self, day: date, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        start, end = self._bounds(day, zone)
        anchor = _EPOCH if self.slot is None else start
        due = anchor - (anchor - max(start, after)) // self.step * self.step
        while due <= end:
            yield due
            due += self.step

    def _bounds(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        if self.slot is None:
            return local_instant(day, time(), zone), local_instant(day + _DAY, time(), zone) - _MICROSECOND
        start, end = self.slot
        last_day = day if start < end else day + _DAY
        return local_instant(day, start, zone), local_instant(last_day, end, zone)


def parse_rule(mapping: Mapping[str, Any]) -> Rule:
    """Return the rule that a mapping means.

    One of `{"kind": "daily", "at": "HH:MM"}`, `{"kind": "weekly", "days": ["mon", ...], "at": "HH:MM"}`,
    `{"kind": "cron", "expression": "..."}` with the five fields of crontab(5), and
    `{"kind": "interval", "minutes": N}`, which may have a slot `"from": "HH:MM", "to": "HH:MM"` and weekdays
    `"days": ["mon", ...]`.

    Raises:
        InvalidRule: it means none; the text says why.
    """
    kind = mapping.get("kind")
    if not isinstance(kind, str) or kind not in _READERS:
        raise InvalidRule(f"{kind!r} is not a kind of rule: choose among {', '.join(_READERS)}.")
    needed, optional, read = _READERS[kind]
    given = mapping.keys() - {"kind"}
    if not needed <= given <= needed | optional:
        extra = f" and may have {_enumerate(optional)}" if optional else ""
        raise InvalidRule(f"A rule of the kind {kind} has {_enumerate(needed)}{extra}.")
    return read(mapping)


def next_times(rule: Rule, zone: ZoneInfo, now: datetime, count: int = 5) -> list[datetime]:
    """Return the next due times after an instant, in UTC."""
    return list(islice(rule.instants(zone, now), count))


def newest_times(rule: Rule, zone: ZoneInfo, after: datetime, until: datetime, count: int) -> list[datetime]:
    """Return the newest due times of a stretch, ascending, in UTC; as quickly for a long stretch as for a short one.

    Args:
        rule: what is due.
        zone: whose clock counts.
        after: exclusive, aware.
        until: inclusive, aware.
        count: how many at most.
    """
    span = timedelta(hours=1)
    while True:
        start = max(after, until - span)
        found = rule.due_times(zone, start, until)
        if len(found) >= count or start == after:
            return found[-count:]
        span = min(span * 2, until - after)


def _name_day(day: date) -> str:
    return WEEKDAYS[day.weekday()]


def _enumerate(keys: frozenset[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))


def _read_daily(mapping: Mapping[str, Any]) -> Rule:
    return DailyRule(_read_time(mapping["at"]))


def _read_weekly(mapping: Mapping[str, Any]) -> Rule:
    return DailyRule(_read_time(mapping["at"]), _read_days(mapping["days"]))


def _read_cron(mapping: Mapping[str, Any]) -> Rule:
    expression = mapping["expression"]
    if not isinstance(expression, str):
        raise InvalidRule(f"{expression!r} is not a cron expression.")
    expression = " ".join(expression.lower().split())
    _cron_trigger(expression)
    return CronRule(expression)


def _read_interval(mapping: Mapping[str, Any]) -> Rule:
    minutes = mapping["minutes"]
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= LONGEST_INTERVAL:
        raise InvalidRule(f"An interval is a number of minutes up to {LONGEST_INTERVAL}, which {minutes!r} is not.")
    step = timedelta(seconds=max(1, round(minutes * 60)))
    days = _read_days(mapping["days"]) if "days" in mapping else WEEKDAYS
    return IntervalRule(step, _read_slot(mapping), days)


def _read_slot(mapping: Mapping[str, Any]) -> tuple[time, time] | None:
    if "from" not in mapping and "to" not in mapping:
        return None
    if "from" not in mapping or "to" not in mapping:
        raise InvalidRule("A time slot has both `from` and `to`.")
    start, end = _read_time(mapping["from"]), _read_time(mapping["to"])
    if start == end:
        raise InvalidRule("A time slot ends at another time than it begins.")
    return start, end


_READERS: dict[str, tuple[frozenset[str], frozenset[str], Callable[[Mapping[str, Any]], Rule]]] = {
    "daily": (frozenset({"at"}), frozenset(), _read_daily),
    "weekly": (frozenset({"days", "at"}), frozenset(), _read_weekly),
    "cron": (frozenset({"expression"}), frozenset(), _read_cron),
    "interval": (frozenset({"minutes"}), frozenset({"from", "to", "days"}), _read_interval),
}


def _read_time(text: object) -> time:
    try:
        return parse_time(text if isinstance(text, str) else repr(text))
    except ValueError as error:
        raise InvalidRule(str(error)) from None


def _read_days(names: object) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not names or not all(name in WEEKDAYS for name in names):
        raise InvalidRule(f"{names!r} are not weekdays: choose among {', '.join(WEEKDAYS)}.")
    return tuple(name for name in WEEKDAYS if name in names)


@lru_cache(maxsize=1024)
def _cron_trigger(expression: str) -> CronTrigger | OrTrigger:
    """Return what computes the times of a cron expression.

    As crontab(5) has it, a day fits when either the day of the month or the weekday does, if neither begins with `*`.

    Raises:
        InvalidRule: the expression cannot be read, or never comes true.
    """
    fields = expression.split(" ")
    if len(fields) != _CRON_FIELDS:
        raise InvalidRule(f"{expression!r} is not a cron expression: it has five fields.")
    minute, hour, day, month, weekday = fields
    try:
        weekday = _read_cron_days(weekday)
        common = {"minute": minute, "hour": hour, "month": month, "timezone": UTC}
        if day.startswith("*") or fields[4].startswith("*"):
            trigger = CronTrigger(day=day, day_of_week=weekday, **common)
        else:
            trigger = OrTrigger([CronTrigger(day=day, **common), CronTrigger(day_of_week=weekday, **common)])
    except ValueError as error:
        raise InvalidRule(f"{expression!r} is not a cron expression: {str(error).rstrip('.')}.") from None
    if trigger.get_next_fire_time(None, _EPOCH) is None:
        raise InvalidRule(f"The cron expression {expression!r} never comes true.")
    return trigger


def _read_cron_days(field: str) -> str:
    """Return the weekdays of a cron field by name: in crontab(5) Sunday is 0 and 7, in APScheduler it is 6."""
    days = {number % 7 for part in field.split(",") for number in _read_cron_range(part)}
    return ",".join(WEEKDAYS[number - 1] for number in sorted(days))


def _read_cron_range(part: str) -> range:
    named, slash, step = part.partition("/")
    start, dash, end = named.partition("-")
    first, last = (0, 6) if named == "*" else (_read_cron_day(start), _read_cron_day(end if dash else start))
    if last == 0 < first:
        last = 7
    if slash and not dash and named != "*":
        last = 6
    if (slash and not (step.isascii() and step.isdigit() and 0 < int(step) <= 7)) or first > last:
        raise ValueError(f"{part!r} is not a range of weekdays")
    return range(first, last + 1, int(step) if slash else 1)


def _read_cron_day(text: str) -> int:
    if text in _CRON_DAYS:
        return _CRON_DAYS[text]
    if len(text) == 1 and text in "01234567":
        return int(text)
    raise ValueError(f"{text!r} is not a weekday")
