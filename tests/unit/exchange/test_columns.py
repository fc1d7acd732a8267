"""What header cells mean, and what is wrong with a row."""

from __future__ import annotations

import pytest

from exchange.columns import Layout, count_reserved, recognise_columns
from exchange.errors import FileRefused, RowRefused
from exchange.profiles import Key, Profile

FIELDS = {"first name": "1", "city": "2", "email": "9"}
VENDOR = Profile(column_names={"111": "email", " Cellulare ": "mobile", "note": "", "zip": "2", "bad": "nonsense"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("email", Layout(1, email=0)),
        ("E-Mail ; MOBILE", Layout(2, email=0, mobile=1)),
        (
            "prefix;number;list;group;group_name;status",
            Layout(6, prefix=0, number=1, list=2, group=3, group_name=4, status=5),
        ),
        ("111;1;2", Layout(3, email=0, fields=(("1", 1), ("2", 2)))),
        ("111;First Name;CITY", Layout(3, email=0, fields=(("1", 1), ("2", 2)))),
        ("2;;cellulare;;", Layout(5, mobile=2, fields=(("2", 0),))),
        ("111;note;NOTE;zip", Layout(4, email=0, fields=(("2", 3),))),
        ("error_line;Error_Code;error_text;email", Layout(4, email=3)),
        ("email;9", Layout(2, email=0, fields=(("9", 1),))),
        ("external_id;email", Layout(2, external=0, email=1)),
        ("External;1;email", Layout(3, external=0, email=2, fields=(("1", 1),))),
    ],
)
def test_header_is_understood(header: str, expected: Layout) -> None:
    assert recognise_columns(header.split(";"), VENDOR, FIELDS) == expected


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        (
            "email;surname",
            "unknown-column",
            'Column 2 of the header, "surname", is not known. Accepted are email, ',
        ),
        ("email;bad", "unknown-column", '"bad"'),
        ("email;3", "unknown-column", "the number 3, which is no field"),
        ("email;3331234567", "unknown-column", "the number of 10 digits"),
        ("ann@example.com;1", "unknown-column", "seems to have no header"),
        ("email;" + "x" * 41, "unknown-column", '"' + "x" * 40 + '…"'),
        ("email;x\0y", "unknown-column", '"x\N{REPLACEMENT CHARACTER}y"'),
        ("email;2;city", "column-twice", "Columns 2 and 3 of the file both mean 2"),
        ("email;e-mail", "column-twice", "Columns 1 and 2"),
        ("1;2;prefix", "no-key-column", "No column holds"),
        ("external;1", "no-key-column", "No column holds an e-mail address or a mobile number."),
        (";" * 5000, "too-many-columns", "5,001 columns"),
    ],
)
def test_header_is_refused(header: str, code: str, words: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        recognise_columns(header.split(";"), VENDOR, FIELDS)
    assert refusal.value.code == code
    assert words in refusal.value.text
    assert "ann@" not in refusal.value.text


@pytest.mark.parametrize(
    ("key", "good", "bad", "called"),
    [
        ("mobile", ["mobile"], ["email", "external"], "a mobile number"),
        ("mobile", ["prefix", "number"], ["prefix"], "a mobile number"),
        ("external", ["external"], ["email", "mobile"], "an external id"),
    ],
)
def test_the_key_needs_its_column(key: Key, good: list[str], bad: list[str], called: str) -> None:
    assert recognise_columns(good, Profile(key=key), {}).width == len(good)
    with pytest.raises(FileRefused, match=f"No column holds {called}"):
        recognise_columns(bad, Profile(key=key), {})


def test_external_id_is_read() -> None:
    layout = recognise_columns(["external_id", "email"], Profile(key="external"), {})
    assert layout.read(1, "", [" A-1 ", ""]).external == "A-1"


def test_a_thousand_columns_are_allowed() -> None:
    assert recognise_columns(["email", *[""] * 999], Profile(), {}).width == 1000


@pytest.mark.parametrize(
    ("cells", "mobile"),
    [
        (["+39333", "", ""], "+39333"),
        (["+39333", "+1", "2"], "+39333"),
        (["", "+39", "333"], "+39333"),
        (["", "", " 333 "], "333"),
        (["", "+39", ""], ""),
    ],
)
def test_mobile_number_is_joined(cells: list[str], mobile: str) -> None:
    layout = recognise_columns(["mobile", "prefix", "number"], Profile(), {})
    assert layout.read(1, "", cells).mobile == mobile


def test_row_is_mapped() -> None:
    header = ["email", "list", "group", "group_name", "status", "1", "2", ""]
    cells = [" a@example.com ", "7", "1,2", "News", "1", " Ann\t", " ", "skipped"]
    keep = recognise_columns(header, Profile(), FIELDS).read(5, "raw", cells)
    assert keep == (5, "raw", "a@example.com", "", "7", "1,2", "News", "1", {"1": "Ann"}, "", ())
    clear = recognise_columns(header, Profile(empty_values="clear"), FIELDS).read(5, "raw", cells)
    assert clear.fields == {"1": "Ann", "2": ""}


@pytest.mark.parametrize(
    ("cells", "code", "words"),
    [
        (["a", "b"], "columns", "2 cells instead of 3"),
        (["a", "b", "c", "d"], "columns", "4 cells instead of 3"),
        (["a\0", "b", "c"], "control-character", "Column 1 has the control character 0x00"),
        (["a", "\x1f", "c"], "control-character", "Column 2 has the control character 0x1f"),
        (["a", "b", "\udce9"], "encoding", "Column 3 has bytes that are not utf-8"),
        (["a" * 255, "b", "c"], "value-too-long", "longer than 254"),
        (["a", "b" * 10_001, "c"], "value-too-long", "Column 2 has more than 10,000"),
    ],
)
def test_row_is_refused(cells: list[str], code: str, words: str) -> None:
    layout = recognise_columns(["email", "1", ""], Profile(), FIELDS)
    with pytest.raises(RowRefused) as refusal:
        layout.read(1, ";".join(cells), cells)
    assert refusal.value.code == code
    assert words in refusal.value.text


@pytest.mark.parametrize("value", ["tab\there", "two\nlines", "two\r\nlines", "hard\xa0space", "\x7f", "😀"])
def test_harmless_characters_pass(value: str) -> None:
    layout = recognise_columns(["email", "1"], Profile(), FIELDS)
    assert layout.read(1, value, ["a@example.com", value]).fields == {"1": value}


def test_long_values_within_the_limits_pass() -> None:
    layout = recognise_columns(["email", "1", ""], Profile(), FIELDS)
    cells = ["a" * 254, "b" * 10_000, "c" * 20_000]
    assert layout.read(1, ";".join(cells), cells).fields == {"1": cells[1]}


@pytest.mark.parametrize(
    ("cells", "count"),
    [(["email"], 0), (["error_line", "ERROR_code"], 2), (["error_line", "x", "error_text"], 1), ([], 0)],
)
def test_reserved_columns_are_counted(cells: list[str], count: int) -> None:
    assert count_reserved(cells) == count
