"""Files put together at random, and files of absurd size: every row is imported or handed back, and can be repaired."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from csv_corpus import Audience, open_audience, repair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.profiles import Profile
from jobs.import_results import ImportResult
from jobs.outcomes import ERRORS_SUFFIX

GOOD = (
    b"a@example.com;Ann",
    b'b@example.com;"B;b"',
    b'"c@example.com";"C\r\nc"',
    "d@example.com;Città".encode(),
    b"E@EXAMPLE.com;",
)
BAD = (
    b"",
    b";;;",
    b";Nobody",
    b"nobody;x",
    b"f@example.com",
    b"f@example.com;x;y",
    b"f@example.com;Citt\xe0",
    b"f@example.com;\xed\xa0\x80",
    b"f@example.com;x\0y",
    b"f@example.com;\x1b[0m",
    b'f@example.com;"open',
    b'f@example.com;"closed"x',
    b'"f@example.com;"',
    b"f@example.com;" + b"x" * 10_001,
    b"x" * 255 + b"@example.com;x",
    b"sep=,",
    b"email;1",
    b"\xef\xbb\xbff@example.com;x",
    b"error_line;error_code;error_text",
)
LINE_ENDS = (b"\n", b"\r\n", b"\r")
PIECES = st.lists(st.sampled_from(GOOD + BAD) | st.binary(max_size=12), max_size=12)
PROFILES = st.sampled_from(
    [
        {},
        {"separator": ";"},
        {"quote": ""},
        {"encoding": "cp1252"},
        {"encoding": "latin-1"},
        {"header": False, "columns": ("email", "1"), "separator": ";"},
        {"duplicates": "refuse"},
    ]
)


@pytest.fixture(scope="module")
def audience(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audience]:
    directory = tmp_path_factory.mktemp("round-trip")
    shutil.copyfile(sqlite_template, directory / "listbridge.db")
    with open_audience(f"sqlite:///{directory}/listbridge.db", directory) as audience:
        yield audience


def check(audience: Audience, path: Path, content: bytes, values: dict[str, Any]) -> None:
    """Import content, and what is handed back of it, repaired."""
    profile = Profile(**values)
    errors = path.with_name(path.name + ERRORS_SUFFIX)
    errors.unlink(missing_ok=True)
    audience.clear()
    result = audience.import_bytes(content, profile, path)
    assert result.state in ("completed", "failed")
    if result.state == "failed":
        assert result.error_code and audience.people() == []
        return
    refused = _refused(result)
    assert result.counters["total"] == result.counters["new"] + result.counters["existing"] + refused
    assert errors.exists() == bool(refused)
    if refused:
        result = audience.import_bytes(repair(errors.read_bytes(), profile), profile, path.with_name("repaired.csv"))
        assert (result.counters["new"], _refused(result)) == (refused, 0)


def _refused(result: ImportResult) -> int:
    return sum(result.counters["refused"].values())


def _file(values: dict[str, Any], pieces: list[bytes], line_end: bytes, *, ended: bool) -> bytes:
    header = [] if values.get("header") is False else [b"email;1"]
    return line_end.join([*header, *pieces]) + line_end * ended


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=PROFILES, pieces=PIECES, line_end=st.sampled_from(LINE_ENDS), ended=st.booleans())
def test_every_row_is_imported_or_comes_back(
    audience: Audience, tmp_path: Path, values: dict[str, Any], pieces: list[bytes], line_end: bytes, ended: bool
) -> None:
    check(audience, tmp_path / "people.csv", _file(values, pieces, line_end, ended=ended), values)


@pytest.mark.torture
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=PROFILES, pieces=PIECES, line_end=st.sampled_from(LINE_ENDS), ended=st.booleans())
def test_every_row_of_many_files_is_imported_or_comes_back(
    audience: Audience, tmp_path: Path, values: dict[str, Any], pieces: list[bytes], line_end: bytes, ended: bool
) -> None:
    check(audience, tmp_path / "people.csv", _file(values, pieces, line_end, ended=ended), values)


LARGE = 1_500_000
"""More characters than a record may have."""
MARGIN = b"a@example.com;Ann\n"
ABSURD = {
    "a cell": (b"b@example.com;" + b"x" * 10_000_000 + b"\n", {"value-too-long": 1}),
    "a quoted cell": (b'b@example.com;"' + b"x" * 10_000_000 + b'"\n', {"value-too-long": 1}),
    "an address": (b"x" * LARGE + b"@example.com;x\n", {"value-too-long": 1}),
    "separators": (b";" * LARGE + b"\n", {"value-too-long": 1}),
    "quotation marks": (b'"' * LARGE + b"\n", {"value-too-long": 1}),
    "NUL": (bytes(LARGE) + b"\n", {"value-too-long": 1}),
    "spaces": (b" " * LARGE + b"\n", {}),
    "blank lines": (b"\n" * LARGE, {}),
    "a quoted cell of blank lines": (b'b@example.com;"' + b"\n" * 5_000 + b'"\n', {"quote": 2}),
    "bytes that are not UTF-8": (b"b@example.com;" + b"\xff" * LARGE + b"\n", {"value-too-long": 1}),
}


@pytest.mark.parametrize(("row", "refused"), ABSURD.values(), ids=ABSURD)
def test_a_row_of_absurd_size(audience: Audience, tmp_path: Path, row: bytes, refused: dict[str, int]) -> None:
    audience.clear()
    content = b"email;1\n" + MARGIN + row + MARGIN.replace(b"a@", b"c@")
    result = audience.import_bytes(content, Profile(), tmp_path / "people.csv")
    assert (result.state, result.counters["refused"]) == ("completed", refused)
    assert [person["email"] for person in audience.people()] == ["a@example.com", "c@example.com"]
    if refused:
        again = audience.import_path(tmp_path / f"people.csv{ERRORS_SUFFIX}", Profile())
        assert again.state == "completed"
        assert _refused(again) == _refused(result)


@pytest.mark.parametrize("header", [b";" * LARGE, b"x" * LARGE, bytes(LARGE)], ids=["separators", "x", "NUL"])
def test_a_header_of_absurd_size(audience: Audience, tmp_path: Path, header: bytes) -> None:
    result = audience.import_bytes(header + b"\n" + MARGIN, Profile(), tmp_path / "people.csv")
    assert (result.state, result.error_code) == ("failed", "header")
