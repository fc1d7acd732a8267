"""CSV files read into rows: dialects, refusals, row errors, trailers and resuming."""

from __future__ import annotations

import codecs
import csv
import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.csv_reader import CsvRows, check_trailer
from exchange.encodings import ENCODINGS, encode_record
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow

FIELDS = {"name": "1", "city": "2"}


def open_rows(content: bytes, **settings: Any) -> CsvRows:
    return CsvRows(lambda: io.BytesIO(content), Profile(**settings), FIELDS)


def read(content: bytes, **settings: Any) -> tuple[list[SourceRow], list[RowError]]:
    batches = list(open_rows(content, **settings).batches(3))
    return [row for batch in batches for row in batch.rows], [error for batch in batches for error in batch.errors]


@pytest.mark.parametrize(
    ("content", "settings", "separator", "encoding"),
    [
        (b"email;1\na@example.com;Ann\n", {}, ";", "utf-8"),
        (b"email,1\r\na@example.com,Ann\r\n", {}, ",", "utf-8"),
        (b"email|1\ra@example.com|Ann\r", {}, "|", "utf-8"),
        (b"email\t1\na@example.com\tAnn", {}, "\t", "utf-8"),
        (b"\n\nemail;1\n\n \na@example.com;Ann\n\n", {}, ";", "utf-8"),
        (b'"email";"1"\n"a@example.com";"Ann"\n', {}, ";", "utf-8"),
        (b"email;1\n' a@example.com ';'Ann'\n", {"quote": "'"}, ";", "utf-8"),
        (b"1;;E-MAIL\nAnn;x;a@example.com\n", {}, ";", "utf-8"),
        (b"name;email\nAnn;a@example.com\n", {"separator": ";"}, ";", "utf-8"),
        (codecs.BOM_UTF8 + b"email;1\na@example.com;Ann\n", {"encoding": "cp1252"}, ";", "utf-8-sig"),
        ("email;1\na@example.com;Ann\n".encode("utf-16"), {}, ";", "utf-16"),
        ("email;1\na@example.com;Ann\n".encode("utf-16-be"), {"encoding": "utf-16"}, ";", "utf-16-be"),
        (b"a@example.com;Ann\n", {"header": False, "columns": ("email", "1")}, ";", "utf-8"),
        (b"email;1\na@example.com;Ann\nEND;1\n", {"completeness": "trailer"}, ";", "utf-8"),
        (b"email;1\na@example.com;Ann\n#END 1\n\n", {"completeness": "trailer"}, ";", "utf-8"),
    ],
)
def test_same_row_in_every_dialect(content: bytes, settings: dict[str, Any], separator: str, encoding: str) -> None:
    source = open_rows(content, **settings)
    assert (source.separator, source.encoding) == (separator, encoding)
    [batch] = source.batches(10)
    assert batch.errors == []
    [row] = batch.rows
    assert (row.email, row.fields) == ("a@example.com", {"1": "Ann"})
    assert encode_record(row.raw, encoding).rstrip(b"\0") in content


@pytest.mark.parametrize(
    ("content", "settings", "code"),
    [
        (b"", {}, "empty-file"),
        (b"\r\n\n \n", {}, "empty-file"),
        (codecs.BOM_UTF8, {}, "empty-file"),
        (codecs.BOM_UTF16_LE, {}, "empty-file"),
        (b"", {"header": False, "columns": ("email",)}, "empty-file"),
        (b"END;0\n", {"completeness": "trailer"}, "empty-file"),
        (b"email;surname\n", {}, "unknown-column"),
        (b"email;1\n", {"separator": ","}, "unknown-column"),
        (b"a@example.com;Ann\n", {}, "unknown-column"),
        (b"\0\0\0\0;1\n", {}, "unknown-column"),
        (b"email;citt\xe0\n", {}, "encoding"),
        (b"email;E-mail\n", {}, "column-twice"),
        (b"1;2\n", {}, "no-key-column"),
        (b"Ann\n", {"header": False}, "no-key-column"),
        (b"Ann\n", {"header": False, "columns": ("email", "7")}, "unknown-column"),
        (b";" * 5000, {}, "too-many-columns"),
        (b'email;"1\na;b\n', {}, "header"),
        (b"x" * 3_000_000, {}, "header"),
        ("email;1\na@example.com;Ann\n".encode("utf-16-le"), {}, "encoding"),
        ("email;1\na@example.com;Ann\n".encode("utf-16")[:-1], {}, "encoding"),
    ],
)
def test_file_is_refused(content: bytes, settings: dict[str, Any], code: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        list(open_rows(content, **settings).batches(10))
    assert refusal.value.code == code
    refusal.value.text.encode()


def test_header_alone_is_no_error() -> None:
    source = open_rows(b"email;1\r\n")
    assert source.header == "email;1\r\n"
    assert list(source.batches(10)) == []


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"b@example.com", "columns"),
        (b"b@example.com;Bob;Rome;x", "columns"),
        (b";" * 5000, "columns"),
        (b"b@example.com;Citt\xe0;", "encoding"),
        (b"b@example.com;Bo\0b;", "control-character"),
        (b"b@example.com;Bo\x1bb;", "control-character"),
        (b"b" * 255 + b";;", "value-too-long"),
        (b"b@example.com;" + b"x" * 10_001 + b";", "value-too-long"),
        (b"b@example.com;" + b"x" * 2_000_000 + b";", "value-too-long"),
        (b'b@example.com;"Bob;', "quote"),
    ],
)
def test_row_is_refused_and_its_neighbours_are_not(record: bytes, code: str) -> None:
    content = b"email;1;2\na@example.com;Ann;Rome\n" + record + b"\nc@example.com;Cy;Rome\n"
    rows, errors = read(content)
    assert [(row.line, row.email) for row in rows] == [(2, "a@example.com"), (4, "c@example.com")]
    [error] = errors
    assert (error.line, error.code) == (3, code)
    assert encode_record(error.raw, "utf-8") == record + b"\n"


def test_undefined_bytes_of_cp1252_refuse_their_row() -> None:
    rows, errors = read(b"email;1\na@example.com;\xe0\nb@example.com;\x81\n", encoding="cp1252")
    assert [row.fields for row in rows] == [{"1": "à"}]
    assert [encode_record(error.raw, "cp1252") for error in errors] == [b"b@example.com;\x81\n"]


def test_cell_of_ten_megabytes_takes_little_more_memory() -> None:
    size = 10_000_000
    source = open_rows(b'email;1\na@example.com;"' + b"x" * size + b'"\nb@example.com;Bob\n')
    tracemalloc.start()
    try:
        first, second = source.batches(10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(error.line, error.code) for error in first.errors] == [(2, "value-too-long")]
    assert [row.email for row in second.rows] == ["b@example.com"]
    assert peak < 4 * size


@pytest.mark.parametrize(("empty_values", "expected"), [("keep", {"1": "Ann"}), ("clear", {"1": "Ann", "2": ""})])
def test_empty_cells(empty_values: str, expected: dict[str, str]) -> None:
    rows, _ = read(b"email;1;2\na@example.com; Ann ; \n", empty_values=empty_values)
    assert [row.fields for row in rows] == [expected]


def test_lines_are_counted_through_quoted_cells() -> None:
    rows, errors = read(b'email;1\n"a@example.com";"An\n\nn"\nb\n\nc@example.com;Cy\n')
    assert [(row.line, row.raw) for row in rows] == [
        (2, '"a@example.com";"An\n\nn"\n'),
        (7, "c@example.com;Cy\n"),
    ]
    assert [error.line for error in errors] == [5]


@pytest.mark.parametrize("trailer_at_end", [True, False])
def test_only_the_last_line_is_a_trailer(trailer_at_end: bool) -> None:
    content = b"email;1\nEND;1\na@example.com;Ann\n" + b"END;2\n" * trailer_at_end
    rows, errors = read(content, completeness="trailer")
    assert [row.email for row in rows] == ["END", "a@example.com"]
    assert errors == []


@pytest.mark.parametrize(
    ("content", "settings", "code", "words"),
    [
        (b"email;1\na;b\nEND;1\n", {}, None, ""),
        (b"email;1\na;b\nTRAILER|000001\r\n\r\n", {}, None, ""),
        (b'email;1\n"a\n";b\n\nc;d\nEND 2', {}, None, ""),
        (b"email;1\nEND;0\n", {}, None, ""),
        (b"a;b\nEND;1\n", {"header": False}, None, ""),
        (b"error_line;error_code;error_text\n2;columns;x;a;b\nEND;1\n", {"header": False}, None, ""),
        (b"a;b\nerror_line;b\nEND;2\n", {"header": False}, None, ""),
        (b"email;1\na;b\n* EOF *\n", {"trailer": r"\* EOF \*"}, None, ""),
        (codecs.BOM_UTF16_LE + "email\na\nEND 1".encode("utf-16-le"), {}, None, ""),
        (b"", {}, "trailer-missing", ""),
        (b"email;1\na;b\n", {}, "trailer-missing", ""),
        (b"email;1\na;b\nEND;", {}, "trailer-missing", ""),
        (b"email;1\na;b\nEND;1 x\n", {}, "trailer-missing", ""),
        (b"email;1\na;b\nEND;1\nc;d\n", {}, "trailer-missing", ""),
        (b"email;1\na;b\nEND;2\n", {}, "trailer-count", "announces 2 rows; the file has 1"),
        (b"email;1\na;b\nEND;" + b"9" * 4000, {}, "trailer-count", f"announces {'9' * 20} rows"),
        (b"email;1\na;b\nEND;" + b"9" * 4093, {}, "trailer-missing", ""),
        (b"email;1\na;b\n" + b"a" * 4000 + b"!\n", {"trailer": "(a*)*"}, "trailer-missing", ""),
        (b"email;1\na;b\nEND 1\n", {"trailer": "(?=END).*"}, "trailer-pattern", "written anew"),
        (b"Error_Line;error_code;error_text;email;1\n2;columns;x;a;b\n", {}, None, ""),
        (b"error_line;error_code;error_text\n2;columns;x;a;b\n", {"header": False}, None, ""),
        (b"error_line;error_code;error_text;email;1\n2;columns;x;a;b\nEND;2\n", {}, "trailer-count", ""),
        (b"error_line;error_code;email;1\n2;columns;a;b\n", {}, "trailer-missing", ""),
        (b"error_line;error_code;error_text;email;1\n2;c;x;a;b\n", {"mode": "full"}, "trailer-missing", ""),
        (b"email;1\na;b\nROWS x\n", {"trailer": r"ROWS (?P<rows>.*)"}, "trailer-count", "announces x rows"),
        (b"END;1\n", {}, "trailer-count", "the file has 0"),
    ],
)
def test_trailer(content: bytes, settings: dict[str, Any], code: str | None, words: str) -> None:
    stream = io.BytesIO(content)
    profile = Profile(completeness="trailer", **settings)
    if code is None:
        check_trailer(stream, profile)
        assert stream.tell() == 0
        return
    with pytest.raises(FileRefused) as refusal:
        check_trailer(stream, profile)
    assert refusal.value.code == code
    assert words in refusal.value.text


@pytest.mark.parametrize(
    ("content", "leading"),
    [
        (b"error_line;error_code;error_text\n2;columns;short;a@example.com;Ann\n", 3),
        (
            b"error_line;error_code;error_text;error_line;error_code;error_text\n1;x;y;2;x;y;a@example.com;Ann\n",
            6,
        ),
    ],
)
def test_refused_rows_of_a_file_without_header_come_back(content: bytes, leading: int) -> None:
    source = open_rows(content, header=False, columns=("email", "1"))
    [batch] = source.batches(10)
    assert [(row.email, row.fields) for row in batch.rows] == [("a@example.com", {"1": "Ann"})]
    assert source.header.count("error_") == leading


def test_reading_can_be_abandoned() -> None:
    batches = open_rows(b"email\n" + b"a@example.com\n" * 10).batches(2)
    assert next(batches).position == 2
    assert next(batches).position == 4
    batches.close()  # type: ignore[attr-defined]


RECORDS = st.sampled_from(
    [
        b"a@example.com;Ann\n",
        b'b@example.com;"two\nlines"\n',
        b"ragged\n",
        b"\n",
        b'c;"open\n',
        b"d;\xe0\n",
        b"e;\0\r\n",
    ]
)


@given(st.lists(RECORDS, max_size=15), st.integers(1, 5), st.data())
def test_resumed_reading_equals_uninterrupted_reading(records: list[bytes], size: int, data: st.DataObject) -> None:
    source = open_rows(b"email;1\n" + b"".join(records))
    whole = list(source.batches(size))
    done = data.draw(st.integers(0, len(whole)))
    position = whole[done - 1].position if done else 0
    assert list(source.batches(size, position)) == whole[done:]
    one_by_one = list(source.batches(1))
    skip = data.draw(st.integers(0, len(one_by_one)))
    assert list(source.batches(1, skip)) == one_by_one[skip:]


VALUES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=12).map(str.strip)
NARROW = st.text(st.characters(codec="cp1252", min_codepoint=32), min_size=1, max_size=12).map(str.strip)


@given(
    st.lists(st.tuples(st.just("a@example.com"), VALUES, VALUES), max_size=5),
    st.sampled_from([";", ",", "|", "\t"]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be-sig", "utf-16-le"]),
    st.booleans(),
)
def test_what_is_written_is_read(
    rows: list[tuple[str, str, str]], separator: str, quote: str, line_end: str, name: str, declared: bool
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quotechar=quote, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("email", "1", "2"), *rows])
    encoding = ENCODINGS[name]
    content = encoding.mark + encoding.encode(out.getvalue())
    profile_encoding = "utf-16" if name.startswith("utf-16") else "utf-8"
    read_rows, errors = read(
        content,
        quote=quote,
        separator=separator if declared else None,
        encoding=profile_encoding,
        empty_values="clear",
    )
    assert errors == []
    assert [(row.email, row.fields["1"], row.fields["2"]) for row in read_rows] == rows


@given(st.lists(NARROW, max_size=5), st.sampled_from(["cp1252"]))
def test_narrow_encodings_are_read(values: list[str], encoding: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL).writerows(
        [("email", "1"), *(("a", value) for value in values)]
    )
    rows, errors = read(out.getvalue().encode(encoding), encoding=encoding, separator=";", empty_values="clear")
    assert errors == []
    assert [row.fields["1"] for row in rows] == values


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "utf-16", "cp1252", "latin-1"]), st.booleans())
def test_any_bytes_are_read_or_refused(content: bytes, encoding: str, header: bool) -> None:
    prefix = b"email;1\n" if header and encoding != "utf-16" else b""
    try:
        rows, errors = read(prefix + content, encoding=encoding, header=header, columns=("email", "1"))
    except FileRefused:
        return
    for row in (*rows, *errors):
        encoded = ENCODINGS[open_rows(prefix + content, encoding=encoding, header=header, columns=("email",)).encoding]
        assert encoded.encode(row.raw) in content
