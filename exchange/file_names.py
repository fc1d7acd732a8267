"""What files are called: names of exports made from patterns, and names of arrivals judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from fnmatch import translate
from functools import lru_cache

from exchange.date_patterns import compile_date_pattern, describe_date, make_date
from exchange.linear_patterns import LinearPattern
from exchange.profiles import NameMatch

DEFAULT_PATTERN = "{type}_{date:yyyyMMddHHmmss}.csv"

NAME_LENGTH = 200
"""Most bytes of a name in UTF-8, which leaves room for suffixes within the 255 of file systems."""

_TOKENS = ("type", "account", "id", "list")
_TOKEN = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_DATE = re.compile(r"\{date:([^{}]*)\}")
_PLACE = "\ue000"
"""Stands for a date in a pattern while the rest of it is translated; private, hence not printable."""
_MISPLACED = "a date cannot stand at that place of a pattern of file names"
_GROUP = re.compile(r"date([0-9]+)_(\w+)")
_Shape = Callable[[str], Mapping[str, str] | None]
"""Returns the named groups of a name that fits."""
_TEMPORARY = (".part", ".tmp", ".temp", ".filepart", ".uploading", ".crdownload", ".partial", "~")


def render_name(pattern: str, *, values: Mapping[str, str], at: datetime) -> str:
    """Make the name of an export.

    Args:
        pattern: text with `{type}`, `{account}`, `{id}`, `{list}` and `{date:PATTERN}`, the last one described in
            `exchange.date_patterns`.
        values: what stands for the others; those without a value are not known.
        at: the date, already in the time zone wanted.

    Raises:
        ValueError: the pattern has an unknown token, or what it makes is no safe name of one file.
    """

    def fill(token: re.Match[str]) -> str:
        name, date_pattern = token.groups()
        if name == "date" and date_pattern:
            return at.strftime(compile_date_pattern(date_pattern))
        if name in _TOKENS and name in values and date_pattern is None:
            return values[name]
        raise ValueError(f"{token[0]} is not known in a file name; use {{type}}, {{account}}, {{id}}, {{date:…}}")

    if re.search("[{}]", _TOKEN.sub("", pattern)):
        raise ValueError("a brace in the file name has no partner")
    name = _TOKEN.sub(fill, pattern)
    check_name(name)
    return name


def matches(pattern: str, name: str, kind: NameMatch = "glob") -> bool:
    """Tell whether a pattern fits a file name as a whole, in any case.

    Args:
        pattern: a shell's or a regular expression (RE2), in both `{date:PATTERN}` for any date there is, described in
            `exchange.date_patterns`; its parts have a fixed width.
        name: a regular expression fits none of more than `NAME_LENGTH` bytes.
        kind: of the pattern.

    Raises:
        ValueError: the pattern cannot be used.
    """
    groups = _compile(pattern, kind)(name)
    return groups is not None and _are_dates(groups)


def check_pattern(pattern: str, kind: NameMatch) -> None:
    """See whether a pattern can be used.

    Raises:
        ValueError: it cannot.
    """
    _compile(pattern, kind)


def is_temporary(name: str) -> bool:
    """Tell whether a file is named as clients name those they are still writing."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def check_name(name: str) -> None:
    """Check that a name is a safe one of one file.

    Raises:
        ValueError: it is not; the text says why.
    """
    if not name or name.startswith("."):
        raise ValueError("a file name must not be empty or begin with a dot")
    if re.search(r"[/\\]", name) or not name.isprintable():
        raise ValueError("a file name must not have path separators or control characters")
    if len(name.encode()) > NAME_LENGTH:
        raise ValueError(f"a file name must not be longer than {NAME_LENGTH} bytes")


def _are_dates(groups: Mapping[str, str]) -> bool:
    """Tell whether the parts of each date that a pattern found make one that there is."""
    dates: dict[int, dict[str, str]] = {}
    for group, digits in groups.items():
        if (found := _GROUP.fullmatch(group)) and digits:
            dates.setdefault(int(found[1]), {})[found[2]] = digits
    try:
        for parts in dates.values():
            make_date(parts)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _compile(pattern: str, kind: NameMatch) -> _Shape:
    if not pattern or not pattern.isprintable():
        raise ValueError("a pattern of file names must not be empty or have control characters")
    dates = [describe_date(found, f"date{number}_") for number, found in enumerate(_DATE.findall(pattern))]
    return _compile_regex(pattern, dates) if kind == "regex" else _compile_glob(pattern, dates)


def _compile_glob(pattern: str, dates: list[str]) -> _Shape:
    shape = translate(_DATE.sub(_PLACE, pattern).lower())
    try:
        compiled = re.compile(_put_dates(shape, dates), re.IGNORECASE)
    except re.error:
        raise ValueError(_MISPLACED) from None
    _check_dates(dates, compiled.groupindex)

    def read(name: str) -> Mapping[str, str] | None:
        match = compiled.match(name.lower())
        return match.groupdict() if match is not None else None

    return read


def _compile_regex(pattern: str, dates: list[str]) -> _Shape:
    compiled = LinearPattern(_put_dates(_DATE.sub(_PLACE, pattern), dates), ignore_case=True)
    _check_dates(dates, compiled.group_names)

    def read(name: str) -> Mapping[str, str] | None:
        short = len(name.encode("utf-8", "surrogateescape")) <= NAME_LENGTH
        return compiled.match_whole(name) if short else None

    return read


def _put_dates(shape: str, dates: list[str]) -> str:
    first, *rest = shape.split(_PLACE)
    return first + "".join(date + piece for date, piece in zip(dates, rest, strict=True))


def _check_dates(dates: list[str], groups: Collection[str]) -> None:
    """Refuse dates that stand where nothing can, such as between brackets."""
    found = {int(match[1]) for group in groups if (match := _GROUP.fullmatch(group))}
    if found != set(range(len(dates))):
        raise ValueError(_MISPLACED)
