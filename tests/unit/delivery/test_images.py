"""Which images of a message's HTML are found."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some
from webhook_receivers import receiving

from delivery.images import fetch_images, find_images
from delivery.outgoing_http import OutgoingClient

A, B = "http://example.com/a.png", "HTTPS://example.com/b.png?x=1&amp;y=2"


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("", []),
        (f'<img src="{A}">', [A]),
        (f"<IMG alt='>' border=0\n SRC='{B}'/>", [B]),
        (f"<img src={A}><img src = {B}>", [A, B]),
        (f'<img src="{A}"><p><img src="{A}">', [A]),
        (f'<img src="{A}" src="{B}">', [A]),
        (f'<img data-src="{A}" alt="src={B}">', []),
        (f'<imgx src="{A}"><a href="{A}"><script src="{B}"></script><form action="{B}">', []),
        (f'<!-- <img src="{A}"> --><img src="{B}">', [B]),
        (f'<img src="{A}"><!-- <img src="{B}">', [A]),
        ('<img src="cid:a"><img src="/a.png"><img src="//example.com/a.png"><img src="data:image/png;base64,AA">', []),
        ('<img src="ftp://example.com/a.png"><img src="file:///etc/passwd"><img src="javascript:x">', []),
        ('<img src="http://example.com/[campo1].png"><img src="">', []),
        (f'<img src="{A}', []),
        (f'<img src="http://example.com/{"x" * 2000}">', []),
        (f"<img><img/><img src><img src=><img src='{A}'>", [A]),
    ],
)
def test_images(html: str, found: list[str]) -> None:
    assert find_images(html) == found


@pytest.mark.parametrize(
    "piece", ["<img ", "<!--", '<img src="', "<img src='\"", "<img =", "<img/a=b", "<img a = ", "<", "<img src=http://"]
)
def test_the_time_is_linear(piece: str) -> None:
    def measure(length: int) -> float:
        html = piece * (length // len(piece))
        begun = time.process_time()
        find_images(html)
        return time.process_time() - begun

    # Quadratic work on this much would take minutes.
    assert measure(2_000_000) < 20


def test_what_takes_too_long_is_not_begun() -> None:
    with receiving() as server:
        client = OutgoingClient([ipaddress.ip_network("127.0.0.0/8")])
        assert fetch_images(client, f"<img src={server.url}>", seconds=-1) == []
    assert server.requests == []


@given(some.lists(some.sampled_from(["<img ", "src=", "'", '"', ">", A, " ", "<!--", "-->", "<p>", "/", "="])))
def test_whatever_is_written(pieces: list[str]) -> None:
    html = "".join(pieces)
    found = find_images(html)
    assert all(source.startswith(A) and source in html for source in found)
    assert len(set(found)) == len(found)
