"""Transforms and checks of cells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.columns import VALUE_LENGTH
from exchange.transforms import CellRefused, compile_check, compile_steps, read_number

Table = dict[str, Any]

DATE: Table = {"do": "date", "from": ["dd/MM/yyyy", "dd/MM/yy"]}
NUMBER: Table = {"do": "number", "decimal": ",", "thousands": "."}
LOOKUP: Table = {"do": "lookup", "table": {"it": "Italy", "SE ": "Sweden"}}


@pytest.mark.parametrize(
    ("steps", "value", "expected"),
    [
        ([], "x", "x"),
        ([{"do": "trim"}], " x ", "x"),
        ([{"do": "collapse"}], "a \t b\u00a0 c", "a b c"),
        ([{"do": "upper"}], "città", "CITTÀ"),
        ([{"do": "lower"}], "CITTÀ", "città"),
        ([{"do": "title"}], "anna-maria o'BRIEN", "Anna-Maria O'Brien"),
        ([{"do": "replace", "find": "-", "with": ""}], "1-2-3", "123"),
        ([{"do": "regex", "find": r"^(\w+), (?P<first>\w+)$", "with": r"\g<first> \1"}], "Rossi, Anna", "Anna Rossi"),
        ([{"do": "regex", "find": "x", "with": r"\\"}], "axb", "a\\b"),
        ([{"do": "regex", "find": "(a)|b", "with": r"<\1>"}], "ab", "<a><>"),
        ([DATE], "31/12/1999", "1999-12-31"),
        ([DATE], "01/02/68", "2068-02-01"),
        ([DATE], "01/02/69", "1969-02-01"),
        ([DATE | {"pivot": 20, "to": "yyyyMMdd"}], "01/02/21", "19210201"),
        ([{"do": "date", "from": "d.M.yyyy"}], "1.2.2021", "2021-02-01"),
        ([{"do": "date", "from": "yyyyMMddTHHmmss", "to": "dd/MM/yyyy HH:mm"}], "20210122T110244", "22/01/2021 11:02"),
        ([DATE | {"otherwise": "keep"}], "soon", "soon"),
        ([DATE | {"otherwise": "empty"}], "soon", ""),
        ([{"do": "prefix", "prefix": "39"}], "333 1234567", "+39333 1234567"),
        ([{"do": "prefix", "prefix": "+39"}], "+46 70", "+46 70"),
        ([{"do": "prefix", "prefix": "0039"}], "0046 70", "0046 70"),
        ([LOOKUP], "IT", "Italy"),
        ([LOOKUP], "se", "Sweden"),
        ([LOOKUP | {"otherwise": "keep"}], "fr", "fr"),
        ([{"do": "default", "value": "none"}], "", "none"),
        ([{"do": "default", "value": "none"}], "x", "x"),
        ([{"do": "upper"}, {"do": "default", "value": "none"}, {"do": "upper"}], "", "NONE"),
        ([{"do": "truncate", "length": 3}], "ab cd", "ab"),
        ([NUMBER], "1.234.567,80", "1234567.80"),
        ([NUMBER], "-1,5", "-1.5"),
        ([NUMBER], "+,5", "0.5"),
        ([{"do": "number", "thousands": " "}], "1\u202f234", "1234"),
        ([{"do": "number", "decimal": ".", "thousands": "'"}], "1'234.5", "1234.5"),
        ([DATE, NUMBER, LOOKUP], "", ""),
    ],
)
def test_steps(steps: list[Table], value: str, expected: str) -> None:
    assert compile_steps(steps)(value) == expected


@pytest.mark.parametrize(
    ("step", "value", "code"),
    [
        (DATE, "31/02/2020", "date"),
        (DATE, "1/2/2020", "date"),
        (DATE, "٠١/٠٢/٢٠٢٠", "date"),
        ({"do": "date", "from": "yyyy-MM-dd"}, "0001-01-01", "date"),
        (NUMBER, "1.23,4", "number"),
        (NUMBER, "1,2,3", "number"),
        (NUMBER, "-", "number"),
        (NUMBER, ",", "number"),
        (NUMBER, "٣", "number"),
        (LOOKUP, "fr", "lookup"),
        ({"do": "replace", "find": "a", "with": "b" * 1000}, "a" * 11, "value-too-long"),
    ],
)
def test_what_cannot_be_done_refuses_the_cell_or_the_row(step: Table, value: str, code: str) -> None:
    for may_omit in (True, False):
        with pytest.raises(CellRefused) as refusal:
            compile_steps([step], may_omit=may_omit)(value)
        assert refusal.value.code == code
        assert refusal.value.refuses_row is (not may_omit)
        assert value not in refusal.value.text
    if "otherwise" not in step and code != "value-too-long":
        with pytest.raises(CellRefused) as refusal:
            compile_steps([step | {"otherwise": "refuse"}])(value)
        assert refusal.value.refuses_row


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({}, "step 1: do: field required"),
        ({"do": "shout"}, "'shout' is none of 'trim', "),
        ({"do": 5}, "is none of"),
        ({"do": "upper", "with": "x"}, "extra inputs"),
        ({"do": "replace", "find": "", "with": ""}, "at least 1 character"),
        ({"do": "replace", "find": "x"}, "with: field required"),
        ({"do": "regex", "find": "(", "with": ""}, "not a regular expression"),
        ({"do": "regex", "find": "(?=x)", "with": ""}, "not a regular expression"),
        ({"do": "regex", "find": "x", "with": r"\1"}, r"\\1 in .* is no group"),
        ({"do": "regex", "find": "x", "with": r"\g<y>"}, "is no group"),
        ({"do": "regex", "find": "x", "with": "\\"}, "is no group"),
        ({"do": "date", "from": "MM/yy"}, "year, month and day are needed"),
        ({"do": "date", "from": []}, "at least 1 item"),
        ({"do": "date", "from": 5}, "valid array"),
        ({"do": "date", "from": "dd/MM/yyyy", "to": "yy"}, "no date pattern"),
        ({"do": "date", "from": "dd/MM/yy", "pivot": 100}, "less than or equal to 99"),
        ({"do": "prefix", "prefix": "x"}, "match pattern"),
        ({"do": "truncate", "length": 0}, "greater than or equal to 1"),
        ({"do": "truncate", "length": True}, "valid integer"),
        ({"do": "number", "decimal": ".", "thousands": "."}, "must not be the same"),
        ({"do": "lookup", "table": {"a": 1}}, "valid string"),
        ({"do": "lookup", "table": {}, "otherwise": "maybe"}, "'omit', 'refuse', 'keep' or 'empty'"),
        ({"do": "default", "value": object()}, "of a kind that is not known"),
    ],
)
def test_step_is_refused(step: Table, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_steps([step])


def test_values_of_roles_cannot_be_omitted() -> None:
    with pytest.raises(ValueError, match="step 2: otherwise: only the values of fields"):
        compile_steps([{"do": "upper"}, LOOKUP | {"otherwise": "omit"}], may_omit=False)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"type": "date"}, ["2020-02-29", ""], ["2021-02-29", "29/02/2020", "2020-2-9"]),
        ({"type": "date", "pattern": "dd.MM.yy"}, ["29.02.20"], ["2020-02-29"]),
        ({"type": "number"}, ["0", "-1.5", ".5", "1" * 30], ["1,5", "x", "1e5", "nan", "1" * 31, "٣"]),
        ({"type": "number", "min": 0, "max": 99.5}, ["0", "99.5"], ["-0.1", "99.51"]),
        ({"type": "number", "max": 0.1}, ["0.1", "-5"], ["0.10000000000000001"]),
        ({"type": "boolean"}, ["1", "TRUE", "no"], ["2", "ja"]),
        ({"type": "boolean", "true": ["Ja"], "false": ["Nej"]}, ["ja", "NEJ"], ["1", "yes"]),
        ({"type": "text", "max": 3}, ["abc"], ["abcd"]),
        ({"type": "text", "regex": "[A-Z]{2}"}, ["IT"], ["it", "ITA"]),
    ],
)
def test_checks(check: Table, good: list[str], bad: list[str]) -> None:
    convert = compile_check(check)
    assert [convert(value) for value in good] == good
    for value in bad:
        with pytest.raises(CellRefused) as refusal:
            convert(value)
        assert refusal.value.code == check["type"]
        assert not refusal.value.refuses_row
        assert compile_check(check | {"otherwise": "empty"})(value) == ""
        with pytest.raises(CellRefused) as refusal:
            compile_check(check | {"otherwise": "refuse"})(value)
        assert refusal.value.refuses_row


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({}, "type: field required"),
        ({"type": "colour"}, "'colour' is none of"),
        ({"type": "date", "pattern": "x"}, "no date pattern"),
        ({"type": "number", "min": "x"}, "valid number"),
        ({"type": "text", "regex": "(a"}, "not a regular expression"),
        ({"type": "text", "otherwise": "keep"}, "'omit', 'refuse' or 'empty'"),
    ],
)
def test_check_is_refused(check: Table, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_check(check)


OTHERWISE = st.sampled_from(["omit", "refuse", "keep", "empty"])
STEPS = st.one_of(
    st.sampled_from(["trim", "collapse", "upper", "lower", "title"]).map(lambda name: {"do": name}),
    st.builds(lambda find, put: {"do": "replace", "find": find, "with": put}, st.text(min_size=1), st.text()),
    st.sampled_from([r"\d+", "(a*)*b", "é|.", ""]).map(lambda find: {"do": "regex", "find": find, "with": r"<\0>"}),
    st.builds(lambda kept: DATE | {"otherwise": kept}, OTHERWISE),
    st.builds(lambda kept: NUMBER | {"otherwise": kept}, OTHERWISE),
    st.builds(lambda kept: LOOKUP | {"otherwise": kept}, OTHERWISE),
    st.just({"do": "prefix", "prefix": "39"}),
    st.builds(lambda value: {"do": "default", "value": value}, st.text()),
    st.builds(lambda length: {"do": "truncate", "length": length}, st.integers(1, 50)),
)


@given(st.lists(STEPS, max_size=6), st.text() | st.from_regex(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}", fullmatch=True))
def test_nothing_but_a_refusal_is_raised(steps: list[Table], value: str) -> None:
    try:
        converted = compile_steps(steps)(value)
    except CellRefused:
        return
    assert len(converted) <= max(len(value), VALUE_LENGTH)


@given(st.integers(-(10**12), 10**12), st.integers(0, 999))
def test_numbers_as_people_write_them(whole: int, thousandths: int) -> None:
    written = f"{whole:,}".replace(",", ".") + f",{thousandths:03}"
    converted = compile_steps([NUMBER])(written)
    assert converted == f"{whole}.{thousandths:03}"
    assert read_number(converted) is not None
