"""Bounds how often one caller may ask for something, in little memory however many callers there are."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import Blueprint, request
from werkzeug.exceptions import TooManyRequests

from services.http.options import HttpOptions
from services.http.origins import caller_address

BURST_SECONDS = 3.0
"""Somebody who was quiet may ask at once as often as else in this time."""
MAX_CALLERS = 10_000


class RateLimit:
    """Lets each caller ask a number of times per second on average, and in bursts of `BURST_SECONDS`' worth.

    A token bucket of which one moment is kept for each caller: when it will be full again. The callers that asked
    longest ago are forgotten when there are more than `MAX_CALLERS`. Each process counts for itself.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets.

        Args:
            rate: requests per second of one caller; 0 lets everybody through.
            clock: seconds.
        """
        self._interval = 1 / rate if rate else 0.0
        self._slack = max(BURST_SECONDS - self._interval, 0.0)
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: OrderedDict[object, float] = OrderedDict()

    def count(self, caller: object) -> None:
        """Count a request; one that is refused costs nothing.

        Raises:
            TooManyRequests: there were too many; with the seconds after which one more is let through (RFC 6585
                section 4).
        """
        if self._interval == 0:
            return
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.pop(caller, now), now)
            wait = full_at - now - self._slack
            self._full_at[caller] = full_at if wait > 0 else full_at + self._interval
            if len(self._full_at) > MAX_CALLERS:
                self._full_at.popitem(last=False)
        if wait > 0:
            raise TooManyRequests(retry_after=math.ceil(wait))


def limit_callers(pages: Blueprint, rate: float, options: HttpOptions) -> None:
    """Let each caller ask for some pages so many times per second; what is more gets 429 and Retry-After.

    Args:
        pages: which; they are counted together.
        rate: requests per second of one caller; 0 is no limit.
        options: of the application.
    """
    limit = RateLimit(rate)

    @pages.before_request
    def count_caller() -> None:
        # Before a script's first call a browser asks whether it may.
        if request.method != "OPTIONS":
            limit.count(network_of(caller_address(request.environ, trust_forwarded=options.trust_forwarded)))


def network_of(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, the /64 of an IPv6 one, or a text that is neither."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
