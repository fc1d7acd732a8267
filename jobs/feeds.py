"""Feeds: the folders files are dropped into, each with the profile that says how they are read.

Those below `import/` belong to lists; what is dropped into the others sends, see `jobs.sending_folders`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select

from audience.accounts import Account
from audience.addresses import normalise_email
from audience.errors import InvalidAddress, ListBusy
from audience.list_changes import delete_list
from audience.lists import MailingList, add_list, find_list
from db.tables import feed, import_run, mailing_list, sending, transfer
from delivery.sending_changes import cancel
from delivery.sendings import OPEN_STATES, find_sending
from exchange.errors import InvalidProfile
from exchange.profile_checks import check_profile
from exchange.profiles import Profile
from jobs.missing_files import forgive_passed
from jobs.sending_folders import FeedKind, SendingFolder
from jobs.storage import Storage

IMPORT_FOLDER = "import"
REPORTS_FOLDER = "reports"
"""Made where the profile asks for tables of results."""
OUTCOME_FOLDERS = ("processed", "failed", "incomplete", REPORTS_FOLDER)
"""Folders inside a feed's folder that the server puts files into; uploads into them are refused."""
_GOING_ON = ("prepared", "queued", "running")


class FeedInUse(Exception):
    """A feed cannot be removed yet."""


class InvalidFolder(Exception):
    """A feed's folder is not `import/<list number>` or a folder below it."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A folder of an account and how its files are read."""

    id: int
    account_id: int
    list_id: int | None
    """None: its files are no imports."""
    folder: str
    """Relative to the account's home, such as `import/1`."""
    profile: Profile
    kind: FeedKind = "import"


def open_list(
    connection: Connection,
    storage: Storage,
    account: Account,
    name: str,
    column_names: Mapping[str, str],
    *,
    like: MailingList | None = None,
    external_id: str | None = None,
) -> MailingList:
    """Add a list together with its import folder and that folder's default profile.

    Args:
        connection: in a writing transaction.
        storage: where the account's home is.
        account: owner of the list.
        name: of the list.
        column_names: header cells, beside the general ones, that the account's partners use.
        like: as in `audience.lists.add_list`.
        external_id: as there.

    Raises:
        InvalidName: the name or the external id cannot be used.
    """
    mailing = add_list(connection, account.id, name, like=like, external_id=external_id)
    folder = f"{IMPORT_FOLDER}/{mailing.number}"
    set_feed(connection, storage, account, folder, Profile(column_names=dict(column_names)))
    return mailing


def close_list(connection: Connection, mailing: MailingList) -> None:
    """Delete a list; its sendings end, and its folders stay where they are, but nothing is taken in there any more.

    Raises:
        ListBusy: an import into it waits or runs.
    """
    # Before the look at its imports: one that is being added refers to the list, and so is over or waits.
    connection.execute(select(mailing_list.c.id).where(mailing_list.c.id == mailing.id).with_for_update())
    busy = (import_run.c.list_id == mailing.id) & import_run.c.state.in_(_GOING_ON)
    if connection.execute(select(import_run.c.id).where(busy).limit(1)).first() is not None:
        raise ListBusy(f"An import into list {mailing.number} waits or runs.")
    _cancel_sendings(connection, mailing)
    delete_list(connection, mailing)


def _cancel_sendings(connection: Connection, mailing: MailingList) -> None:
    unfinished = select(sending.c.number).where(sending.c.list_id == mailing.id, sending.c.state.in_(OPEN_STATES))
    for number in connection.execute(unfinished).scalars().all():
        cancel(connection, find_sending(connection, mailing.account_id, number))


def set_feed(connection: Connection, storage: Storage, account: Account, folder: str, profile: Profile) -> Feed:
    """Give a folder its profile, replacing an earlier one, and make the folder.

    Raises:
        InvalidFolder: the folder is not `import/<list number>` or below it, or is a server's own folder.
        InvalidProfile: the profile says what cannot be done.
        UnknownList: the account has no list of that number.
    """
    _check(profile)
    folder, number = parse_folder(folder)
    mailing = find_list(connection, account.id, number)
    here = (feed.c.account_id == account.id) & (feed.c.folder == folder)
    values = {"list_id": mailing.id, "profile": profile.to_dict()}
    if connection.execute(feed.update().where(here).values(**values)).rowcount == 0:
        now = datetime.now(UTC)
        connection.execute(feed.insert().values(account_id=account.id, folder=folder, created_at=now, **values))
    names = [name for name in OUTCOME_FOLDERS if name != REPORTS_FOLDER or "table" in profile.acknowledgements]
    storage.prepare_home(account.number, *(f"{folder}/{name}" for name in names))
    found = find_feed(connection, account.id, folder)
    assert found is not None
    forgive_passed(connection, found.id, profile, account.zone)
    return found


def remove_feed(connection: Connection, found: Feed) -> None:
    """Take a folder's profile away: it stays, with what is in it, but nothing is taken in there any more.

    Imports that wait go on; they have the profile as it was.

    Raises:
        FeedInUse: files of a partner's server are fetched into it.
    """
    # Held, so that no transfer into it can be added meanwhile.
    connection.execute(select(feed.c.id).where(feed.c.id == found.id).with_for_update())
    if connection.execute(select(transfer.c.id).where(transfer.c.feed_id == found.id).limit(1)).first() is not None:
        raise FeedInUse(f"Files of a partner's server are fetched into {found.folder}; remove that first.")
    connection.execute(feed.update().where(feed.c.id == found.id).values(list_id=None))


def _check(profile: Profile) -> None:
    check_profile(profile)
    if profile.contact is not None:
        try:
            normalise_email(profile.contact)
        except InvalidAddress as error:
            raise InvalidProfile("contact", str(error)) from None


def parse_folder(folder: str) -> tuple[str, int]:
    """Return a feed's folder in its one spelling, and the number of its list.

    Raises:
        InvalidFolder: it is not `import/<list number>` or a folder below it, or is a server's own folder.
    """
    parts = PurePosixPath(folder.strip("/")).parts
    usable = len(parts) >= 2 and parts[0] == IMPORT_FOLDER and parts[1].isascii() and parts[1].isdigit()
    if not usable or ".." in parts or any(part in OUTCOME_FOLDERS for part in parts):
        raise InvalidFolder(f"{folder!r} is not import/<list number> or a folder below it.")
    return "/".join((IMPORT_FOLDER, str(int(parts[1])), *parts[2:])), int(parts[1])


def find_feed(connection: Connection, account_id: int, folder: str) -> Feed | None:
    """Return the feed of exactly this folder, None when there is none, its list was deleted or nothing is taken in."""
    here = (feed.c.account_id == account_id) & (feed.c.folder == folder)
    row = connection.execute(select(*FEED_COLUMNS).where(here, takes_files())).one_or_none()
    return read_feed(row) if row is not None else None


def feeds_of(connection: Connection, account_id: int) -> list[Feed]:
    """Return the feeds of an account that import, by folder, without those of deleted lists."""
    return [found for found in all_feeds_of(connection, account_id) if found.kind == "import"]


def all_feeds_of(connection: Connection, account_id: int) -> list[Feed]:
    """Return the feeds of an account by folder, without those that take nothing in."""
    query = select(*FEED_COLUMNS).where(feed.c.account_id == account_id, takes_files()).order_by(feed.c.folder)
    rows = connection.execute(query).all()
    return [found for row in rows if (found := read_feed(row)) is not None]


def takes_files() -> ColumnElement[bool]:
    """Return the condition that a feed's list is there, or that it needs none."""
    listed = exists().where(mailing_list.c.id == feed.c.list_id, mailing_list.c.deleted_at.is_(None))
    return listed | (feed.c.kind != "import")


def read_feed(row: Any) -> Feed | None:
    """Return the feed of a row of `FEED_COLUMNS`, None when nothing is taken in there."""
    if row.kind == "import":
        return Feed(row.id, row.account_id, row.list_id, row.folder, Profile.from_dict(row.profile))
    folder = SendingFolder.from_dict(row.profile)
    if not folder.enabled:
        return None
    return Feed(row.id, row.account_id, None, row.folder, folder.as_profile(), row.kind)


FEED_COLUMNS = (feed.c.id, feed.c.account_id, feed.c.list_id, feed.c.folder, feed.c.profile, feed.c.kind)
