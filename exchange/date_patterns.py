"""Dates as people write patterns for them (`yyyyMMddTHHmmss`): written in exports, read in cells and file names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

PIVOT = 68
"""Years of two digits up to this are of this century, later ones of the last (as POSIX has it)."""
_DIRECTIVES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "%": "%%"}
_TOKEN = re.compile(r"yyyy|MM|dd|HH|mm|ss|%|T|[^A-Za-z]")
_READABLE = re.compile(r"yyyy|yy|MM?|dd?|HH?|mm|ss|T|[^A-Za-z]")
_PARTS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}
_DIGITS = {
    "yyyy": "[1-9][0-9]{3}",
    "yy": "[0-9]{2}",
    "MM": "(?:0[1-9]|1[0-2])",
    "M": "(?:0?[1-9]|1[0-2])",
    "dd": "(?:0[1-9]|[12][0-9]|3[01])",
    "d": "(?:0?[1-9]|[12][0-9]|3[01])",
    "HH": "(?:[01][0-9]|2[0-3])",
    "H": "(?:[01]?[0-9]|2[0-3])",
    "mm": "[0-5][0-9]",
    "ss": "[0-5][0-9]",
}


def compile_date_pattern(pattern: str) -> str:
    """Return the `strftime` form of a pattern.

    Args:
        pattern: `yyyy` year, `MM` month, `dd` day, `HH` hour, `mm` minute, `ss` second, the letter `T` and
            any printable characters that are no letters.

    Raises:
        ValueError: the pattern is empty or has other letters or control characters.
    """
    tokens = _TOKEN.findall(pattern)
    if not pattern or "".join(tokens) != pattern or not pattern.isprintable():
        raise ValueError(f"{pattern!r} is no date pattern: use yyyy, MM, dd, HH, mm, ss, T and punctuation")
    return "".join(_DIRECTIVES.get(token, token) for token in tokens)


def compile_date_reader(pattern: str, *, pivot: int = PIVOT) -> Callable[[str], datetime]:
    """Return a function that reads dates of a pattern; it raises ValueError for anything else.

    Args:
        pattern: as for `compile_date_pattern`; besides, `yy` year of two digits, and `M`, `d`, `H` of one digit or two.
            It must have year, month and day, each part once.
        pivot: the last year of two digits that is of this century.

    Raises:
        ValueError: that is no such pattern.
    """
    tokens = _split_readable(pattern)
    names = [_PARTS[token[0]] for token in tokens if token in _DIGITS]
    if not {"year", "month", "day"} <= set(names):
        raise ValueError(f"{pattern!r} is no date pattern: year, month and day are needed")
    shape = re.compile("".join(_read_token(token) for token in tokens), re.ASCII)

    def read(text: str) -> datetime:
        match = shape.fullmatch(text)
        if match is None:
            raise ValueError("another form")
        return make_date(match.groupdict(), pivot=pivot)

    return read


def describe_date(pattern: str, prefix: str = "") -> str:
    """Return a regular expression for the dates of a pattern, each part a group of its own.

    Args:
        pattern: as for `compile_date_reader`, without parts whose width varies.
        prefix: of the groups' names, which are `year`, `month`, `day`, `hour`, `minute` and `second`.

    Raises:
        ValueError: that is no such pattern.
    """
    tokens = _split_readable(pattern)
    if any(token in ("M", "d", "H") for token in tokens):
        raise ValueError(f"{pattern!r} has a part of one letter: use MM, dd, HH")
    return "".join(_read_token(token, prefix) for token in tokens)


def make_date(parts: Mapping[str, str], *, pivot: int = PIVOT) -> datetime:
    """Return the date that the parts of a text tell; absent ones are the first there is.

    Args:
        parts: digits by `year`, `month`, `day`, `hour`, `minute`, `second`.
        pivot: as for `compile_date_reader`.

    Raises:
        ValueError: there is no such day.
    """
    numbers = {name: int(digits) for name, digits in parts.items()}
    year = numbers.pop("year", 2000)
    if len(parts.get("year", "2000")) == 2:
        year += 2000 if year <= pivot else 1900
    month, day, hour, minute, second = (
        numbers.get(name, least)
        for name, least in (("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))
    )
    return datetime(year, month, day, hour, minute, second)


def _split_readable(pattern: str) -> list[str]:
    tokens = _READABLE.findall(pattern)
    names = [token[0] for token in tokens if token in _DIGITS]
    if not pattern or "".join(tokens) != pattern or not pattern.isprintable() or len(set(names)) < len(names):
        raise ValueError(
            f"{pattern!r} is no date pattern: use yyyy, yy, MM, M, dd, d, HH, H, mm, ss, T and punctuation, each once"
        )
    return tokens


def _read_token(token: str, prefix: str = "") -> str:
    digits = _DIGITS.get(token)
    return f"(?P<{prefix}{_PARTS[token[0]]}>{digits})" if digits is not None else re.escape(token)
