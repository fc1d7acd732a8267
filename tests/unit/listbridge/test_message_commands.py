"""What the commands about messages do and print."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_results import Run
from webhook_receivers import receiving

from audience.accounts import find_account
from audience.history import Cause
from audience.list_changes import change_list
from audience.lists import add_group, find_list, set_field
from audience.status_rules import Channel, ImportRule
from audience.subscriptions import Address, change_state
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import recipient, sending
from delivery.messages import add_message, find_message
from delivery.sendings import Sending, find_sending

HTML = "<p>Ciao [campo1]</p>"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    yield database
    database.close()


@pytest.fixture
def run(customer: Run, database: Database, tmp_path: Path) -> Run:
    """Call the command line; account 7 has a list with a sender, a group, and a subscriber whose name is Anna."""
    (tmp_path / "mail.html").write_text(HTML)
    (tmp_path / "prices.pdf").write_bytes(b"%PDF")
    with database.write() as connection:
        mailing = find_list(connection, find_account(connection, 7).id, 1)
        change_list(connection, mailing, {"sender_email": "news@example.com"})
        add_group(connection, mailing, "Customers")
        address = Address(Channel.EMAIL, "anna@example.com")
        change_state(connection, mailing, address, ImportRule().transition(), Cause("cli"))
        connection.execute(recipient.update().values(fields={"1": "Anna"}))
        set_field(connection, mailing.account_id, 1, "nome", default_value="friend")
    return customer


def add(run: Run, *options: str) -> str:
    result = run(
        "message", "add", "--account", "7", "--list", "1", "--subject", "Hi [nome]", "--html", "mail.html", *options
    )
    assert (result.code, result.err) == (0, "")
    return str(result.out.strip())


def show(run: Run, number: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(run("message", "show", number, "--account", "7", "--json").out)
    return shown


def test_the_life_of_a_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_bytes("Città".encode("cp1252") + b" [campo1]")
    assert (
        add(run, "--text", "mail.txt", "--attach", "prices.pdf", "--track-links", "--no-merge", "--notes", "n") == "1"
    )
    shown = show(run, "1")
    created = shown.pop("created_at")
    assert shown.pop("updated_at") >= created
    assert shown == {
        "number": 1,
        "list": 1,
        "subject": "Hi [nome]",
        "notes": "n",
        "html_characters": 20,
        "text_characters": 14,
        "merge_fields": False,
        "embed_images": False,
        "track_links": True,
        "link_parameters": "",
        "tracked_schemes": "http,https",
        "cloned_from": None,
        "html": HTML,
        "text": "Città [campo1]",
        "files": [{"kind": "attachment", "name": "prices.pdf", "content_type": "application/pdf", "bytes": 4}],
    }
    (tmp_path / "more.txt").write_text("more")
    (tmp_path / "empty.txt").touch()
    changes = ("--subject", "New", "--merge", "--detach", "prices.pdf", "--attach", "more.txt", "--text", "empty.txt")
    assert run("message", "edit", "1", "--account", "7", *changes).out == "Message 1 of account 7 is changed.\n"
    edited = show(run, "1")
    assert (edited["subject"], edited["notes"], edited["html"], edited["text"]) == ("New", "n", HTML, "")
    assert (edited["merge_fields"], edited["track_links"]) == (True, True)
    assert [file["name"] for file in edited["files"]] == ["more.txt"]
    assert run("message", "clone", "1", "--account", "7").out == "2\n"
    assert run("message", "clone", "1", "--account", "7", "--subject", "Copy").out == "3\n"
    listed = json.loads(run("message", "list", "--account", "7", "--list", "1", "--json").out)
    names = ("number", "subject", "cloned_from")
    assert [[row[name] for name in names] for row in listed] == [[1, "New", None], [2, "New", 1], [3, "Copy", 1]]
    table = run("message", "show", "3", "--account", "7").out
    assert "cloned from      1" in table and "more.txt" in table
    assert run("message", "remove", "3", "--account", "7", "--yes").code == 0
    assert run("message", "show", "3", "--account", "7").err == "listbridge: There is no message 3.\n"


def test_nothing_to_list(run: Run) -> None:
    assert run("message", "list", "--account", "7", "--list", "1").out == "There are no messages.\n"


def test_images_go_along(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
    with receiving(lambda _: (200, {"Content-Type": "image/png"}, b"png")) as server:
        (tmp_path / "mail.html").write_text(f'<img src="{server.url}">')
        add(run, "--embed-images")
        files = show(run, "1")["files"]
        seen = run("message", "preview", "1", "--account", "7", "--recipient", "anna@example.com", "--source").out
        parts = list(email.message_from_string(seen, policy=email.policy.default).walk())
        image = next(part for part in parts if part.get_content_type() == "image/png")
        assert (
            f"cid:{image['Content-ID'].strip('<>')}"
            in next(part for part in parts if part.get_content_type() == "text/html").get_content()
        )
        assert files == [{"kind": "image", "name": server.url, "content_type": "image/png", "bytes": 3}]
        for option, images in (("--link-images", []), ("--embed-images", files)):
            assert run("message", "edit", "1", "--account", "7", option).code == 0
            assert show(run, "1")["files"] == images
    (tmp_path / "mail.html").write_text("<p>none</p>")
    assert run("message", "edit", "1", "--account", "7", "--html", "mail.html").code == 0
    assert show(run, "1")["files"] == []


REFUSED = (
    (("--subject", "a\nBcc: b@example.com"), "A subject is one line of 1 to 255 characters."),
    (("--html", "empty.html"), "A message without any content cannot be sent."),
    (("--html", "broken.html"), "broken.html: The content is not text."),
    (("--attach", "prices.pdf", "--attach", "prices.pdf"), "There are two files of the name 'prices.pdf'."),
    (("--attach", "large.bin"), "large.bin has more than 26,214,400 bytes."),
    (
        ("--attach", "half1.bin", "--attach", "half2.bin"),
        "The files of a message have 26,214,402 bytes together; at most 25 MiB can be.",
    ),
    (("--notes", "x" * 2001), "Notes have at most 2000 characters, and no control characters but line breaks."),
    (("--list", "9"), "There is no list 9 in this account, or its GUID is another one."),
    (("--account", "9"), "There is no account 9."),
)


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.html").touch()
    (tmp_path / "broken.html").write_bytes(b"a\0b")
    for name, size in (("large.bin", 26_214_401), ("half1.bin", 13_107_201), ("half2.bin", 13_107_201)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    usual = ("--account", "7", "--list", "1", "--subject", "Hi", "--html", "mail.html")
    for options, error in REFUSED:
        result = run("message", "add", *usual, *options)
        assert (result.code, result.out, result.err) == (1, "", f"listbridge: {error}\n")
    assert run("message", "list", "--account", "7", "--list", "1").out == "There are no messages.\n"


def test_previews(run: Run) -> None:
    add(run, "--attach", "prices.pdf")
    as_anna = ("message", "preview", "1", "--account", "7", "--recipient", "ANNA@example.com")
    assert "Ciao Anna" in run(*as_anna).out
    assert "<p>Ciao Anna</p>" in run(*as_anna, "--html").out
    source = run(*as_anna, "--source").out
    mail = email.message_from_string(source, policy=email.policy.default)
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hi Anna", "news@example.com", "anna@example.com")
    assert [part.get_filename() for part in mail.iter_attachments()] == ["prices.pdf"]
    wrong = run(*as_anna, "--html", "--source")
    assert wrong.err == "listbridge: Choose one of --html, --text and --source.\n"
    stranger = run("message", "preview", "1", "--account", "7", "--recipient", "bob@example.com")
    assert stranger.err == "listbridge: The account has no recipient with this address.\n"


def test_sending(run: Run, database: Database) -> None:
    add(run)

    def send(*options: str) -> Sending:
        result = run("message", "send", "1", "--account", "7", *options)
        assert result.err == ""
        with database.read() as connection:
            return find_sending(connection, find_account(connection, 7).id, int(result.out))

    everybody = send("--all", "--exclude-groups", "1", "--notes", "n", "--mode", "at-least-once")
    assert (everybody.state, everybody.target.to, everybody.target.exclude_groups) == ("scheduled", "all", (1,))
    assert (everybody.notes, everybody.mode, everybody.start_at) == ("n", "at-least-once", None)
    group = send("--groups", "1", "--at", "2036-07-01T09:30", "--sender", "Other@example.com")
    assert (group.target.to, group.target.groups) == ("groups", (1,))
    assert group.start_at is not None and group.start_at.isoformat() == "2036-07-01T07:30:00+00:00"
    named = send("--addresses", "ANNA@example.com, bob@example.com", "--at", "2036-07-01T09:30Z")
    assert named.target.addresses == ("anna@example.com", "bob@example.com")
    assert named.start_at is not None and named.start_at.isoformat() == "2036-07-01T09:30:00+00:00"


REFUSED_SENDINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "Choose one of --all, --groups and --addresses."),
    (("--all", "--groups", "1"), "Choose one of --all, --groups and --addresses."),
    (("--groups", "8"), "There is no group 8 in list 1."),
    (("--all", "--at", "tomorrow"), "--at is a date and a time like 2026-12-01T09:30."),
    (("--all", "--filters", "3"), "There is no filter 3."),
    (("--addresses", "nobody"), "The e-mail address is not well-formed."),
)


def test_sendings_that_are_refused(run: Run) -> None:
    add(run)
    for options, error in REFUSED_SENDINGS:
        result = run("message", "send", "1", "--account", "7", *options)
        assert (result.code, result.err) == (1, f"listbridge: {error}\n")


@pytest.mark.parametrize("state", ["completed", "cancelled"])
def test_waiting_for_the_end(run: Run, database: Database, state: str) -> None:
    add(run)
    ended = threading.Event()

    def end() -> None:
        """Do what the mail role does, once the sending is there."""
        while not ended.is_set() and not retry_on_conflict(change):
            ended.wait(0.05)

    def change() -> int:
        with database.write() as connection:
            return connection.execute(sending.update().values(state=state, sent=3, skipped=1)).rowcount

    other = threading.Thread(target=end)
    other.start()
    try:
        result = run("message", "send", "1", "--account", "7", "--all", "--wait")
    finally:
        ended.set()
        other.join()
    assert result.out == f"1\n{state}: 3 sent, 0 failed, 1 skipped, 0 unknown.\n"
    expected = (0, "") if state == "completed" else (1, "listbridge: The sending is cancelled.\n")
    assert (result.code, result.err) == expected


def test_fields_have_defaults(run: Run, database: Database) -> None:
    run("field", "set", "2", "cognome", "--account", "7")
    run("field", "set", "1", "name", "--account", "7")
    listed = json.loads(run("field", "list", "--account", "7", "--json").out)
    assert listed[:2] == [
        {"number": 1, "name": "name", "default": "friend"},
        {"number": 2, "name": "cognome", "default": None},
    ]
    assert "friend" in run("field", "list", "--account", "7").out
    long = run("field", "set", "1", "name", "--account", "7", "--default", "x" * 1001)
    assert long.err == "listbridge: A default has at most 1000 characters, and no control characters.\n"


def test_text_messages_are_not_found(run: Run, database: Database) -> None:
    with database.write() as connection:
        mailing = find_list(connection, find_account(connection, 7).id, 1)
        added = add_message(connection, mailing, Channel.SMS, subject="s", text="t")
        assert find_message(connection, mailing.account_id, Channel.SMS, added.number) == added
    assert run("message", "show", "1", "--account", "7").code == 1
