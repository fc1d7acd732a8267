"""Who may log in: virtual users with passwords. Checking one is slow; not for a loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import structlog

from audience.ftp_users import MAX_NAME, FtpUser, find_ftp_user
from audience.passwords import verify_password
from db.engine import Database
from ftp_server.accounts import Throttle
from ftp_server.admission import Admission, refuse
from ftp_server.bridge import Bridge
from ftp_server.metrics import LOGINS
from jobs.storage import Storage

log = structlog.get_logger()

REFUSED = "Authentication failed."
"""All that is said when user and password do not fit, and when they fit but are of no use from there."""

NOT_NOW = "You cannot log in at the moment; try again later."
"""What is said when nothing speaks against the user, but the server fails."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answer to a login: who, or nobody, what to say and how long to wait before saying so."""

    login: FtpUser | None
    delay: float = 0.0
    text: str = REFUSED


class Gate:
    """Checks passwords; may be used from any thread."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        bridge: Bridge,
        pool: ThreadPoolExecutor,
        throttle: Throttle,
        admission: Admission,
    ) -> None:
        """Begin; the arguments are what the class works with."""
        self._database = database
        self._storage = storage
        self._bridge = bridge
        self._pool = pool
        self._throttle = throttle
        self._admission = admission
        # The first check of an unknown user would take twice the time: it makes the hash that stands for the missing.
        pool.submit(verify_password, None, "")

    def check(
        self, user: str, password: str, address: str, then: Callable[[Outcome], None], *, encrypted: bool = False
    ) -> None:
        """Log a user in, in a thread, and call back on the loop."""
        job = partial(self.log_in, user, password, address, encrypted=encrypted)
        self._bridge.submit(self._pool, job, lambda future: then(_outcome_of(future)))

    def log_in(self, user: str, password: str, address: str, *, encrypted: bool) -> Outcome:
        """Log a user in, who is inside from then on, until `Admission.leave`. Locked or not, the work is the same."""
        try:
            found = self._find(user)
            fits = verify_password(found.password_hash if found else None, password)
        except Exception as error:
            log.error("login_not_checked", error=type(error).__name__)
            found, fits = None, False
        if found is None or not fits:
            return self._fail(user, address, found)
        return self.admit(found, address, encrypted=encrypted)

    def admit(self, user: FtpUser, address: str, *, encrypted: bool) -> Outcome:
        """Let a user in who has proved who it is, with a password or a key, unless something else speaks against it."""
        refusal = refuse(user, address, encrypted=encrypted)
        if refusal is not None or self._throttle.is_locked(user.name, address):
            if refusal is not None:
                log.warning("login_not_allowed", user=user.name, reason=refusal)
            return self._fail(user.name, address, user, wrong=refusal is not None)
        try:
            self._storage.prepare_home(user.account.number)
        except OSError as error:
            log.error("home_not_prepared", user=user.name, error=type(error).__name__)
            return Outcome(None, text=NOT_NOW)
        refusal = self._admission.enter(user, address, encrypted=encrypted)
        if refusal is not None:
            LOGINS.labels("refused").inc()
            log.warning("login_not_allowed", user=user.name, reason=refusal)
            return Outcome(None, text=refusal)
        self._throttle.succeed(user.name, address)
        LOGINS.labels("success").inc()
        return Outcome(user)

    def refuse_keys(self, user: str, address: str) -> None:
        """Count one failure of a client that has shown only keys that are not the user's."""
        self._fail(user, address, None)

    def ask_tls(self, user: str, address: str, then: Callable[[bool], None]) -> None:
        """Find out, in a thread, whether a user may not log in without TLS, and call back on the loop.

        It is told before the password has to be sent. Who finds out so that there is such a user pays with a failure.
        """
        job = partial(self._demands_tls, user, address)
        self._bridge.submit(self._pool, job, lambda future: then(future.exception() is None and future.result()))

    def _demands_tls(self, user: str, address: str) -> bool:
        found = self._find(user)
        if found is None or not found.rights.requires_tls:
            return False
        self._throttle.fail(user, address)
        return True

    def _find(self, user: str) -> FtpUser | None:
        if not (len(user) <= MAX_NAME and user.isascii() and user.isprintable()):
            return None
        with self._database.read() as connection:
            return find_ftp_user(connection, user)

    def _fail(self, user: str, address: str, known: FtpUser | None, *, wrong: bool = True) -> Outcome:
        name = user[:MAX_NAME]
        locked = self._throttle.is_locked(name, address)
        delay = self._throttle.fail(name, address, wrong=wrong)
        LOGINS.labels("locked" if locked else "failed").inc()
        event = "login_locked" if self._throttle.is_locked(name, address) else "login_failed"
        # Other names are not logged, since people type passwords there.
        log.warning(event, user=known.name if known else None)
        return Outcome(None, delay)


def _outcome_of(future: Future[Outcome]) -> Outcome:
    """Return the outcome of a check, also of one that failed: a client that gets no answer would wait for ever."""
    error = future.exception()
    if error is None:
        return future.result()
    log.error("login_not_checked", error=type(error).__name__)
    return Outcome(None, text=NOT_NOW)
