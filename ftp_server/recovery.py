"""Finishes what a stopped or killed FTP server had begun, before the next one listens.

Only notes are proof: a file is imported at start because its note says that all its rule asks for had been seen, not
because it stands in a folder. A file in its quiet time counts as complete, since it was acknowledged while its control
connection lived. Every step can be interrupted and done again: a file counts as given to the import queue once an
arrival with its key is in the database, and its note goes only after that.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import Connection, select

from audience.accounts import find_account, load_account
from audience.errors import UnknownAccount
from db.engine import Database
from db.tables import account, import_run, sending_file
from ftp_server.arrival import Step, judge_marked
from ftp_server.evidence import find_evidence
from ftp_server.journal import Note, read_notes, remove_note, write_note
from ftp_server.markers import put_marker_aside, use_up_marker
from ftp_server.names import Role, marked_name, role_of
from ftp_server.records import is_recorded, look_up, record_complete, record_incomplete
from ftp_server.uploads import put_aside
from jobs.feeds import Feed, all_feeds_of
from jobs.storage import Storage

log = structlog.get_logger()

STOPPED = "The server stopped before the upload was complete."
_STUCK = "It had been judged incomplete before the server stopped."
_RESUMED = "It had been judged complete before the server stopped."
_WATCHED = "It had been received with a living control connection before the server stopped."


def recover(database: Database, storage: Storage) -> None:
    """Put half uploads aside, finish imports that were promised, and report files that nobody promised to import.

    No FTP server may be running on this storage; all else may, so files can vanish at any moment. A file that cannot
    be dealt with keeps its note for the next start.

    Args:
        database: takes the verdicts.
        storage: prepared.
    """
    # What is judged already comes first: a file may have a note of its own beside that of its marker.
    for key, note in sorted(read_notes(storage), key=_waits):
        if note is None:
            log.warning("upload_note_unreadable")
            remove_note(storage, key)
            continue
        try:
            _Upload(database, storage, key, note).recover()
        except OSError as error:
            log.error("upload_not_recovered", account=note.account, error=type(error).__name__)
    _report_rest(database, storage)


def _waits(item: tuple[str, Note | None]) -> bool:
    note = item[1]
    return note is not None and note.standing == "waiting"


class _Upload:
    """An upload that an earlier process left, known by its note."""

    def __init__(self, database: Database, storage: Storage, key: str, note: Note) -> None:
        self._database = database
        self._storage = storage
        self._key = key
        self._note = note
        self._target = storage.home(note.account) / note.folder / note.name
        self._received = storage.receiving / key
        self._spooled = storage.imports / key

    def recover(self) -> None:
        feed = self._find_feed()
        if self._received.exists():
            self._put_aside(feed, self._received, STOPPED)
        elif feed is None:
            self._give_up()
        elif self._note.standing == "incomplete":
            self._put_stuck_aside(feed)
        elif self._note.standing == "waiting":
            self._pair(feed)
        elif self._note.standing != "receiving":
            self._finish(feed, _WATCHED if self._note.standing == "watched" else _RESUMED)
        remove_note(self._storage, self._key)

    def _find_feed(self) -> Feed | None:
        with self._database.read() as connection:
            try:
                account_id = find_account(connection, self._note.account).id
            except UnknownAccount:
                return None
        return look_up(self._database, self._storage, account_id, self._note.folder).feed

    def _put_aside(self, feed: Feed | None, path: Path, reason: str) -> None:
        size = path.stat().st_size
        if feed is not None and role_of(feed.profile, self._note.name) is not Role.MARKER:
            record_incomplete(self._database, feed, self._key, self._note.name, size, reason, self._note.door)
        put_aside(path, self._target)
        log.warning("upload_incomplete", account=self._note.account, size=size, reason=reason)

    def _put_stuck_aside(self, feed: Feed) -> None:
        if _inode_of(self._target) == self._note.inode:
            self._put_aside(feed, self._target, _STUCK)

    def _give_up(self) -> None:
        # The folder has no profile any more, so nothing says how to read the file; it stays where it is.
        if self._note.standing in ("watched", "complete"):
            log.warning("upload_without_profile", account=self._note.account)
        if self._spooled.exists():
            with self._database.write() as connection:
                _remove_unknown(connection, self._spooled)

    def _pair(self, feed: Feed) -> None:
        """Judge a file and its marker, whose second had come and was not answered yet."""
        if feed.profile.completeness != "marker" or self._note.rule != "marker":
            return
        name = marked_name(feed.profile, self._note.name) or self._note.name
        target = self._target.with_name(name)
        if not target.is_file() or target.stat().st_nlink > 1:
            return
        verdict = judge_marked(find_evidence(feed.profile, target, target))
        if verdict.step is Step.ADOPT:
            self._continue_as(replace(self._note, name=name, inode=target.stat().st_ino, standing="complete"))
            self._finish(feed, verdict.reason)
        elif verdict.step is Step.PUT_ASIDE:
            self._continue_as(replace(self._note, name=name, inode=target.stat().st_ino, standing="incomplete"))
            put_marker_aside(feed, target)
            self._put_aside(feed, target, verdict.reason)

    def _continue_as(self, note: Note) -> None:
        write_note(self._storage, self._key, note)
        self._note, self._target = note, self._target.with_name(note.name)

    def _finish(self, feed: Feed, reason: str) -> None:
        with self._database.read() as connection:
            if is_recorded(connection, self._key):
                return
        if not self._spooled.exists():
            if _inode_of(self._target) != self._note.inode:
                log.warning("upload_vanished", account=self._note.account, feed=feed.id)
                return
            self._spooled.hardlink_to(self._target)
        use_up_marker(feed, self._target)
        note = self._note
        adopted = record_complete(self._database, self._storage, feed, self._key, note.name, reason, note.door)
        told = {"kind": feed.kind, "run_id": adopted.run_id, "size": adopted.size}
        log.info("upload_complete", feed=feed.id, reason=reason, **told)


def _report_rest(database: Database, storage: Storage) -> None:
    """Log files in feeds' folders that are not being imported, and remove links that this door made of them."""
    visible: dict[int | None, tuple[Feed, int]] = {
        inode: (feed, size) for feed, folder in _folders(database, storage) for inode, size in _data_in(feed, folder)
    }
    for inode in _spooled_among(database, storage, visible):
        del visible[inode]
    for inode, (feed, size) in visible.items():
        log.warning("file_not_judged", feed=feed.id, rule=feed.profile.completeness, inode=inode, size=size)


def _folders(database: Database, storage: Storage) -> list[tuple[Feed, Path]]:
    with database.read() as connection:
        owners = [load_account(connection, key) for key in connection.execute(select(account.c.id)).scalars().all()]
        return [
            (feed, storage.home(owner.number) / feed.folder)
            for owner in owners
            for feed in all_feeds_of(connection, owner.id)
        ]


def _data_in(feed: Feed, folder: Path) -> Iterator[tuple[int, int]]:
    """Yield inode and size of the files that the folder's profile would import."""
    for path in sorted(folder.glob("*")):
        with suppress(OSError):
            if role_of(feed.profile, path.name) is Role.DATA and path.is_file() and not path.is_symlink():
                found = path.stat()
                yield found.st_ino, found.st_size


def _spooled_among(database: Database, storage: Storage, visible: Container[int | None]) -> set[int | None]:
    """Return the inodes that an import has; a link in the spool without import or note is removed.

    Such a link is this door's, whose note was lost, since its inode stands in a feed's folder too; other doors link
    files before their imports are in the database, but never to there.
    """
    links = [path for path in storage.imports.iterdir() if _inode_of(path) in visible]
    if not links:
        return set()
    kept: set[int | None] = set()
    with database.write() as connection:
        for link in links:
            inode = _inode_of(link)
            if inode in visible and not _remove_unknown(connection, link):
                kept.add(inode)
    return kept


def _remove_unknown(connection: Connection, spooled: Path) -> bool:
    """Remove a file of the spool unless a run has it; return whether it is gone."""
    for runs in (import_run, sending_file):
        known = select(runs.c.id).where(runs.c.spool_name == spooled.name)
        if connection.execute(known).first() is not None:
            return False
    spooled.unlink(missing_ok=True)
    return True


def _inode_of(path: Path) -> int | None:
    """Return None when there is no such file."""
    try:
        return path.stat().st_ino if path.is_file() else None
    except FileNotFoundError:
        return None
