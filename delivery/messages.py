"""Messages of an account: e-mails and text messages as they are written, with their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import Connection, Row, Select, select

from audience.lists import MailingList
from audience.numbers import take_number
from audience.status_rules import Channel
from db.tables import message
from delivery.errors import InvalidMessage, UnknownMessage

MAX_SUBJECT = 255
MAX_CONTENT = 5_000_000
"""Characters."""
FileKind = Literal["attachment", "image"]
_COUNTERS = {Channel.EMAIL: "message", Channel.SMS: "sms"}


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
        "html": check_content(html),
        "text": check_content(text),
        "notes": check_content(notes),
        "settings": (settings or MessageSettings()).to_dict(),
    }
    now = datetime.now(UTC)
    values |= {"account_id": mailing.account_id, "list_id": mailing.id, "channel": int(channel)}
    values |= {"created_at": now, "updated_at": now}
    values["number"] = take_number(connection, mailing.account_id, _COUNTERS[channel])
    row = connection.execute(message.insert().values(**values).returning(*_COLUMNS)).one()
    return _read(row)


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


def load_message(connection: Connection, message_id: int) -> Message:
    """Return the message of an internal id, which exists."""
    return _read(connection.execute(_select().where(message.c.id == message_id)).one())


def check_subject(subject: str) -> str:
    """Return a subject without blanks around it.

    Raises:
        InvalidMessage: it is empty, too long, or not one line of printable text.
    """
    subject = subject.strip()
    # It ends in a header, where a line break would begin another one.
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise InvalidMessage(f"A subject is one line of 1 to {MAX_SUBJECT} characters.")
    return subject


def check_content(content: str) -> str:
    """Return a content as it is.

    Raises:
        InvalidMessage: it is too long, or has a NUL character.
    """
    if len(content) > MAX_CONTENT or "\0" in content:
        raise InvalidMessage(f"A content has at most {MAX_CONTENT} characters, and none of them is NUL.")
    return content


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


def _select() -> Select[Any]:
    return select(*_COLUMNS)


def _read(row: Row[Any]) -> Message:
    values = row._asdict()
    return Message(
        **values | {"channel": Channel(row.channel), "settings": MessageSettings.from_dict(row.settings)},
    )
