"""Compares the users who are inside with the database now and then, and keeps when they logged in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from audience.ftp_users import ftp_users_by_id, note_logins
from db.engine import Database
from db.retry import retry_on_conflict
from ftp_server.admission import Admission
from ftp_server.bridge import Bridge

log = structlog.get_logger()


class UserWatch:
    """Looks when it is told to, in a thread."""

    def __init__(
        self,
        database: Database,
        admission: Admission,
        bridge: Bridge,
        pool: ThreadPoolExecutor,
        then: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            database: has the users.
            admission: knows who is inside, and is told who they are now.
            bridge: of the loop.
            pool: threads for writing to the database, which can wait long for other writers.
            then: called on the loop after each look, to end the sessions of users who were changed.
        """
        self._database = database
        self._admission = admission
        self._bridge = bridge
        self._pool = pool
        self._then = then
        self._looking = self._noting = False

    def look(self) -> None:
        """Begin to look, unless that goes on already; called on the loop."""
        if not self._looking:
            self._looking = True
            self._bridge.submit(self._pool, self._compare, self._compared)
        if not self._noting:
            self._noting = True
            self._bridge.submit(self._pool, self._note, self._noted)

    def close(self) -> None:
        """Write down the last logins."""
        try:
            self._note()
        except SQLAlchemyError as error:
            log.error("logins_not_noted", error=type(error).__name__)

    def _note(self) -> None:
        logins = self._admission.take_logins()
        if logins:
            retry_on_conflict(lambda: self._write(logins))

    def _write(self, logins: dict[int, datetime]) -> None:
        with self._database.write() as connection:
            note_logins(connection, logins)

    def _compare(self) -> None:
        ids = self._admission.sessions()
        if ids:
            with self._database.read() as connection:
                users = ftp_users_by_id(connection, ids)
            self._admission.refresh(ids, users)

    def _compared(self, future: Future[None]) -> None:
        self._looking = False
        if future.exception() is not None:
            log.error("users_not_compared", error=type(future.exception()).__name__)
        self._then()

    def _noted(self, future: Future[None]) -> None:
        self._noting = False
        if future.exception() is not None:
            log.error("logins_not_noted", error=type(future.exception()).__name__)
