"""The parameters of pages: merging, encodings, flags, numbers, fields."""

from __future__ import annotations

import contextlib
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailup.page_parameters import (
    MAX_NUMBERS,
    MAX_PARAMETERS,
    InvalidParameters,
    PageParameters,
    read_parameters,
)


def _read(**values: str) -> PageParameters:
    return PageParameters(values.items())


@pytest.mark.parametrize(
    ("query", "form", "expected"),
    [
        ("Email=a", "", "a"),
        ("EMAIL=a&email=b", "", "a"),
        ("eMail=a", "email=b", "a"),
        ("", "email=b", "b"),
        ("email=%C3%A8", "", "è"),
        ("email=%E8", "", "è"),
        ("email=%80", "", "€"),
        ("email=a+b", "", "a b"),
        ("email=%20a%20", "", "a"),
        ("email=%09a%0D%0A", "", "a"),
        ("email", "", ""),
    ],
)
def test_merges_and_decodes(query: str, form: str, expected: str) -> None:
    assert read_parameters(query, form).text("Email") == expected


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=50))
def test_every_text_comes_through_as_utf8(text: str) -> None:
    assert read_parameters(urlencode({"name": text}), "").text("name") == text.strip(" ")


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidParameters):
        read_parameters(f"name={quote(data)}", data.decode("latin-1")).text("name")


@pytest.mark.parametrize("value", ["\0", "a\nb", "\x1b[0m", "\x85", "\x7f"])
def test_control_characters_are_refused(value: str) -> None:
    with pytest.raises(InvalidParameters):
        _read(email=value).text("email")


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(InvalidParameters):
        read_parameters("a=1&" * (MAX_PARAMETERS + 1), "")


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((word, True) for word in ("1", "true", "on", "yes", "TRUE")),
        *((word, False) for word in ("0", "false", "off", "no", "No")),
        *((word, None) for word in ("", " ", "2", "maybe")),
    ],
)
def test_flags(value: str, expected: bool | None, default: bool) -> None:
    assert _read(Confirm=value).flag("confirm", default) is (default if expected is None else expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", []), ("1", [1]), ("1,2;3", [1, 2, 3]), (" 1 , 2 ", [1, 2]), ("2,2", [2]), ("1,,2,", [1, 2])],
)
def test_numbers(value: str, expected: list[int]) -> None:
    assert _read(List=value).numbers("list") == expected


@pytest.mark.parametrize("value", ["x", "1,x", "-1", "1.0", "٣", "1_0", "1" * 10])
def test_odd_numbers_are_refused(value: str) -> None:
    with pytest.raises(InvalidParameters):
        _read(List=value).numbers("list")


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        ("", "", {}),
        ("campo1", "Ada", {1: "Ada"}),
        ("Campo1;CAMPO2", "Ada;Byron", {1: "Ada", 2: "Byron"}),
        ("campo1;campo2;", "Ada;Byron;", {1: "Ada", 2: "Byron"}),
        ("campo1", "", {1: ""}),
        ("campo1;campo3", ";x", {1: "", 3: "x"}),
        ("campo1;campo3", "one\r\ntwo;a\tb\r\n", {1: "one  two", 3: "a b"}),
        ("campo0;campo40;nome;campo39", "a;b;c;d", {39: "d"}),
    ],
)
def test_fields(names: str, values: str, expected: dict[int, str]) -> None:
    assert _read(csvFldNames=names, csvFldValues=values).fields() == expected


@pytest.mark.parametrize(
    ("names", "values"),
    [("campo1", "a\0"), ("campo1", "a;b"), ("campo1;campo2", "a"), ("", "a;b"), ("campo1", "x" * 10_001)],
)
def test_unequal_fields_are_refused(names: str, values: str) -> None:
    with pytest.raises(InvalidParameters):
        _read(csvFldNames=names, csvFldValues=values).fields()


def test_numbers_of_check_boxes() -> None:
    parameters = PageParameters([("list", "1"), ("List", " 3,2"), ("LIST", ""), ("list", "1;4")])
    assert parameters.repeated_numbers("List") == [1, 3, 2, 4]
    assert PageParameters([("list", "1\r\n"), ("list", "\t2")]).repeated_numbers("list") == [1, 2]
    assert parameters.numbers("List") == [1]
    assert _read(other="x").repeated_numbers("List") == []


def test_too_many_numbers_are_refused() -> None:
    parameters = PageParameters([("list", "1,2,3,4,5,6,7,8,9,10")] * (MAX_NUMBERS // 10 + 1))
    with pytest.raises(InvalidParameters):
        parameters.repeated_numbers("list")


def test_fields_of_a_form() -> None:
    pairs = [("campo1", " Ada "), ("CAMPO39", "x"), ("campo0", "a"), ("campo40", "b"), ("campo", "c"), ("name", "\0")]
    assert PageParameters([*pairs, ("Campo1", "Eve")]).form_fields() == {1: "Ada", 39: "x"}
    assert _read(campo2="one\r\ntwo\tthree").form_fields() == {2: "one  two three"}


@pytest.mark.parametrize("value", ["\0", "\x1b", "x" * 10_001])
def test_odd_fields_of_a_form_are_refused(value: str) -> None:
    with pytest.raises(InvalidParameters):
        _read(campo1=value).form_fields()


@pytest.mark.parametrize(
    ("values", "mobile"),
    [
        ({}, ""),
        ({"prefix": "+39"}, ""),
        ({"sms": "340", "number": "111"}, "340"),
        ({"prefix": "+39", "number": "340"}, "+39340"),
        ({"prefix": "0039", "sms": "340"}, "+39340"),
        ({"prefix": "39", "sms": "+49151"}, "+49151"),
    ],
)
def test_the_mobile_number_of_a_form(values: dict[str, str], mobile: str) -> None:
    assert _read(**values).form_mobile() == mobile
