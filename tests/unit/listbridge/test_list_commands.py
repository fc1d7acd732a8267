"""The commands about lists, groups and templates."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from command_results import Run

from audience.list_settings import ListSettings

SETTINGS = len(fields(ListSettings)) + 1
"""All that the settings have, and the prefix of mobile numbers."""


def test_listing_and_showing_lists(customer: Run) -> None:
    assert customer("list", "add", "--account", "7", "--name", "Città").code == 0
    assert re.search(r"^2 +[0-9a-f-]{36} +Città +-$", customer("list", "list", "--account", "7").out, re.MULTILINE)
    rows = json.loads(customer("list", "list", "--account", "7", "--json").out)
    assert [(row["number"], row["name"], row["external_id"]) for row in rows] == [(1, "News", None), (2, "Città", None)]
    shown = customer("list", "show", "2", "--account", "7")
    assert re.search(r"^name +Città$", shown.out, re.MULTILINE)
    assert "\ndefault_prefix=+39\nlanguage=en\n" in shown.out
    assert "\ntrack_opens=true\n" in shown.out
    assert len(re.findall("^[a-z_]+=", shown.out, re.MULTILINE)) == SETTINGS
    assert len(json.loads(customer("list", "show", "2", "--account", "7", "--json").out)["settings"]) == SETTINGS


def test_setting(customer: Run) -> None:
    changed = customer("list", "set", "1", "--account", "7", "language=it", "unsubscribe_lists=1", "default_prefix=44")
    assert (changed.code, changed.out) == (0, "List 1 of account 7 is changed.\n")
    assert customer("list", "set", "1", "confirmed_url=https://example.com/a=b", "--account", "7").code == 0
    settings = json.loads(customer("list", "show", "1", "--account", "7", "--json").out)["settings"]
    found = [settings[key] for key in ("language", "unsubscribe_lists", "default_prefix", "confirmed_url")]
    assert found == ["it", [1], "+44", "https://example.com/a=b"]
    assert customer("list", "set", "1", "--account", "7", "language=", "default_prefix=").code == 0
    shown = customer("list", "show", "1", "--account", "7").out
    assert "\ndefault_prefix=+39\nlanguage=en\n" in shown and "\nunsubscribe_lists=1\n" in shown
    assert customer("list", "set", "1", "--account", "7", "confirmed_url=").code == 0
    assert "\nconfirmed_url=\n" in customer("list", "show", "1", "--account", "7").out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["1", "language=xx"], 1, "listbridge: language: It is one of en, it, de, fr, es.\n"),
        (["1", "color=red"], 1, "color: It is # and six hexadecimal digits"),
        (["1", "received_url=javascript:alert(1)"], 1, "received_url: It is an address with http:// or https://"),
        (["1", "unsubscribe_lists=9"], 1, "unsubscribe_lists: There is no list 9."),
        (["1", "default_prefix=999"], 1, "default_prefix: It is an international prefix"),
        (["1", "colour=red"], 1, "colour: There is no such setting; choose among language,"),
        (["9", "language=it"], 1, "There is no list 9"),
        (["1", "language"], 2, "expected KEY=VALUE"),
        (["1", "=it"], 2, "expected KEY=VALUE"),
        (["1"], 2, "SETTINGS"),
    ],
)
def test_setting_refuses(customer: Run, arguments: list[str], code: int, told: str) -> None:
    result = customer("list", "set", "--account", "7", *arguments)
    assert result.code == code
    assert told in result.err
    assert "\nlanguage=en\n" in customer("list", "show", "1", "--account", "7").out


def test_deleting(customer: Run) -> None:
    assert customer("list", "delete", "1", "--account", "7").out == "List 1 of account 7 is deleted.\n"
    assert "There is no list 1" in customer("list", "delete", "1", "--account", "7").err
    assert customer("list", "list", "--account", "7").out == "There are no lists.\n"


def test_defaults(customer: Run) -> None:
    shown = customer("list", "defaults", "--account", "7", "language=de", "default_prefix=49")
    assert shown.out.startswith("default_prefix=+49\nlanguage=de\n")
    assert customer("list", "defaults", "--account", "7").out == shown.out
    assert json.loads(customer("list", "defaults", "--account", "7", "--json").out)["language"] == "de"
    assert customer("list", "defaults", "--account", "7", "language=xx").code == 1
    assert customer("list", "add", "--account", "7", "--name", "New").code == 0
    assert "\ndefault_prefix=+49\nlanguage=de\n" in customer("list", "show", "2", "--account", "7").out
    assert "\ndefault_prefix=+39\nlanguage=en\n" in customer("list", "show", "1", "--account", "7").out


def test_groups(customer: Run) -> None:
    where = ("--account", "7", "--list", "1")
    assert customer("group", "list", *where).out == "There are no groups.\n"
    assert customer("group", "add", *where, "--name", "Top", "--notes", "Customers").out == "1\n"
    assert customer("group", "add", *where, "--name", "Top").out == "1\n"
    assert customer("group", "add", *where, "--name", "<").code == 1
    rows = json.loads(customer("group", "list", *where, "--json").out)
    assert rows == [{"number": 1, "name": "Top", "notes": "Customers"}]
    assert "There is no list 9" in customer("group", "list", "--account", "7", "--list", "9").err


def test_templates(customer: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>Città</p>", encoding="utf-8")
    add = ("template", "add", "--account", "7", "--html", str(page))
    assert customer("template", "list", "--account", "7").out == "There are no templates.\n"
    assert customer(*add, "--subject", "Default").out == "1\n"
    assert customer(*add, "--subject", "Own", "--list", "1", "--notes", "n").out == "2\n"
    (own,) = json.loads(customer("template", "list", "--account", "7", "--list", "1", "--json").out)
    assert (own["number"], own["subject"], own["notes"]) == (2, "Own", "n")
    (default,) = json.loads(customer("template", "list", "--account", "7", "--json").out)
    assert default["number"] == 1
    assert customer(*add, "--subject", "a\nb").code == 1
    assert customer(*add, "--subject", "x", "--list", "9").code == 1
    page.write_bytes(b"\xff\xfe\xff")
    assert "cannot be read as text in UTF-8" in customer(*add, "--subject", "x").err
    page.write_text("x" * 2_000_001)
    assert "at most 2000000 characters" in customer(*add, "--subject", "x").err
