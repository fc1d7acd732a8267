"""The last line that was agreed for the files of a folder, which proves that they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from exchange.errors import FileRefused
from exchange.linear_patterns import LinearPattern

LONGEST = 4096
"""Most characters of a trailer; a security limit."""

compile_trailer = lru_cache(maxsize=256)(LinearPattern)
"""Compiles the trailer of a profile, once; raises ValueError as `LinearPattern` does."""


def match_trailer(pattern: str, line: str) -> Mapping[str, str] | None:
    """Return the named groups of a line that is the trailer as a whole, None when it is not.

    Args:
        pattern: the trailer of the profile.
        line: blanks around it do not count.

    Raises:
        FileRefused: `trailer-pattern`, the profile is older than the present syntax of patterns.
    """
    line = line.strip()
    try:
        return compile_trailer(pattern).match_whole(line) if len(line) <= LONGEST else None
    except ValueError as error:
        text = f"The trailer in the profile of the folder has to be written anew: {error}."
        raise FileRefused("trailer-pattern", text) from None
