"""Who calls: the one way in which every service checks the name and password of an API user.

What is refused here each service answers with codes of its own.

LoginRefused
├── MissingCredentials
├── UnknownUser
├── WrongPassword
├── ChecksBusy
└── AccountNotActive
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

import structlog

from audience.accounts import Account, Login, find_api_login
from audience.passwords import verify_password
from services.resources import Resources
from services.throttle import LoginThrottle, NoPlace, Places

log = structlog.get_logger()

REMEMBER_SECONDS = 60.0
REMEMBER_MOST = 1000
# Each check of a password takes 64 MiB and a processor for some 50 ms.
CHECKS = 2
WAITING = 4
"""Callers whose password waits for its check; more would keep the threads from everybody else."""
CHECK_PLACES = Places(CHECKS + WAITING)
_checking = threading.BoundedSemaphore(CHECKS)


class LoginRefused(Exception):
    """The caller is not let in."""


class MissingCredentials(LoginRefused):
    """There is no user name or no password."""


class UnknownUser(LoginRefused):
    """Nobody has this name."""


class WrongPassword(LoginRefused):
    """The password is wrong, or not looked at after too many wrong ones."""


class ChecksBusy(LoginRefused):
    """Too many passwords wait for their check; the caller should come again."""


class AccountNotActive(LoginRefused):
    """The account is closed for now."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


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
        self._being_checked: WeakValueDictionary[bytes, threading.Lock] = WeakValueDictionary()

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
        if self._is_remembered(digest):
            return True
        with self._lock:
            alone = self._being_checked.setdefault(digest, threading.Lock())
        # Callers who say the same wait for one check, and do not crowd out those who say something else.
        with alone:
            if self._is_remembered(digest):
                return True
            with CHECK_PLACES.take(), _checking:
                # Others may have failed, and made the lock, while this one waited.
                if is_locked() or not self._verify(password_hash, password):
                    return False
            self._remember(digest)
        return True

    def _is_remembered(self, digest: bytes) -> bool:
        with self._lock:
            return self._until.get(digest, -math.inf) > self._clock()

    def _remember(self, digest: bytes) -> None:
        now = self._clock()
        with self._lock:
            if len(self._until) >= REMEMBER_MOST:
                self._until = {known: until for known, until in self._until.items() if until > now}
            if len(self._until) < REMEMBER_MOST:
                self._until[digest] = now + REMEMBER_SECONDS

    def _digest(self, *parts: str) -> bytes:
        # Written as Python would, no two different sets of parts are the same text.
        return hashlib.blake2b(repr(parts).encode(), key=self._key, digest_size=32).digest()


_memory = PasswordMemory()


def check_login(resources: Resources, address: str, user: str | None, password: str | None) -> Login:
    """Return the login of an API user whose password is right.

    Args:
        resources: of the server.
        address: of the caller, for whom wrong passwords are counted.
        user: as said; None when nothing was.
        password: as said.

    Raises:
        LoginRefused: as its first check that fails says, in the order of the tree above.
    """
    if not user or not password:
        raise MissingCredentials
    # Passwords are checked slowly, so not while a connection is held.
    with resources.database.read_once() as connection:
        login = find_api_login(connection, user)
    if login is None:
        raise UnknownUser
    _check_password(resources.logins, user, password, login.password_hash, address)
    check_state(login.account)
    return login


def check_state(account: Account) -> None:
    """Let active accounts pass.

    Raises:
        AccountNotActive: it is another one.
    """
    if account.state != "active":
        raise AccountNotActive(account.state)


def _check_password(logins: LoginThrottle, user: str, password: str, password_hash: str, address: str) -> None:
    is_locked = partial(logins.is_locked, user, address)
    # Not even a remembered password counts then: else it could be guessed while its owner works.
    if is_locked():
        raise WrongPassword
    try:
        fits = _memory.verify(user, password, password_hash, is_locked)
    except NoPlace:
        log.warning("login_checks_busy")
        raise ChecksBusy from None
    if fits:
        logins.succeed(user, address)
        return
    if not is_locked():
        logins.fail(user, address)
    raise WrongPassword
