"""Files of refused rows: what they look like, and that they can be repaired and imported again."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.csv_reader import CsvRows
from exchange.encodings import encode_record
from exchange.error_rows import write_error_rows
from exchange.profiles import Profile
from exchange.rows import SourceRow

FIELDS = {"name": "1"}


def write(header: str, *errors: tuple[int, str, str, bytes], **settings: Any) -> bytes:
    out = io.BytesIO()
    settings = {"separator": ";", "encoding": "utf-8", **settings}
    assert write_error_rows(out, header=header, errors=errors, **settings) == len(errors)
    return out.getvalue()


@pytest.mark.parametrize(
    ("header", "error", "settings", "expected"),
    [
        ("email;1\n", None, {}, b"error_line;error_code;error_text;email;1\r\n"),
        ("", None, {}, b"error_line;error_code;error_text\r\n"),
        (
            "email\r\n",
            (7, "columns", "Two; three.", b"a;b\n"),
            {},
            b'error_line;error_code;error_text;email\r\n7;columns;"Two; three.";a;b\r\n',
        ),
        (
            "email",
            (7, "encoding", 'Say "\xe9"\n.', b"a\xff"),
            {},
            b'error_line;error_code;error_text;email\r\n7;encoding;"Say ""?"" .";a\xff\r\n',
        ),
        (
            "",
            (7, "quote", "Open.", b'a,"b\r'),
            {"separator": ","},
            b'error_line,error_code,error_text\r\n7,quote,"Open.","a,""b"\r\n',
        ),
        (
            "",
            (7, "columns", "a|b", b"x"),
            {"separator": "|", "quote": "", "encoding": "utf-8-sig"},
            b"\xef\xbb\xbferror_line|error_code|error_text\r\n7|columns|a b|x\r\n",
        ),
    ],
)
def test_form(
    header: str, error: tuple[int, str, str, bytes] | None, settings: dict[str, Any], expected: bytes
) -> None:
    assert write(header, *([error] if error else []), **settings) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-16-be-sig"])
def test_wide_encodings_keep_mark_and_byte_order(encoding: str) -> None:
    content = write("email\n", (2, "columns", "x", encode_record("é;é\n", encoding)), encoding=encoding)
    rows = CsvRows(lambda: io.BytesIO(content), Profile(encoding="utf-16"), FIELDS)
    assert rows.encoding == encoding
    assert rows.header == "error_line;error_code;error_text;email\r\n"
    [batch] = rows.batches(10)
    assert [error.raw for error in batch.errors] == ['2;columns;"x";é;é\r\n']


def collect_errors(rows: CsvRows) -> list[tuple[int, str, str, bytes]]:
    return [
        (error.line, error.code, error.text, encode_record(error.raw, rows.encoding))
        for batch in rows.batches(100)
        for error in batch.errors
    ]


def collect_rows(rows: CsvRows) -> list[SourceRow]:
    return [row for batch in rows.batches(100) for row in batch.rows]


BROKEN = st.tuples(
    st.text("abc é", max_size=5),
    st.sampled_from(["too;many;cells", "two\0", "\udcff", '"open', '"quoted\r\nlines";x;y', "x" * 255]),
)


@given(
    st.lists(BROKEN, min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.booleans(),
    st.sampled_from([None, ";"]),
)
def test_repaired_file_is_imported_clean(
    broken: list[tuple[str, str]], line_end: str, encoding: str, header: bool, separator: str | None
) -> None:
    """Whoever repairs the file replaces what stands behind the three leading cells."""
    profile = Profile(separator=separator, header=header, columns=("email", "1"))
    first = "email;name" if header else "good@example.com;Good"
    lines = [first, *(f"{name}{tail};{name}" for name, tail in broken), ""]
    mark = b"\xef\xbb\xbf" if encoding == "utf-8-sig" else b""
    content = mark + encode_record(line_end.join(lines), encoding)
    source = CsvRows(lambda: io.BytesIO(content), profile, FIELDS)
    errors = collect_errors(source)
    written = write(source.header, *errors, separator=source.separator, encoding=source.encoding)

    again = CsvRows(lambda: io.BytesIO(written), profile, FIELDS)
    assert (again.separator, again.encoding) == (source.separator, source.encoding)
    assert len(collect_errors(again)) + len(collect_rows(again)) == len(errors)

    repaired = [(line, code, text, b"a@example.com;Ann\n") for line, code, text, _ in errors if code != "quote"]
    mended = write(source.header, *repaired, separator=source.separator, encoding=source.encoding)
    clean = CsvRows(lambda: io.BytesIO(mended), profile, FIELDS)
    assert collect_errors(clean) == []
    assert [(row.email, row.fields) for row in collect_rows(clean)] == [("a@example.com", {"1": "Ann"})] * len(repaired)


def test_refused_twice_comes_back_a_second_time() -> None:
    profile = Profile(header=False, columns=("email", "1"))
    content = b"a@example.com\n"
    for _ in range(3):
        source = CsvRows(lambda content=content: io.BytesIO(content), profile, FIELDS)  # type: ignore[misc]
        errors = collect_errors(source)
        assert [code for _, code, _, _ in errors] == ["columns"]
        content = write(source.header, *errors, separator=source.separator, encoding=source.encoding)
    content = content.replace(b"a@example.com\r\n", b"a@example.com;Ann\r\n")
    assert [row.email for row in collect_rows(CsvRows(lambda: io.BytesIO(content), profile, FIELDS))] == [
        "a@example.com"
    ]
