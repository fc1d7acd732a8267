"""Writes verdicts on uploads into the database. Slow; not for the FTP loop."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.engine import Database
from db.tables import arrival
from ftp_server.journal import Door
from jobs.acknowledgements import tell_incomplete
from jobs.completeness import hash_file
from jobs.feeds import IMPORT_FOLDER, Feed, InvalidFolder, find_feed, parse_folder
from jobs.queue import enqueue_arrival, record_arrival
from jobs.sending_folders import FOLDERS
from jobs.sending_queue import enqueue_dropped
from jobs.storage import Storage, sync_directory


@dataclass(frozen=True, slots=True)
class Found:
    """What the server knows of a folder before a file goes into it."""

    feed: Feed | None
    list_known: bool
    """Whether the folder belongs to a list of the account; True for folders outside `import/`."""
    has_room: bool


@dataclass(frozen=True, slots=True)
class Adopted:
    """A complete upload whose import, or the run that sends what it says, is in the queue."""

    run_id: int
    size: int


def look_up(database: Database, storage: Storage, account_id: int, folder: str) -> Found:
    """Return the feed of a folder of an account's home, and whether there is room for a file."""
    if not folder.startswith(f"{IMPORT_FOLDER}/") and folder not in FOLDERS:
        return Found(None, True, storage.has_room())
    with database.read() as connection:
        feed = find_feed(connection, account_id, folder)
        known = feed is not None or folder in FOLDERS
        return Found(feed, known or _is_list(connection, account_id, folder), storage.has_room())


def _is_list(connection: Connection, account_id: int, folder: str) -> bool:
    try:
        spelled, number = parse_folder(folder)
    except InvalidFolder:
        return False
    return spelled == folder and find_feed(connection, account_id, f"{IMPORT_FOLDER}/{number}") is not None


def record_complete(
    database: Database, storage: Storage, feed: Feed, key: str, name: str, reason: str, door: Door | None
) -> Adopted:
    """Put the import of a file in the spool, or what it sends, into the queue; again with one key changes nothing."""
    sync_directory(storage.imports)
    size, sha256 = hash_file(storage.imports / key)
    with database.write() as connection:
        enqueue = enqueue_arrival if feed.kind == "import" else enqueue_dropped
        run_id = enqueue(connection, feed, key=key, name=name, size=size, sha256=sha256, reason=reason, door=door)
    return Adopted(run_id, size)


def record_incomplete(
    database: Database, feed: Feed, key: str, name: str, size: int, reason: str, door: Door | None
) -> None:
    """Record that an upload was put aside; a second call with one key changes nothing."""
    with database.write() as connection:
        if not is_recorded(connection, key):
            record_arrival(connection, feed, key=key, name=name, size=size, complete=False, reason=reason, door=door)
            tell_incomplete(connection, feed, name, reason)


def is_recorded(connection: Connection, key: str) -> bool:
    """Tell whether there is a verdict on the upload of this key."""
    return connection.execute(select(arrival.c.id).where(arrival.c.key == key)).one_or_none() is not None
