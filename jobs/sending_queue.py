"""Puts files that send into their queue. The row in the database is the promise; the worker finds it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, select

from audience.numbers import take_number
from db.tables import arrival, sending, sending_file
from delivery.messages import Message
from jobs.feeds import Feed
from jobs.queue import record_arrival

SendingFileKind = Literal["parcel", "sms", "recipients"]
"""A ZIP of a message and its recipients, a table of text messages, or a table of recipients for a message."""
UNFINISHED = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingFileRequest:
    """A file in the spool, and what is to be done with it."""

    account_id: int
    kind: SendingFileKind
    file_name: str
    """As its sender named it, for people."""
    spool_name: str
    """In the spool's imports directory; the content there is complete, durable and never changes."""
    size: int
    sha256: str | None = None
    """Set when the same content must not be sent twice from one feed."""
    feed_id: int | None = None
    arrival_id: int | None = None
    sending_id: int | None = None
    """Of the sending that waits for it."""
    options: Mapping[str, Any] = field(default_factory=dict)


def enqueue_sending_file(connection: Connection, request: SendingFileRequest) -> int:
    """Record a file that sends; return the run's id. It starts when the transaction has been committed."""
    inserted = connection.execute(
        sending_file.insert().values(
            account_id=request.account_id,
            number=take_number(connection, request.account_id, "sending-file"),
            kind=request.kind,
            feed_id=request.feed_id,
            arrival_id=request.arrival_id,
            file_name=request.file_name,
            spool_name=request.spool_name,
            size=request.size,
            sha256=request.sha256,
            options=dict(request.options),
            sending_id=request.sending_id,
            state="queued",
            counters={},
            created_at=datetime.now(UTC),
        )
    )
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def has_unfinished(connection: Connection, message: Message, file_name: str) -> bool:
    """Tell whether a file waits, or is being imported, for whose people the same message is: a call that is repeated.

    Args:
        connection: in a writing transaction.
        message: that is to be sent.
        file_name: as in the requests.
    """
    waiting = (
        select(sending_file.c.id)
        .join(sending, sending.c.id == sending_file.c.sending_id)
        .where(
            sending_file.c.account_id == message.account_id,
            sending_file.c.kind == "recipients",
            sending_file.c.file_name == file_name,
            sending_file.c.state.in_(UNFINISHED),
            sending.c.message_id == message.id,
        )
    )
    return connection.execute(waiting.limit(1)).first() is not None


def enqueue_dropped(
    connection: Connection,
    feed: Feed,
    *,
    key: str,
    name: str,
    size: int,
    sha256: str,
    reason: str,
    door: str | None = None,
) -> int:
    """Record a complete file in a folder whose files send; the arguments are those of `jobs.queue.enqueue_arrival`.

    Returns:
        The run's id; a second call with the same key returns that of the first one.
    """
    assert feed.kind != "import"
    joined = sending_file.join(arrival, arrival.c.id == sending_file.c.arrival_id)
    known = select(sending_file.c.id).select_from(joined).where(arrival.c.key == key)
    run_id = connection.execute(known).scalar_one_or_none()
    if run_id is not None:
        return int(run_id)
    arrival_id = record_arrival(
        connection, feed, key=key, name=name, size=size, complete=True, reason=reason, door=door
    )
    request = SendingFileRequest(
        account_id=feed.account_id,
        kind=feed.kind,
        file_name=name,
        spool_name=key,
        size=size,
        sha256=sha256,
        feed_id=feed.id,
        arrival_id=arrival_id,
    )
    return enqueue_sending_file(connection, request)
