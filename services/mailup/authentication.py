"""Who calls: the `Authentication` header of the import service against the API users of an account."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from audience.accounts import Account, find_api_login
from audience.passwords import verify_password
from services.mailup.results import Refusal
from services.soap.declarations import Call
from services.throttle import LoginThrottle, NoPlace, Places

log = structlog.get_logger()

MISSING = -1013
UNKNOWN_USER = -1001
WRONG_PASSWORD = -1002
STATE_CODES = {"suspended": -1003, "inactive": -1004, "expired": -1005}
NOT_ACTIVE = -1000
BUSY = -1000

REMEMBER_SECONDS = 60.0
REMEMBER_MOST = 1000
# Each check of a password takes 64 MiB and a processor for some 50 ms.
CHECKS = 2
WAITING = 4
"""Callers whose password waits for its check; more would keep the threads from everybody else."""
CHECK_PLACES = Places(CHECKS + WAITING)
_checking = threading.BoundedSemaphore(CHECKS)


class PasswordMemory:
    """Remembers for a short time that a password was right, by a keyed digest that says nothing without its key."""

    def __init__(
        self,
        verify: Callable[[str, str], bool] = verify_password,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing.

        Args:
            verify: tells, slowly, whether a hash and a password fit.
            clock: seconds, for the time of remembering.
        """
        self._verify = verify
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._until: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def verify(
        self, user: str, password: str, password_hash: str, is_locked: Callable[[], bool] = lambda: False
    ) -> bool:
        """Tell whether the password fits the hash; wrong ones are never remembered.

        Args:
            user: who says it.
            password: as said.
            password_hash: of the user.
            is_locked: asked when the slow check is about to begin; if so, the password counts as wrong.

        Raises:
            NoPlace: too many wait for the slow check.
        """
        digest = self._digest(user, password, password_hash)
        with self._lock:
            if self._until.get(digest, -math.inf) > self._clock():
                return True
        with CHECK_PLACES.take(), _checking:
            # Others may have failed, and made the lock, while this one waited.
            if is_locked() or not self._verify(password_hash, password):
                return False
        self._remember(digest)
        return True

    def _remember(self, digest: bytes) -> None:
        now = self._clock()
        with self._lock:
            if len(self._until) >= REMEMBER_MOST:
                self._until = {known: until for known, until in self._until.items() if until > now}
            if len(self._until) < REMEMBER_MOST:
                self._until[digest] = now + REMEMBER_SECONDS

    def _digest(self, *parts: str) -> bytes:
        message = b"".join(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest() for part in parts)
        return hmac.digest(self._key, message, "sha256")


_memory = PasswordMemory()


def authenticate(call: Call) -> Account:
    """Return the account of the caller.

    Raises:
        Refusal: with the code of the first check that failed (specification §1.2, check order); -1002 too, without
            looking at the password, after too many wrong ones, and -1000 when too many passwords wait for their check.
    """
    user = (call.header or {}).get("User") or ""
    password = (call.header or {}).get("Password") or ""
    if not user or not password:
        raise Refusal(MISSING)
    # Passwords are checked slowly, so not while a connection is held.
    with call.resources.database.read() as connection:
        login = find_api_login(connection, user)
    if login is None:
        raise Refusal(UNKNOWN_USER)
    _check_password(call.resources.logins, user, password, login.password_hash, call.address)
    if login.account.state != "active":
        raise Refusal(STATE_CODES.get(login.account.state, NOT_ACTIVE))
    return login.account


def _check_password(logins: LoginThrottle, user: str, password: str, password_hash: str, address: str) -> None:
    is_locked = partial(logins.is_locked, user, address)
    # Not even a remembered password counts then: else it could be guessed while its owner works.
    if is_locked():
        raise Refusal(WRONG_PASSWORD)
    try:
        fits = _memory.verify(user, password, password_hash, is_locked)
    except NoPlace:
        log.warning("login_checks_busy")
        raise Refusal(BUSY) from None
    if fits:
        logins.succeed(user, address)
        return
    if not is_locked():
        logins.fail(user, address)
    raise Refusal(WRONG_PASSWORD)
