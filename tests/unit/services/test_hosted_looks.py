"""Texts, colours and addresses of the hosted pages."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.list_settings import LANGUAGES, ListSettings
from delivery.colors import contrast
from services.hosted.looks import look_of
from services.hosted.rendering import mask_address
from services.hosted.targets import find_target
from services.hosted.texts import TEXTS, write_text


@pytest.mark.parametrize("key", TEXTS)
def test_every_text_is_in_every_language(key: str) -> None:
    texts = TEXTS[key]
    assert tuple(texts) == LANGUAGES
    assert all(text.strip() for text in texts.values())
    places = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts.values()]
    assert all(place == places[0] for place in places)
    assert places[0] <= {"address"}


def test_an_unknown_language_is_english() -> None:
    assert write_text("tlh", "received_title") == TEXTS["received_title"]["en"]


@given(st.integers(min_value=0, max_value=0xFFFFFF).map("#{:06x}".format))
def test_text_on_any_colour_can_be_read(color: str) -> None:
    look = look_of(ListSettings(color=color), "News")
    assert look.color == color
    assert contrast(look.text_color, look.color) >= 4.5


def test_contrasts_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == contrast("#000000", "#ffffff") == 21
    assert contrast("#777777", "#777777") == 1
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


@pytest.mark.parametrize("color", ["", "red", "#fff", "#1234567", "#12345g", "#123456;}", "#123456\n", "expression(1)"])
def test_what_is_no_colour_is_replaced(color: str) -> None:
    assert look_of(ListSettings(color=color), "News").color == ListSettings().color


@pytest.mark.parametrize(
    ("email", "shown"),
    [
        ("john@example.com", "j•••@example.com"),
        ("j@example.com", "j•••@example.com"),
        ("élan@example.com", "é•••@example.com"),
        ('"a@b"@example.com', '"•••@example.com'),
    ],
)
def test_addresses_are_masked(email: str, shown: str) -> None:
    assert mask_address(email) == shown


@pytest.mark.parametrize(
    ("stored", "url", "origin"),
    [
        ("https://example.com", "https://example.com", "https://example.com"),
        ("HTTPS://Example.com/A?b=c#d", "https://example.com/A?b=c#d", "https://example.com"),
        ("http://example.com:8080/", "http://example.com:8080/", "http://example.com:8080"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://exämple.com/ü", "https://xn--exmple-cua.com/%C3%BC", "https://xn--exmple-cua.com"),
    ],
)
def test_targets(stored: str, url: str, origin: str) -> None:
    target = find_target(stored)
    assert target is not None
    assert (target.url, target.origin) == (url, origin)


@given(st.text() | st.text().map("https://{}".format) | st.text().map("https://example.com/{}".format))
def test_targets_are_fit_for_headers(stored: str) -> None:
    target = find_target(stored)
    if target is not None:
        assert target.url.isascii()
        assert target.url.isprintable()
        assert target.url.startswith(target.origin)
        assert not set(target.origin) & set(" ;,'\"*")
