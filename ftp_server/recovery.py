"""Finishes what a stopped or killed FTP server had begun, before the next one listens.

Every step can be interrupted and done again: a file counts as given to the import queue once an arrival with its
key is in the database, and its note goes only after that.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import structlog
from sqlalchemy import select

from audience.accounts import Account, find_account, load_account
from audience.errors import UnknownAccount
from db.engine import Database
from db.tables import account, import_run
from ftp_server.arrival import Step, judge_found
from ftp_server.desk import put_marker_aside, use_up_marker
from ftp_server.evidence import find_evidence
from ftp_server.journal import Note, read_notes, remove_note, write_note
from ftp_server.names import Role, role_of
from ftp_server.records import is_recorded, look_up, record_complete, record_incomplete
from ftp_server.uploads import put_aside
from jobs.feeds import Feed, feeds_of
from jobs.storage import Storage

log = structlog.get_logger()

STOPPED = "The server stopped before the upload was complete."
_RESUMED = "It had been judged complete before the server stopped."


def recover(database: Database, storage: Storage) -> None:
    """Put half uploads aside, finish imports that were promised, and judge files that were shown and not judged.

    No FTP server may be running on this storage.

    Args:
        database: takes the verdicts.
        storage: prepared.
    """
    for key, note in read_notes(storage):
        if note is None:
            remove_note(storage, key)
        else:
            _Upload(database, storage, key, note).recover()
    _remove_unrecorded(database, storage)
    for feed, home in _feeds(database, storage):
        _judge_folder(database, storage, feed, home)


class _Upload:
    """An upload that an earlier process left, known by its note."""

    def __init__(self, database: Database, storage: Storage, key: str, note: Note) -> None:
        self._database = database
        self._storage = storage
        self._key = key
        self._note = note
        self._target = storage.home(note.account) / note.folder / note.name
        self._received = storage.receiving / key

    def recover(self) -> None:
        feed = self._find_feed()
        if self._received.exists():
            self._put_aside(feed)
        elif feed is not None and not self._is_recorded():
            self._finish(feed)
        remove_note(self._storage, self._key)

    def _find_feed(self) -> Feed | None:
        with self._database.read() as connection:
            try:
                account_id = find_account(connection, self._note.account).id
            except UnknownAccount:
                return None
        return look_up(self._database, self._storage, account_id, self._note.folder).feed

    def _is_recorded(self) -> bool:
        with self._database.read() as connection:
            return is_recorded(connection, self._key)

    def _put_aside(self, feed: Feed | None) -> None:
        size = self._received.stat().st_size
        if feed is not None and role_of(feed.profile, self._note.name) is not Role.MARKER:
            record_incomplete(self._database, feed, self._key, self._note.name, size, STOPPED)
        put_aside(self._received, self._target)
        log.warning("upload_incomplete", account=self._note.account, size=size, reason=STOPPED)

    def _finish(self, feed: Feed) -> None:
        spooled = self._storage.imports / self._key
        if not spooled.exists():
            if not self._note.inode or not _has_inode(self._target, self._note.inode):
                return
            spooled.hardlink_to(self._target)
        use_up_marker(feed, self._target)
        _record(self._database, self._storage, feed, self._key, self._note.name, _RESUMED)


def _remove_unrecorded(database: Database, storage: Storage) -> None:
    """Remove links in the spool that no import knows and whose visible file is still there, to be judged again."""
    links = [path for path in storage.imports.iterdir() if path.stat().st_nlink > 1]
    with database.read() as connection:
        for link in links:
            known = select(import_run.c.id).where(import_run.c.spool_name == link.name)
            if connection.execute(known).first() is None:
                link.unlink()


def _feeds(database: Database, storage: Storage) -> list[tuple[Feed, Account]]:
    with database.read() as connection:
        ids = connection.execute(select(account.c.id)).scalars().all()
        return [
            (feed, load_account(connection, account_id))
            for account_id in ids
            for feed in feeds_of(connection, account_id)
        ]


def _judge_folder(database: Database, storage: Storage, feed: Feed, owner: Account) -> None:
    folder = storage.home(owner.number) / feed.folder
    spooled = {path.stat().st_ino for path in storage.imports.iterdir()}
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.is_symlink())
    for path in files:
        if role_of(feed.profile, path.name) is Role.DATA and path.stat().st_ino not in spooled:
            _judge(database, storage, feed, owner, path)


def _judge(database: Database, storage: Storage, feed: Feed, owner: Account, path: Path) -> None:
    verdict = judge_found(feed.profile.completeness, find_evidence(feed.profile, path, path))
    key = uuid4().hex
    if verdict.step is Step.ADOPT:
        write_note(storage, key, Note(owner.number, feed.folder, path.name, path.stat().st_ino))
        (storage.imports / key).hardlink_to(path)
        use_up_marker(feed, path)
        _record(database, storage, feed, key, path.name, verdict.reason)
        remove_note(storage, key)
    elif verdict.step is Step.PUT_ASIDE:
        record_incomplete(database, feed, key, path.name, path.stat().st_size, verdict.reason)
        put_aside(path, path)
        put_marker_aside(feed, path)


def _record(database: Database, storage: Storage, feed: Feed, key: str, name: str, reason: str) -> None:
    adopted = record_complete(database, storage, feed, key, name, reason)
    log.info("upload_complete", feed=feed.id, import_id=adopted.import_id, size=adopted.size, reason=reason)


def _has_inode(path: Path, inode: int) -> bool:
    return path.is_file() and path.stat().st_ino == inode
