"""Who calls: the `Authentication` header of the import service against the API users of an account."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection

from audience.accounts import Account, Login, find_api_login
from audience.passwords import verify_password
from services.mailup.results import Refusal
from services.soap.declarations import Header

MISSING = -1013
UNKNOWN_USER = -1001
WRONG_PASSWORD = -1002
STATE_CODES = {"suspended": -1003, "inactive": -1004, "expired": -1005}
NOT_ACTIVE = -1000

REMEMBER_SECONDS = 60.0
REMEMBER_MOST = 1000
# Each check of a password takes 64 MiB and a processor for some 50 ms.
_checking = threading.BoundedSemaphore(2)


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

    def verify(self, user: str, password: str, password_hash: str) -> bool:
        """Tell whether the password fits the hash; wrong ones are never remembered."""
        digest = self._digest(user, password, password_hash)
        with self._lock:
            if self._until.get(digest, -math.inf) > self._clock():
                return True
        with _checking:
            if not self._verify(password_hash, password):
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


def authenticate(connection: Connection, header: Header | None) -> Account:
    """Return the account of the caller.

    Raises:
        Refusal: with the code of the first check that failed (specification §1.2, check order).
    """
    user = (header or {}).get("User") or ""
    password = (header or {}).get("Password") or ""
    if not user or not password:
        raise Refusal(MISSING)
    login = find_api_login(connection, user)
    if login is None:
        raise Refusal(UNKNOWN_USER)
    _check_login(login, user, password)
    return login.account


def _check_login(login: Login, user: str, password: str) -> None:
    if not _memory.verify(user, password, login.password_hash):
        raise Refusal(WRONG_PASSWORD)
    if login.account.state != "active":
        raise Refusal(STATE_CODES.get(login.account.state, NOT_ACTIVE))
