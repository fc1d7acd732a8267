"""Keeps what readers do with mails in memory for a moment, so that it is written in bulk and not while they wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.engine import Database
from db.retry import retry_on_conflict
from delivery.tracked_events import TrackedEvent, append_tracked_events

log = structlog.get_logger()

FLUSH_SECONDS = 0.1
"""How long an event waits for others."""
MAX_BATCH = 5_000
"""Events in one transaction; so many do not wait for more."""
CROWD = 1_500
"""Events that wait, from which on whoever brings another waits a little himself: the writer needs the interpreter."""
CROWD_SECONDS = 0.02
CAPACITY = 200_000
"""Events of one process that wait while the database is away."""
LAST_SECONDS = 10.0
"""How long a process that ends tries to write what it still has."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


class EventBuffer:
    """Events of one process, written by a thread that lives as long as there are some.

    The thread is no daemon, so that a process which ends in order waits for it.
    """

    def __init__(
        self, database: Database, *, capacity: int = CAPACITY, note_lost: Callable[[int], None] = lambda _: None
    ) -> None:
        """Start with nothing; threads may share it.

        Args:
            database: where they are written.
            capacity: most events that wait.
            note_lost: called with the number of events that could not be kept.
        """
        self._database = database
        self._capacity = capacity
        self._note_lost = note_lost
        self._lock = threading.Lock()
        self._events: deque[TrackedEvent] = deque()
        self._hurry = threading.Event()
        self._is_away = False
        """Whether the database is; then nobody waits for it."""
        self._thread: threading.Thread | None = None

    def add(self, event: TrackedEvent) -> None:
        """Keep an event; it is lost, and counted, when too many wait already."""
        with self._lock:
            is_kept = len(self._events) < self._capacity
            if is_kept:
                self._events.append(event)
            is_crowded = len(self._events) >= CROWD
            if is_crowded:
                self._hurry.set()
            if self._thread is None:
                # Said, because it would be a daemon where the one that starts it is.
                self._thread = threading.Thread(target=self._run, name="event-buffer", daemon=False)
                self._thread.start()
        if not is_kept:
            self._lose(1, "full")
        elif is_crowded and not self._is_away:
            time.sleep(CROWD_SECONDS)

    def _run(self) -> None:
        while True:
            self._hurry.wait(FLUSH_SECONDS)
            self._write(self._take())
            with self._lock:
                if not self._events:
                    self._thread = None
                    return

    def _take(self) -> list[TrackedEvent]:
        with self._lock:
            taken = [self._events.popleft() for _ in range(min(MAX_BATCH, len(self._events)))]
            if len(self._events) < CROWD:
                self._hurry.clear()
            return taken

    def _write(self, events: Sequence[TrackedEvent]) -> None:
        """Write events, waiting for a database that is away; single ones that it refuses are lost."""
        pause, deadline = _FIRST_PAUSE, None
        while True:
            try:
                self._append(events)
                self._is_away = False
                return None
            except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
                self._is_away = True
                log.warning("events_wait", waiting=len(events), error=type(error).__name__)
            except Exception as error:
                log.warning("events_refused", refused=len(events), error=type(error).__name__)
                return self._write_halves(events)
            if deadline is None and not threading.main_thread().is_alive():
                deadline = time.monotonic() + LAST_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                return self._lose(len(events), "ended")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE) if deadline is None else _FIRST_PAUSE

    def _append(self, events: Sequence[TrackedEvent]) -> None:
        def write() -> int:
            with self._database.write() as connection:
                return append_tracked_events(connection, events)

        retry_on_conflict(write)

    def _write_halves(self, events: Sequence[TrackedEvent]) -> None:
        """Write what is left when one event spoils the others."""
        if len(events) == 1:
            return self._lose(1, "refused")
        middle = len(events) // 2
        self._write(events[:middle])
        return self._write(events[middle:])

    def _lose(self, count: int, cause: str) -> None:
        self._note_lost(count)
        log.error("events_lost", count=count, cause=cause)
