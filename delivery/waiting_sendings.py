"""Sendings that wait for the people of a file: planned once these are known, or ended when they never will be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from audience.status_rules import Channel
from db.functions import select_texts
from db.tables import delivery, recipient, sending
from delivery.sendings import SendingState, Target

_BATCH = 1_000
_MOST_COPIES = 10_000


class QueueRow(NamedTuple):
    """What somebody is to get, known by his address."""

    address: str
    """Normalised."""
    values: Mapping[str, str] | None
    """What the message is filled with beside his own data, by name."""
    text: str | None
    """Instead of the message's."""


@dataclass(slots=True)
class QueueCounts:
    """What became of rows for the queue."""

    queued: int = 0
    unknown: int = 0
    """Their addresses are nobody's in the account."""
    repeated: int = 0
    """An earlier row has the same address."""


def plan_waiting(
    connection: Connection,
    sending_id: int,
    *,
    target: Target | None = None,
    state: SendingState = "scheduled",
) -> bool:
    """Let a sending go on that waited for its people; False when it does not wait any more.

    Args:
        connection: in a writing transaction.
        sending_id: internal id.
        target: who gets it; None: as it was said before.
        state: `scheduled`, at the time it has, or `draft`.
    """
    values: dict[str, Any] = {"state": state}
    if target is not None:
        values["target"] = target.to_dict()
    return _change(connection, sending_id, values)


def fail_waiting(connection: Connection, sending_id: int, reason: str) -> bool:
    """End a sending whose people will never be known; False when it does not wait any more.

    Args:
        connection: in a writing transaction.
        sending_id: internal id.
        reason: for people.
    """
    return _change(connection, sending_id, {"state": "failed", "error_text": reason, "finished_at": datetime.now(UTC)})


def is_waiting(connection: Connection, sending_id: int) -> bool:
    """Tell whether a sending waits for people; in a writing transaction nobody changes that before its end."""
    query = select(sending.c.state).where(sending.c.id == sending_id).with_for_update()
    return bool(connection.execute(query).scalar_one() == "waiting")


def fill_queue(connection: Connection, sending_id: int, rows: Iterable[QueueRow], *, keeps_copies: bool) -> QueueCounts:
    """Put people of the account into a waiting sending's queue, by their addresses.

    Args:
        connection: in the writing transaction that plans the sending.
        sending_id: internal id.
        rows: may be many; they are not kept in memory.
        keeps_copies: whether somebody who is named again gets one more, instead of the first one only.
    """
    order = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
    counts, copies = QueueCounts(), Counter[int]()
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        entries = list(_make_entries(connection, order, batch, copies, counts, 1 + keeps_copies * _MOST_COPIES))
        if entries:
            connection.execute(delivery.insert(), entries)
            counts.queued += len(entries)
    return counts


def _make_entries(
    connection: Connection, order: Row[Any], batch: list[QueueRow], copies: Counter[int], counts: QueueCounts, most: int
) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    people = _find_people(connection, order, {row.address for row in batch})
    for row in batch:
        recipient_id = people.get(row.address)
        if recipient_id is None:
            counts.unknown += 1
        elif copies[recipient_id] >= most:
            counts.repeated += 1
        else:
            yield {
                "account_id": order.account_id,
                "sending_id": order.id,
                "list_id": order.list_id,
                "recipient_id": recipient_id,
                "copy": copies[recipient_id],
                "address": row.address,
                "domain": row.address.rpartition("@")[2] if "@" in row.address else "",
                "due_at": now,
                "values": dict(row.values) if row.values else None,
                "text": row.text,
            }
            copies[recipient_id] += 1


def _find_people(connection: Connection, order: Row[Any], addresses: Iterable[str]) -> dict[str, int]:
    """Return internal ids by address."""
    key = recipient.c.email if order.channel == Channel.EMAIL else recipient.c.mobile
    query = select(key, recipient.c.id).where(
        recipient.c.account_id == order.account_id, key.in_(select_texts(connection, addresses))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _change(connection: Connection, sending_id: int, values: dict[str, Any]) -> bool:
    waiting = (sending.c.id == sending_id) & (sending.c.state == "waiting")
    return connection.execute(sending.update().where(waiting).values(**values)).rowcount == 1
