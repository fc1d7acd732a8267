"""Rows of files whose profile has constants, transforms and checks."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.columns import recognise_columns
from exchange.conversions import compile_converters, prepare_reading
from exchange.csv_reader import CsvRows
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.rows import RowError, SourceRow

FIELDS = {"first name": "1", "birthday": "2", "score": "3"}
DATE = {"do": "date", "from": "dd/MM/yyyy"}


def read(text: str, **settings: Any) -> tuple[list[SourceRow], list[RowError]]:
    """Read a file with a header."""
    rows = CsvRows(lambda: BytesIO(text.encode("utf-8", "surrogateescape")), Profile(**settings), FIELDS)
    batches = list(rows.batches(1000))
    return [row for batch in batches for row in batch.rows], [error for batch in batches for error in batch.errors]


def test_rows_without_conversions_take_the_short_way() -> None:
    layout = recognise_columns(["email", "1"], Profile(), FIELDS)
    assert prepare_reading(layout, Profile()) == layout.read
    assert prepare_reading(layout, Profile(transforms={"1": ()})) == layout.read


def test_constants_stand_in_for_columns_that_are_missing() -> None:
    constants = {"list": "2", "1": "web", "prefix": "39", "status": "1"}
    (row,), _ = read("email;number;first name\na@example.com;333;Anna\n", constants=constants)
    assert (row.list_number, row.mobile, row.status, row.fields) == ("2", "+39333", "1", {"1": "Anna"})
    (row,), _ = read("email;3\na@example.com;7\n", constants=constants)
    assert row.fields == {"1": "web", "3": "7"}
    _, (error,) = read("email;3\na@example.com;7;8\n", constants=constants)
    assert error.text == "The row has 3 cells instead of 2."


def test_constant_of_a_field_that_is_not_there_refuses_the_file() -> None:
    with pytest.raises(FileRefused, match="a value for field 99, which is none"):
        read("email\na@example.com\n", constants={"99": "x"})


def test_steps_and_checks_follow_each_other() -> None:
    (row,), _ = read(
        "email;1;2;mobile\n A@Example.com ;anna  MARIA;31/12/1980;333\n",
        transforms={
            "1": ({"do": "collapse"}, {"do": "title"}),
            "2": (DATE,),
            "mobile": ({"do": "prefix", "prefix": "39"},),
            "email": ({"do": "lower"},),
            "status": ({"do": "upper"},),
        },
        checks={"2": {"type": "date"}, "3": {"type": "number"}},
    )
    assert row.email == "a@example.com"
    assert row.mobile == "+39333"
    assert row.fields == {"1": "Anna Maria", "2": "1980-12-31"}
    assert row.notes == ()


@pytest.mark.parametrize("empty_values", ["keep", "clear"])
def test_bad_value_of_a_field_is_left_out_and_noted(empty_values: str) -> None:
    (row,), errors = read(
        "email;1;2\na@example.com;Anna;tomorrow\n", transforms={"2": (DATE,)}, empty_values=empty_values
    )
    assert not errors
    assert row.fields == {"1": "Anna"}
    text = "Column 3 is no date of the form dd/MM/yyyy. The row was imported without it."
    assert row.notes == (("date", text),)


def test_empty_value_clears_as_agreed() -> None:
    (row,), _ = read(
        "email;2\na@example.com;tomorrow\n",
        transforms={"2": ({**DATE, "otherwise": "empty"},)},
        empty_values="clear",
    )
    assert (row.fields, row.notes) == ({"2": ""}, ())


@pytest.mark.parametrize(
    "settings",
    [
        {"transforms": {"2": ({**DATE, "otherwise": "refuse"},)}},
        {"checks": {"2": {"type": "date", "otherwise": "refuse"}}},
        {"column_names": {"2": "list"}, "transforms": {"list": (DATE,)}},
    ],
)
def test_row_is_refused(settings: dict[str, Any]) -> None:
    rows, (error,) = read("email;2\na@example.com;tomorrow\n", **settings)
    assert not rows
    assert (error.line, error.code, error.raw) == (2, "date", "a@example.com;tomorrow\n")
    assert "tomorrow" not in error.text


@pytest.mark.parametrize(
    ("cell", "code"),
    [("a\x01b", "control-character"), ("caf\udce9", "encoding"), ("x" * 10_001, "value-too-long")],
)
def test_faults_of_cells_are_told_before_they_are_converted(cell: str, code: str) -> None:
    _, (error,) = read(f"email;1\na@example.com;{cell}\n", transforms={"1": ({"do": "truncate", "length": 1},)})
    assert error.code == code


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transforms": {"1": ({"do": "x"},)}}, r"^transforms\.1: step 1: "),
        ({"checks": {"1": {"type": "x"}}}, r"^checks\.1: "),
        ({"transforms": {"email": ({"do": "lookup", "table": {}, "otherwise": "omit"},)}}, r"^transforms\.email: "),
    ],
)
def test_converters_that_cannot_be_made(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_converters(Profile(**settings))


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=';"'), max_size=20)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_transforms_that_change_nothing_give_the_same_rows(cells: list[tuple[str, str]]) -> None:
    text = "email;1\n" + "".join(f"a{first};{second}\n" for first, second in cells)
    assert read(text, transforms={"1": ({"do": "trim"},), "email": ({"do": "trim"},)}) == read(text)
