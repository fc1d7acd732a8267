"""Exports as CSV: the dialect, its limits, and what is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.export_csv import ENCODINGS, QUOTES, SEPARATORS, CsvFormat, write_rows

AT = datetime(2021, 1, 22, 10, 12, 44, tzinfo=UTC)


def write(rows: Sequence[Sequence[object]], **settings: Any) -> bytes:
    out = io.BytesIO()
    count = write_rows(out, CsvFormat(**settings), ["email", "Opt Out"], rows)
    assert count == len(rows)
    return out.getvalue()


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        ([], {}, b"email;Opt Out\r\n"),
        ([], {"header": False}, b""),
        ([("a", None), (1, True)], {"header": False}, b"a;\r\n1;True\r\n"),
        ([("a", AT)], {"header": False}, b"a;20210122T101244\r\n"),
        ([("a", AT)], {"header": False, "time_zone": "Europe/Rome"}, b"a;20210122T111244\r\n"),
        (
            [(AT.replace(tzinfo=None),)],
            {"header": False, "date_format": "dd/MM/yyyy HH:mm"},
            b"22/01/2021 10:12\r\n",
        ),
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
        ([("=1", "@x", "-1", -1)], {"header": False, "defuse_formulas": True}, b"'=1;'@x;'-1;-1\r\n"),
    ],
)
def test_rows_are_written(rows: list[tuple[object, ...]], settings: dict[str, Any], expected: bytes) -> None:
    assert write(rows, **settings) == expected


@pytest.mark.parametrize(("hour", "local"), [(0, "02"), (1, "02"), (2, "03")])
def test_hours_of_the_autumn_night_are_local(hour: int, local: str) -> None:
    instant = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    assert write([(instant,)], header=False, date_format="HH", time_zone="Europe/Rome") == f"{local}\r\n".encode()


def test_output_stays_open_and_can_be_continued() -> None:
    out = io.BytesIO(b"before")
    out.seek(0, io.SEEK_END)
    write_rows(out, CsvFormat(header=False), [], [("a",)])
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
