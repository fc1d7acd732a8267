"""Sendings of an account: who gets which message, when, and how far each has come.

A sending is `draft` (made, but not planned), `waiting` (for the people of a file), `scheduled`, `preparing` (its
recipients are being put into the queue), `sending`, `paused`, and in the end `completed`, `failed` or `cancelled`.
What callers change of it is in `delivery.sending_changes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from sqlalchemy import Connection, Row, Select, func, select

from audience.lists import MailingList
from audience.numbers import take_number
from audience.status_rules import Channel
from db.tables import mailing_list, sending
from delivery.errors import UnknownSending
from delivery.messages import Message

SendingState = Literal[
    "draft", "waiting", "scheduled", "preparing", "sending", "paused", "completed", "failed", "cancelled"
]
SendingKind = Literal["bulk", "single"]
SendingMode = Literal["at-most-once", "at-least-once"]
FINAL_STATES: tuple[SendingState, ...] = ("completed", "failed", "cancelled")
OPEN_STATES: tuple[SendingState, ...] = ("draft", "waiting", "scheduled", "preparing", "sending", "paused")
QUEUED_STATES: tuple[SendingState, ...] = ("waiting", "scheduled", "preparing", "sending", "paused")
"""In which a sending has a place in the queue."""


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sending has come, in recipients."""

    total: int
    left: int
    percent: int
    time_left: timedelta | None
    """At the rate so far; None when there is none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One sending as it is now; its number is unique in the account."""

    id: int
    account_id: int
    number: int
    list_id: int
    list_number: int
    channel: Channel
    message_id: int | None
    message_number: int
    subject: str
    notes: str
    kind: SendingKind
    state: SendingState
    mode: SendingMode
    position: int
    start_at: datetime | None
    target: Target = field(repr=False)
    total: int
    sent: int
    failed: int
    skipped: int
    unknown: int
    error_text: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        return self.state not in FINAL_STATES

    def progress(self, now: datetime | None = None) -> Progress:
        """Return how far it has come; it is complete when it is over, however it ended.

        Args:
            now: aware; by default the clock's.
        """
        done = self.sent + self.failed + self.skipped + self.unknown
        if not self.is_open:
            return Progress(self.total, 0, 100, timedelta())
        left = max(self.total - done, 0)
        percent = done * 100 // self.total if self.total else 0
        return Progress(self.total, left, min(percent, 100), self._time_left(done, left, now or datetime.now(UTC)))

    def rate_per_minute(self, now: datetime | None = None) -> float | None:
        """Return how many recipients it has dealt with in a minute, since it began; None when it has not.

        Args:
            now: aware; by default the clock's. It does not count once the sending is over.
        """
        if self.started_at is None:
            return None
        done = self.sent + self.failed + self.skipped + self.unknown
        until = self.finished_at or now or datetime.now(UTC)
        return round(done * 60 / max((until - self.started_at).total_seconds(), 1.0), 1)

    def _time_left(self, done: int, left: int, now: datetime) -> timedelta | None:
        if not done or self.started_at is None:
            return None
        return max(now - self.started_at, timedelta()) * left / done


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
    # Others who add a sending to the account wait here, so that no two get the same position.
    number = take_number(connection, mailing.account_id, "sending")
    now = datetime.now(UTC)
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
        "created_at": now,
        "started_at": now if state in ("sending", "completed") else None,
        "finished_at": now if state in FINAL_STATES else None,
    }
    inserted = connection.execute(sending.insert().values(**values))
    assert inserted.inserted_primary_key is not None
    return NewSending(int(inserted.inserted_primary_key[0]), number)


def find_sending(connection: Connection, account_id: int, number: int, channel: Channel | None = None) -> Sending:
    """Return a sending of an account.

    Raises:
        UnknownSending: there is none with this number, or it goes out by another channel than the one given.
    """
    query = _select(account_id).where(sending.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None or (channel is not None and row.channel != channel):
        raise UnknownSending(f"There is no sending {number}.")
    return _read(row)


def list_sendings(
    connection: Connection,
    account_id: int,
    *,
    channel: Channel | None = None,
    message: Message | None = None,
    states: Iterable[SendingState] | None = None,
    kind: SendingKind | None = None,
    limit: int = 1000,
) -> list[Sending]:
    """Return the sendings of an account, the newest first.

    Args:
        connection: reading or writing.
        account_id: whose they are.
        channel: None for both.
        message: None for those of all messages.
        states: None for all.
        kind: None for both.
        limit: how many at most.
    """
    query = _select(account_id).order_by(sending.c.number.desc()).limit(limit)
    if kind is not None:
        query = query.where(sending.c.kind == kind)
    if channel is not None:
        query = query.where(sending.c.channel == int(channel))
    if message is not None:
        query = query.where(sending.c.message_id == message.id)
    if states is not None:
        query = query.where(sending.c.state.in_(list(states)))
    return [_read(row) for row in connection.execute(query)]


def queue_of(connection: Connection, account_id: int, channel: Channel) -> list[Sending]:
    """Return the bulk sendings of an account that are not over, in the order of its queue, drafts behind.

    Args:
        connection: reading or writing.
        account_id: whose queue it is.
        channel: each has its own.
    """
    query = _select(account_id).where(
        sending.c.channel == int(channel), sending.c.kind == "bulk", sending.c.state.in_(OPEN_STATES)
    )
    entries = connection.execute(query.order_by(sending.c.state == "draft", sending.c.position, sending.c.id))
    return [_read(row) for row in entries]


_COLUMNS = tuple(
    mailing_list.c.number.label(item.name) if item.name == "list_number" else sending.c[item.name]
    for item in fields(Sending)
)


def _select(account_id: int) -> Select[Any]:
    joined = sending.join(mailing_list, mailing_list.c.id == sending.c.list_id)
    return select(*_COLUMNS).select_from(joined).where(sending.c.account_id == account_id)


def _read(row: Row[Any]) -> Sending:
    values = row._asdict()
    return Sending(**values | {"channel": Channel(row.channel), "target": Target.from_dict(row.target or {})})
