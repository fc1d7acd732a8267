"""Date patterns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exchange.date_patterns import compile_date_pattern

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
