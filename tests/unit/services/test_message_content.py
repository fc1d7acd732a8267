"""How the content and the options of newsletters are read."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from delivery.messages import MessageSettings
from services.mailup.keyed_results import Failure
from services.mailup.message_content import read_content_type, read_flag, read_message_options
from services.mailup.message_operations import divide_html


@pytest.mark.parametrize(
    ("html", "header", "body"),
    [
        ("", "", ""),
        ("text", "", "text"),
        ("<html><head></head><body></body></html>", "", ""),
        ("<HTML><HEAD a=b>h</HEAD >x<BODY\nc='d'>b</BODY></HTML>", "h", "b"),
        ("<head>h", "", "<head>h"),
        ("<head>h</head>rest", "h", "rest"),
        ("<header>h</header><body>b", "", "b"),
        ("<body>a<body>b</body>c</body>", "", "a<body>b"),
    ],
)
def test_html_in_two_parts(html: str, header: str, body: str) -> None:
    assert divide_html(html) == (header, body)


@pytest.mark.parametrize("piece", ["<head ", "<head>", "</head", "<body ", "</head ", "<"])
def test_the_time_to_divide_is_linear(piece: str) -> None:
    begun = time.process_time()
    divide_html(piece * (1_000_000 // len(piece)))
    # Quadratic work on this much would take minutes.
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("given", "name"),
    [(None, "HTML"), ("", "HTML"), (" html ", "HTML"), ("Url", "URL"), ("id", "ID"), ("TEXT", "TEXT")],
)
def test_types(given: str | None, name: str) -> None:
    assert read_content_type(given) == name


@pytest.mark.parametrize(
    ("value", "meant"), [("true", True), (" True ", True), ("1", True), ("FALSE", False), ("0", False), ("", False)]
)
def test_flags(value: str, meant: bool) -> None:
    assert read_flag("key", value) is meant


@pytest.mark.parametrize("value", ["yes", "2", "-1", "vero", "truefalse", "\u0661"])
def test_other_flags_are_refused(value: str) -> None:
    with pytest.raises(Failure, match="10"):
        read_flag("key", value)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, MessageSettings()),
        ({"dyn_fld": "false"}, MessageSettings(merge_fields=False)),
        ({"emb_img": "1", "link_track": "true"}, MessageSettings(embed_images=True, track_links=True)),
        (
            {"link_track_http": "0", "link_track_MAILTO": "1", "link_track_news": "true"},
            MessageSettings(tracked_schemes=("https", "mailto", "news")),
        ),
        ({"link_track_gopher": "1"}, MessageSettings(other={"link_track_gopher": "1"})),
        ({"https": "1"}, MessageSettings(other={"https": "1"})),
        ({"querystring": " &a=b&c=d "}, MessageSettings(link_parameters="a=b&c=d")),
        ({"a": "x\0y"}, MessageSettings(other={"a": "xy"})),
        ({"Campo12": "Anna", "RECIPIENTS": "a@example.com", "filters_as": "OR"}, MessageSettings()),
    ],
)
def test_options(options: dict[str, str], settings: MessageSettings) -> None:
    pairs = [SimpleNamespace(Key=key, Value=value) for key, value in options.items()]
    assert read_message_options([*pairs, None]).apply(MessageSettings()) == settings
