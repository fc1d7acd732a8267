"""Who may log in: virtual users, wrong passwords that slow down and lock out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import structlog

from audience.accounts import Login, find_ftp_login
from audience.passwords import verify_password
from db.engine import Database
from ftp_server.bridge import Bridge
from ftp_server.metrics import LOGINS
from jobs.storage import Storage

log = structlog.get_logger()

MAX_DELAY_FACTOR = 8.0
_MAX_ENTRIES = 10_000
_MAX_USER_NAME = 64


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How failed logins are answered, per user and address."""

    delay_seconds: float = 1.0
    """Before the answer to the first failure; doubled for each further one, up to eightfold."""
    failures: int = 5
    """Failures that lock out."""
    lockout_seconds: float = 900.0
    """How long a lock lasts, and how long a failure is remembered."""


class Throttle:
    """Remembers failed logins by user and address."""

    def __init__(self, limits: LoginLimits, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without failures.

        Args:
            limits: of each user and address.
            clock: current time in seconds.
        """
        self._limits = limits
        self._clock = clock
        self._failures: dict[tuple[str, str], list[float]] = {}

    def is_locked(self, user: str, address: str) -> bool:
        """Tell whether even the right password is refused."""
        return len(self._recent(user, address)) >= self._limits.failures

    def fail(self, user: str, address: str) -> float:
        """Count a failure, unless the lock is on already; return the seconds to wait before the answer."""
        recent = self._recent(user, address)
        if len(recent) < self._limits.failures:
            recent.append(self._clock())
            self._failures[user, address] = recent
            self._forget_oldest()
        return self._limits.delay_seconds * min(2.0 ** (len(recent) - 1), MAX_DELAY_FACTOR)

    def succeed(self, user: str, address: str) -> None:
        """Forget the failures of a user who knew the password."""
        self._failures.pop((user, address), None)

    def _recent(self, user: str, address: str) -> list[float]:
        failures = self._failures.get((user, address), [])
        since = self._clock() - self._limits.lockout_seconds
        if failures and failures[-1] <= since:
            del self._failures[user, address]
            return []
        # A full list is a lock: it ends as a whole, the limit's time after its last failure.
        locked = len(failures) >= self._limits.failures
        return failures if locked else [at for at in failures if at > since]

    def _forget_oldest(self) -> None:
        while len(self._failures) > _MAX_ENTRIES:
            del self._failures[next(iter(self._failures))]


@dataclass(frozen=True, slots=True)
class Check:
    """What a user name and a password are worth."""

    known: bool
    """Whether there is a user of that name; other names are not logged, since people type passwords there."""
    login: Login | None
    """None when they do not fit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answer to a login: who, or nobody and how long to wait before saying so."""

    login: Login | None
    delay: float = 0.0


class Gate:
    """Checks passwords in threads of their own, so that neither the loop nor uploads wait for them."""

    def __init__(
        self, database: Database, storage: Storage, bridge: Bridge, pool: ThreadPoolExecutor, throttle: Throttle
    ) -> None:
        """Begin; the arguments are what the class works with."""
        self._database = database
        self._storage = storage
        self._bridge = bridge
        self._pool = pool
        self._throttle = throttle
        # The first check of an unknown user would take twice the time: it makes the hash that stands for the missing.
        pool.submit(verify_password, None, "")

    def check(self, user: str, password: str, address: str, then: Callable[[Outcome], None]) -> None:
        """Check a login and call back on the loop; locked or not, the work done is the same."""
        job = partial(check_login, self._database, self._storage, user, password)
        self._bridge.submit(self._pool, job, lambda future: then(self._decide(user[:_MAX_USER_NAME], address, future)))

    def _decide(self, user: str, address: str, future: Future[Check]) -> Outcome:
        error = future.exception()
        if error is not None:
            log.error("login_not_checked", error=type(error).__name__)
        locked = self._throttle.is_locked(user, address)
        check = future.result() if error is None else Check(False, None)
        if check.login is not None and not locked:
            self._throttle.succeed(user, address)
            LOGINS.labels("success").inc()
            return Outcome(check.login)
        delay = self._throttle.fail(user, address)
        LOGINS.labels("locked" if locked else "failed").inc()
        event = "login_locked" if self._throttle.is_locked(user, address) else "login_failed"
        log.warning(event, user=user if check.known else None)
        return Outcome(None, delay)


def check_login(database: Database, storage: Storage, user: str, password: str) -> Check:
    """Return the login when user and password fit and the account is active, with its home made ready."""
    login = None
    if len(user) <= _MAX_USER_NAME and user.isascii() and user.isprintable():
        with database.read() as connection:
            login = find_ftp_login(connection, user)
    known = verify_password(login.password_hash if login else None, password)
    if login is None or not known or login.account.state != "active":
        return Check(login is not None, None)
    storage.prepare_home(login.account.number)
    return Check(True, login)
