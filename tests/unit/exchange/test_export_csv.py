"""Exports as CSV: the dialect, its limits, and what is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.export_csv import ENCODINGS, QUOTES, SEPARATORS, CsvFormat, CsvWriter

AT = datetime(2021, 1, 22, 10, 12, 44, tzinfo=UTC)


def write(rows: Sequence[Sequence[object]], dates: Sequence[int] = (), **settings: Any) -> bytes:
    out = io.BytesIO()
    writer = CsvWriter(out, CsvFormat(**settings), dates)
    writer.write_header(["email", "Opt Out"])
    writer.write_batch(rows)
    writer.close()
    assert writer.rows == len(rows)
    return out.getvalue()


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        ([], {}, b"email;Opt Out\r\n"),
        ([], {"header": False}, b""),
        ([("a", None), (1, True)], {"header": False}, b"a;\r\n1;True\r\n"),
        ([("a;b", 'c"d', "e\nf", "g\rh")], {"header": False}, b'"a;b";"c""d";"e\nf";"g\rh"\r\n'),
        (
            [("a,b", "c'd", 'e"f')],
            {"header": False, "separator": ",", "quote": "'"},
            b"'a,b','c''d',e\"f\r\n",
        ),
        ([("é€→",)], {"header": False, "encoding": "cp1252"}, b"\xe9\x80?\r\n"),
        ([("\udce9",)], {"header": False}, b"?\r\n"),
        ([("é",)], {"header": False, "encoding": "utf-8-sig"}, b"\xef\xbb\xbf\xc3\xa9\r\n"),
        ([("=1+1", "+39", "a=b")], {"header": False}, b"=1+1;+39;a=b\r\n"),
    ],
)
def test_rows_are_written(rows: list[tuple[object, ...]], settings: dict[str, Any], expected: bytes) -> None:
    assert write(rows, **settings) == expected


@pytest.mark.parametrize(
    ("cell", "settings", "expected"),
    [
        (AT, {}, b"20210122T101244"),
        (AT, {"time_zone": "Europe/Rome"}, b"20210122T111244"),
        (AT.astimezone(ZoneInfo("Asia/Tokyo")), {}, b"20210122T101244"),
        ("2021-01-22 10:12:44.000000", {"time_zone": "Asia/Kolkata"}, b"20210122T154244"),
        ("2021-01-22 10:12:44.123456", {"date_format": "dd/MM/yyyy HH:mm"}, b"22/01/2021 10:12"),
        ("2021-01-22 10:12:44", {"date_format": "ss%mm"}, b"44%12"),
        (None, {}, b""),
        # The autumn night in Rome.
        ("2026-10-25 00:30:00", {"time_zone": "Europe/Rome", "date_format": "HH"}, b"02"),
        ("2026-10-25 01:30:00", {"time_zone": "Europe/Rome", "date_format": "HH"}, b"02"),
        ("2026-10-25 02:30:00", {"time_zone": "Europe/Rome", "date_format": "HH"}, b"03"),
    ],
)
def test_dates_are_written(cell: object, settings: dict[str, Any], expected: bytes) -> None:
    assert write([("a", cell)], [1], header=False, **settings) == b"a;" + expected + b"\r\n"


def test_headers_are_defused() -> None:
    out = io.BytesIO()
    writer = CsvWriter(out, CsvFormat(defuse_formulas=True))
    writer.write_header(["=1+1", "email"])
    writer.close()
    assert out.getvalue() == b"'=1+1;email\r\n"


def test_output_stays_open_and_can_be_continued() -> None:
    out = io.BytesIO(b"before")
    out.seek(0, io.SEEK_END)
    writer = CsvWriter(out, CsvFormat())
    writer.write_batch([("a",)])
    writer.close()
    out.write(b"after")
    assert out.getvalue() == b"beforea\r\nafter"


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"separator": "x"}, "separator must be one of"),
        ({"separator": ";;"}, "separator must be one of"),
        ({"quote": ""}, "quote must be one of"),
        ({"encoding": "utf-7"}, "encoding must be one of"),
        ({"header": 1}, "header must be true or false"),
        ({"defuse_formulas": None}, "defuse_formulas must be true or false"),
        ({"date_format": 5}, "date_format must be text"),
        ({"date_format": "YYYY"}, "no date pattern"),
        ({"time_zone": None}, "time_zone must be text"),
        ({"time_zone": "Europe/Atlantis"}, "is not known"),
        ({"time_zone": "../etc/passwd"}, "is not known"),
        ({"time_zone": "Europe"}, "is not known"),
        ({"colour": "red", "shape": 1}, "unknown setting colour, shape"),
    ],
)
def test_format_is_refused(stored: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CsvFormat.from_dict(stored)


def test_format_survives_storage() -> None:
    csv_format = CsvFormat(separator="|", quote="'", encoding="cp1252", header=False, time_zone="Europe/Rome")
    assert CsvFormat.from_dict(csv_format.to_dict()) == csv_format


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=4),
    st.sampled_from(SEPARATORS),
    st.sampled_from(QUOTES),
    st.sampled_from(ENCODINGS[:2]),
)
def test_what_is_written_is_read(rows: list[list[str]], separator: str, quote: str, encoding: str) -> None:
    content = write(rows, separator=separator, quote=quote, encoding=encoding, header=False)
    text = io.StringIO(content.decode(encoding), newline="")
    assert list(csv.reader(text, delimiter=separator, quotechar=quote)) == rows


@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=4),
    st.sampled_from(QUOTES),
    st.sampled_from(ENCODINGS),
    st.integers(1, 7),
)
def test_lines_cut_anywhere_become_what_rows_are(rows: list[list[str]], quote: str, encoding: str, size: int) -> None:
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=";", quotechar=quote, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    content = lines.getvalue().encode()
    out = io.BytesIO()
    writer = CsvWriter(out, CsvFormat(quote=quote, encoding=encoding))
    for start in range(0, len(content), size):
        writer.write_lines([content[start : start + size]])
    writer.close()
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", quotechar=quote, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
    assert out.getvalue() == (text.getvalue().encode(encoding, "replace") if rows else b"")
    assert writer.rows == len(rows)
