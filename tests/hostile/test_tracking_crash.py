"""What readers did survives the end of the process that they told it; what they asked for is never lost."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from urllib.parse import urlencode

import pytest
from sqlalchemy import func, select
from tracked_sending import SENT_AT, TrackedSending, send_message
from web_server import Site, kill_server, serve_with_granian

from audience.status_rules import Status
from db.engine import Database
from db.tables import history, subscription
from jobs.storage import Storage

CLIENTS = 8
ONE_CLICK = urlencode({"List-Unsubscribe": "One-Click"})
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
Ask = Callable[[http.client.HTTPConnection, str], int]


def _get(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    return _read(connection)


def _leave(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("POST", path, ONE_CLICK, FORM)
    return _read(connection)


def _read(connection: http.client.HTTPConnection) -> int:
    reply = connection.getresponse()
    reply.read()
    return reply.status


def _ask_all(site: Site, paths: Sequence[str], ask: Ask) -> None:
    """Ask for all paths from several clients; each must get an answer that is no error."""
    statuses: list[int] = []

    def work(own: Iterable[str]) -> None:
        with closing(http.client.HTTPConnection(site.host, site.port, timeout=60)) as connection:
            statuses.extend(ask(connection, path) for path in own)

    threads = [threading.Thread(target=work, args=(paths[start::CLIENTS],)) for start in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == len(paths)
    assert set(statuses) <= {200, 302}


def _paths(sent: TrackedSending, count: int) -> list[str]:
    people = len(sent.emails)
    links = [sent.links(person) for person in range(people)]
    return [links[turn % people].open_url() if turn % 2 else links[turn % people].click_url(0) for turn in range(count)]


def _wait_for(sent: TrackedSending, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(sent.events()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_server_loses_only_the_last_moment(database: Database, storage: Storage) -> None:
    sent = send_message(database)
    with serve_with_granian(database, storage) as (site, process):
        _ask_all(site, _paths(sent, 300), _get)
        _wait_for(sent, 300)
        _ask_all(site, _paths(sent, 100), _get)
        kill_server(process)
        process.wait(60)
    assert 300 <= len(sent.events()) <= 400


def test_a_server_that_is_stopped_loses_nothing(database: Database, storage: Storage) -> None:
    sent = send_message(database)
    with serve_with_granian(database, storage, workers=2) as (site, process):
        _ask_all(site, _paths(sent, 500), _get)
        process.terminate()
        process.wait(60)
    assert len(sent.events()) == 500


def _leave_at_once(database: Database, storage: Storage, people: int) -> None:
    sent = send_message(database, people=people)
    lists = (sent.mailing.id,)
    paths = [sent.links(person).unsubscribe_url(lists, SENT_AT) for person in range(people)]
    with serve_with_granian(database, storage, workers=2) as (site, _):
        _ask_all(site, paths, _leave)
    left = subscription.c.status == Status.UNSUBSCRIBED
    of_message = subscription.c.message_id == sent.message.number
    by_link = (history.c.source == "link") & (history.c.new_status == Status.UNSUBSCRIBED)
    with database.read() as connection:
        gone = select(func.count()).select_from(subscription).where(left, of_message, subscription.c.reason_type == 32)
        assert connection.execute(gone).scalar_one() == people
        assert connection.execute(select(func.count()).select_from(history).where(by_link)).scalar_one() == people


def test_a_burst_of_unsubscribes_loses_none(database: Database, storage: Storage) -> None:
    _leave_at_once(database, storage, 2_000)


@pytest.mark.torture
def test_a_large_burst_of_unsubscribes_loses_none(database: Database, storage: Storage) -> None:
    _leave_at_once(database, storage, 100_000)
