"""Carries slow work from the FTP loop to threads and its results back.

pyftpdlib serves all connections from one loop; nothing slow may run on it. A socket pair wakes the loop when a
result is there, so that it never polls.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


class Bridge:
    """One socket of a pyftpdlib loop that stands for all the threads working for it."""

    def __init__(self, ioloop: Any) -> None:
        """Register with a loop, in whose thread every callback will run."""
        self._ioloop = ioloop
        self._calls: deque[Callable[[], None]] = deque()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._fileno = self._receiver.fileno()
        self.outstanding = 0
        """Jobs submitted whose callback has not run yet."""
        ioloop.register(self._fileno, self, ioloop.READ)

    def submit(self, pool: ThreadPoolExecutor, job: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        """Run a job in a thread, then a callback with its finished future on the loop."""
        self.outstanding += 1
        pool.submit(job).add_done_callback(lambda future: self.call(self._finish, then, future))

    def call(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a function on the loop soon; may be called from any thread."""
        self._calls.append(lambda: function(*args, **kwargs))
        # When the buffer is full of earlier wake-ups, the loop wakes anyway.
        with suppress(BlockingIOError):
            self._sender.send(b"\0")

    def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on the loop soon, from any thread; the future gets what it returns or raises."""
        answer: Future[T] = Future()
        self.call(_answer, answer, partial(function, *args, **kwargs))
        return answer

    def _finish(self, then: Callable[[Future[T]], None], future: Future[T]) -> None:
        self.outstanding -= 1
        then(future)

    def handle_read_event(self) -> None:
        """Run what is waiting; called by the loop."""
        with suppress(BlockingIOError):
            self._receiver.recv(65536)
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception:
                log.exception("ftp_callback_failed")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_error(self) -> None:
        log.exception("ftp_bridge_failed")

    def close(self) -> None:
        """Leave the loop."""
        if self._fileno in self._ioloop.socket_map:
            self._ioloop.unregister(self._fileno)
        self._receiver.close()
        self._sender.close()


def _answer(answer: Future[T], call: Callable[[], T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)
