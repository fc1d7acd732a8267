"""Folders of an account whose files send: parcels of a message and its recipients, and tables of text messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import Connection, Row, select

from audience.accounts import Account
from audience.smtp_users import find_smtp_user
from db.tables import feed
from exchange.parcel_settings import Engine
from exchange.profiles import Profile
from jobs.storage import Storage

FeedKind = Literal["import", "parcel", "sms"]
FOLDERS: Mapping[str, FeedKind] = {"import_zip": "parcel", "import_sms": "sms"}
"""What files send, by the folder of the home that they are dropped into."""
_OUTCOMES = ("processed", "failed", "incomplete")


class NoSendingFolder(Exception):
    """The account has no such folder, or it cannot be as was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingFolder:
    """What was agreed about such a folder; stored as JSON."""

    enabled: bool = True
    engines: tuple[Engine, ...] = ("massive",)
    """By which parcels may be sent."""
    smtp_user: str = ""
    """In whose name transactional parcels are sent that name nobody."""
    quiet_seconds: float = 2.0
    """How long a silent, living control connection waits until a file counts as complete."""
    column_names: Mapping[str, str] = field(default_factory=dict)
    """Header cells of tables of recipients, beside the general ones, and the role of each."""
    called: str = "File"
    """What partners call a file of this folder, in the subjects of notices."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from the stored form; keys that are missing take their defaults."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        return cls(**(values | {"engines": tuple(values.get("engines", ("massive",)))}))

    def to_dict(self) -> dict[str, Any]:
        """Return the form that is stored."""
        return asdict(self)

    def as_profile(self) -> Profile:
        """Return what the doors need to know of the folder: when a file is complete, and who hears of those cut."""
        return Profile(quiet_seconds=self.quiet_seconds, acknowledgements=("mail",))


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """A folder of an account, as it is listed."""

    folder: str
    kind: FeedKind
    settings: SendingFolder


def enable_folder(
    connection: Connection, storage: Storage, account: Account, folder: str, settings: SendingFolder
) -> None:
    """Take files in from a folder of an account, which is made; what was agreed about it before is replaced.

    Args:
        connection: in a writing transaction.
        storage: where the account's home is.
        account: whose folder it is.
        folder: a key of `FOLDERS`.
        settings: what is agreed.

    Raises:
        NoSendingFolder: there cannot be such a folder, or it names no engine.
        UnknownSmtpUser: the account has none of that name.
    """
    kind = FOLDERS.get(folder)
    if kind is None:
        raise NoSendingFolder(f"{folder!r} is none of {' and '.join(FOLDERS)}.")
    if not settings.engines:
        raise NoSendingFolder("A folder needs at least one engine.")
    if settings.smtp_user:
        find_smtp_user(connection, account.id, settings.smtp_user)
    values = {"kind": kind, "profile": settings.to_dict(), "list_id": None}
    here = (feed.c.account_id == account.id) & (feed.c.folder == folder)
    if connection.execute(feed.update().where(here).values(**values)).rowcount == 0:
        now = datetime.now(UTC)
        connection.execute(feed.insert().values(account_id=account.id, folder=folder, created_at=now, **values))
    storage.prepare_home(account.number, *(f"{folder}/{name}" for name in _OUTCOMES))


def disable_folder(connection: Connection, account: Account, folder: str) -> None:
    """Take nothing in from a folder any more; files that came before go on.

    Raises:
        NoSendingFolder: the account has no such folder.
    """
    row = connection.execute(_select().where(feed.c.account_id == account.id, feed.c.folder == folder)).one_or_none()
    if row is None or not _read(row).settings.enabled:
        raise NoSendingFolder(f"Account {account.number} takes nothing in from {folder!r}.")
    ended = replace(_read(row).settings, enabled=False)
    connection.execute(feed.update().where(feed.c.id == row.id).values(profile=ended.to_dict()))


def folders_of(connection: Connection, account_id: int) -> list[FoundFolder]:
    """Return the folders of an account that send, by name, those that were disabled too."""
    rows = connection.execute(_select().where(feed.c.account_id == account_id).order_by(feed.c.folder))
    return [_read(row) for row in rows]


def load_folder(connection: Connection, feed_id: int) -> FoundFolder:
    """Return the folder of a feed that sends."""
    return _read(connection.execute(_select().where(feed.c.id == feed_id)).one())


def _select() -> Any:
    return select(feed.c.id, feed.c.folder, feed.c.kind, feed.c.profile).where(feed.c.kind != "import")


def _read(row: Row[Any]) -> FoundFolder:
    return FoundFolder(row.folder, row.kind, SendingFolder.from_dict(row.profile))
