"""File names: rendered, matched and judged."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.file_names import DEFAULT_PATTERN, check_pattern, is_temporary, matches, render_name
from exchange.profiles import NameMatch

AT = datetime(2021, 1, 22, 11, 2, 44, tzinfo=UTC)
VALUES = {"type": "unsubscribers", "account": "12", "id": "3"}


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (DEFAULT_PATTERN, "unsubscribers_20210122110244.csv"),
        ("{account}-{id}.{date:yyyy-MM-dd}.txt", "12-3.2021-01-22.txt"),
        ("fixed.csv", "fixed.csv"),
        ("città {id}.csv", "città 3.csv"),
        ("x" * 200, "x" * 200),
    ],
)
def test_name_is_rendered(pattern: str, name: str) -> None:
    assert render_name(pattern, values=VALUES, at=AT) == name


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        (".hidden", "dot"),
        ("..", "dot"),
        ("a/b", "separators"),
        ("a\\b", "separators"),
        ("{date:yyyy/MM}", "separators"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("x" * 201, "200 bytes"),
        ("é" * 101, "200 bytes"),
        ("{nobody}", r"\{nobody\} is not known"),
        ("{date}", "not known"),
        ("{date:}", "not known"),
        ("{date:yy}", "no date pattern"),
        ("{type:x}", "not known"),
        ("{}", "not known"),
        ("a{b", "no partner"),
        ("a}b", "no partner"),
        ("{{type}}", "no partner"),
    ],
)
def test_name_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        render_name(pattern, values=VALUES, at=AT)


def test_missing_and_hostile_values_are_refused() -> None:
    with pytest.raises(ValueError, match="not known"):
        render_name("{id}", values={}, at=AT)
    with pytest.raises(ValueError, match="separators"):
        render_name("{id}", values={"id": "x/../y"}, at=AT)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "anything", True),
        ("*.csv", "Contacts.CSV", True),
        ("DAILY_?.csv", "daily_1.csv", True),
        ("*.csv", "contacts.txt", False),
        ("[ab]*.csv", "Axel.csv", True),
    ],
)
def test_matching(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        (r"crm_\d+\.csv", "CRM_12.CSV", True),
        (r"crm_\d+\.csv", "crm_12.csv.bak", False),
        (r"crm", "my crm", False),
        (r"(daily|weekly)_{date:yyyyMMdd}\.(csv|txt)", "weekly_20240229.txt", True),
        (r"(daily|weekly)_{date:yyyyMMdd}\.(csv|txt)", "weekly_20230229.txt", False),
        (r".{1,3}é", "xÉ", True),
        (r".*", "x" * 200, True),
        (r".*", "x" * 201, False),
        (r"a.c", "a\udce9c", True),
    ],
)
def test_matching_regular_expressions(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name, "regex") is fits


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("p_{date:yyyyMMdd}.csv", "P_20240305.csv", True),
        ("*{date:dd-MM-yy}*", "x 05-03-24 y", True),
        ("{date:yyyyMMddTHHmm}", "20240305t0115", True),
        ("*_{date:yyyyMM}", "99999999_202412", True),
        ("*{date:yyyyMMdd}.csv", "99999999_20240305.csv", True),
        ("{date:yyyyMMdd}-{date:yyyyMMdd}", "20240305-20240306", True),
        ("{date:yyyyMMdd}-{date:yyyyMMdd}", "20240305-20240230", False),
        ("{date:yyyyMMdd}", "20241301", False),
        ("{date:yyyyMMdd}", "٢٠٢٤٠٣٠٥", False),
    ],
)
def test_date_in_a_name(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits
    if "*" not in pattern:
        assert matches(pattern, name, "regex") is fits


@pytest.mark.parametrize(
    ("pattern", "kind", "words"),
    [
        ("", "glob", "must not be empty"),
        ("a\nb", "glob", "control characters"),
        ("{date:}", "glob", "no date pattern"),
        ("{date:yyyyMMM}", "glob", "no date pattern"),
        ("{date:yyyyyyyy}", "glob", "no date pattern"),
        ("{date:d.M.yyyy}", "glob", "part of one letter"),
        ("[{date:yyyyMMdd}]", "glob", "cannot stand at that place"),
        ("[{date:yyyyMMdd}]", "regex", "not a regular expression"),
        ("(", "regex", "not a regular expression"),
        (r"(?P<date5_year>x)", "regex", "cannot stand at that place"),
        (r"(?<!x)y", "regex", "not a regular expression"),
    ],
)
def test_pattern_is_refused(pattern: str, kind: NameMatch, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_pattern(pattern, kind)
    with pytest.raises(ValueError, match=words):
        matches(pattern, "x", kind)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("(a+)+", "regex"),
        ("(a|aa)*b", "regex"),
        ("(.*a){30}b", "regex"),
        ("*a" * 60 + "b", "glob"),
        ("*?" * 60 + "b", "glob"),
    ],
)
def test_hostile_patterns_end(pattern: str, kind: NameMatch) -> None:
    # With backtracking, each of these would take longer than the universe is old.
    assert not matches(pattern, "a" * 198 + "!", kind)


PIECES = st.lists(st.sampled_from(["a", "B", "*", "?", ".", "[ab]", "[!a]", "_"]), min_size=1, max_size=8)
SAMPLES = st.text(alphabet="aAbB._-1", max_size=10)


@given(PIECES, SAMPLES)
def test_globs_are_as_the_standard_library_has_them(pieces: list[str], name: str) -> None:
    pattern = "".join(pieces)
    assert matches(pattern, name) is fnmatchcase(name.lower(), pattern.lower())


@given(st.lists(st.sampled_from(["a", "b", ".", "[ab]", "x*", "(ab|b)", "_+"]), min_size=1, max_size=6), SAMPLES)
def test_expressions_are_as_the_standard_library_has_them(pieces: list[str], name: str) -> None:
    pattern = "".join(pieces)
    assert matches(pattern, name, "regex") is (re.fullmatch(pattern, name, re.IGNORECASE) is not None)


@given(st.datetimes(min_value=datetime(1000, 1, 1)).map(lambda at: at.replace(microsecond=0)), SAMPLES)
def test_what_is_rendered_is_found(at: datetime, tail: str) -> None:
    name = render_name("x{date:yyyyMMddTHHmmss}", values={}, at=at) + tail
    assert matches("x{date:yyyyMMddTHHmmss}*", name)
    assert matches("x{date:yyyyMMddTHHmmss}.*", name, "regex")


@pytest.mark.parametrize(
    ("name", "temporary"),
    [
        ("contacts.csv", False),
        ("contacts.csv.done", False),
        ("part.csv", False),
        (".contacts.csv", True),
        ("contacts.csv~", True),
        *((f"contacts.csv{suffix}", True) for suffix in (".part", ".PART", ".tmp", ".temp", ".filepart")),
        *((f"contacts.csv{suffix}", True) for suffix in (".uploading", ".crdownload", ".partial")),
    ],
)
def test_temporary_names(name: str, temporary: bool) -> None:
    assert is_temporary(name) is temporary
