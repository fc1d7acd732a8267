"""Messages of an account: e-mails and text messages as they are written, with their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self

from sqlalchemy import Connection, Row, Select, literal, select

from audience.lists import MailingList
from audience.numbers import take_number
from audience.status_rules import Channel
from db.tables import message, message_file, sending
from delivery.errors import InvalidMessage, NotAllowedNow, UnknownMessage

MAX_SUBJECT = 255
MAX_CONTENT = 5_000_000
"""Characters."""
MAX_NOTES = 2_000
FileKind = Literal["attachment", "image"]
_COUNTERS = {Channel.EMAIL: "message", Channel.SMS: "sms"}
_UNDERWAY = ("preparing", "sending", "paused")
_TO_COME = ("draft", "waiting", "scheduled")
# What ends a line, for whichever reader, or is no character. Joiners of emoji and hard spaces are none of these.
_NOT_IN_SUBJECTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_NOT_IN_NOTES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# What no XML document can carry (XML 1.0 section 2.2), such as the form feeds of old editors.
_LEFT_OUT = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """How a message is made for each recipient; stored as JSON, without what has its default."""

    merge_fields: bool = True
    """Whether merge tags are replaced."""
    embed_images: bool = False
    """Whether images go out with the message, instead of being shown from where they lie."""
    track_links: bool = False
    tracked_schemes: tuple[str, ...] = ("http", "https")
    """Of the links that are tracked: some of `http`, `https`, `mailto`, `ftp`, `news`."""
    link_parameters: str = ""
    """Query string that is added to tracked links."""
    unicode: bool = False
    """Of an SMS: may have any characters, and 70 instead of 160 in a part."""
    report_delivery: bool = False
    """Of an SMS: whether its delivery is in reports."""
    other: Mapping[str, str] = field(default_factory=dict)
    """What callers asked for besides; kept, and without effect."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return settings from their stored form; unknown keys are left out."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        if "tracked_schemes" in values:
            values["tracked_schemes"] = tuple(values["tracked_schemes"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return what to store."""
        defaults = asdict(type(self)())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


@dataclass(frozen=True, slots=True)
class Message:
    """An e-mail or a text message; its number is unique in the account and channel."""

    id: int
    account_id: int
    list_id: int
    channel: Channel
    number: int
    subject: str
    notes: str
    html: str
    text: str
    settings: MessageSettings
    cloned_from: int | None
    created_at: datetime
    updated_at: datetime


class ListedMessage(NamedTuple):
    """A message as listings show it."""

    number: int
    subject: str
    notes: str
    text: str
    """Of a text message; an e-mail's is left out, since it can be long."""
    cloned_from: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MessageFile:
    """A file that goes out with a message."""

    kind: FileKind
    name: str
    """Of an image: as the HTML writes it."""
    content_type: str
    content: bytes = field(repr=False)


def add_message(
    connection: Connection,
    mailing: MailingList,
    channel: Channel,
    *,
    subject: str,
    html: str = "",
    text: str = "",
    notes: str = "",
    settings: MessageSettings | None = None,
) -> Message:
    """Add a message to a list.

    Args:
        connection: in a writing transaction.
        mailing: the list it is of.
        channel: how it goes out.
        subject: one line; of a text message its name, which nobody is sent.
        html: of an e-mail.
        text: of a text message, or an e-mail's text part.
        notes: for those who write messages.
        settings: None for the defaults.

    Raises:
        InvalidMessage: the subject is empty, too long or not one line, or the content is too long or empty.
    """
    values: dict[str, Any] = {
        "subject": check_subject(subject),
        **_check_body(html, text),
        "notes": check_notes(notes),
        "settings": (settings or MessageSettings()).to_dict(),
    }
    values |= {"account_id": mailing.account_id, "list_id": mailing.id, "channel": int(channel)}
    return _insert(connection, values)


def edit_message(
    connection: Connection,
    found: Message,
    *,
    subject: str | None = None,
    html: str | None = None,
    text: str | None = None,
    notes: str | None = None,
    settings: MessageSettings | None = None,
) -> Message:
    """Change a message; what is None stays. Sendings to come are made of it as it is then.

    Args:
        connection: in a writing transaction.
        found: as it was read in this transaction.
        subject: as in `add_message`.
        html: as in `add_message`.
        text: as in `add_message`.
        notes: as in `add_message`.
        settings: all of them, not only those that change.

    Raises:
        InvalidMessage: as in `add_message`.
        NotAllowedNow: a sending of it is under way.
    """
    require_unsent(connection, found)
    values: dict[str, Any] = {
        "subject": check_subject(subject) if subject is not None else found.subject,
        **_check_body(found.html if html is None else html, found.text if text is None else text),
        "notes": check_notes(notes) if notes is not None else found.notes,
        "settings": (settings or found.settings).to_dict(),
        "updated_at": datetime.now(UTC),
    }
    changed = message.update().where(message.c.id == found.id).values(**values).returning(*_COLUMNS)
    return _read(connection.execute(changed).one())


def clone_message(connection: Connection, found: Message, subject: str = "") -> Message:
    """Copy a message with its files; the copy is in the same list and knows which message it is of.

    Args:
        connection: in a writing transaction.
        found: the original.
        subject: of the copy; empty: the original's.

    Raises:
        InvalidMessage: the subject is too long or not one line.
    """
    values: dict[str, Any] = {
        "account_id": found.account_id,
        "list_id": found.list_id,
        "channel": int(found.channel),
        "subject": check_subject(subject) if subject.strip() else found.subject,
        "html": found.html,
        "text": found.text,
        "notes": found.notes,
        "settings": found.settings.to_dict(),
        "cloned_from": found.number,
    }
    clone = _insert(connection, values)
    copied = [message_file.c.kind, message_file.c.name, message_file.c.content_type, message_file.c.content]
    files = select(literal(clone.id), *copied).where(message_file.c.message_id == found.id).order_by(message_file.c.id)
    connection.execute(message_file.insert().from_select(["message_id", *(column.name for column in copied)], files))
    return clone


def remove_message(connection: Connection, found: Message) -> None:
    """Remove a message with its files.

    Args:
        connection: in a writing transaction.
        found: the message.

    Raises:
        NotAllowedNow: it has been sent, and what people got leads back to it; or it is going to be.
    """
    # Locked, so that no sending can be made of it meanwhile by whoever locks it as well.
    connection.execute(select(message.c.id).where(message.c.id == found.id).with_for_update())
    if connection.execute(select(sending.c.id).where(sending.c.message_id == found.id).limit(1)).first() is not None:
        raise NotAllowedNow(f"Message {found.number} has sendings, so it cannot be removed.")
    connection.execute(message_file.delete().where(message_file.c.message_id == found.id))
    connection.execute(message.delete().where(message.c.id == found.id))


def require_unsent(connection: Connection, found: Message) -> None:
    """Let a message be changed, unless many people are getting it at this moment.

    Args:
        connection: in a writing transaction, until whose end no sending of it that is to come begins.
        found: the message.

    Raises:
        NotAllowedNow: a sending of it to many is under way, or is paused, or its queue is full already.
    """
    # All people of a sending get the same, and the places of its links are those of the message as it was. Mails to
    # single people may wait for days for a server that does not take them, and their links are stored for each.
    open_sendings = (
        select(sending.c.number, sending.c.state, sending.c.total, sending.c.target)
        .where(
            sending.c.message_id == found.id,
            sending.c.kind == "bulk",
            sending.c.state.in_((*_UNDERWAY, *_TO_COME)),
        )
        .order_by(sending.c.id)
        .with_for_update()
    )
    for row in connection.execute(open_sendings).all():
        has_queue = row.state == "scheduled" and (row.total or (row.target or {}).get("to") == "queue")
        if row.state in _UNDERWAY or has_queue:
            raise NotAllowedNow(f"Sending {row.number} of message {found.number} has begun; the message is as it is.")


def find_message(
    connection: Connection, account_id: int, channel: Channel, number: int, mailing: MailingList | None = None
) -> Message:
    """Return a message of an account.

    Raises:
        UnknownMessage: there is none with this number and channel, or it is not of the list given.
    """
    here = (message.c.account_id == account_id) & (message.c.channel == int(channel)) & (message.c.number == number)
    row = connection.execute(_select().where(here)).one_or_none()
    if row is None or (mailing is not None and row.list_id != mailing.id):
        raise UnknownMessage(f"There is no message {number}.")
    return _read(row)


def list_messages(
    connection: Connection, mailing: MailingList, channel: Channel, *, cloned: bool | None = None
) -> list[ListedMessage]:
    """Return the messages of a list by number.

    Args:
        connection: reading or writing; one statement.
        mailing: the list.
        channel: how they go out.
        cloned: only copies, or only originals; None: all.
    """
    text = message.c.text if channel is Channel.SMS else literal("")
    columns = (message.c.number, message.c.subject, message.c.notes, text, message.c.cloned_from)
    query = select(*columns, message.c.created_at, message.c.updated_at).order_by(message.c.number)
    query = query.where(message.c.list_id == mailing.id, message.c.channel == int(channel))
    if cloned is not None:
        query = query.where(message.c.cloned_from.is_not(None) if cloned else message.c.cloned_from.is_(None))
    return [ListedMessage(*row) for row in connection.execute(query)]


def load_message(connection: Connection, message_id: int) -> Message:
    """Return the message of an internal id, which exists."""
    return _read(connection.execute(_select().where(message.c.id == message_id)).one())


def check_subject(subject: str) -> str:
    """Return a subject without blanks around it.

    Raises:
        InvalidMessage: it is empty, too long, or not one line without control characters.
    """
    subject = subject.strip()
    # It becomes a header, where a line break would begin another one.
    if not 0 < len(subject) <= MAX_SUBJECT or _NOT_IN_SUBJECTS.search(subject):
        raise InvalidMessage(f"A subject is one line of 1 to {MAX_SUBJECT} characters.")
    return subject


def check_content(content: str) -> str:
    """Return a content as it will be kept: without the characters that programs could not be told of.

    Raises:
        InvalidMessage: it is too long, or has a NUL character.
    """
    if len(content) > MAX_CONTENT or "\0" in content:
        raise InvalidMessage(f"A content has at most {MAX_CONTENT} characters, and none of them is NUL.")
    return _LEFT_OUT.sub("", content)


def check_notes(notes: str) -> str:
    """Return notes without blanks around them.

    Raises:
        InvalidMessage: they are too long, or have control characters but line breaks and tabs.
    """
    notes = notes.strip()
    if len(notes) > MAX_NOTES or _NOT_IN_NOTES.search(notes):
        raise InvalidMessage(f"Notes have at most {MAX_NOTES} characters, and no control characters but line breaks.")
    return notes


_COLUMNS = (
    message.c.id,
    message.c.account_id,
    message.c.list_id,
    message.c.channel,
    message.c.number,
    message.c.subject,
    message.c.notes,
    message.c.html,
    message.c.text,
    message.c.settings,
    message.c.cloned_from,
    message.c.created_at,
    message.c.updated_at,
)


def _check_body(html: str, text: str) -> dict[str, str]:
    if not html.strip() and not text.strip():
        raise InvalidMessage("A message without any content cannot be sent.")
    return {"html": check_content(html), "text": check_content(text)}


def _insert(connection: Connection, values: Mapping[str, Any]) -> Message:
    """Add a message under the next number."""
    number = take_number(connection, values["account_id"], _COUNTERS[Channel(values["channel"])])
    now = datetime.now(UTC)
    added = message.insert().values(**values, number=number, created_at=now, updated_at=now)
    return _read(connection.execute(added.returning(*_COLUMNS)).one())


def _select() -> Select[Any]:
    return select(*_COLUMNS)


def _read(row: Row[Any]) -> Message:
    values = row._asdict()
    return Message(
        **values | {"channel": Channel(row.channel), "settings": MessageSettings.from_dict(row.settings)},
    )
