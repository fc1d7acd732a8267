"""One spelling for each e-mail address and mobile number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.addresses import is_plain_email, normalise_email, normalise_mobile
from audience.errors import InvalidAddress

GOOD_EMAILS = [
    ("user@example.com", "user@example.com"),
    (" User@Example.COM ", "user@example.com"),
    ("first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk"),
    ("o'neil@example.com", "o'neil@example.com"),
    ("user@bücher.example.com", "user@bücher.example.com"),
    ("user@BÜCHER.example.com", "user@bücher.example.com"),
    ("user@xn--bcher-kva.example.com", "user@bücher.example.com"),
    ("用户@example.com", "用户@example.com"),
    ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
]
BAD_EMAILS = [
    "",
    " ",
    "user",
    "user@",
    "@example.com",
    "user@example",
    "user@@example.com",
    "user@exa mple.com",
    "us er@example.com",
    ".user@example.com",
    "user.@example.com",
    "us..er@example.com",
    "user@-example.com",
    "user@example-.com",
    "user@example..com",
    "user@example.com.",
    "x" * 65 + "@example.com",
    "user@" + "a." * 130 + "com",
    "user@[192.0.2.1]",
    '"quoted"@example.com',
    "user@example.com\x00",
    "user\n@example.com",
    "user@example.com, other@example.com",
    "User <user@example.com>",
    "user@\udcff.com",
    "user@xn--a.example.com",
]


@pytest.mark.parametrize(("typed", "kept"), GOOD_EMAILS)
def test_keeps_one_spelling_of_an_email(typed: str, kept: str) -> None:
    assert normalise_email(typed) == kept
    assert normalise_email(kept) == kept


@pytest.mark.parametrize("typed", BAD_EMAILS)
def test_refuses_what_is_no_email(typed: str) -> None:
    with pytest.raises(InvalidAddress):
        normalise_email(typed)


@given(st.text(max_size=40) | st.emails())
def test_never_fails_otherwise(typed: str) -> None:
    try:
        kept = normalise_email(typed)
    except InvalidAddress:
        return
    assert normalise_email(kept) == kept


@given(st.emails())
def test_the_fast_way_agrees_with_the_slow_one(address: str) -> None:
    if is_plain_email(address.lower()):
        assert normalise_email(address) == address.lower()


@pytest.mark.parametrize(
    ("typed", "prefix", "kept"),
    [
        ("+393401234567", "+39", "+393401234567"),
        ("00393401234567", "+39", "+393401234567"),
        ("+39 340 123-45.67", "+44", "+393401234567"),
        ("3401234567", "+39", "+393401234567"),
        ("3401234567", "0039", "+393401234567"),
        ("07400 123456", "+44", "+447400123456"),
        ("+0018889624587", "+39", "+18889624587"),
        ("(340) 1234567", "+39", "+393401234567"),
        ("393401234567", "+39", "+393401234567"),
    ],
)
def test_keeps_one_spelling_of_a_mobile(typed: str, prefix: str, kept: str) -> None:
    assert normalise_mobile(typed, prefix) == kept


@pytest.mark.parametrize("typed", ["", "abc", "+39abc", "12", "+1234567890123456", "++39340", "+", "00"])
def test_refuses_what_is_no_mobile(typed: str) -> None:
    with pytest.raises(InvalidAddress):
        normalise_mobile(typed, "+39")


def test_refuses_a_national_number_where_the_prefix_says_nothing() -> None:
    with pytest.raises(InvalidAddress):
        normalise_mobile("3401234567", "")
