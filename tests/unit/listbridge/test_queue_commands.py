"""What the commands about sendings, filters and sender addresses do and print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_results import Run

from audience.accounts import find_account
from audience.lists import find_list
from audience.status_rules import Channel
from db.engine import Database
from db.tables import notice
from delivery.queue import add_delivery
from delivery.sendings import SendingState, add_sending


@pytest.fixture
def database(customer: Run, tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    yield database
    database.close()


def add(database: Database, state: SendingState = "scheduled", **values: Any) -> int:
    with database.write() as connection:
        mailing = find_list(connection, find_account(connection, 7).id, 1)
        new = add_sending(connection, mailing, Channel.EMAIL, None, subject="News", state=state, **values)
        if state == "sending":
            add_delivery(connection, new, mailing, 1, "p1@example.com")
        return new.number


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("queue", "list", *options, "--json").out)
    return found


def test_sendings_are_listed_with_how_far_they_are(customer: Run, database: Database) -> None:
    assert customer("queue", "list").out == "There are no sendings.\n"
    add(database, start_at=datetime(2036, 1, 1, tzinfo=UTC))
    add(database, "sending")
    add(database, "completed")
    names = ("number", "account", "channel", "state", "total", "left", "percent", "per_minute")
    assert [tuple(row[name] for name in names) for row in listed(customer)] == [
        (2, 7, "email", "sending", 1, 1, 0, 0.0),
        (1, 7, "email", "scheduled", 0, 0, 0, None),
    ]
    assert listed(customer)[1]["start_at"] == "2036-01-01T00:00:00Z"
    assert [row["waiting_since"] is not None for row in listed(customer)] == [True, False]
    assert [row["number"] for row in listed(customer, "--account", "7", "--all", "--limit", "2")] == [3, 2]
    assert customer("queue", "list", "--account", "8").code == 1


def test_a_sending_is_shown(customer: Run, database: Database) -> None:
    number = str(add(database, "sending", notes="For spring"))
    shown = json.loads(customer("queue", "show", "7", number, "--json").out)
    assert (shown["state"], shown["stopped"], shown["notes"], shown["target"]["to"]) == (
        "sending", False, "For spring", "all",
    )  # fmt: skip
    assert "For spring" in customer("queue", "show", "7", number).out
    assert customer("queue", "show", "7", "99").err == "listbridge: There is no sending 99.\n"


@pytest.mark.parametrize(
    ("command", "state", "printed"),
    [
        ("pause", "sending", "Sending 2 is paused, in place 2.\n"),
        ("resume", "paused", "Sending 2 is scheduled, in place 2.\n"),
        ("cancel", "sending", "Sending 2 is cancelled, in place 2.\n"),
        ("now", "draft", "Sending 2 is scheduled, in place 2.\n"),
        ("up", "scheduled", "Sending 2 is scheduled, in place 1.\n"),
        ("down", "scheduled", "listbridge: Sending 2 is the last in the queue.\n"),
        ("pause", "completed", "listbridge: Sending 2 is completed.\n"),
        ("resume", "sending", "listbridge: Sending 2 is sending.\n"),
    ],
)
def test_sendings_are_changed(
    customer: Run, database: Database, command: str, state: SendingState, printed: str
) -> None:
    add(database)
    add(database, state)
    result = customer("queue", command, "7", "2")
    assert result.out + result.err == printed
    assert result.code == printed.startswith("listbridge")


def test_an_account_is_stopped_and_started(customer: Run, database: Database) -> None:
    number = str(add(database))
    assert customer("queue", "stop", "7").out == "Account 7 sends nothing by email.\n"
    assert json.loads(customer("queue", "show", "7", number, "--json").out)["stopped"]
    assert customer("queue", "stop", "7", "--channel", "sms").out == "Account 7 sends nothing by sms.\n"
    assert customer("queue", "start", "7").out == "Account 7 sends by email.\n"
    assert not json.loads(customer("queue", "show", "7", number, "--json").out)["stopped"]
    assert customer("queue", "stop", "7", "--channel", "fax").code == 2
    assert customer("queue", "stop", "8").code == 1


def test_limits_of_domains(customer: Run, database: Database) -> None:
    assert customer("queue", "limits").out == "No domain has limits of its own.\n"
    assert customer("queue", "limit", "Example.com", "--connections", "2").code == 0
    assert customer("queue", "limit", "example.org", "--connections", "1", "--per-minute", "60").code == 0
    assert customer("queue", "limit", "example.com", "--per-minute", "30").code == 0
    assert json.loads(customer("queue", "limits", "--json").out) == [
        {"domain": "example.com", "connections": None, "per_minute": 30},
        {"domain": "example.org", "connections": 1, "per_minute": 60},
    ]
    assert customer("queue", "limit", "example.com", "--remove").out == "example.com is treated as all others.\n"
    assert customer("queue", "limit", "example.com", "--remove").code == 1
    assert customer("queue", "limit", "example.com").code == 1
    assert customer("queue", "limit", "example.com", "--remove", "--connections", "2").code == 1
    assert customer("queue", "limit", "example.com", "--connections", "0").code == 2


def test_filters(customer: Run, database: Database) -> None:
    assert customer("filter", "list", "7").out == "There are no filters.\n"
    near = ("--where", "field:3 = Rome", "--where", "created_at >= 2026-01-01", "--match", "any", "--list", "1")
    assert customer("filter", "add", "7", "--name", "Near", *near).out == "1\n"
    assert customer("filter", "add", "7", "--name", "New", "--where", "group = 1").out == "2\n"
    assert [each["number"] for each in json.loads(customer("filter", "list", "7", "--json").out)] == [1, 2]
    shown = json.loads(customer("filter", "show", "7", "1", "--json").out)
    assert (shown["name"], shown["list"], shown["match"]) == ("Near", 1, "any")
    assert shown["conditions"] == ["field:3 = Rome", "created_at >= 2026-01-01"]
    assert "field:3 = Rome or created_at" in customer("filter", "show", "7", "1").out
    assert customer("filter", "remove", "7", "1").out == "Filter 1 removed.\n"
    assert customer("filter", "remove", "7", "1").err == "listbridge: There is no filter 1.\n"
    assert customer("filter", "add", "7", "--name", "Bad", "--where", "city = Rome").code == 1
    assert customer("filter", "add", "7", "--name", "Bad", "--where", "group = 1", "--list", "9").code == 1


def test_sender_addresses(customer: Run, database: Database) -> None:
    assert customer("sender", "list", "7").out == "There are no sender addresses.\n"
    assert customer("sender", "ask", "7", "Shop@Example.com").out == "The owner of shop@example.com is asked.\n"
    with database.read() as connection:
        text = connection.execute(notice.select()).one().text
    assert "/verify-sender/" in text
    (row,) = json.loads(customer("sender", "list", "7", "--json").out)
    assert (row["email"], row["verified_at"]) == ("shop@example.com", None)
    assert customer("sender", "verify", "7", "shop@example.com").out == "shop@example.com is verified.\n"
    assert json.loads(customer("sender", "list", "7", "--json").out)[0]["verified_at"] is not None
    assert customer("sender", "remove", "7", "shop@example.com").out == "shop@example.com removed.\n"
    assert customer("sender", "remove", "7", "shop@example.com").code == 1
    assert customer("sender", "ask", "7", "nobody").code == 1
