"""`listbridge webhook`, called as on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_results import Result, Run
from sqlalchemy import select
from webhook_receivers import receiving

from audience.accounts import find_account
from audience.history import Cause
from audience.lists import find_list
from audience.status_rules import SUBSCRIBE
from audience.subscriptions import change_state, parse_address
from db.engine import Database
from db.tables import notification, webhook

URL = "https://shop.example.com/hook"
BASIC = ("webhook", "add", "--account", "7", "--list", "1", "--name", "Shop", "--event", "subscribe")


def stored(directory: Path) -> list[Any]:
    database = Database(f"sqlite:///{directory}/var/listbridge.db")
    with database.read() as connection:
        rows = list(connection.execute(select(webhook).order_by(webhook.c.id)))
    database.close()
    return rows


def succeed(result: Result) -> str:
    assert (result.code, result.err) == (0, "")
    return result.out


def test_a_webhook_from_beginning_to_end(customer: Run, tmp_path: Path) -> None:
    added = customer(
        *(*BASIC, "--url", URL, "--source", "api", "--source", "recipient", "--method", "GET", "--format", "rc4"),
        *("--secret", "chiave", "--parameter", "evt=[EventType]", "--parameter", "eml=[email]"),
        *("--parameter", "name=[Field01]", "--parameter", "list=list"),
    )
    assert succeed(added) == "1\n"
    parameters = {"evt": "event", "eml": "email", "name": "field:1", "list": "list"}
    facts = {
        "number": 1,
        "list": 1,
        "name": "Shop",
        "event": "subscribe",
        "sources": "api,recipient",
        "method": "GET",
        "format": "rc4",
        "active": True,
        "url": URL,
    }
    assert json.loads(succeed(customer("webhook", "list", "--account", "7", "--json"))) == [facts]
    shown = succeed(customer("webhook", "show", "1", "--account", "7", "--json"))
    assert json.loads(shown) == facts | {"secret": "set", "parameters": parameters}
    assert "chiave" not in shown
    shown = succeed(customer("webhook", "show", "1", "--account", "7"))
    assert "evt=event, eml=email, name=field:1, list=list" in shown
    assert "chiave" not in shown
    (row,) = stored(tmp_path)
    assert (row.secret, row.parameters) == ("chiave", [list(pair) for pair in parameters.items()])

    change = ("webhook", "set", "1", "--account", "7")
    assert succeed(customer(*change, "--name", "Shop 2", "--source", "console")) == "Webhook 1 changed.\n"
    succeed(customer(*change, "--parameter", "mail=[Email]"))
    (row,) = stored(tmp_path)
    assert (row.name, row.sources, row.parameters, row.secret) == ("Shop 2", ["console"], [["mail", "email"]], "chiave")
    succeed(customer(*change, "--no-parameters", "--format", "json", "--method", "POST", "--secret", "other"))
    (row,) = stored(tmp_path)
    assert (row.format, row.parameters, row.secret) == ("json", [], "other")

    assert succeed(customer("webhook", "switch", "1", "off", "--account", "7")) == "Webhook 1 is off.\n"
    assert not stored(tmp_path)[0].active
    succeed(customer("webhook", "switch", "1", "on", "--account", "7"))
    assert stored(tmp_path)[0].active
    assert succeed(customer("webhook", "remove", "1", "--account", "7")) == "Webhook 1 removed.\n"
    assert stored(tmp_path) == []
    assert succeed(customer("webhook", "list", "--account", "7")) == "There are no webhooks.\n"


def test_the_secret_need_not_be_on_the_command_line(
    customer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = (*BASIC, "--url", URL, "--format", "json")
    refused = customer(*add)
    assert (refused.code, refused.err) == (1, "listbridge: The format json needs a secret.\n")
    monkeypatch.setenv("LISTBRIDGE_SECRET", "of the environment")
    succeed(customer(*add, "--inactive"))
    secret = tmp_path / "secret"
    secret.write_text("of the file\n")
    monkeypatch.setenv("LISTBRIDGE_SECRET_FILE", str(secret))
    succeed(customer(*add))
    rows = stored(tmp_path)
    assert [(row.secret, row.active) for row in rows] == [("of the environment", False), ("of the file", True)]


def test_the_environments_secret_replaces_none_unasked(
    customer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(customer(*BASIC, "--url", URL, "--format", "json", "--secret", "first"))
    monkeypatch.setenv("LISTBRIDGE_SECRET", "of the environment")
    change = ("webhook", "set", "1", "--account", "7")
    for arguments, secret in [
        (("--name", "Shop 2"), "first"),
        (("--secret", "second"), "second"),
        (("--format", "form"), "second"),
        (("--format", "rc4"), "of the environment"),
        (("--format", "json", "--secret", "third"), "third"),
    ]:
        succeed(customer(*change, *arguments))
        assert stored(tmp_path)[0].secret == secret


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*BASIC, "--url", "ftp://shop.example.com"), "begins with http:// or https://"),
        ((*BASIC, "--url", URL, "--source", "soap"), "source of a webhook is one of"),
        ((*BASIC, "--url", URL, "--parameter", "a=[Shoe]"), "not for [Shoe]"),
        ((*BASIC[:5], "9", *BASIC[6:], "--url", URL), "no list 9"),
        ((*BASIC[:3], "8", *BASIC[4:], "--url", URL), "no account 8"),
        (("webhook", "show", "1", "--account", "7"), "no webhook 1"),
        (("webhook", "set", "1", "--account", "7"), "no webhook 1"),
        (("webhook", "switch", "1", "on", "--account", "7"), "no webhook 1"),
        (("webhook", "remove", "1", "--account", "7"), "no webhook 1"),
        (("webhook", "test", "1", "--account", "7"), "no webhook 1"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_told_in_one_line(customer: Run, arguments: tuple[str, ...], told: str) -> None:
    result = customer(*arguments)
    assert (result.code, result.out) == (1, "")
    assert told in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (*BASIC, "--url", URL, "--parameter", "email"),
        (*BASIC, "--url", URL, "--method", "PUT"),
        ("webhook", "switch", "1", "maybe", "--account", "7"),
        ("webhook", "log", "--account", "7", "--limit", "0"),
    ],
    ids=str,
)
def test_what_is_not_understood(customer: Run, arguments: tuple[str, ...]) -> None:
    assert customer(*arguments).code == 2


def test_a_webhook_is_tried(customer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        succeed(customer(*BASIC, "--url", receiver.url, "--parameter", "c=[IdConsole]", "--parameter", "e=[EventType]"))
        refused = customer("webhook", "test", "1", "--account", "7")
        assert refused.code == 1
        assert "127.0.0.1, which is not a public one" in refused.err
        monkeypatch.setenv("LISTBRIDGE_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
        assert succeed(customer("webhook", "test", "1", "--account", "7")) == "200 1\n"
        assert [request.body for request in receiver.requests] == [b"c=a7&e=SUBSCRIBE"]
        receiver.behave = lambda _request: (404, {}, b"gone")
        failed = customer("webhook", "test", "1", "--account", "7")
        assert (failed.code, failed.out) == (1, "404 gone\n")


def test_the_log_shows_answers_and_no_people(customer: Run, tmp_path: Path) -> None:
    assert succeed(customer("webhook", "log", "--account", "7")) == "There are no notifications.\n"
    succeed(customer(*BASIC, "--url", URL))
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    with database.write() as connection:
        mailing = find_list(connection, find_account(connection, 7).id, 1)
        address = parse_address(mailing, email="somebody@example.com")
        change_state(connection, mailing, address, SUBSCRIBE, Cause("page"))
        connection.execute(notification.update().values(answer_status=500, answer_text="out of order", attempts=1))
    database.close()
    text = succeed(customer("webhook", "log", "--account", "7", "--webhook", "1"))
    assert "out of order" in text
    assert "somebody" not in text
    (row,) = json.loads(succeed(customer("webhook", "log", "--account", "7", "--json")))
    assert (row["webhook"], row["state"], row["answer_status"], row["attempts"]) == (1, "waiting", 500, 1)
    assert "content" not in row
