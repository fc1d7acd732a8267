"""Whoever was told that he is subscribed, or unsubscribed, is so, whenever the server is killed."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import select
from web_server import Site, kill_server, serve_with_granian

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import Status
from db.engine import Database
from db.tables import history, recipient, subscription
from jobs.storage import Storage

CLIENTS = 16


class Callers:
    """Clients that call one page after the other until the server is gone, and remember what was answered with 0."""

    def __init__(self, wanted: int) -> None:
        self._numbers: Iterator[int] = iter(range(wanted))
        self._lock = threading.Lock()
        self._again: list[int] = []
        self.subscribed: set[int] = set()
        self.unsubscribed: set[int] = set()

    def _next(self) -> int | None:
        with self._lock:
            return self._again.pop() if self._again else next(self._numbers, None)

    def call_until_gone(self, site: Site) -> None:
        with closing(http.client.HTTPConnection(site.host, site.port, timeout=60)) as connection:
            while (number := self._next()) is not None:
                try:
                    self._call(connection, number)
                except (OSError, http.client.HTTPException):
                    # Whether it was kept nobody knows; so the caller tries again.
                    with self._lock:
                        self._again.append(number)
                    return

    def _call(self, connection: http.client.HTTPConnection, number: int) -> None:
        address = f"List=1&Email=person{number}@example.com"
        if number not in self.subscribed:
            assert _get(connection, f"xmlSubscribe.aspx?Confirm=0&{address}") in ("0", "3")
            self.subscribed.add(number)
        if number % 2:
            assert _get(connection, f"Xmlunsubscribe.aspx?{address}") in ("0", "3")
            self.unsubscribed.add(number)

    def run(self, site: Site) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.call_until_gone, args=(site,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads


def _get(connection: http.client.HTTPConnection, page: str) -> str:
    connection.request("GET", f"/frontend/{page}")
    reply = connection.getresponse()
    content = reply.read().decode()
    assert reply.status == 200
    return content


def _check(database: Database, callers: Callers, wanted: int) -> None:
    with database.read() as connection:
        states = {
            row.email: row.status
            for row in connection.execute(
                select(recipient.c.email, subscription.c.status).join(
                    subscription, subscription.c.recipient_id == recipient.c.id
                )
            )
        }
        changes = [row.recipient_id for row in connection.execute(select(history.c.recipient_id))]
    assert callers.subscribed == set(range(wanted))
    assert states == {
        f"person{number}@example.com": Status.UNSUBSCRIBED if number % 2 else Status.SUBSCRIBED
        for number in range(wanted)
    }
    # Nothing was done twice: one change for each who stays, two for each who went.
    assert len(changes) == wanted + wanted // 2


def _run(database: Database, storage: Storage, wanted: int, kills: int) -> None:
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    callers, chance = Callers(wanted), random.Random(wanted)
    for kill in itertools.count():
        with serve_with_granian(database, storage) as (site, process):
            threads = callers.run(site)
            if kill < kills:
                time.sleep(chance.uniform(0.05, 1.0))
                kill_server(process)
            for thread in threads:
                thread.join(300)
        if kill >= kills:
            break
    _check(database, callers, wanted)


def test_answered_changes_are_kept(database: Database, storage: Storage) -> None:
    _run(database, storage, wanted=400, kills=4)


@pytest.mark.torture
def test_ten_thousand_answered_changes_are_kept(database: Database, storage: Storage) -> None:
    _run(database, storage, wanted=10_000, kills=25)
