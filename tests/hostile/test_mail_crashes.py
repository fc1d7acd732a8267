"""The mail role is killed in the middle of a sending, again and again: nobody gets a mail twice that must not.

In `at-most-once`, what was on its way is given up and counted; in `at-least-once` it is repeated, and the log says how
many that may be.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mail_sinks import MailSink, serve_mail
from mail_world import MailWorld, make_mail_world, wait_until

from db.engine import Database
from delivery.lanes import LARGEST_BATCH
from delivery.queue import DeliveryState

LANES = 2
ENDED = ("completed", "failed")


@contextmanager
def _run_role(database_url: str, sink: MailSink, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTBRIDGE_")}
    environment |= {
        "LISTBRIDGE_DATABASE_URL": database_url,
        "LISTBRIDGE_DATA_DIR": str(log.parent / "data"),
        "LISTBRIDGE_SMTP_RELAY": f"127.0.0.1:{sink.port}",
        "LISTBRIDGE_SMTP_CONNECTIONS": str(LANES),
        "LISTBRIDGE_LOG_FORMAT": "json",
    }
    with log.open("ab") as output:
        command = [sys.executable, "-m", "listbridge", "mail"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _send_with_kills(world: MailWorld, mode: str, people: int, kills: int, log: Path) -> tuple[MailSink, object]:
    world.add_people(people)
    picked = random.Random(people)
    with serve_mail() as sink:
        sent = world.send(world.add_message(), mode=mode)
        for _ in range(kills):
            goal = len(sink.received) + picked.randrange(1, max(2, people // (kills + 1)))
            with _run_role(world.database.url, sink, log) as process:
                wait_until(lambda goal=goal: len(sink.received) >= goal or _is_over(world, sent), "nothing is sent")
                process.send_signal(signal.SIGKILL)
        with _run_role(world.database.url, sink, log):
            row = world.wait_for_state(sent, *ENDED)
        return sink, (row, world.states(sent))


def _is_over(world: MailWorld, sent: object) -> bool:
    return world.state(sent).state in ENDED  # type: ignore[arg-type]


def _doubts(log: Path) -> int:
    """Return how many mails the log says were in doubt."""
    entries = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return sum(entry["in_doubt"] for entry in entries if entry["event"] == "process_died_while_sending")


SIZES = [pytest.param(1_500, 3, id="short"), pytest.param(100_000, 20, id="long", marks=pytest.mark.torture)]


@pytest.mark.parametrize(("people", "kills"), SIZES)
def test_at_most_once(database: Database, tmp_path: Path, people: int, kills: int) -> None:
    world, log = make_mail_world(database), tmp_path / "log"
    sink, (row, states) = _send_with_kills(world, "at-most-once", people, kills, log)
    assert row.state == "completed"
    assert max(sink.recipients().values()) == 1
    assert row.sent + row.unknown == people == sum(states.values())
    assert states.get(DeliveryState.UNKNOWN, 0) == row.unknown == _doubts(log)
    # Nothing is given up that was not on its way: who got nothing is among those in doubt.
    assert people - len(sink.recipients()) <= row.unknown


@pytest.mark.parametrize(("people", "kills"), SIZES)
def test_at_least_once(database: Database, tmp_path: Path, people: int, kills: int) -> None:
    world, log = make_mail_world(database), tmp_path / "log"
    sink, (row, _) = _send_with_kills(world, "at-least-once", people, kills, log)
    assert (row.state, row.sent, row.unknown) == ("completed", people, 0)
    counts = sink.recipients()
    assert len(counts) == people
    repeated = sum(count - 1 for count in counts.values())
    assert repeated <= _doubts(log) <= kills * LANES * LARGEST_BATCH


def test_the_log_names_no_people(database: Database, tmp_path: Path) -> None:
    world, log = make_mail_world(database), tmp_path / "log"
    _send_with_kills(world, "at-most-once", 200, 1, log)
    assert not re.search(r"person\d+|example\.com", log.read_text().replace("lists.example.com", ""))
