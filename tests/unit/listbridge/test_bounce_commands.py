"""What the commands about mails that came back print."""

from __future__ import annotations

import json
from pathlib import Path

from bounce_world import ADA, UNKNOWN_USER, make_bounce_world, status_report
from command_results import Run

from db.engine import Database


def test_there_are_none(customer: Run) -> None:
    assert customer("bounces", "list").out == customer("bounces", "show").out == "No mails came back.\n"


def test_bounces(customer: Run, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/var/listbridge.db")
    world = make_bounce_world(database)
    about = world.send(world.bring())
    world.receive(status_report(UNKNOWN_USER), world.return_path(about))
    world.receive(status_report(UNKNOWN_USER + " again"), "bounces@bounces.example.com")
    world.receive(f"From: {ADA}\r\nSubject: Secret\r\n\r\n".encode(), "bounces@bounces.example.com")
    database.close()
    customer("bounces", "list")  # takes what reading them logged along
    listed = customer("bounces", "list", "--json").out
    rows = json.loads(listed)
    assert [(row["outcome"], row["note"], row["bytes"] is None) for row in rows] == [
        ("unknown", None, False),
        ("hard", "unverified", False),
        ("hard", None, True),
    ]
    assert json.loads(customer("bounces", "show", "--json").out) == {"hard": 2, "unknown": 1}
    assert customer("bounces", "show").out.split() == ["hard", "2", "unknown", "1"]
    shown = customer("bounces", "show", str(rows[0]["id"])).out
    assert "unknown" in shown
    assert json.loads(customer("bounces", "list", "--outcome", "soft", "--json").out) == []
    for text in (listed, shown):
        assert "Secret" not in text
        assert "@" not in text
    missing = customer("bounces", "show", "99")
    assert (missing.code, missing.err) == (1, "listbridge: There is no mail 99.\n")
