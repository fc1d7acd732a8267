"""The queue of what each recipient is to get: put in, claimed in batches, and recorded when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection

from audience.lists import MailingList
from db.tables import delivery, sending
from delivery.sendings import NewSending


class DeliveryState(IntEnum):
    """How far one recipient's message has come."""

    WAITING = 0
    ON_ITS_WAY = 1
    SENT = 2
    FAILED = 3
    SKIPPED = 4
    """Its recipient was not subscribed any more when it was his turn."""
    UNKNOWN = 5
    """It was on its way when a process died or a connection broke, and is not repeated."""
    CANCELLED = 6


def add_delivery(
    connection: Connection,
    to: NewSending,
    mailing: MailingList,
    recipient_id: int,
    address: str,
    *,
    values: Mapping[str, str] | None = None,
    text: str | None = None,
    copy: int = 0,
) -> int:
    """Put one recipient's message into the queue; return its id.

    Args:
        connection: in a writing transaction.
        to: the sending it is part of, in state `sending`.
        mailing: the sending's list.
        recipient_id: internal id.
        address: normalised e-mail address or mobile number.
        values: what the message is filled with beside the recipient's own data, by name.
        text: instead of the message's text.
        copy: which one, where a recipient gets several.
    """
    row: dict[str, Any] = {
        "account_id": mailing.account_id,
        "sending_id": to.id,
        "list_id": mailing.id,
        "recipient_id": recipient_id,
        "copy": copy,
        "address": address,
        "domain": address.rpartition("@")[2].lower() if "@" in address else "",
        "due_at": datetime.now(UTC),
        "values": dict(values) if values else None,
        "text": text,
    }
    inserted = connection.execute(delivery.insert().values(**row))
    connection.execute(sending.update().where(sending.c.id == to.id).values(total=sending.c.total + 1))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])
