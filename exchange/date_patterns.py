"""Dates as people write patterns for them (`yyyyMMddTHHmmss`), for exports and the names of their files."""

from __future__ import annotations

import re

_DIRECTIVES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "%": "%%"}
_TOKEN = re.compile(r"yyyy|MM|dd|HH|mm|ss|%|T|[^A-Za-z]")


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
