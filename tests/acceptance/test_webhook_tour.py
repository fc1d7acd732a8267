"""A webhook of an installation: from a call of a page to the receiver, and the log of what was answered."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from urllib.parse import parse_qsl

from installations import Installation, stop
from webhook_receivers import receiving

PATIENCE = 60.0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def run(installation: Installation, *arguments: str) -> str:
    result = installation.run(*arguments, LISTBRIDGE_PASSWORD="secret")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def call(installation: Installation, page: str, query: str) -> str:
    with urllib.request.urlopen(f"http://{installation.http}/frontend/{page}.aspx?{query}", timeout=30) as answer:
        return str(answer.read().decode())


def test_what_happens_on_a_page_is_told(installation: Installation) -> None:
    (installation.directory / "listbridge.toml").write_text('webhook_allowed_networks = "127.0.0.0/8"\n')
    run(installation, "migrate")
    run(installation, "account", "add", "7")
    run(installation, "list", "add", "--account", "7", "--name", "News")
    with receiving() as receiver:
        for event in ("subscribe", "unsubscribe"):
            run(
                installation,
                *("webhook", "add", "--account", "7", "--list", "1", "--name", event, "--url", receiver.url),
                *("--event", event, "--parameter", "what=[EventType]", "--parameter", "who=[Email]"),
            )
        server = installation.serve()
        assert call(installation, "xmlSubscribe", "Email=a%40example.com&List=1&Confirm=0") == "0"
        wait_for(lambda: len(receiver.requests) == 1)
        receiver.behave = lambda _request: (503, {}, b"closed")
        assert call(installation, "Xmlunsubscribe", "Email=a%40example.com&List=1") == "0"
        wait_for(lambda: len(receiver.requests) == 2)
        assert stop(server)[0] == 0
        told = [dict(parse_qsl(request.body.decode())) for request in receiver.requests]
        assert told == [{"what": what, "who": "a@example.com"} for what in ("SUBSCRIBE", "UNSUBSCRIBE")]
    log = run(installation, "webhook", "log", "--account", "7")
    assert "delivered" in log
    assert "closed" in log
