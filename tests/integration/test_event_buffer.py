"""Opens and clicks on their way to the database: none is lost, none is of somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import create_engine, delete
from tracked_sending import SENT_AT, TrackedSending, send_message

from audience.erasure import erase_recipient
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.history import Cause
from audience.subscriptions import parse_address
from db.engine import Database
from db.tables import delivery, sending
from delivery.event_buffer import EventBuffer
from delivery.tracked_events import TrackedEvent, append_tracked_events


def _opened(sent: TrackedSending, person: int = 0, **values: Any) -> TrackedEvent:
    ids = (sent.account.id, sent.sending.id, sent.recipient_ids[person])
    return TrackedEvent(*ids, MailEventKind.OPENED)._replace(**values)


def _append(database: Database, *events: TrackedEvent) -> int:
    with database.write() as connection:
        return append_tracked_events(connection, events)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_event_is_completed_from_the_queue(database: Database) -> None:
    sent = send_message(database)
    before = datetime.now(UTC)
    click = _opened(
        sent, 1, kind=MailEventKind.CLICKED, url="https://example.com", ip_address="192.0.2.1", user_agent="Mail/1"
    )
    assert _append(database, click) == 1
    (event,) = sent.events()
    assert (event["sending_id"], event["recipient_id"]) == (sent.sending.id, sent.recipient_ids[1])
    assert (event["list_id"], event["email"], event["sent_at"]) == (sent.mailing.id, sent.emails[1], SENT_AT)
    assert (event["kind"], event["details"]) == (MailEventKind.CLICKED, "https://example.com")
    assert (event["ip_address"], event["user_agent"], event["country"]) == ("192.0.2.1", "Mail/1", None)
    assert before - timedelta(seconds=1) <= event["at"] <= datetime.now(UTC) + timedelta(seconds=1)


def test_an_event_is_completed_from_what_was_sent_before(database: Database) -> None:
    sent = send_message(database)
    ids = (sent.mailing.id, sent.sending.id, sent.recipient_ids[0])
    with database.write() as connection:
        connection.execute(delete(delivery))
        first = MailEvent(*ids, "old@example.com", MailEventKind.SENT, SENT_AT, SENT_AT)
        append_mail_events(connection, sent.account.id, [first])
    assert _append(database, _opened(sent), _opened(sent, 1)) == 1
    assert [(event["kind"], event["email"]) for event in sent.events()] == [
        (1, "old@example.com"),
        (2, "old@example.com"),
    ]


def test_a_mail_that_is_on_its_way_can_be_opened(database: Database) -> None:
    sent = send_message(database)
    with database.write() as connection:
        connection.execute(delivery.update().values(state=1, sent_at=None))
    assert _append(database, _opened(sent)) == 1
    (event,) = sent.events()
    assert event["sent_at"] == event["at"]


def test_what_is_of_nobody_is_left_out(database: Database) -> None:
    sent, other = send_message(database), send_message(database, 2)
    with database.write() as connection:
        erase_recipient(connection, sent.account.id, parse_address(sent.mailing, email=sent.emails[1]), Cause("test"))
    strange = [
        _opened(sent, sending_id=2**62),
        _opened(sent, recipient_id=2**62),
        _opened(sent, account_id=other.account.id),
        _opened(sent, sending_id=other.sending.id),
        _opened(sent, recipient_id=other.recipient_ids[0]),
        _opened(sent, account_id=2**31 - 1),
        _opened(sent, 1),
    ]
    assert _append(database, *strange) == 0
    assert _append(database, *strange, _opened(sent), _opened(other)) == 2
    assert [event["recipient_id"] for event in sent.events()] == [sent.recipient_ids[0]]
    assert [event["recipient_id"] for event in other.events()] == [other.recipient_ids[0]]
    with database.write() as connection:
        connection.execute(delete(sending).where(sending.c.id == sent.sending.id))
    assert _append(database, _opened(sent)) == 0


def test_each_request_becomes_one_event(database: Database) -> None:
    """Threads that add at once, more than one batch."""
    sent, other = send_message(database), send_message(database, 2)
    buffer = EventBuffer(database)

    def add(one: TrackedSending) -> None:
        for turn in range(600):
            buffer.add(_opened(one, turn % 3))

    threads = [threading.Thread(target=add, args=(one,)) for one in (sent, other) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _wait_for(lambda: len(sent.events()) + len(other.events()) >= 6000)
    assert len(sent.events()) == len(other.events()) == 3000
    _wait_for(lambda: not any(thread.name == "event-buffer" for thread in threading.enumerate()))


@contextmanager
def _away(database: Database) -> Iterator[None]:
    """Have nobody reach the events of a database."""
    if database.is_sqlite:
        away, back = "ALTER TABLE mail_event RENAME TO away", "ALTER TABLE away RENAME TO mail_event"
        engine = database.engine
    else:
        name = database.engine.url.database
        away, back = (f"ALTER DATABASE {name} ALLOW_CONNECTIONS {word}" for word in ("false", "true"))
        engine = create_engine(database.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.begin() as connection:
        connection.exec_driver_sql(away)
        database.engine.pool.dispose()
    yield
    with engine.begin() as connection:
        connection.exec_driver_sql(back)
    engine.dispose()


def test_events_wait_for_a_database_that_is_away(database: Database) -> None:
    sent = send_message(database)
    lost: list[int] = []
    buffer = EventBuffer(database, note_lost=lost.append)
    with structlog.testing.capture_logs() as logs:
        with _away(database):
            for person in (0, 1, 2):
                buffer.add(_opened(sent, person))
            _wait_for(lambda: len(logs) >= 2)
            assert {entry["event"] for entry in logs} == {"events_wait"}
        _wait_for(lambda: len(sent.events()) == 3)
    assert lost == []


def test_what_is_too_much_is_counted(database: Database) -> None:
    sent = send_message(database)
    lost: list[int] = []
    buffer = EventBuffer(database, capacity=3, note_lost=lost.append)
    with structlog.testing.capture_logs() as logs:
        for person in (0, 1, 2, 0, 1):
            buffer.add(_opened(sent, person))
    assert lost == [1, 1]
    assert [entry["cause"] for entry in logs] == ["full", "full"]
    _wait_for(lambda: len(sent.events()) == 3)


def test_one_bad_event_does_not_spoil_the_others(database: Database) -> None:
    sent = send_message(database)
    lost: list[int] = []
    buffer = EventBuffer(database, note_lost=lost.append)
    # Text with half a character cannot be stored anywhere.
    with structlog.testing.capture_logs():
        for agent in ("a", "\ud800", "b", "c"):
            buffer.add(_opened(sent, user_agent=agent))
        _wait_for(lambda: len(sent.events()) == 3 and lost == [1])
    assert sorted(event["user_agent"] for event in sent.events()) == ["a", "b", "c"]
