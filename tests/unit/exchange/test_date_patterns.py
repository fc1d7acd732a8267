"""Date patterns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exchange.date_patterns import compile_date_pattern, compile_date_reader, describe_date

AT = datetime(2021, 1, 22, 11, 2, 44, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyyMMddTHHmmss", "20210122T110244"),
        ("yyyy-MM-dd HH:mm:ss", "2021-01-22 11:02:44"),
        ("dd/MM/yyyy HH.mm", "22/01/2021 11.02"),
        ("%yyyy%", "%2021%"),
    ],
)
def test_pattern(pattern: str, text: str) -> None:
    assert AT.strftime(compile_date_pattern(pattern)) == text


@pytest.mark.parametrize("pattern", ["", "yy", "YYYY", "yyyyx", "%Y", "yyyy\n", "yyyy\0"])
def test_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no date pattern"):
        compile_date_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "date"),
    [
        ("dd/MM/yyyy", "05/03/2024", datetime(2024, 3, 5)),
        ("d/M/yyyy", "5/3/2024", datetime(2024, 3, 5)),
        ("d/M/yyyy", "05/12/2024", datetime(2024, 12, 5)),
        ("yyMMdd", "680101", datetime(2068, 1, 1)),
        ("yyMMdd", "690101", datetime(1969, 1, 1)),
        ("yyyy-MM-dd H:mm", "2024-03-05 7:08", datetime(2024, 3, 5, 7, 8)),
        ("yyyyMMddTHHmmss", "20240305T010203", datetime(2024, 3, 5, 1, 2, 3)),
    ],
)
def test_date_is_read(pattern: str, text: str, date: datetime) -> None:
    assert compile_date_reader(pattern)(text) == date


@pytest.mark.parametrize("text", ["", "5/3/2024", "31/02/2024", "05/03/24", "05/03/2024 ", "0५/03/2024", "05/03/0024"])
def test_what_is_no_date_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"another form|day is out of range"):
        compile_date_reader("dd/MM/yyyy")(text)


@pytest.mark.parametrize(
    "pattern", ["", "x", "MM/yyyy", "dd/MM", "dd/MM/yyyy dd", "yyyyy-MM-dd", "MMMddyyyy", "dd\nMMyyyy"]
)
def test_pattern_of_a_reader_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no date pattern"):
        compile_date_reader(pattern)


def test_described_dates_have_a_fixed_width() -> None:
    assert describe_date("yyyy.MM", "x_").startswith("(?P<x_year>[1-9][0-9]{3})\\.(?P<x_month>")
    with pytest.raises(ValueError, match="one letter"):
        describe_date("yyyy.M")
