"""Where readers are led, and where never."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.redirects import MAX_REDIRECT, find_redirect

URI = re.compile(r"[!#$%&-;=?-Z\[\]_a-z~']+")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.com/A?b=c&d=%20#e", "https://Example.com/A?b=c&d=%20#e"),
        ("  http://example.com:8080/a b ", "http://example.com:8080/a%20b"),
        ("http://example.com/ü?q=日#é", "http://example.com/%C3%BC?q=%E6%97%A5#%C3%A9"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("mailto:?subject=a b", "mailto:?subject=a%20b"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ('https://example.com/"<>|', "https://example.com/%22%3C%3E%7C"),
        ("https://example.com/?next=//evil.example.com", "https://example.com/?next=//evil.example.com"),
        ("ftp://user@example.com/file.zip", "ftp://user@example.com/file.zip"),
        ("mailto:help@example.com?subject=a b", "mailto:help@example.com?subject=a%20b"),
        ("news:comp.lang.python", "news:comp.lang.python"),
    ],
)
def test_addresses_are_kept(url: str, target: str) -> None:
    assert find_redirect(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "//evil.example.com",
        "///evil.example.com",
        "\\\\evil.example.com",
        "/\\evil.example.com",
        "http:\\\\evil.example.com",
        "https:evil.example.com",
        "https:///evil.example.com",
        "https://",
        "https://good.example.com\\@evil.example.com",
        "https://good.example.com@evil.example.com",
        "https://user:password@evil.example.com",
        "https://good.example.com%2f@evil.example.com",
        "https://evil.example.com\r\nSet-Cookie: a=b",
        "https://example.com/\r\nLocation: https://evil.example.com",
        "https://example.com/\x00",
        "https://example.com/\x85",
        "https://exa mple.com/",
        "https://example.com:x/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://<b>/",
        "https://ü_-.example/",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.com/1",
        "about:blank",
        "intent://example.com#Intent;end",
        "mailto:",
        "mailto://example.com",
        "mailto:a@example.com\nBcc: b@example.com",
        "[campo1]",
        "https://\ud800.example.com/",
        "https://example.com/\ud800",
        "https://example.com/" + "a" * MAX_REDIRECT,
    ],
)
def test_traps_are_refused(url: str) -> None:
    assert find_redirect(url) is None


@given(url=st.text() | st.text().map("https://example.com/{}".format) | st.text().map("https://{}".format))
def test_what_is_returned_is_an_address(url: str) -> None:
    target = find_redirect(url)
    if target is not None:
        assert URI.fullmatch(target)
        assert urlsplit(target).scheme in ("http", "https", "ftp", "mailto", "news")
        assert find_redirect(target) == target
