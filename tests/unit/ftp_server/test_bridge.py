"""Asking the FTP loop from another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from pyftpdlib.ioloop import IOLoop

from ftp_server.bridge import Bridge


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    ioloop = IOLoop()
    bridge = Bridge(ioloop)
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            ioloop.loop(0.01, blocking=False)

    thread = threading.Thread(target=turn)
    thread.start()
    yield bridge
    stop.set()
    thread.join()
    bridge.close()
    ioloop.close()


def test_an_answer_comes_from_the_thread_of_the_loop(bridge: Bridge) -> None:
    assert bridge.ask(threading.get_ident).result(10) != threading.get_ident()
    assert bridge.ask(divmod, 7, 2).result(10) == (3, 1)


def test_what_goes_wrong_is_told(bridge: Bridge) -> None:
    with pytest.raises(ZeroDivisionError):
        bridge.ask(divmod, 7, 0).result(10)


def test_nothing_is_done_for_who_has_gone(bridge: Bridge) -> None:
    done: list[int] = []
    held = threading.Event()
    waiting = bridge.ask(held.wait, 10)
    question = bridge.ask(done.append, 1)
    assert question.cancel()
    held.set()
    assert waiting.result(10)
    assert bridge.ask(len, done).result(10) == 0
