"""`listbridge dkim`: keys go in, their DNS records come out, and nothing secret is ever printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_results import Run

from delivery.dkim import make_key


def test_life_of_a_key(customer: Run) -> None:
    assert customer("dkim", "list").out == "There are no keys.\n"
    added = customer("dkim", "add", "News.Example.com", "--selector", "s1", "--account", "7")
    assert added.code == 0
    assert added.out.startswith('s1._domainkey.news.example.com. IN TXT "v=DKIM1; k=rsa; p=MII')
    assert customer("dkim", "show", "news.example.com", "S1").out == added.out
    (row,) = json.loads(customer("dkim", "list", "--json").out)
    assert row.pop("created_at")
    assert row == {"domain": "news.example.com", "selector": "s1", "algorithm": "rsa", "account": 7}
    assert customer("dkim", "remove", "news.example.com", "s1").code == 1
    assert customer("dkim", "remove", "news.example.com", "s1", "--yes").out == "The key was removed.\n"
    assert customer("dkim", "show", "news.example.com", "s1").err == "listbridge: There is no such key.\n"


def test_own_key(customer: Run, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(make_key("ed25519"))
    options = ("--selector", "s1", "--key", str(path))
    added = customer("dkim", "add", "example.com", *options, "--algorithm", "ED25519")
    assert added.out.startswith('s1._domainkey.example.com. IN TXT "v=DKIM1; k=ed25519; p=')
    assert "PRIVATE" not in added.out + customer("dkim", "list").out + customer("dkim", "list", "--json").out
    assert customer("dkim", "add", "example.com", *options, "--algorithm", "ed25519").code == 1
    refused = customer("dkim", "add", "example.net", *options)
    assert (refused.code, refused.out) == (1, "")
    assert "is not a key for rsa" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("example.com",), 2),
        (("example.com", "--selector", "s", "--algorithm", "dsa"), 2),
        (("example", "--selector", "s"), 1),
        (("example.com", "--selector", "a b"), 1),
        (("example.com", "--selector", "s", "--account", "99"), 1),
        (("example.com", "--selector", "s", "--key", "/nonexistent"), 1),
        (("example.com", "--selector", "s", "--key", "/dev/null"), 1),
    ],
)
def test_refused(customer: Run, arguments: tuple[str, ...], code: int) -> None:
    result = customer("dkim", "add", *arguments)
    assert (result.code, result.out) == (code, "")
    assert "Traceback" not in result.err
