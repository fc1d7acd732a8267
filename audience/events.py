"""What happened to messages after they were sent: appended in bulk, never changed.

Exports of what is new since the last time rely on this: whoever appends an event dates it (`at`) inside the
transaction that appends it, see `db.settled`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from audience.numbers import take_number
from audience.status_rules import Channel
from db.bulk import append_rows
from db.tables import mail_event, sending, sms_event


class MailEventKind(IntEnum):
    """What happened to an e-mail."""

    SENT = 1
    OPENED = 2
    CLICKED = 3
    BOUNCED = 4


class SmsStatus(IntEnum):
    """How far a text message came."""

    DELIVERED = 0
    QUEUED = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Sending:
    """One sending of a message to a list."""

    id: int
    number: int
    """Shown to callers; counts from 1 in the account."""


class MailEvent(NamedTuple):
    """Something that happened to an e-mail; list, sending and recipient are of the account and given by id."""

    list_id: int
    sending_id: int
    recipient_id: int
    email: str
    """The address as it was then."""
    kind: MailEventKind
    at: datetime
    sent_at: datetime
    details: str | None = None
    """Address that was clicked, or code of the bounce."""
    ip_address: str | None = None
    country: str | None = None
    user_agent: str | None = None


class SmsEvent(NamedTuple):
    """A change of a text message's state; list, sending and recipient are of the account and given by id."""

    list_id: int
    sending_id: int
    recipient_id: int
    mobile: str
    """The number as it was then."""
    status: SmsStatus
    at: datetime
    sent_at: datetime
    error_code: str | None = None


def add_sending(
    connection: Connection,
    account_id: int,
    list_id: int,
    *,
    channel: Channel,
    message_number: int,
    subject: str,
    tags: Sequence[str] = (),
) -> Sending:
    """Record that a message is being sent to a list.

    Args:
        connection: in a writing transaction.
        account_id: whose message it is.
        list_id: a list of the account.
        channel: how it goes out.
        message_number: of the message in the account.
        subject: as the recipients see it.
        tags: of the campaign.
    """
    number = take_number(connection, account_id, "sending")
    values: dict[str, Any] = {"account_id": account_id, "list_id": list_id, "number": number, "channel": int(channel)}
    values |= {"message_number": message_number, "subject": subject, "tags": list(tags)}
    inserted = connection.execute(sending.insert().values(**values, created_at=datetime.now(UTC)))
    assert inserted.inserted_primary_key is not None
    return Sending(int(inserted.inserted_primary_key[0]), number)


def append_mail_events(connection: Connection, account_id: int, events: Iterable[MailEvent]) -> int:
    """Append what happened to e-mails of an account, in a writing transaction; return how many there were."""
    return append_rows(connection, mail_event, ("account_id", *MailEvent._fields), ((account_id, *e) for e in events))


def append_sms_events(connection: Connection, account_id: int, events: Iterable[SmsEvent]) -> int:
    """Append what happened to text messages of an account, in a writing transaction; return how many there were."""
    return append_rows(connection, sms_event, ("account_id", *SmsEvent._fields), ((account_id, *e) for e in events))
