"""Wrong passwords: how they slow down and lock out."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

MAX_DELAY_FACTOR = 8.0
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How failed logins are answered, per user and address."""

    delay_seconds: float = 1.0
    """Before the answer to the first failure; doubled for each further one, up to eightfold."""
    failures: int = 5
    """Failures that lock out."""
    lockout_seconds: float = 900.0
    """How long a lock lasts, and how long a failure is remembered."""
    address_failures: int = 20
    """Failures, whatever the users, that ban an address; 0: none is banned."""
    address_seconds: float = 900.0
    """How long a ban lasts, and how long a failure counts for it."""


def origin_of(address: str) -> str:
    """Return what counts as one address: an IPv4 one, also inside IPv6, or the /64 network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


class Throttle:
    """Remembers failed logins by user and address, and by address alone; may be used from any thread."""

    def __init__(self, limits: LoginLimits, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without failures.

        Args:
            limits: of each user and address.
            clock: current time in seconds.
        """
        self._limits = limits
        self._lock = threading.RLock()
        self._of_users = _Failures(limits.failures, limits.lockout_seconds, clock)
        self._of_addresses = _Failures(limits.address_failures, limits.address_seconds, clock)

    def is_locked(self, user: str, address: str) -> bool:
        """Tell whether even the right password is refused."""
        with self._lock:
            return self._of_users.is_full((user, origin_of(address))) or self.is_banned(address)

    def is_banned(self, address: str) -> bool:
        """Tell whether an address may not even connect."""
        with self._lock:
            return self._of_addresses.is_full(origin_of(address))

    def fail(self, user: str, address: str, *, wrong: bool = True) -> float:
        """Count a failure, unless the lock is on already.

        Args:
            user: as given, whether there is one of that name or not.
            address: of the client.
            wrong: whether user and password did not fit; who knows them and is locked out earns the address no ban.

        Returns:
            Seconds to wait before the answer.
        """
        with self._lock:
            count = self._of_users.add((user, origin_of(address)))
            if wrong:
                self._of_addresses.add(origin_of(address))
        return self._limits.delay_seconds * min(2.0 ** (count - 1), MAX_DELAY_FACTOR)

    def succeed(self, user: str, address: str) -> None:
        """Forget the failures of a user who knew the password; the address keeps those of its other users."""
        with self._lock:
            self._of_users.forget((user, origin_of(address)))


class _Failures:
    """When something failed, for each of many keys."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._times: dict[Hashable, list[float]] = {}

    def is_full(self, key: Hashable) -> bool:
        return 0 < self._most <= len(self._recent(key))

    def add(self, key: Hashable) -> int:
        """Count a failure unless there are enough; return how many count now."""
        recent = self._recent(key)
        if len(recent) < self._most:
            recent.append(self._clock())
            self._times[key] = recent
            self._forget_oldest()
        return len(recent)

    def forget(self, key: Hashable) -> None:
        self._times.pop(key, None)

    def _recent(self, key: Hashable) -> list[float]:
        times = self._times.get(key, [])
        since = self._clock() - self._seconds
        if times and times[-1] <= since:
            del self._times[key]
            return []
        # A full list is a lock: it ends as a whole, the limit's time after its last failure.
        return times if len(times) >= self._most else [at for at in times if at > since]

    def _forget_oldest(self) -> None:
        while len(self._times) > _MAX_ENTRIES:
            del self._times[next(iter(self._times))]
