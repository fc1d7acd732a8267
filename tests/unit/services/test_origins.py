"""Under which address a caller knows the server, and which account a host name means."""

from __future__ import annotations

import pytest

from services.http.origins import caller_address, request_origin
from services.mailup.page_targets import account_number


@pytest.mark.parametrize(
    ("headers", "trusted", "expected"),
    [
        ({"HTTP_HOST": "example.com:8080"}, False, "http://example.com:8080"),
        ({"HTTP_HOST": "[::1]:8080"}, False, "http://[::1]:8080"),
        ({"HTTP_HOST": 'x"><script>'}, False, "http://server:80"),
        ({"HTTP_HOST": "a b"}, False, "http://server:80"),
        ({}, False, "http://server:80"),
        ({"HTTP_HOST": "a", "HTTP_X_FORWARDED_HOST": "b", "HTTP_X_FORWARDED_PROTO": "https"}, False, "http://a"),
        ({"HTTP_HOST": "a", "HTTP_X_FORWARDED_HOST": "b, c", "HTTP_X_FORWARDED_PROTO": "https"}, True, "https://b"),
        ({"HTTP_HOST": "a", "HTTP_X_FORWARDED_HOST": "<", "HTTP_X_FORWARDED_PROTO": "gopher"}, True, "http://a"),
    ],
)
def test_origin(headers: dict[str, str], trusted: bool, expected: str) -> None:
    environ = {"wsgi.url_scheme": "http", "SERVER_NAME": "server", "SERVER_PORT": "80", **headers}
    assert request_origin(environ, trust_forwarded=trusted) == expected


@pytest.mark.parametrize(
    ("forwarded", "trusted", "expected"),
    [
        ("", True, "198.51.100.9"),
        ("192.0.2.1", False, "198.51.100.9"),
        ("192.0.2.1", True, "192.0.2.1"),
        ("192.0.2.1, 192.0.2.2", True, "192.0.2.2"),
        ("2001:DB8::1", True, "2001:db8::1"),
        ("192.0.2.1, junk", True, "198.51.100.9"),
        ("x" * 8000, True, "198.51.100.9"),
    ],
)
def test_caller_address(forwarded: str, trusted: bool, expected: str) -> None:
    environ = {"REMOTE_ADDR": "198.51.100.9", "HTTP_X_FORWARDED_FOR": forwarded}
    assert caller_address(environ, trust_forwarded=trusted) == expected


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("m1234.example.com", 1234),
        ("A7.example.com:8080", 7),
        ("99.example.com", 99),
        ("m5", 5),
        ("127.0.0.1", None),
        ("127.0.0.1:8080", None),
        ("[::1]:8080", None),
        ("xyzw.example.com", None),
        ("x7.example.com", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_host_names_account(host: str, number: int | None) -> None:
    assert account_number(host) == number
