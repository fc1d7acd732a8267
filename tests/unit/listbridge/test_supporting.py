"""Logging, output, progress and the lifeline: what the other modules stand on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import pytest
import structlog

from listbridge.logging import configure_command_logging, configure_logging
from listbridge.output import print_rows, print_values
from listbridge.progress import show_progress
from listbridge.settings import Settings

pytestmark = pytest.mark.usefixtures("restored_process")


@contextlib.contextmanager
def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let standard error be a terminal; yield the descriptor of what it shows."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        yield ours
        monkeypatch.undo()
    os.close(ours)


def read_screen(screen: int, text: str) -> str:
    """Read what a terminal shows until it has this text."""
    shown = b""
    while text.encode() not in shown:
        assert select.select([screen], [], [], 30)[0], shown
        shown += os.read(screen, 1 << 16)
    return shown.decode()


def test_events_are_json_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="auto"), "worker")
    structlog.get_logger().info("import_ended", import_id=3)
    structlog.get_logger().debug("too fine")
    logging.getLogger("library").warning("careful")
    logging.getLogger("library").info("somebody@example.com logged in")
    printed = capsys.readouterr()
    first, second = map(json.loads, printed.err.splitlines())
    assert (first["event"], first["import_id"], first["role"], first["level"]) == ("import_ended", 3, "worker", "info")
    assert (second["event"], second["role"], second["level"]) == ("careful", "worker", "warning")
    assert printed.out == ""


def test_tracebacks_show_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("json", "text"):
        configure_logging(Settings.model_validate({"log_format": log_format}), "web")
        address = "somebody@example.com"
        try:
            raise RuntimeError("broken") from KeyError(len(address))
        except RuntimeError:
            structlog.get_logger().exception("failed")
        printed = capsys.readouterr().err
        assert "RuntimeError: broken" in printed
        assert address not in printed


def test_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal_as_stderr(monkeypatch) as screen:
        configure_logging(Settings(), "web")
        structlog.get_logger().warning("ready", port=8080)
        shown = read_screen(screen, "8080")
    assert not shown.startswith("{")
    assert "port" in shown


@pytest.mark.parametrize(("level", "expected"), [("info", 1), ("debug", 3), ("warning", 1), ("error", 0)])
def test_commands_are_quieter(level: str, expected: int, capsys: pytest.CaptureFixture[str]) -> None:
    configure_command_logging(Settings.model_validate({"log_level": level}))
    log = structlog.get_logger()
    log.debug("fine")
    log.info("usual")
    log.warning("careful")
    assert len(capsys.readouterr().err.splitlines()) == expected


def test_tables_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rows = [
        {"id": 1, "file_name": "a.csv", "done": True, "at": at},
        {"id": 20, "file_name": None, "done": False, "at": at},
    ]
    print_rows(rows, as_json=False, nothing="none")
    header, first, second = capsys.readouterr().out.splitlines()
    assert re.split("  +", header) == ["id", "file name", "done", "at"]
    assert re.split("  +", first)[:3] == ["1", "a.csv", "yes"]
    assert re.split("  +", second)[:3] == ["20", "-", "no"]
    print_rows(rows, as_json=True, nothing="none")
    assert json.loads(capsys.readouterr().out)[0]["at"] == "2026-01-02T03:04:05Z"
    print_values({"a": 1, "long_name": "x"})
    assert capsys.readouterr().out == "a          1\nlong name  x\n"


def test_progress_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    path.touch()
    with show_progress(path) as report:
        for done in (50_000, 100_000, 180_000, 260_000):
            report(done, 0)
    assert capsys.readouterr().err.splitlines() == ["100,000 rows", "260,000 rows"]


@pytest.mark.parametrize("packed", [False, True])
def test_progress_on_a_terminal(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows"
    if packed:
        with ZipFile(path, "w") as archive:
            archive.writestr("rows.csv", "email\n")
    else:
        path.write_text("email\na@example.com\n")
    monkeypatch.setenv("TERM", "xterm")
    with terminal_as_stderr(monkeypatch) as screen:
        with show_progress(path) as report:
            report(1, 0)
        assert "1 rows" in read_screen(screen, "1 rows")


CHILD = """
import os, sys, time
from listbridge.lifeline import follow_parent
if sys.argv[1] == "thread":
    sys.platform = "other"
follow_parent(int(sys.argv[2]) if len(sys.argv) > 2 else os.getppid())
print("following", flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["signal", "thread"])
def test_a_follower_dies_with_its_parent(way: str) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_follower_whose_parent_is_gone_ends_at_once() -> None:
    command = [sys.executable, "-c", CHILD, "signal", str(os.getpid() + 1_000_000)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert done.stdout == ""


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
