"""Bounds what callers without a login can cost: how often they may guess passwords, how many wait for what is dear."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

MAX_FAILURES = 5
FAILURE_SECONDS = 900.0
"""How long a failed login counts."""
FIRST_LOCK_SECONDS = 30.0
"""How long the first lock lasts; doubled by each failure after it, up to `FAILURE_SECONDS`."""
MAX_ENTRIES = 10_000


class NoPlace(Exception):
    """All places are taken; the caller should come again later."""


class Places:
    """A fixed number of places, which nobody waits for."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            NoPlace: there is none.
        """
        if not self._free.acquire(blocking=False):
            raise NoPlace
        try:
            yield
        finally:
            self._free.release()


class Lanes:
    """Lets a few work at a time; the others wait in the order in which they came."""

    def __init__(self, number: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_raised: object) -> None:
        self._free.put(None)

    @contextmanager
    def left(self) -> Iterator[None]:
        """Let somebody else work while the block, in which one only waits, runs."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


@dataclass(slots=True)
class _Failures:
    """Of one user from one address."""

    times: list[float] = field(default_factory=list)
    locks: int = 0
    locked_until: float = -math.inf

    def are_past(self, now: float) -> bool:
        return max(self.times[-1], self.locked_until) + FAILURE_SECONDS <= now

    def add(self, now: float) -> None:
        if not self.locks:
            self.times = [at for at in self.times if at + FAILURE_SECONDS > now]
        self.times = [*self.times, now][-MAX_FAILURES:]
        if len(self.times) == MAX_FAILURES:
            self.locked_until = now + min(FIRST_LOCK_SECONDS * 2**self.locks, FAILURE_SECONDS)
            # Further doublings would make no difference.
            self.locks = min(self.locks + 1, MAX_FAILURES)


class LoginThrottle:
    """Counts failed logins by user and address, and locks a pair of them for a growing time.

    After a lock, one more failure makes the next one, twice as long, until the user logs in or `FAILURE_SECONDS` pass.
    The pairs that failed longest ago are forgotten when there are more than `MAX_ENTRIES`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without failures.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def is_locked(self, user: str, address: str) -> bool:
        """Tell whether even the right password is refused."""
        with self._lock:
            known = self._failures.get((user, address))
            return known is not None and known.locked_until > self._clock()

    def fail(self, user: str, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            known = self._failures.pop((user, address), None)
            if known is None or known.are_past(now):
                known = _Failures()
            known.add(now)
            self._failures[user, address] = known
            if len(self._failures) > MAX_ENTRIES:
                self._failures.popitem(last=False)

    def succeed(self, user: str, address: str) -> None:
        """Forget the failures of a user who knew the password."""
        with self._lock:
            self._failures.pop((user, address), None)
