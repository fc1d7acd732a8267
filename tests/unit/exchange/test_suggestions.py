"""What a file seems to be: its dialect and the meaning of its columns."""

from __future__ import annotations

import codecs
import time
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.column_suggestions import Known, has_header, suggest_by_content, suggest_by_names, suggest_by_positions
from exchange.columns import name_roles
from exchange.dialect_suggestions import SAMPLE_SIZE, suggest_dialect, take_sample
from exchange.errors import FileRefused
from exchange.profiles import Profile

FIELDS = {1: "nome", 2: "cognome", 6: "cap", 8: "paese", 40: "Loyalty points"}
NAMES = name_roles(
    Profile(column_names={"111": "email", "idList": "list"}), {name.lower(): str(n) for n, name in FIELDS.items()}
)
KNOWN = Known(names=NAMES, fields=FIELDS, lists=[1, 22])
TABLE = "email;1\nanna@example.com;Città\nbert@example.com;Zoë\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TABLE.encode(), ("utf-8", None, '"')),
        (codecs.BOM_UTF8 + TABLE.encode(), ("utf-8", None, '"')),
        (TABLE.encode("utf-16"), ("utf-16", None, '"')),
        (TABLE.encode("utf-16-be"), ("utf-16", None, '"')),
        (TABLE.encode("cp1252"), ("cp1252", None, '"')),
        (TABLE.encode("latin-1") + b"\x81", ("latin-1", None, '"')),
        (TABLE.replace(";", "\t").encode(), ("utf-8", None, '"')),
        (TABLE.replace(";", ":").encode(), ("utf-8", ":", '"')),
        (TABLE.replace(";", "^").encode(), ("utf-8", "^", '"')),
        (b"'a;b';'c'\n'd';'e'\n", ("utf-8", None, "'")),
        (b'"O\'Brien";"D\'Angelo"\n', ("utf-8", None, '"')),
        (b"anna@example.com\n", ("utf-8", None, '"')),
        (b"'", ("utf-8", None, '"')),
    ],
)
def test_dialect(content: bytes, expected: tuple[str, str | None, str]) -> None:
    found = suggest_dialect(content)
    assert (found.encoding, found.separator, found.quote) == expected
    assert len(found.remarks) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b" \n\n", "empty-file"),
        (codecs.BOM_UTF8, "empty-file"),
        ("x".encode("utf-32"), "encoding"),
        (codecs.BOM_UTF16_LE + b"\0\xd8x\0", "encoding"),
        (b"PK\x03\x04abc", "binary"),
        (b"abc\0def", "binary"),
        (b"\0\1\2" * 1000, "binary"),
        (bytes(range(256)) * 10, "binary"),
        (b"\x1b[2J\x07" * 100, "binary"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        suggest_dialect(content)
    assert refusal.value.code == code


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_sample_ends_with_a_line(codec: str, line_end: str) -> None:
    line = "anna@example.com;Ċ" if codec.startswith("utf-16") else "anna@example.com;é"
    content = (line + line_end).encode(codec) + (line + line_end).encode(codec.replace("16", "16-le")[:9]) * 60_000
    if codec in ("utf-16-le", "utf-16-be", "utf-8", "cp1252"):
        content = (line + line_end).encode(codec) * 60_000
    sample = take_sample(BytesIO(content))
    assert len(sample) <= SAMPLE_SIZE < len(content)
    text = sample.decode(codec)
    if line_end != "\r" or not codec.startswith("utf-16"):
        assert text.endswith(line_end)
        assert set(text.split(line_end)) == {line, ""}


def test_one_huge_line_is_a_sample() -> None:
    assert len(take_sample(BytesIO(b"x" * (2 * SAMPLE_SIZE)))) == SAMPLE_SIZE
    huge = codecs.BOM_UTF16_LE + "x".encode("utf-16-le") * SAMPLE_SIZE
    assert len(take_sample(BytesIO(huge))) == SAMPLE_SIZE


@settings(max_examples=50)
@given(st.binary(max_size=300) | st.text(alphabet=";,'\"\n\r:ab@.é", max_size=100).map(str.encode))
def test_any_bytes_have_a_dialect_or_a_refusal(content: bytes) -> None:
    try:
        found = suggest_dialect(content)
    except FileRefused:
        return
    assert found.quote in "'\""


@pytest.mark.parametrize(
    ("first", "rows", "expected"),
    [
        ("email;x", ["a@example.com;1"], True),
        ("111;1", ["a@example.com;1"], True),
        ("Full name;Shoe", ["Anna;38"], True),
        ("Full name;Shoe", [], False),
        ("email;a@example.com", ["x;y"], False),
        ("Anna;2020-01-01", ["Bert;2020-01-02"], False),
        ("Anna;38", ["Bert;40"], False),
    ],
)
def test_header_is_told_from_data(first: str, rows: list[str], expected: bool) -> None:
    assert has_header(first.split(";"), [row.split(";") for row in rows], KNOWN) is expected


@pytest.mark.parametrize(
    ("cell", "meaning"),
    [
        ("E-mail Address", "email"),
        ("EMailAdress", "email"),
        ("Cellulare", "mobile"),
        ("Customer_ID", "external"),
        ("First Name", "1"),
        ("Surname", "2"),
        ("ZIP", "6"),
        ("Country", "8"),
        ("loyalty_points", "40"),
        ("Group-Name", "group_name"),
        ("Colour", ""),
        ("???", ""),
        ("x" * 1000, ""),
    ],
)
def test_columns_are_known_by_their_names(cell: str, meaning: str) -> None:
    meanings, (remark,) = suggest_by_names([cell], [["?"]], KNOWN)
    assert meanings == {cell: meaning}
    assert len(remark) < 200


def test_a_thousand_columns_take_no_patience() -> None:
    fields = {number: f"Personal field {number}" for number in range(1, 200)}
    cells = [f"Persönlich feld nr {number}" for number in range(1000)]
    known = Known({}, fields, ())
    before = time.process_time()
    suggest_by_names(cells, [cells], known)
    # It was far more than a minute; the margin is for slow machines.
    assert time.process_time() - before < 10


def test_nothing_is_meant_twice() -> None:
    first = ["email", "Mail", "Contact", "idList", "Surname", "Last name"]
    rows = [["a@example.com", "b@example.com", "c@example.com", "1", "x", "y"]]
    meanings, remarks = suggest_by_names(first, rows, KNOWN)
    assert meanings == {"Mail": "", "Contact": "", "Surname": "2", "Last name": ""}
    assert len(remarks) == 4
    positions, _ = suggest_by_positions(rows, KNOWN)
    assert positions == ("email", "", "", "", "", "")


@pytest.mark.parametrize(
    ("values", "meaning"),
    [
        (["a@example.com", "b@example.com", ""], "email"),
        (["a@example.com", "x", "y"], ""),
        (["+39 333 1234567", "0039 333 7654321"], "mobile"),
        (["3331234567", "(333) 765-4321"], "mobile"),
        (["1", "22", "1"], "list"),
        (["1", "2"], ""),
        (["1"], ""),
        (["20200101", "20211231"], ""),
        (["31/12/2020"], ""),
        (["", " "], ""),
    ],
)
def test_columns_are_known_by_what_they_hold(values: list[str], meaning: str) -> None:
    assert suggest_by_content(values, KNOWN)[0] == meaning


def test_headerless_columns() -> None:
    rows = [["a@example.com", "+393331234567", "22", "31/12/2020"], ["b@example.com", "+393331234568", "1"]]
    columns, remarks = suggest_by_positions(rows, KNOWN)
    assert columns == ("email", "mobile", "list", "")
    assert remarks[3] == "Column 4: skipped, it holds dates dd/MM/yyyy; give the number of their field."
