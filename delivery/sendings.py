"""Sendings of an account: who gets which message, when, and how far each has come.

A sending is `draft` (made, but not planned), `waiting` (for the people of a file), `scheduled`, `preparing` (its
recipients are being put into the queue), `sending`, `paused`, and in the end `completed`, `failed` or `cancelled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import Connection, func, select

from audience.lists import MailingList
from audience.numbers import take_number
from audience.status_rules import Channel
from db.tables import sending
from delivery.messages import Message

SendingState = Literal[
    "draft", "waiting", "scheduled", "preparing", "sending", "paused", "completed", "failed", "cancelled"
]
SendingKind = Literal["bulk", "single"]
SendingMode = Literal["at-most-once", "at-least-once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who gets a sending: people of its list who are subscribed to it by its channel, when their turn comes."""

    to: Literal["all", "addresses", "groups", "queue"] = "all"
    """`queue`: whoever stands in its queue already."""
    addresses: tuple[str, ...] = ()
    """Normalised; those who are not subscribed get nothing."""
    groups: tuple[int, ...] = ()
    """Numbers."""
    exclude_groups: tuple[int, ...] = ()
    """Numbers."""
    filters: tuple[int, ...] = ()
    """Numbers of stored filters."""
    filters_match: Literal["all", "any"] = "all"

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return a target from its stored form."""
        known = {item.name for item in fields(cls)}
        values: dict[str, Any] = {name: value for name, value in stored.items() if name in known}
        listed = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(values | listed))

    def to_dict(self) -> dict[str, Any]:
        """Return what to store."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whom a sending comes from; what is empty is the list's own."""

    email: str = ""
    name: str = ""
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class NewSending:
    """A sending that was just made."""

    id: int
    number: int


def add_sending(
    connection: Connection,
    mailing: MailingList,
    channel: Channel,
    message: Message | None,
    *,
    subject: str = "",
    target: Target | None = None,
    sender: Sender | None = None,
    kind: SendingKind = "bulk",
    state: SendingState = "scheduled",
    mode: SendingMode = "at-most-once",
    start_at: datetime | None = None,
    message_number: int = 0,
    tags: Sequence[str] = (),
    notes: str = "",
    notify_email: str = "",
) -> NewSending:
    """Record a sending; it begins when the transaction has been committed, its time has come and it is its turn.

    Nothing is checked here: see `delivery.sending_requests` for what callers ask for.

    Args:
        connection: in a writing transaction.
        mailing: the list whose people get it.
        channel: how it goes out.
        message: None when each row of the queue has its own text.
        subject: instead of the message's.
        target: None for everybody.
        sender: None for the list's own.
        kind: a `single` one does not wait for others.
        state: which it begins with.
        mode: what becomes of mails that are on their way when a process dies.
        start_at: None for as soon as possible.
        message_number: of a sending without a message: the message that its statistics are of.
        tags: of the campaign.
        notes: for people.
        notify_email: who is told of its end.
    """
    sender = sender or Sender()
    number = take_number(connection, mailing.account_id, "sending")
    here = (sending.c.account_id == mailing.account_id) & (sending.c.channel == int(channel))
    last = select(func.coalesce(func.max(sending.c.position), 0)).where(here).scalar_subquery()
    values: dict[str, Any] = {
        "account_id": mailing.account_id,
        "number": number,
        "list_id": mailing.id,
        "channel": int(channel),
        "message_id": message.id if message is not None else None,
        "message_number": message.number if message is not None else message_number,
        "subject": subject or (message.subject if message is not None else ""),
        "tags": list(tags),
        "notes": notes,
        "kind": kind,
        "state": state,
        "mode": mode,
        "position": last + 1,
        "start_at": start_at,
        "target": (target or Target()).to_dict(),
        "sender_email": sender.email or None,
        "sender_name": sender.name or None,
        "reply_to": sender.reply_to or None,
        "notify_email": notify_email or None,
        "created_at": datetime.now(UTC),
    }
    inserted = connection.execute(sending.insert().values(**values))
    assert inserted.inserted_primary_key is not None
    return NewSending(int(inserted.inserted_primary_key[0]), number)
