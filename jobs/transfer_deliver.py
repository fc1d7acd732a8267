"""Brings the files of an export to a partner's server, each exactly once and never half-visible under its name.

A file is stored under a temporary name, and its size compared. Then it is noted down that its renaming is due, then it
is renamed, then that it is done. A run that finds a renaming due looks for the temporary file, then for the final one;
if neither is as it should be, the file is brought anew.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import structlog
from sqlalchemy import Row, select

from db.tables import export, export_run, transferred_file
from jobs.remote_access import Dialer
from jobs.remote_sessions import BLOCK, RemoteError, RemoteSession, StepRefused, join
from jobs.transfer_work import Pace, Work

log = structlog.get_logger()

_RENAMING = ":renaming"


@dataclass(frozen=True, slots=True)
class _Outgoing:
    run_id: int
    """Of the export; with the path it is what the file is known by, as names come again."""
    path: str
    """Relative to the home."""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


def deliver_files(work: Work, dialer: Dialer) -> None:
    """Bring what is new, oldest first; what has to wait is told by `work.problems`.

    Raises:
        RemoteError: the server fails.
        OSError: the home does.
    """
    _Delivery(work).run(dialer)


class _Delivery:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._home = work.storage.home(work.account.number)
        self._replace = work.transfer.settings.replace

    def run(self, dialer: Dialer) -> None:
        waiting = self._find_waiting()
        if not waiting and not self._find_outgoing():
            return
        with dialer.open(self._work.access) as session:
            for row in waiting:
                self._guard(row.name, lambda row=row: self._resume(session, row))
            # With those among them that have to be brought anew.
            for file in self._find_outgoing():
                self._guard(file.path, lambda file=file: self._bring(session, file))

    def _guard(self, path: str, action: Any) -> None:
        self._work.check()
        try:
            action()
        except StepRefused as error:
            self._work.problems.append(f"{PurePosixPath(path).name}: {error}")

    def _find_waiting(self) -> list[Row[Any]]:
        """Return the files whose renaming is due."""
        mine = transferred_file.c.transfer_id == self._work.transfer.id
        due = transferred_file.c.modified.like(f"%{_RENAMING}")
        with self._work.database.read_once() as connection:
            return list(connection.execute(select(transferred_file).where(mine, due).order_by(transferred_file.c.id)))

    def _find_outgoing(self) -> list[_Outgoing]:
        transfer = self._work.transfer
        done = export_run.c.state == "completed"
        if transfer.settings.new_only:
            done &= export_run.c.finished_at >= transfer.created_at
        columns = (export_run.c.id, export_run.c.files, export_run.c.file_name, export.c.settings)
        query = select(*columns).join(export, export.c.id == export_run.c.export_id)
        query = query.where(export.c.id == transfer.export_id, done).order_by(export_run.c.id)
        known = select(transferred_file.c.name, transferred_file.c.modified)
        known = known.where(transferred_file.c.transfer_id == transfer.id)
        with self._work.database.read() as connection:
            before = {(row.name, row.modified.removesuffix(_RENAMING)) for row in connection.execute(known)}
            found = [_Outgoing(row.id, path) for row in connection.execute(query) for path in _paths_of(row)]
        return [file for file in found if (file.path, str(file.run_id)) not in before]

    def _bring(self, session: RemoteSession, file: _Outgoing) -> None:
        try:
            stream = _open_regular(self._home / file.path)
        except FileNotFoundError:
            self._work.remarks.append(f"{file.name} is not in the home any more.")
            return
        target, part = self._paths(file.path)
        with stream:
            # Before the whole of it is sent.
            if not self._replace and session.find(target) is not None:
                raise StepRefused("There is a file of that name already.")
            size, sha256 = self._put(session, stream, part)
        found = session.find(part)
        if found is None or found.size != size:
            kept = found.size if found is not None else 0
            raise RemoteError(f"{file.name}: the server kept {kept} of {size} bytes.")
        identity = (file.path, size, f"{file.run_id}{_RENAMING}")
        self._work.write(lambda connection: self._work.note_file(connection, *identity, sha256))
        self._finish(session, *identity)

    def _put(self, session: RemoteSession, stream: BinaryIO, part: str) -> tuple[int, str]:
        digest, pace, size = hashlib.sha256(), Pace(), 0

        def blocks() -> Iterator[bytes]:
            nonlocal size
            while block := stream.read(BLOCK):
                self._work.check()
                pace.check(size)
                digest.update(block)
                size += len(block)
                yield block

        session.put(blocks(), part)
        return size, digest.hexdigest()

    def _resume(self, session: RemoteSession, row: Row[Any]) -> None:
        """Go on with a file whose renaming was due when the run before ended."""
        target, part = (session.find(path) for path in self._paths(row.name))
        if part is not None and part.size == row.size:
            self._finish(session, row.name, row.size, row.modified)
        elif part is None and target is not None and target.size == row.size:
            self._note_done(row.name, row.size, row.modified)
        else:
            log.warning("file_brought_anew", transfer_id=self._work.transfer.id, size=row.size)
            gone = transferred_file.delete().where(transferred_file.c.id == row.id)
            self._work.write(lambda connection: connection.execute(gone))

    def _finish(self, session: RemoteSession, path: str, size: int, modified: str) -> None:
        target, part = self._paths(path)
        session.rename(part, target, replace=self._replace)
        self._note_done(path, size, modified)

    def _note_done(self, path: str, size: int, modified: str) -> None:
        here = (transferred_file.c.transfer_id == self._work.transfer.id) & (transferred_file.c.name == path)
        done = transferred_file.update().where(here, transferred_file.c.modified == modified)
        values = {"modified": modified.removesuffix(_RENAMING)}
        self._work.write(lambda connection: connection.execute(done.values(values)), **self._work.count(size))
        log.info("file_brought", transfer_id=self._work.transfer.id, size=size)

    def _paths(self, path: str) -> tuple[str, str]:
        """Return the final and the temporary path of a file at the partner's."""
        folder, name = self._work.transfer.folder, PurePosixPath(path).name
        return join(folder, name), join(folder, f".{name}.part")


def _paths_of(row: Any) -> list[str]:
    if row.files:
        return list(row.files)
    return [f"{row.settings['folder']}/{row.file_name}"] if row.file_name else []


def _open_regular(path: Path) -> BinaryIO:
    """Open a file of a home for reading; a link, or anything else that is no file, is as if it were not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileNotFoundError(path.name) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path.name)
    return os.fdopen(descriptor, "rb")
