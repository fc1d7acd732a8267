"""Records cut out of text: quotes that never close, lines without end, and separators recognised."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.csv_records import (
    LINE_LENGTH,
    OPEN_QUOTE,
    PATIENCE,
    RECORD_LENGTH,
    RECORD_LINES,
    TOO_LONG,
    RecordReader,
    recognise_separator,
)


def read(text: str, separator: str = ";", quote: str = '"') -> list[tuple[int, str, list[str], object]]:
    return list(RecordReader(io.StringIO(text, newline=""), separator, quote))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \r\n\t\r", []),
        ("a;b", [(1, "a;b", ["a", "b"], None)]),
        ("a\n\nb\r\n", [(1, "a\n", ["a"], None), (3, "b\r\n", ["b"], None)]),
        ("c\rd", [(1, "c\r", ["c"], None), (2, "d", ["d"], None)]),
        ('"a;""b""";c\n', [(1, '"a;""b""";c\n', ['a;"b"', "c"], None)]),
        ('"a\n\rb";c\nd;e', [(1, '"a\n\rb";c\n', ["a\n\rb", "c"], None), (4, "d;e", ["d", "e"], None)]),
        ('""\n', [(1, '""\n', [""], None)]),
        ('a;"b\nc;d\n', [(1, 'a;"b\n', [], OPEN_QUOTE), (2, "c;d\n", ["c", "d"], None)]),
        ('a;"b', [(1, 'a;"b', [], OPEN_QUOTE)]),
        ('"a\n"b\nc;d\n', [(1, '"a\n', [], OPEN_QUOTE), (2, '"b\n', [], OPEN_QUOTE), (3, "c;d\n", ["c", "d"], None)]),
    ],
)  # fmt: skip
def test_records(text: str, expected: list[object]) -> None:
    assert read(text) == expected


def test_without_a_quote_character_quotation_marks_mean_nothing() -> None:
    records = read('"a;b"\n', quote="")
    assert records == [(1, '"a;b"\n', ['"a', 'b"'], None)]


def test_another_quote_character() -> None:
    assert read("'a;b';\"c\n", quote="'") == [(1, "'a;b';\"c\n", ["a;b", '"c'], None)]


def test_open_quote_is_given_up_after_a_thousand_lines_and_swallows_nothing() -> None:
    lines = ["x;1\n"] * 5 + ['y;"2\n'] + ["z;3\n"] * (RECORD_LINES + 10) + ['"last";4\n']
    records = read("".join(lines))
    assert [raw for _, raw, _, _ in records] == lines
    assert [line for line, _, _, fault in records if fault] == [6]
    assert [line for line, *_ in records] == list(range(1, len(lines) + 1))


def test_quoted_record_of_just_the_limits_is_kept() -> None:
    cell = "x\n" * (RECORD_LINES - 1)
    assert [cells for _, _, cells, _ in read(f'"{cell}";b\n')] == [[cell, "b"]]


def test_open_quote_is_given_up_after_a_mebibyte() -> None:
    long = "z" * (RECORD_LENGTH // 2) + "\n"
    records = read('"a\n' + long * 3)
    assert [(line, fault) for line, _, _, fault in records] == [
        (1, OPEN_QUOTE),
        (2, None),
        (3, None),
        (4, None),
    ]


def test_lines_without_end_are_refused_one_by_one() -> None:
    long = "z" * (RECORD_LENGTH + 1)
    records = read(f'a\n{long}\nb\n"c\n{long}\nd\n')
    assert [(line, fault) for line, _, _, fault in records] == [
        (1, None),
        (2, TOO_LONG),
        (3, None),
        (4, OPEN_QUOTE),
        (5, TOO_LONG),
        (6, None),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("extra", [0, 1, LINE_LENGTH])
def test_what_exceeds_the_longest_line_is_dropped(end: str, extra: int) -> None:
    records = read("a\n" + "z" * (LINE_LENGTH + extra) + end + ("b" if end else ""))
    kept = [(line, len(raw.rstrip()), fault) for line, raw, _, fault in records]
    assert kept[:2] == [(1, 1, None), (2, LINE_LENGTH, TOO_LONG)]
    assert [raw for _, raw, _, fault in records if not fault] == (["a\n", "b"] if end else ["a\n"])


def test_after_many_open_quotes_records_may_only_be_short() -> None:
    quoted = '"' + "x\n" * 20 + '";1\n'
    many = ('y;"2\n' + "z\n" * RECORD_LINES) * PATIENCE
    assert [cells for _, _, cells, _ in read(quoted)] == [["x\n" * 20, "1"]]
    records = read(many + quoted)
    assert [fault for *_, fault in records].count(OPEN_QUOTE) == PATIENCE + 2
    assert "".join(raw for _, raw, _, _ in records) == many + quoted


def test_file_of_nothing_but_open_quotes_is_refused_line_by_line() -> None:
    """Each line alone opens a quote and, inside one, closes it and opens another."""
    lines = ['a";"\n'] * 5 * RECORD_LINES
    assert read("".join(lines)) == [(number, line, [], OPEN_QUOTE) for number, line in enumerate(lines, 1)]


@given(st.lists(st.lists(st.text(alphabet='ab;" \n\r\0é', max_size=5), min_size=2, max_size=4), max_size=5))
def test_what_is_written_is_read(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL).writerows(rows)
    assert [cells for _, _, cells, _ in read(out.getvalue())] == rows


@given(st.text(alphabet='ab;" \n\r', max_size=60))
def test_nothing_is_lost_of_any_text(text: str) -> None:
    """What is not returned as a record is blank."""
    raws = [raw for _, raw, _, _ in read(text)]
    assert "".join("".join(raws).split()) == "".join(text.split())


@given(st.text(alphabet="ab; \t,|é", min_size=1, max_size=30))
def test_unquoted_lines_are_cut_as_the_csv_module_does(line: str) -> None:
    expected = [cells for cells in csv.reader([line], delimiter=";") if line.strip() or len(cells) > 1]
    assert [cells for _, _, cells, _ in read(line)] == expected


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("email;name\n", ";"),
        ("email,name\n", ","),
        ("email|name\n", "|"),
        ("email\tname\n", "\t"),
        ("email\nann@example.com\n", ";"),
        ("", ";"),
        ("\n\nemail|name\n", "|"),
        ('"a;b;c",d\n', ","),
        ("email;first, last\nann@example.com;Ann, Lee\n", ";"),
        (
            "a@example.com;Ann;Rome;Po 1, 2, 3, 4, 5\nb@example.com;Bob;Rome;x\nc@example.com;Cy;Rome;x\n",
            ";",
        ),
        ("email,name\na@example.com,A;B;C;D\n", ","),
    ],
)
def test_separator_is_recognised(text: str, separator: str) -> None:
    assert recognise_separator(io.StringIO(text, newline=""), '"') == separator


def test_separator_of_a_text_with_endless_quoted_lines_is_recognised() -> None:
    text = io.StringIO("email;name\n" + ('"' + "x" * 3 * RECORD_LENGTH + "\n") * 3, newline="")
    assert recognise_separator(text, '"') == ";"
