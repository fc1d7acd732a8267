"""Ends reads of request bodies that take too long: the web server's own reads wait for ever, each in a thread.

A read cannot be given up, but it ends when its connection is shut down for reading. Which connection that is, the
request does not say, so it is found by what the kernel knows: see docs/decisions/0008-cutting-slow-bodies.md.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from services.http.connections import Connection, can_see_connections, open_connections, plain_address
from services.http.failures import describe_failure

log = structlog.get_logger()

PIECE = 64 * 1024
"""Bytes of a body that have to come within the time."""
TICK_SECONDS = 0.5
"""How often the watch looks at the reads."""
OBSERVED_SHARE = 0.25
"""Connections of an address are observed after a read from there has taken this share of its time."""
SLOW_SHARE = 0.5
"""A connection must have been slow for this share of the time before it is cut."""
ARRIVAL_SECONDS = 1.0
"""How long a request may be on its way from the kernel to the application."""
CLOCK_SECONDS = 0.02
"""How exact the kernel's times are."""

_KEY = "listbridge.progress"


class Progress:
    """How far a request has come; written by its thread, read by the watch."""

    __slots__ = ("address", "begun", "cut", "read_at", "seconds", "taken", "waiting_since")

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.seconds = seconds
        self.begun = time.monotonic()
        self.waiting_since: float | None = None
        """When the read of a piece began that has not ended yet."""
        self.read_at = math.inf
        """When the end of the body had been read."""
        self.taken = 0
        """Bytes of the body that have been read."""
        self.cut = False
        """The request has been told that its connection was cut."""

    def has_waited(self, now: float, share: float = 1.0) -> bool:
        """Tell whether the present read has taken this share of its time."""
        since = self.waiting_since
        return since is not None and now - since >= self.seconds * share

    def may_be_working(self, connection: Connection) -> bool:
        """Tell whether this request, which waits for no data, may have come by a connection: its data fit in time."""
        if self.cut or self.waiting_since is not None:
            return False
        in_time = self.begun - ARRIVAL_SECONDS <= connection.received_at <= self.read_at + CLOCK_SECONDS
        return in_time and self.taken <= connection.received


@dataclass(frozen=True, slots=True)
class _Observation:
    """Of a connection to which nothing has been sent since."""

    since: float
    received: int
    answered: bool


class BodyWatch:
    """Knows the requests in progress of this process, and cuts the connections of those that send too slowly."""

    def __init__(self) -> None:
        self._in_progress: set[Progress] = set()
        self._earlier: list[Progress] = []
        self._observed: dict[int, _Observation] = {}
        self._cut: dict[int, str] = {}
        """The addresses of connections that are cut and still open, by inode."""
        self._lock = threading.Lock()
        self._started = False

    def begin(self, environ: dict[str, Any], seconds: float) -> Progress:
        """Register a request, so that reads of its body are watched until `end`.

        Args:
            environ: of the request.
            seconds: within which each piece of the body has to come.
        """
        progress = environ[_KEY] = Progress(environ.get("REMOTE_ADDR", ""), seconds)
        self._in_progress.add(progress)
        if not self._started:
            self._start()
        return progress

    def end(self, progress: Progress) -> None:
        """Forget a request."""
        self._in_progress.discard(progress)

    def has_cut(self, progress: Progress) -> bool:
        """Tell a request whose body has ended too early, or so it seems, whether its connection may have been cut.

        The connection is open until the request is answered, so it is among those that were cut and still are.
        """
        address, known = plain_address(progress.address), self._cut
        if address not in known.values():
            return False
        with open_connections({address}) as connections:
            progress.cut = any(one.inode in known and one.received >= progress.taken for one in connections)
        return progress.cut

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started = True
        if can_see_connections():
            threading.Thread(target=self._run, name="body-watch", daemon=True).start()
        else:
            log.warning("slow_bodies_not_cut", reason="only Linux tells about the connections of a process")

    def _run(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            try:
                self._look()
            except Exception as error:
                # Such as no free file descriptor; the next look may have more luck.
                log.error("slow_bodies_not_seen", **describe_failure(error))

    def _look(self) -> None:
        now = time.monotonic()
        present = list(self._in_progress)
        suspects = {plain_address(one.address) for one in present if one.has_waited(now, OBSERVED_SHARE)}
        if not suspects and not self._cut:
            self._observed, self._earlier = {}, present
            return
        with open_connections(suspects | set(self._cut.values())) as connections:
            self._observed = {one.inode: self._observe(one, now) for one in connections}
            self._cut = {one.inode: one.address for one in connections if one.inode in self._cut}
            uncut = [one for one in connections if one.inode not in self._cut]
            for address in suspects:
                # An answer may be on its way whose request has ended since the last look.
                requests = {one for one in (*present, *self._earlier) if plain_address(one.address) == address}
                self._cut_slow(requests, [one for one in uncut if one.address == address], now)
        self._earlier = present

    def _observe(self, connection: Connection, now: float) -> _Observation:
        seen = self._observed.get(connection.inode)
        if (
            seen is None
            or connection.sent_at > seen.since
            # The connection was idle, and now another request comes by it.
            or (seen.answered and connection.received != seen.received)
        ):
            return _Observation(now, connection.received, connection.is_answered())
        return seen

    def _cut_slow(self, requests: Iterable[Progress], connections: list[Connection], now: float) -> None:
        overdue = [request for request in requests if request.has_waited(now)]
        if not overdue:
            return
        seconds = max(request.seconds for request in overdue)
        slow = [one for one in connections if self._is_slow(one, seconds, now)]
        # Connections that look answered are idle, or were only told to continue (RFC 9110 section 10.1.1).
        slow = [one for one in slow if not self._observed[one.inode].answered] or slow
        safe = [one for one in slow if not any(request.may_be_working(one) for request in requests)]
        chosen = sorted(safe, key=lambda one: one.received_at)[: len(overdue)]
        if not chosen:
            return
        # Told before it wakes: to some readers a cut looks like the end of the body.
        self._cut = {**self._cut, **{one.inode: one.address for one in chosen}}
        for connection in chosen:
            connection.stop_reading()
        log.warning("slow_bodies_cut", connections=len(chosen))

    def _is_slow(self, connection: Connection, seconds: float, now: float) -> bool:
        seen = self._observed[connection.inode]
        observed = now - seen.since
        due = PIECE * observed / seconds
        return observed >= seconds * SLOW_SHARE and connection.received - seen.received < due


WATCH = BodyWatch()
"""The one of this process."""


def find_progress(environ: dict[str, Any]) -> Progress:
    """Return the progress of a registered request; of another one a progress that nobody watches."""
    return environ.get(_KEY) or Progress("", math.inf)
