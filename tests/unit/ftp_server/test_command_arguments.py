"""Times, ranges and sums in FTP commands."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftp_server.commands import hash_range, parse_range, parse_time
from ftp_server.names import Refused

RANGES: list[tuple[str, tuple[str, int, int | None]]] = [
    ("a.csv", ("a.csv", 0, None)),
    ("a.csv 5", ("a.csv", 5, None)),
    ("a.csv 5 9", ("a.csv", 5, 9)),
    ("a file.csv 5 9", ("a file.csv", 5, 9)),
    ('"a 5 9"', ("a 5 9", 0, None)),
    ('"a ""b"" 1" 2 3', ('a "b" 1', 2, 3)),
    ("1 2 3 4", ("1 2", 3, 4)),
]


@pytest.mark.parametrize(("line", "expected"), RANGES)
def test_ranges(line: str, expected: tuple[str, int, int | None]) -> None:
    assert parse_range(line) == expected


def test_a_line_that_names_no_file() -> None:
    with pytest.raises(Refused, match=r"^501 "):
        parse_range("a\nb")


@given(st.text(min_size=1))
def test_any_line_is_parsed_or_refused(line: str) -> None:
    try:
        path, start, end = parse_range(line)
    except Refused:
        return
    assert path
    assert start >= 0
    assert end is None or end >= 0


@pytest.mark.parametrize("text", ["20260203040506", "20260203040506.123"])
def test_times(text: str) -> None:
    assert parse_time(text) == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2026", "20261303040506", "-0260203040506", "20260203040506.x", "２0260203040506"]
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(Refused, match=r"^501 "):
        parse_time(text)


@given(st.integers(0, 3000), st.one_of(st.none(), st.integers(0, 3000)))
def test_sums_of_ranges(start: int, end: int | None) -> None:
    path = Path(__file__)
    assert hash_range(path, start, end) == hashlib.sha256(path.read_bytes()[start:end]).hexdigest()
