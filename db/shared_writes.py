"""Lets small writes that come at the same moment share one transaction, where writers must come one after the other.

SQLite has one writer at a time, and each of its commits waits for the disk. Whoever comes first leads: when it is
his turn he does his own work and that of everybody who has come meanwhile, and commits once for all. Then the first
of those who came since leads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

MOST_TOGETHER = 64
"""Pieces of work in one transaction, so that other processes get their turn."""

Result = TypeVar("Result")


class SharedWrites:
    """Collects pieces of work from threads and does them in as few transactions as their number allows."""

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        """Start with nothing to do.

        Args:
            write: gives a writing transaction, which commits at the end of its block.
        """
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[_Piece] = []
        self._is_led = False

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Do a piece of work in a transaction and return its result once that has been committed.

        What the work raises is raised here, and nothing of it is kept; the work of others is not touched.
        """
        piece = _Piece(work)
        with self._lock:
            self._waiting.append(piece)
            piece.leads = not self._is_led
            self._is_led = True
        if not piece.leads:
            piece.woken.wait()
        if piece.leads:
            self._lead()
        if piece.error is not None:
            raise piece.error
        result: Result = piece.result
        return result

    def _lead(self) -> None:
        pieces: list[_Piece] = []
        try:
            with self._write() as connection:
                pieces = self._take()
                for piece in pieces:
                    piece.run(connection)
        except BaseException as error:
            # Nothing was committed. Without a transaction the one who leads fails alone, and the next one tries.
            for piece in pieces or self._take(1):
                piece.error = error
        finally:
            self._hand_over(pieces)

    def _take(self, most: int = MOST_TOGETHER) -> list[_Piece]:
        with self._lock:
            taken = self._waiting[:most]
            del self._waiting[:most]
        return taken

    def _hand_over(self, done: list[_Piece]) -> None:
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._is_led = following is not None
        if following is not None:
            following.leads = True
            following.woken.set()
        for piece in done:
            piece.woken.set()


class _Piece:
    """The work of one thread."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self._work = work
        self.leads = False
        self.woken = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Do the work so that it is kept whole or not at all, and remember what came of it."""
        connection.exec_driver_sql("SAVEPOINT piece")
        try:
            self.result = self._work(connection)
        except Exception as error:
            self.error = error
            self._take_back(connection, error)
        connection.exec_driver_sql("RELEASE piece")

    def _take_back(self, connection: Connection, cause: Exception) -> None:
        try:
            connection.exec_driver_sql("ROLLBACK TO piece")
        except DBAPIError:
            # Some errors, such as a full disk, end the whole transaction; everybody is told why.
            raise cause from None
