"""Regular expressions that take no more than linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.linear_patterns import LinearPattern


@pytest.mark.parametrize("pattern", [r"(a+)+", r"(a|aa)+", r"(.*a){20}", r"((a*)*)*b", r"(a|a)*c"])
def test_patterns_that_would_never_end_elsewhere(pattern: str) -> None:
    compiled = LinearPattern(pattern)
    text = "a" * 10_000 + "!"
    assert not compiled.fits(text)
    assert compiled.replace(text, compiled.parse_template("")).endswith("!")


@pytest.mark.parametrize("pattern", ["(", "[", "a{2000}", "(?=x)", r"(x)\1", "\udc80", "x{1000}{1000}"])
def test_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        LinearPattern(pattern)


def test_groups_and_case() -> None:
    compiled = LinearPattern(r"(?P<name>\w+)\.CSV", ignore_case=True)
    assert compiled.group_names == {"name"}
    assert compiled.match_whole("Daily.csv") == {"name": "Daily"}
    assert compiled.match_whole("Daily.csv2") is None


def test_undecodable_bytes_are_no_letters() -> None:
    assert LinearPattern(".").fits("\udce9")
    assert not LinearPattern("é").fits("\udce9")


@given(st.text(), st.text(alphabet="abé", max_size=3), st.text(alphabet="xyé"))
def test_replacing_literals(text: str, find: str, put: str) -> None:
    compiled = LinearPattern("\\Q" + find + "\\E")
    if find:
        assert compiled.replace(text, compiled.parse_template(put)) == text.replace(find, put)
