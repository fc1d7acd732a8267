"""A real SMPP server program for tests: npm's `smpp`, which tells what comes and is told how to treat it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NODE = Path(__file__).parent / "interop" / "clients" / "node"
USER, PASSWORD = "listbridge", "s3cret"
SECONDS = 30.0


class MessageCentre:
    """The program, while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(lambda events: events[0]["port"] if events else None))

    @property
    def url(self) -> str:
        return f"smpp://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def submitted(self) -> list[dict[str, Any]]:
        """All parts that it has answered."""
        return self.named("submit")

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return all that it has told of one kind; it tells in order, so its answer to anything else comes after."""
        self.treat()
        return self._told(event)

    def _told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.events) if line["event"] == event]

    def treat(self, **changes: Any) -> None:
        """Tell it how to treat what comes; it does when this returns."""
        before = len(self._told("treated"))
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(changes) + "\n")
        self._process.stdin.flush()
        self.wait_for(lambda _events: len(self._told("treated")) > before)

    def wait_for(self, found: Callable[[list[dict[str, Any]]], Any]) -> Any:
        """Wait until something has happened, and return what the function says of it."""
        deadline = time.monotonic() + SECONDS
        while not (value := found(list(self.events))):
            assert time.monotonic() < deadline, self.events
            time.sleep(0.01)
        return value

    def wait_for_texts(self, number: int) -> None:
        """Wait until more than a number of parts have come."""
        self.wait_for(lambda _events: len(self._told("submit")) > number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def finish(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def message_centre() -> Iterator[MessageCentre]:
    """Start a message centre; the test is skipped where Node.js or the package is missing."""
    if shutil.which("node") is None or not (NODE / "node_modules" / "smpp").exists():
        reason = "Node.js or its package smpp is missing: run tests/interop/install.sh"
        (pytest.fail if os.environ.get("LISTBRIDGE_INTEROP") == "required" else pytest.skip)(reason)
    command = ["node", str(NODE / "message-centre.js"), USER, PASSWORD]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    centre = MessageCentre(process)
    try:
        yield centre
    finally:
        centre.finish()
