"""Who changed what, the right to be forgotten and undone imports, through the real command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from installations import Installation

ANNA = "anna@example.com"


@pytest.fixture
def shop(installation: Installation) -> Installation:
    """The demo account, with Anna and Ben imported from a file, and then Anna again with other data."""
    assert installation.run("init").returncode == 0
    import_file(installation, "first.csv", f"email;mobile;1\n{ANNA};+393401234567;Anna\nben@example.com;;Ben\n")
    import_file(
        installation, "second.csv", f"email;mobile;1\n{ANNA};;Anna \u202eMaria\ncarla@example.com;;C\nwrong;;x\n"
    )
    return installation


def import_file(installation: Installation, name: str, content: str) -> None:
    (installation.directory / name).write_text(content, encoding="utf-8")
    done = installation.run("import", name, "--account", "1", "--list", "1")
    assert done.returncode == 0, done.stderr


def show(installation: Installation, address: str = ANNA) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(installation.run("recipient", "show", address, "--json").stdout)
    return shown


def test_shows_a_recipient_with_the_whole_history(shop: Installation) -> None:
    printed = shop.run("recipient", "show", " Anna@Example.COM ").stdout
    title, history = printed.split("History (times of Europe/Rome)\n")
    assert f"e-mail        {ANNA}" in title
    assert "\u202e" not in printed
    lines = [" ".join(line.split()) for line in history.splitlines()]
    assert lines[0] == "when list what who source reason import"
    assert [line.split(" ", 2)[2] for line in lines[1:]] == [
        "1 e-mail: none -> subscribed - command-line - 1",
        "1 sms: none -> subscribed - command-line - 1",
        '1 nome: "Anna" -> "Anna \N{REPLACEMENT CHARACTER}Maria" - command-line - 2',
    ]
    facts = show(shop, "+393401234567")
    assert (facts["email"], facts["mobile"], facts["account"]) == (ANNA, "+393401234567", 1)
    assert [(item["list"], item["channel"], item["status"]) for item in facts["subscriptions"]] == [
        (1, "e-mail", "subscribed"),
        (1, "sms", "subscribed"),
    ]
    assert facts["history"][-1]["change"] == {"nome": ["Anna", "Anna \u202eMaria"]}
    assert facts["history"][-1]["at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("show", "nobody@example.com"), "Nobody has the address."),
        (("show", "nobody@example.com", "--account", "1"), "Nobody has the address."),
        (("show", ANNA, "--account", "7"), "There is no account 7."),
        (("show", "anna"), "That is neither an e-mail address nor a mobile number with its international prefix."),
        (("erase", "nobody@example.com", "--account", "1", "--yes"), "Nobody has the address."),
        (("erase", ANNA, "--account", "1"), "Nobody is there to be asked: give --yes."),
        (("readmit", ANNA, "--account", "1"), "Nothing keeps the address out of account 1."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(shop: Installation, arguments: tuple[str, ...], line: str) -> None:
    done = shop.run("recipient", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"listbridge: {line}\n")


def test_an_address_of_two_accounts_needs_the_account(shop: Installation) -> None:
    assert shop.run("account", "add", "2", "--password", "secret").returncode == 0
    assert shop.run("list", "add", "--account", "2", "--name", "News").returncode == 0
    assert shop.run("import", "first.csv", "--account", "2", "--list", "1").returncode == 0
    done = shop.run("recipient", "show", ANNA)
    assert done.stderr == "listbridge: Accounts 1, 2 know the address: name one of them with --account.\n"
    assert shop.run("recipient", "show", ANNA, "--account", "2").returncode == 0


def test_who_is_forgotten_stays_out_until_he_asks_to_come_back(shop: Installation) -> None:
    done = shop.run("recipient", "erase", ANNA, "--account", "1", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "subscriptions ended   2" in done.stdout
    again = shop.run("recipient", "show", ANNA, "--account", "1")
    assert again.stderr == "listbridge: The owner of the address was forgotten in account 1.\n"
    import_file(shop, "third.csv", f"email\n{ANNA}\n")
    counters = json.loads(shop.run("import", "show", "3", "--json").stdout)["counters"]
    assert (counters["refused"], counters["new"]) == ({"forgotten": 1}, 0)
    assert shop.run("recipient", "readmit", ANNA, "--account", "1").returncode == 0
    import_file(shop, "fourth.csv", f"email\n{ANNA}\n")
    assert [event["change"]["after"] for event in show(shop)["history"]] == ["subscribed"]


def test_a_person_at_a_terminal_is_asked_first(shop: Installation) -> None:
    for answer, code in (("n", 1), ("y", 0)):
        terminal, stdin = pty.openpty()
        os.write(terminal, f"{answer}\n".encode())
        done = subprocess.run(
            [Path(sys.executable).with_name("listbridge"), "recipient", "erase", ANNA, "--account", "1"],
            env=shop.environment,
            cwd=shop.directory,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        os.close(stdin)
        os.close(terminal)
        assert "Forget this recipient of account 1, known in 1 list?" in done.stderr
        assert done.returncode == code
    assert "Nothing was done." not in done.stderr


def test_an_import_is_undone(shop: Installation) -> None:
    trial = shop.run("import", "undo", "2", "--dry-run")
    assert "Dry run: nothing was kept." in trial.stdout
    assert shop.run("recipient", "show", "carla@example.com").returncode == 0
    assert shop.run("import", "undo", "2").stderr == "listbridge: Nobody is there to be asked: give --yes.\n"
    undone = json.loads(shop.run("import", "undo", "2", "--yes", "--json").stdout)
    assert undone["counts"]["reverted"] == {"statuses": 1, "values": 1, "groups": 0}
    assert (undone["counts"]["removed_recipients"], undone["did_nothing"]) == (1, False)
    assert shop.run("recipient", "show", "carla@example.com").returncode == 1
    newest = show(shop)["history"][-1]
    assert (newest["change"], newest["source"]) == ({"nome": ["Anna \u202eMaria", "Anna"]}, "undo")
    again = shop.run("import", "undo", "2", "--yes")
    assert (again.returncode, again.stdout) == (0, "There is nothing left to undo of import 2.\n")
    assert shop.run("import", "undo", "9", "--yes").stderr == "listbridge: There is no import 9.\n"


def test_what_an_undone_import_left_is_said(shop: Installation) -> None:
    import_file(shop, "third.csv", f"email;1\n{ANNA};Newer\n")
    done = shop.run("import", "undo", "2", "--yes")
    assert done.returncode == 0, done.stderr
    assert "recipients removed   1" in done.stdout
    assert "Left, because something newer happened\nstatuses  0\nvalues    1\ngroups    0" in done.stdout
    assert f"Recipients with something left, for example: {show(shop)['id']}" in done.stdout
