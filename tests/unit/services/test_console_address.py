"""The host in the addresses of consoles, in every form in which programs send them."""

from __future__ import annotations

import pytest

from services.mailup.console_address import read_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("a.example.com", "a.example.com"),
        (" a.example.com ", "a.example.com"),
        ("a.example.com/", "a.example.com"),
        ("a.example.com:8080", "a.example.com:8080"),
        ("http://a.example.com", "a.example.com"),
        ("HTTPS://A.example.com:443/frontend/?x=1#y", "A.example.com:443"),
        ("http://user:password@a.example.com/", "a.example.com"),
        ("http:\\\\a.example.com", "http:"),
        ("http://a.example.com\\x", "a.example.com"),
        ("a.example.com?x", "a.example.com"),
        ("//a.example.com", ""),
        ("://", ""),
        ("", ""),
    ],
)
def test_hosts_in_addresses(url: str, host: str) -> None:
    assert read_host(url) == host
