"""Runs all roles as child processes of one command, so that one machine needs one service.

A role that dies is started again, ever more slowly while it keeps dying; a role that cannot even start ends the
server. A stop is passed on and waited for; children of a parent that was killed end by themselves (`lifeline`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

import structlog
from sqlalchemy import select

from db.engine import Database
from db.tables import heartbeat
from listbridge.app import connect, prepare, require_free_port, stop_on_signals
from listbridge.errors import CommandError
from listbridge.logging import configure_logging
from listbridge.settings import Settings

ROLES = ("web", "ftp", "worker", "mail")
STOP_SECONDS = 40.0
"""How long roles may take to finish what they are at; longer than any of them waits for its own work."""

READY_POLL_SECONDS = 0.2
LONGEST_PAUSE = 30.0
"""Most seconds between two starts of a role that keeps dying."""

HEALTHY_SECONDS = 60.0
"""A role that lived this long has not kept dying."""

log = structlog.get_logger()


class Child:
    """One role's process, and when it may be started again."""

    def __init__(self, role: str, environment: dict[str, str]) -> None:
        self.role = role
        self._environment = environment
        self._deaths = 0
        self._start_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, in a group of its own: Ctrl-C is for the parent to pass on."""
        command = [sys.executable, "-m", "listbridge", self.role, "--parent", str(os.getpid())]
        self._process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, process_group=0)
        self._start_at = time.monotonic()

    def tend(self) -> None:
        """Start the process again when it has died and its pause is over."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self.start()
        elif self._process.poll() is not None:
            self._schedule_restart(self._process.returncode)

    def _schedule_restart(self, exit_code: int) -> None:
        lived = time.monotonic() - self._start_at
        self._deaths = 1 if lived > HEALTHY_SECONDS else self._deaths + 1
        pause = min(0.5 * 2 ** (self._deaths - 1), LONGEST_PAUSE)
        log.error("role_died", died=self.role, exit_code=exit_code, restart_in_seconds=pause)
        self._process = None
        self._start_at = time.monotonic() + pause

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self._process.poll() if self._process is not None else None

    def stop(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Wait for the end, and force it after the deadline (of the monotonic clock)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("role_killed", killed=self.role)
            self._process.kill()
            self._process.wait()


def serve(settings: Settings, announce: Callable[[], None]) -> None:
    """Run all roles until SIGTERM or SIGINT.

    Args:
        settings: for all roles.
        announce: called once, when every role is ready.

    Raises:
        CommandError: the server cannot start.
    """
    configure_logging(settings, "serve")
    require_free_port(settings.http, "http")
    require_free_port(settings.ftp, "ftp")
    if settings.ftps_implicit is not None:
        require_free_port(settings.ftps_implicit, "ftps_implicit")
    if settings.sftp is not None:
        require_free_port(settings.sftp, "sftp")
    prepare(settings)
    stop = stop_on_signals()
    children = [Child(role, settings.to_environment()) for role in ROLES]
    try:
        for child in children:
            child.start()
        if _wait_until_ready(children, settings, stop):
            announce()
        while not stop.wait(READY_POLL_SECONDS):
            for child in children:
                child.tend()
    finally:
        _stop(children)


def _wait_until_ready(children: list[Child], settings: Settings, stop: threading.Event) -> bool:
    """Return True when all roles are ready, False when the server is to stop before that."""
    database = connect(settings).database
    try:
        while not stop.wait(READY_POLL_SECONDS):
            for child in children:
                if child.exit_code is not None:
                    raise CommandError(f"The server could not start: its {child.role} role ended.")
            if _are_alive(children, database) and _is_ready(settings):
                return True
        return False
    finally:
        database.close()


def _are_alive(children: list[Child], database: Database) -> bool:
    """Tell whether the roles that beat have beaten; /readyz alone may still see those of the server before."""
    with database.read() as connection:
        owners = connection.execute(select(heartbeat.c.owner)).scalars().all()
    alive = {owner.rsplit(":", 1)[0] for owner in owners}
    return all(f"{socket.gethostname()}:{child.pid}" in alive for child in children if child.role != "web")


def _is_ready(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"http://{settings.http.reachable}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(children: list[Child]) -> None:
    # A second signal must not interrupt the waiting.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for child in children:
        child.stop()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.join(deadline)
