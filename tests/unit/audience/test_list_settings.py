"""What each setting of a list may be, and how it is kept."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.errors import InvalidSetting
from audience.list_settings import ListSettings, make_patch, normalise_prefix, parse_setting, read_settings

FLAGS = [("0", False), ("1", True), ("true", True), ("FALSE", False), (" 1 ", True)]
NO_FLAGS = ["2", "yes", "truee", "０", "-1", "01"]
EMAILS = [("Info@Example.com", "info@example.com"), ("", ""), ("  a@example.com ", "a@example.com")]
NO_EMAILS = ["a", "a@", "@example.com", "a@example.com\r\nBcc: b@example.com", "a@b", "a b@example.com"]
LINES = [("", ""), ("Città – 東京 – 😀", "Città – 東京 – 😀"), ("x" * 255, "x" * 255), ('"A" <b>&', '"A" <b>&')]
NO_LINES = ["x" * 256, "a\r\nBcc: b@example.com", "a\nb", "a\x00b", "a\x85b", "a\u2028b", "\x7fa"]
TEXTS = [("", ""), ("one\r\n\ttwo", "one\r\n\ttwo"), ("x" * 10_000, "x" * 10_000), ("]]>", "]]>")]
NO_TEXTS = ["x" * 10_001, "a\x00b", "a\x0bb", "a\x9fb"]
URLS = [
    ("", ""),
    ("https://example.com", "https://example.com"),
    ("HTTP://example.com/a?b=c#d", "HTTP://example.com/a?b=c#d"),
    ("http://[::1]:8080/", "http://[::1]:8080/"),
    ("https://città.example.com/ò", "https://città.example.com/ò"),
]
NO_URLS = [
    "example.com",
    "//example.com",
    "javascript:alert(1)",
    "ftp://example.com",
    "https://",
    "https:///path",
    "http://[::1",
    "http://example.com:99999999/",
    "http://example.com/\r\nSet-Cookie: a=b",
    "http://exam ple.com",
    "http://example.com\\@example.org",
    "https://example.com/" + "x" * 2_000,
    "data:text/html,x",
]

TABLE: dict[str, tuple[list[tuple[str, Any]], list[str]]] = {
    "language": ([("it", "it"), ("EN", "en")], ["xx", "it-IT"]),
    "color": ([("#1F5fa8", "#1f5fa8"), ("#000000", "#000000")], ["red", "#fff", "1f5fa8", "#1f5fa8;x", "#gggggg"]),
    "description": (TEXTS, NO_TEXTS),
    "public": (FLAGS, NO_FLAGS),
    "hosted_forms": (FLAGS, NO_FLAGS),
    "sender_email": (EMAILS, NO_EMAILS),
    "sender_name": (LINES, NO_LINES),
    "reply_to": (EMAILS, NO_EMAILS),
    "bounce_email": (EMAILS, NO_EMAILS),
    "to_name": (LINES, NO_LINES),
    "sms_sender": (
        [("", ""), ("Shop 24", "Shop 24"), ("+393331234567", "+393331234567"), ("x" * 11, "x" * 11)],
        ["x" * 12, "Città", "a\nb", "+39 333", "1" * 16, "a-b"],
    ),
    "format": ([("html", "html"), ("TEXT", "text")], ["pdf", "html,text"]),
    "charset": (
        [("UTF-8", "utf-8"), ("iso-8859-1", "iso-8859-1")],
        [
            "utf-99",
            "hex",
            "raw_unicode_escape",
            "punycode",
            "idna",
            "rot13",
            "undefined",
            "utf-7",
            "x\x00y",
            "a" * 50,
            "../x",
        ],
    ),
    "text_part": (FLAGS, NO_FLAGS),
    "disclaimer": (TEXTS, NO_TEXTS),
    "abuse_header": (LINES, NO_LINES),
    "unsubscribe_header": (
        [*LINES, ("<[listunsubscribe]>,<[mailto_uns]>", "<[listunsubscribe]>,<[mailto_uns]>")],
        NO_LINES,
    ),
    "size_warning_kb": (
        [("100", 100), ("1", 1), ("1000000", 1_000_000)],
        ["0", "-1", "1.5", "1e3", "1000001", "٣", "9" * 5_000],
    ),
    "track_opens": (FLAGS, NO_FLAGS),
    "conversion_code": (TEXTS, NO_TEXTS),
    "unsubscribe_mode": ([("one-click", "one-click"), ("Options", "options")], ["0", "two-click"]),
    "unsubscribe_lists": (
        [("", []), ("1,2;3", [1, 2, 3]), (" 2 , 1 ,2,", [2, 1])],
        ["x", "1,x", "-1", "1 2", "1.5", "9999999999", "٣"],
    ),
    "welcome_mail": (FLAGS, NO_FLAGS),
    "welcome_sms": (FLAGS, NO_FLAGS),
    "goodbye_mail": (FLAGS, NO_FLAGS),
    "unsubscribe_notice": (EMAILS, NO_EMAILS),
    "received_url": (URLS, NO_URLS),
    "confirmed_url": (URLS, NO_URLS),
    "unsubscribed_url": (URLS, NO_URLS),
}
NAMES = [item.name for item in fields(ListSettings)]


def test_the_table_has_every_setting() -> None:
    assert list(TABLE) == NAMES


@pytest.mark.parametrize("name", TABLE)
def test_values(name: str) -> None:
    good, bad = TABLE[name]
    for text, value in good:
        assert parse_setting(name, text) == value, text
    for text in bad:
        with pytest.raises(InvalidSetting) as refused:
            parse_setting(name, text)
        assert refused.value.setting == name
        assert str(refused.value) == f"{name}: {refused.value.reason}"
        assert refused.value.reason.endswith(".")


@given(st.sampled_from(NAMES), st.text())
def test_whatever_is_let_in_can_be_stored_and_read(name: str, text: str) -> None:
    try:
        value = parse_setting(name, text)
    except InvalidSetting:
        return
    stored = orjson.loads(orjson.dumps({name: value}))
    read = getattr(read_settings(stored), name)
    assert read == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("name", TABLE)
def test_an_empty_text_stands_for_the_default(name: str) -> None:
    for text in ("", " \t"):
        assert make_patch({name: parse_setting(name, text)}) == {name: None}


def test_an_unknown_setting() -> None:
    with pytest.raises(InvalidSetting, match="colour: There is no such setting; choose among language"):
        parse_setting("colour", "red")


def test_defaults_are_not_stored() -> None:
    standard = asdict(ListSettings())
    values = {"language": "it", "public": False, "track_opens": False, "unsubscribe_lists": []}
    expected = {"language": "it", "public": None, "track_opens": False, "unsubscribe_lists": None}
    assert make_patch(values) == expected
    assert make_patch({**standard, "unsubscribe_lists": []}) == dict.fromkeys(NAMES)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("+39", "+39"), ("0039", "+39"), ("39", "+39"), ("0044", "+44"), ("+001", "+1"), ("1", "+1"), ("00377", "+377")],
)
def test_prefixes(text: str, prefix: str) -> None:
    assert normalise_prefix(text) == prefix


@pytest.mark.parametrize("text", ["", "+", "00", "0", "999", "+3939", "3 9", "++39", "it", "٣٩", "-39", "+39;"])
def test_no_prefixes(text: str) -> None:
    with pytest.raises(ValueError, match="international prefix"):
        normalise_prefix(text)
