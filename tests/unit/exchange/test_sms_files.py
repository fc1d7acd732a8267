"""Tables of text messages, line by line and row by row."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parcel_maker import SMS_TABLE, make_sms

from exchange.errors import FileRefused
from exchange.sms_files import SmsFile, SmsOrder

ORDER = SmsOrder(
    author="author@example.com",
    start_at=None,
    sends=True,
    sender="Shop",
    list_number=None,
    campaign="Spring",
    code="C1",
)


def test_a_whole_file() -> None:
    file = SmsFile(make_sms())
    assert file.order == ORDER
    assert [tuple(row) for row in file.rows()] == [
        (9, "+393331234567", "Hello Ann", "Hello [name]", False),
        (10, "3331234568", "Hello Bob", "Hello [Name]", False),
    ]


@pytest.mark.parametrize(
    ("row", "text", "name", "value"),
    [
        (1, "", "author", ""),
        (1, " +393331234567 ", "author", "+393331234567"),
        (2, "2026-11-22 10:30", "start_at", datetime(2026, 11, 22, 10, 30)),
        (2, "", "start_at", None),
        (3, "A", "sends", False),
        (3, ";I;", "sends", True),
        (4, "+393331234567", "sender", "+393331234567"),
        (4, "12345678901", "sender", "12345678901"),
        (4, "+39 340 1234567", "sender", "+393401234567"),
        (4, "My shop 24", "sender", "My shop 24"),
        (5, "7", "list_number", 7),
        (6, "", "campaign", ""),
        (6, "Sale; today", "campaign", "Sale today"),
        (7, "0123456789", "code", "0123456789"),
    ],
)
def test_lines(row: int, text: str, name: str, value: object) -> None:
    assert getattr(SmsFile(make_sms(**{f"row{row}": text})).order, name) == value


@pytest.mark.parametrize(
    ("row", "text", "code"),
    [
        (1, "a\tb", "header"),
        (2, "22/11/2026 10:30", "date"),
        (2, "2026-11-22", "date"),
        (2, "2026-02-30 10:00", "date"),
        (3, "", "action"),
        (3, "i", "action"),
        (3, "X", "action"),
        (4, "", "sender"),
        (4, "Twelve chars", "sender"),
        (4, "Caffè", "sender"),
        (4, "+1234", "sender"),
        (5, "one", "list"),
        (5, "-1", "list"),
        (6, "x" * 201, "campaign"),
        (7, "", "code"),
        (7, "01234567890", "code"),
    ],
)
def test_lines_that_refuse_the_file(row: int, text: str, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        SmsFile(make_sms(**{f"row{row}": text}))
    assert refused.value.code == code


@pytest.mark.parametrize("start", ["22/11/2026 10:30", "2026-11-22 10:30", ""])
def test_a_date_says_nothing_where_nothing_is_sent(start: str) -> None:
    order = SmsFile(make_sms(row2=start, row3="A")).order
    assert (order.sends, order.start_at) == (False, None)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (make_sms(mark=b""), "encoding"),
        (make_sms() + b"\xff", "encoding"),
        (make_sms() + b"\0", "encoding"),
        (b"\xff\xfe" + make_sms().decode("utf-8-sig").encode("utf-16-le"), "encoding"),
        (b"\xef\xbb\xbf", "header"),
        (make_sms(table=""), "columns"),
        (make_sms(table="#one more;;;\n" + SMS_TABLE), "header"),
        (make_sms().replace(b"#C1;;;\n", b""), "header"),
        (make_sms().replace(b"#C1;;;\n", b"C1\n"), "header"),
        (make_sms(table="MOBILE NUMBER;TEXT;UNICODE\n1;2;3\n"), "columns"),
        (make_sms(table="MOBILE NUMBER\n1\n"), "columns"),
        (make_sms(table="MOBILE NUMBER;TEXT;A;a;UNICODE\n1;2;3;4;5\n"), "columns"),
        (make_sms(table="MOBILE NUMBER;TEXT;;UNICODE\n1;2;3;4\n"), "columns"),
    ],
)
def test_files_that_are_refused_at_once(content: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        SmsFile(content)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("rows", "code", "text"),
    [
        ("1;2;3\n", "columns", "Line 9 has 3 columns instead of 4."),
        ("1;2;3;;\n", "columns", "Line 9 has 5 columns instead of 4."),
        ("1;2;3;\n1;2\n", "columns", "Line 10 has 2 columns instead of 4."),
        ('1;"2;3;\n', "quote", "Line 9: "),
        ("1;2;3;maybe\n", "unicode", "Line 9: "),
        ("#1;2\n1;2;3;\n", "columns", "Line 9 "),
    ],
)
def test_rows_that_refuse_the_file(rows: str, code: str, text: str) -> None:
    file = SmsFile(make_sms(table="MOBILE NUMBER;TEXT;Name;UNICODE\n" + rows))
    with pytest.raises(FileRefused) as refused:
        list(file.rows())
    assert refused.value.code == code
    assert refused.value.text.startswith(text)


@pytest.mark.parametrize(
    ("columns", "row", "text", "unicode"),
    [
        ("M;T;Name;UNICODE", "1;[name] [NAME] [Name];Ann;1", "Ann Ann Ann", True),
        ("M;T;First name;unicode", "1;Dear [first  name];Ann;true", "Dear Ann", True),
        ("M;T;A;B", "1;[A][B][C];x;", "x[C]", False),
        ("M;T;A;B;UNICODE", "1;[A];[B];x;no", "[B]", False),
        ("M;T;A;UNICODE", '1;"a;""b""";;', 'a;"b"', False),
        ("M;T;A;UNICODE", "1;;;", "", False),
    ],
)
def test_placeholders(columns: str, row: str, text: str, unicode: bool) -> None:
    found = next(SmsFile(make_sms(table=f"{columns}\n{row}\n")).rows())
    assert (found.text, found.unicode) == (text, unicode)


@pytest.mark.parametrize("end", ["#2 rows", "#end;;;;\n", "\n\n#end\n"])
def test_the_last_line_may_be_a_comment(end: str) -> None:
    assert len(list(SmsFile(make_sms(table=SMS_TABLE + end)).rows())) == 2


@given(st.binary(max_size=300))
def test_any_table_is_read_or_refused(table: bytes) -> None:
    try:
        list(SmsFile(make_sms(table="") + table).rows())
    except FileRefused as refused:
        assert refused.text
