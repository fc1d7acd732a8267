"""Who may come in at the file doors, how many at a time and how fast: one count for FTP, FTPS, SFTP and SCP.

Everything here is safe to call from any thread.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from audience.ftp_users import FtpUser
from ftp_server.accounts import Throttle, origin_of

Key = TypeVar("Key")

MINUTE = 60.0
_BURST_SECONDS = 0.25
"""How far ahead of its rate a user may be, so that single blocks do not wait."""
_MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Security limits for one address, over all doors."""

    connections: int = 20
    """At a time."""
    connections_per_minute: int = 600
    """New ones."""


class RateLimiter:
    """Spreads the bytes of all transfers of a user over time."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing sent.

        Args:
            rate: bytes per second.
            clock: current time in seconds.
        """
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    def reserve(self, size: int) -> float:
        """Count bytes that were moved; return the seconds to wait before the next ones, 0 for none."""
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size / self.rate
            wait = self._free_at - now
        return wait if wait > _BURST_SECONDS else 0.0


class Admission:
    """Counts connections, sessions and bytes."""

    def __init__(self, limits: DoorLimits, throttle: Throttle, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody inside.

        Args:
            limits: of each address.
            throttle: knows the addresses that are banned.
            clock: current time in seconds.
        """
        self._limits = limits
        self._throttle = throttle
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._recent: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._sessions: Counter[int] = Counter()
        self._limiters: dict[int, RateLimiter] = {}
        self._logins: dict[int, datetime] = {}
        self._current: dict[int, FtpUser | None] = {}

    def connect(self, address: str) -> bool:
        """Count a new connection of an address; False when it must be closed, and nothing was counted."""
        if self._throttle.is_banned(address):
            return False
        origin = origin_of(address)
        with self._lock:
            admitted = self._is_slow_enough(origin) and self._connections[origin] < self._limits.connections
            if admitted:
                self._connections[origin] += 1
        return admitted

    def disconnect(self, address: str) -> None:
        """Forget a connection that `connect` counted."""
        with self._lock:
            _count_down(self._connections, origin_of(address))

    def _is_slow_enough(self, origin: str) -> bool:
        now = self._clock()
        since, count = self._recent.pop(origin, (now, 0))
        if now - since >= MINUTE:
            since, count = now, 0
        self._recent[origin] = (since, count + 1)
        if len(self._recent) > _MAX_ADDRESSES:
            self._recent.popitem(last=False)
        return count < self._limits.connections_per_minute

    def enter(self, user: FtpUser, address: str, *, encrypted: bool) -> str | None:
        """Let a user in who has shown who it is.

        Args:
            user: as just read from the database.
            address: where it calls from.
            encrypted: whether the session is.

        Returns:
            Why not, a sentence for the user; None when the session is counted, until `leave`.
        """
        refusal = refuse(user, address, encrypted=encrypted)
        if refusal is not None:
            return refusal
        with self._lock:
            most = user.rights.max_sessions
            if most is not None and self._sessions[user.id] >= most:
                return "Too many sessions of this user."
            self._sessions[user.id] += 1
            self._logins[user.id] = datetime.now(UTC)
            self._current[user.id] = user
        return None

    def leave(self, user_id: int) -> None:
        """Forget a session that `enter` counted."""
        with self._lock:
            _count_down(self._sessions, user_id)
            if user_id not in self._sessions:
                self._limiters.pop(user_id, None)
                self._current.pop(user_id, None)

    def limiter(self, user: FtpUser) -> RateLimiter | None:
        """Return what slows down the transfers of a user; None when nothing does."""
        rate = user.rights.bytes_per_second
        if rate is None:
            return None
        with self._lock:
            found = self._limiters.get(user.id)
            if found is None or found.rate != rate:
                found = self._limiters[user.id] = RateLimiter(rate, self._clock)
            return found

    def sessions(self) -> set[int]:
        """Return the ids of the users who are inside."""
        with self._lock:
            return set(self._sessions)

    def refresh(self, ids: set[int], users: Mapping[int, FtpUser]) -> None:
        """Take note of what the database says of those inside.

        Args:
            ids: of the users who were looked for.
            users: those who were found, by id.
        """
        with self._lock:
            self._current.update({user_id: users.get(user_id) for user_id in ids & self._sessions.keys()})

    def is_current(self, user: FtpUser) -> bool:
        """Tell whether a user inside is still the one that the database has; else the session must end."""
        with self._lock:
            return self._current.get(user.id, user) == user

    def take_logins(self) -> dict[int, datetime]:
        """Return when users came in since the last call, by their ids."""
        with self._lock:
            logins, self._logins = self._logins, {}
        return logins


def refuse(user: FtpUser, address: str, *, encrypted: bool) -> str | None:
    """Tell why a user may not come in from there and like this, whoever else is inside; None: it may."""
    rights = user.rights
    if user.account.state != "active" or not rights.active:
        return "The user is not active."
    if rights.requires_tls and not encrypted:
        return "This user has to connect with TLS."
    if rights.networks and not _is_in(address, rights.networks):
        return "This user may not connect from there."
    return None


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in ipaddress.ip_network(network) for network in networks)


def _count_down(counts: Counter[Key], key: Key) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
