"""`listbridge outbox`, and the setting that its links begin with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_results import Run

from audience.accounts import find_account
from audience.list_changes import delete_list
from audience.lists import add_list, find_list
from audience.notices import add_notice, set_contact
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE
from audience.subscriptions import Cause, change_state, parse_address
from db.engine import Database
from db.tables import notice, outbox
from delivery.outbox import Sender, queue_mail
from listbridge.errors import SettingsError
from listbridge.settings import load_settings


@pytest.fixture
def waiting(customer: Run, tmp_path: Path) -> Run:
    """Call the command line where a request for confirmation waits."""
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    with database.write() as connection:
        mailing = find_list(connection, find_account(connection, 7).id, 1)
        address = parse_address(mailing, email="ada@example.com")
        change = change_state(connection, mailing, address, REQUEST_CONFIRMATION, Cause("test"))
        queue_mail(connection, mailing, change.recipient_id, "confirmation", list_ids=[mailing.id])
    database.close()
    return customer


def test_nothing_to_send(customer: Run) -> None:
    assert customer("outbox", "list").out == "There are no mails to send.\n"
    assert customer("outbox", "list", "--json").out == "[]\n"


def test_mails_are_shown_with_their_links(waiting: Run) -> None:
    lines = waiting("outbox", "list", "--account", "7").out.splitlines()
    assert len(lines) == 2
    assert lines[0].split() == [
        "id",
        "account",
        "list",
        "kind",
        "address",
        "about",
        "created",
        "at",
        "sender",
        "sender",
        "name",
        "message",
        "confirms",
        "link",
        "state",
        "attempts",
        "due",
        "at",
        "code",
    ]
    assert lines[1].split()[1:5] == ["7", "1", "confirmation", "ada@example.com"]
    assert lines[1].split()[-6] == "1"
    assert lines[1].split()[-5].startswith("http://127.0.0.1:8080/confirm/")
    assert lines[1].split()[-4:] == ["waiting", "0", "-", "-"]


def test_mails_as_json(waiting: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_PUBLIC_URL", "https://mail.example.com/lists/")
    (mail,) = json.loads(waiting("outbox", "list", "--json", "--limit", "1").out)
    assert mail["link"].startswith("https://mail.example.com/lists/confirm/")
    assert (mail["address"], mail["message"], mail["confirms"]) == ("ada@example.com", None, [1])
    assert (mail["sender"], mail["sender_name"]) == (None, None)


def test_notices_are_listed_among_the_mails(waiting: Run, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    with database.write() as connection:
        account_id = find_account(connection, 7).id
        set_contact(connection, account_id, "operator@example.com")
        add_notice(connection, account_id, key="import:1", kind="import", subject="Import 1: failed", text="Rows: 0\n")
    database.close()
    mail, notice = json.loads(waiting("outbox", "list", "--account", "7", "--json").out)
    assert mail.keys() == notice.keys()
    assert (mail["kind"], mail["text"]) == ("confirmation", None)
    assert (notice["kind"], notice["address"], notice["about"]) == (
        "import",
        "operator@example.com",
        "Import 1: failed",
    )
    assert (notice["text"], notice["list"], notice["confirms"], notice["link"]) == ("Rows: 0\n", None, [], None)
    assert len(json.loads(waiting("outbox", "list", "--limit", "1", "--json").out)) == 1
    lines = waiting("outbox", "list").out.splitlines()
    assert [line.split()[3] for line in lines] == ["kind", "confirmation", "import"]


def test_the_sender_and_the_lists_that_are_confirmed(waiting: Run, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    with database.write() as connection:
        first = find_list(connection, find_account(connection, 7).id, 1)
        second, deleted = (add_list(connection, first.account_id, name) for name in ("Second", "Deleted"))
        delete_list(connection, deleted)
        address = parse_address(second, email="bob@example.com")
        recipient_id = change_state(connection, second, address, REQUEST_CONFIRMATION, Cause("test")).recipient_id
        lists = [first.id, second.id, deleted.id]
        sender = Sender("shop@example.com", "Shop")
        queue_mail(connection, second, recipient_id, "confirmation", list_ids=lists, sender=sender)
        subscribed = parse_address(first, email="bob@example.com")
        change_state(connection, first, subscribed, SUBSCRIBE, Cause("test"))
        queue_mail(connection, first, recipient_id, "welcome")
    database.close()
    _, confirmation, welcome = json.loads(waiting("outbox", "list", "--json").out)
    assert confirmation["confirms"] == [2, 1]
    assert (confirmation["sender"], confirmation["sender_name"]) == ("shop@example.com", "Shop")
    assert (welcome["kind"], welcome["confirms"], welcome["sender_name"]) == ("welcome", [], None)
    _, line, _ = waiting("outbox", "list").out.splitlines()[1:]
    assert line.split()[-9:-5] == ["shop@example.com", "Shop", "-", "2,1"]


def test_another_chance(waiting: Run, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    now = datetime.now(UTC)
    with database.write() as connection:
        account_id = find_account(connection, 7).id
        for key in ("a", "b"):
            add_notice(connection, account_id, key=key, kind="import", subject=key, text="", address="x@example.com")
        connection.execute(notice.update().where(notice.c.key == "a").values(state="failed", code="550 5.1.1"))
        connection.execute(outbox.update().values(state="waiting", due_at=now, code="450", attempts=3))
        # The first one failed before the one that waits was asked for.
        row = dict(connection.execute(outbox.select()).one()._mapping)
        connection.execute(outbox.insert().values(**row | {"id": 99, "state": "failed"}))
    (failed,) = (
        row for row in json.loads(waiting("outbox", "list", "--failed", "--json").out) if row["kind"] == "import"
    )
    assert (failed["about"], failed["state"], failed["code"]) == ("a", "failed", "550 5.1.1")
    assert waiting("outbox", "retry", "--account", "7").out == "2 mails are due now.\n"
    listed = json.loads(waiting("outbox", "list", "--json").out)
    assert sorted((row["kind"], row["state"], row["attempts"], row["due_at"]) for row in listed) == [
        ("confirmation", "waiting", 0, None),
        ("import", "waiting", 0, None),
        ("import", "waiting", 0, None),
    ]
    assert waiting("outbox", "retry").out == "0 mails are due now.\n"
    database.close()


def test_an_unknown_account(waiting: Run) -> None:
    result = waiting("outbox", "list", "--account", "8")
    assert (result.code, result.err) == (1, "listbridge: There is no account 8.\n")


def test_links_begin_where_the_server_listens(clean_environment: None) -> None:
    assert load_settings().public_url == "http://127.0.0.1:8080"
    assert load_settings(http="0.0.0.0:80").public_url == "http://127.0.0.1:80"
    assert load_settings(http="[::]:80").public_url == "http://[::1]:80"


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "ftp://example.com",
        "https://",
        "https://a b/",
        "https://a/?b",
        "https://a/#b",
        "https://u:p@a/",
    ],
)
def test_urls_that_links_cannot_begin_with(clean_environment: None, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LISTBRIDGE_PUBLIC_URL", url)
    with pytest.raises(SettingsError, match=r"^public_url must be like https:"):
        load_settings()
