"""What one session of a user moved, for the log and the counters; who it was is logged, from where is not."""

from __future__ import annotations

import time
from uuid import uuid4

import structlog

from audience.ftp_users import FtpUser
from ftp_server.journal import Door
from ftp_server.metrics import BYTES, SESSIONS

log = structlog.get_logger()


class Visit:
    """One session, from the login to its end."""

    def __init__(self, user: FtpUser, door: Door) -> None:
        """Begin.

        Args:
            user: who has logged in.
            door: by which.
        """
        self._door = door
        self._received, self._sent = BYTES.labels(door, "in"), BYTES.labels(door, "out")
        self._began = time.monotonic()
        self._log = log.bind(session=uuid4().hex[:12], user=user.name, account=user.account.number, door=door)
        self._counts = {"bytes_in": 0, "bytes_out": 0, "files_in": 0, "files_out": 0}
        SESSIONS.labels(door).inc()
        self._log.info("session_began")

    def count(self, *, received: int = 0, sent: int = 0) -> None:
        """Count the bytes of a transfer that is over, or of a part of it."""
        self._received.inc(received)
        self._sent.inc(sent)
        self._counts["bytes_in"] += received
        self._counts["bytes_out"] += sent

    def count_file(self, *, sent: bool) -> None:
        """Count a file that was received or sent to its end."""
        self._counts["files_out" if sent else "files_in"] += 1

    def end(self) -> None:
        """End."""
        SESSIONS.labels(self._door).dec()
        self._log.info("session_ended", seconds=round(time.monotonic() - self._began, 1), **self._counts)
