"""Every value is read back from what is written of it, and every text is a value or refused."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from fuzz_values import KINDS, check_value, run_values
from hypothesis import given, settings
from hypothesis import strategies as st

from services.soap.values import SimpleType

# Offsets of whole minutes, which are all that XML Schema has.
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
WRITABLE = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(WRITABLE, max_size=20),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "double": st.floats(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**40), max_value=10**40),
    "dateTime": st.datetimes(timezones=st.none() | ZONES),
    "base64Binary": st.binary(max_size=40),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_written_is_read(kind: SimpleType) -> None:
    @settings(max_examples=100, deadline=None)
    @given(VALUES[kind.name] if kind is not KINDS[-1] else st.sampled_from(["Red", "Green"]))
    def check(value: Any) -> None:
        again = kind.parse(kind.write(value))
        assert type(again) is type(value)
        assert again == value or (math.isnan(value) and math.isnan(again))

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=30))
def test_any_text(data: bytes) -> None:
    run_values(data)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_characters(text: str) -> None:
    for kind in KINDS:
        check_value(kind, text)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "text", ["9" * 100_000, "." * 100_000, "1e" + "9" * 1000, "A" * 100_001, " " * 100_000, "-" * 99]
)
def test_long_texts(kind: SimpleType, text: str) -> None:
    check_value(kind, text)


@pytest.mark.parametrize(
    "number", [Decimal("1E+30"), Decimal("1E-30"), Decimal("-0"), Decimal("0E+3"), Decimal("1.10")]
)
def test_decimals_without_exponents(number: Decimal) -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "decimal")
    assert "E" not in kind.write(number)
    assert kind.parse(kind.write(number)) == number


def test_times_of_the_first_and_last_day() -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "dateTime")
    for at in (datetime.min, datetime.max):
        assert kind.parse(kind.write(at)) == at
