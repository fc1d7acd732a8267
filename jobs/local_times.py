"""Between clocks and instants: what a time of day means in a zone whose clock is changed now and then."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

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


def first_instant(shown: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a clock in this zone first shows a date and time.

    A time that the clock skips means the first instant after the gap, one that it shows twice the first of both.
    Later times never give earlier instants.

    Args:
        shown: naive, as the clock shows it.
        zone: whose clock it is.
    """
    local = shown.replace(tzinfo=zone)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == shown:
        return instant
    return _end_of_gap(local.replace(fold=1).astimezone(UTC), instant, zone)


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a clock in this zone first shows a time of a day; see `first_instant`."""
    return first_instant(datetime.combine(day, at), zone)


def day_before(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the start (inclusive) and end (exclusive) of the day before a local day, from midnight to midnight."""
    return local_instant(day - _DAY, time(), zone), local_instant(day, time(), zone)


def settled_at(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant from which the day before a local day is taken as final, ten minutes after its end."""
    return day_before(day, zone)[1] + SETTLING


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
