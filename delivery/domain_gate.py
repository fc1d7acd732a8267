"""How gently each domain's servers are treated: connections at a time, mails in a minute, and rest after trouble."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

FIRST_REST = 30.0
"""Seconds for which a domain is left alone after its servers could not be reached; doubled each time."""
LONGEST_REST = 1800.0
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class DomainLimit:
    """Limits of one domain, or of all that have none of their own."""

    connections: int
    per_minute: int
    """0: no limit."""


@dataclass(slots=True)
class _Domain:
    connections: int = 0
    sent: deque[float] = field(default_factory=deque)
    """When, in the last minute; kept only where there is a limit."""
    troubles: int = 0
    rests_until: float = 0.0


class DomainGate:
    """Says whom a mail may be brought to now; for any number of threads of one process."""

    def __init__(
        self,
        default: DomainLimit,
        own: Mapping[str, DomainLimit] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no trouble anywhere.

        Args:
            default: of domains without limits of their own.
            own: limits by domain.
            clock: in seconds.
        """
        self._default = default
        self._own = dict(own or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._domains: dict[str, _Domain] = defaultdict(_Domain)

    def set_limits(self, own: Mapping[str, DomainLimit]) -> None:
        """Replace the limits of single domains."""
        with self._lock:
            self._own = dict(own)

    def enter(self, domain: str) -> float:
        """Take a place for one mail; return 0, or how many seconds to wait before asking again."""
        with self._lock:
            limit = self._own.get(domain, self._default)
            state = self._domains[domain]
            wait = self._wait(limit, state)
            if wait == 0:
                state.connections += 1
                if limit.per_minute:
                    state.sent.append(self._clock())
            return wait

    def _wait(self, limit: DomainLimit, state: _Domain) -> float:
        now = self._clock()
        if state.rests_until > now:
            return state.rests_until - now
        if state.connections >= limit.connections:
            return 1.0
        while state.sent and state.sent[0] <= now - MINUTE:
            state.sent.popleft()
        if limit.per_minute and len(state.sent) >= limit.per_minute:
            return state.sent[-limit.per_minute] + MINUTE - now
        return 0.0

    def leave(self, domain: str, *, reached: bool) -> None:
        """Give a place back; a domain that could not be reached rests for a while."""
        with self._lock:
            state = self._domains[domain]
            state.connections -= 1
            if reached:
                state.troubles = 0
            else:
                state.rests_until = self._clock() + min(FIRST_REST * 2**state.troubles, LONGEST_REST)
                state.troubles += 1
            if not (state.connections or state.sent or state.troubles):
                del self._domains[domain]

    def closed(self) -> list[str]:
        """Return the domains that no mail can be brought to now."""
        with self._lock:
            self._forget_quiet()
            return [
                domain
                for domain, state in self._domains.items()
                if self._wait(self._own.get(domain, self._default), state) > 0
            ]

    def _forget_quiet(self) -> None:
        now = self._clock()
        quiet = [
            domain
            for domain, state in self._domains.items()
            if not state.connections
            and state.rests_until + LONGEST_REST < now
            and not (state.sent and state.sent[-1] > now - MINUTE)
        ]
        for domain in quiet:
            del self._domains[domain]
