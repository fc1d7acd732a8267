"""File names: rendered, matched and judged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exchange.file_names import DEFAULT_PATTERN, is_temporary, matches, render_name

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
