"""What files are called: names of exports made from patterns, and names of arrivals judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase

from exchange.date_patterns import compile_date_pattern

DEFAULT_PATTERN = "{type}_{date:yyyyMMddHHmmss}.csv"

NAME_LENGTH = 200
"""Most bytes of a name in UTF-8, which leaves room for suffixes within the 255 of file systems."""

_TOKENS = ("type", "account", "id")
_TOKEN = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_TEMPORARY = (".part", ".tmp", ".temp", ".filepart", ".uploading", ".crdownload", ".partial", "~")


def render_name(pattern: str, *, values: Mapping[str, str], at: datetime) -> str:
    """Make the name of an export.

    Args:
        pattern: text with `{type}`, `{account}`, `{id}` and `{date:PATTERN}`, the last one described in
            `exchange.date_patterns`.
        values: what stands for the first three.
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
    _check_name(name)
    return name


def matches(pattern: str, name: str) -> bool:
    """Tell whether a shell-style pattern fits a file name, in any case."""
    return fnmatchcase(name.lower(), pattern.lower())


def is_temporary(name: str) -> bool:
    """Tell whether a file is named as clients name those they are still writing."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def _check_name(name: str) -> None:
    if not name or name.startswith("."):
        raise ValueError("a file name must not be empty or begin with a dot")
    if re.search(r"[/\\]", name) or not name.isprintable():
        raise ValueError("a file name must not have path separators or control characters")
    if len(name.encode()) > NAME_LENGTH:
        raise ValueError(f"a file name must not be longer than {NAME_LENGTH} bytes")
