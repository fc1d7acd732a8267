"""Fetches files of a partner's server into a feed, each exactly once.

A file comes under a hidden name into the spool. What proves its completeness is checked there; then one transaction
notes it down, gives it its place in the spool and queues its import. Only after that it is removed or moved at the
partner's, its marker first, and a run that dies in between leaves just that to the next one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog
from sqlalchemy import Connection, select

from db.tables import feed
from exchange.file_names import is_temporary, matches
from jobs.completeness import LARGEST_MANIFEST, Manifest, fits, has_trailer, parse_manifest
from jobs.feeds import Feed, find_feed
from jobs.fetched_files import FetchedFiles, identity_of
from jobs.queue import enqueue_arrival
from jobs.remote_access import Dialer
from jobs.remote_sessions import Listing, RemoteError, RemoteFile, RemoteRefused, RemoteSession, StepRefused, join
from jobs.storage import sync_directory
from jobs.transfer_work import Pace, Work
from jobs.transfers import KEEP

log = structlog.get_logger()

_QUIET_RULES = ("connection", "size")
_LOOK_SECONDS = 0.5
_MAX_COUNT = 1000


class _NotYet(Exception):
    """A file is not complete, or not the one that was listed; the text says why."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    path: Path
    size: int
    sha256: str


def fetch_files(work: Work, dialer: Dialer) -> None:
    """Fetch what is new; what has to wait is told by `work.problems`.

    Raises:
        RemoteError: the server fails.
        OSError: the spool does.
    """
    _Fetching(work, dialer).run()


class _Fetching:
    def __init__(self, work: Work, dialer: Dialer) -> None:
        self._work = work
        self._dialer = dialer
        self._settings = work.transfer.settings
        self._feed = _find_feed(work)
        self._profile = self._feed.profile
        self._fetched = FetchedFiles(work)
        self._before: frozenset[RemoteFile] | None = None
        """What was there before the quiet time; None without one."""

    def run(self) -> None:
        with self._dialer.open(self._work.access) as session:
            listing = self._list(session)
            if not self._must_stay_quiet(listing):
                self._work_off(session, listing)
                return
        # Without a session, which the server would end in the meantime.
        self._stay_quiet()
        with self._dialer.open(self._work.access) as session:
            self._before = frozenset(listing.files)
            self._work_off(session, self._list(session))

    def _list(self, session: RemoteSession) -> Listing:
        return session.list_files(self._work.transfer.folder, self._is_wanted)

    def _is_wanted(self, name: str) -> bool:
        if is_temporary(name):
            return False
        return self._is_data(name) or self._is_marker(name)

    def _is_data(self, name: str) -> bool:
        if self._is_marker(name):
            return False
        if self._settings.pattern is not None:
            return matches(self._settings.pattern, name)
        return matches(self._profile.pattern, name, self._profile.match)

    def _is_marker(self, name: str) -> bool:
        return self._profile.completeness == "marker" and name.endswith(self._profile.marker_suffix)

    def _must_stay_quiet(self, listing: Listing) -> bool:
        if self._settings.quiet == 0:
            return False
        new = [file for file in listing.files if self._is_data(file.name) and self._may_be_new(file)]
        if self._profile.completeness != "marker":
            return self._profile.completeness in _QUIET_RULES and bool(new)
        markers = self._markers(listing)
        found = ((file, markers.get(self._marker_of(file))) for file in new)
        return any(marker is not None and _is_older(marker, file) is None for file, marker in found)

    def _may_be_new(self, file: RemoteFile) -> bool:
        # One without a time, that should have been put away, may be another of the same name and size.
        return not self._fetched.is_known(file) or (self._settings.after != KEEP and not file.modified)

    def _stay_quiet(self) -> None:
        left = self._settings.quiet
        while left > 0:
            self._work.check()
            self._work.stopping.wait(min(left, _LOOK_SECONDS))
            left -= _LOOK_SECONDS

    def _work_off(self, session: RemoteSession, listing: Listing) -> None:
        markers = self._markers(listing)
        if listing.unusable:
            self._work.remarks.append(f"{listing.unusable} names that no file can have here were left.")
        for file in sorted(listing.files, key=lambda file: (file.modified, file.name)):
            self._work.check()
            if not self._is_data(file.name):
                continue
            try:
                if not self._fetched.is_known(file) or self._is_another(session, file):
                    self._take_if_complete(session, file, markers)
                else:
                    self._settle(session, file, again=True)
            except (StepRefused, _NotYet) as error:
                self._work.problems.append(f"{file.name}: {error}")

    def _markers(self, listing: Listing) -> Mapping[str, RemoteFile]:
        return {file.name: file for file in listing.files if self._is_marker(file.name)}

    def _is_another(self, session: RemoteSession, file: RemoteFile) -> bool:
        """Tell whether a known file was replaced by one that is listed the same; if so, it is not known any more.

        It is looked into only where it would be removed or moved otherwise, and no time tells.
        """
        if self._settings.after == KEEP or file.modified:
            return False
        if self._receive(session, file, lambda _block: None) == self._fetched.sum_of(file):
            return False
        self._fetched.note_put_away(file)
        return True

    def _take_if_complete(self, session: RemoteSession, file: RemoteFile, markers: Mapping[str, RemoteFile]) -> None:
        if self._profile.completeness == "marker":
            marker = markers.get(self._marker_of(file))
            if marker is not None:
                self._take(session, file, self._read_marker(session, file, marker))
            return
        self._check_quiet(file)
        self._take(session, file, None)

    def _check_quiet(self, file: RemoteFile) -> None:
        if self._before is not None and file not in self._before:
            raise _NotYet("it is still being written.")

    def _marker_of(self, file: RemoteFile) -> str:
        return file.name + self._profile.marker_suffix

    def _take(self, session: RemoteSession, file: RemoteFile, manifest: Manifest | None) -> None:
        self._require_room(file.size)
        key = _key_of(self._work, file, self._fetched.generation_of(file))
        part = self._work.storage.imports / f"{key}.{secrets.token_hex(4)}.part"
        try:
            fetched = self._fetch(session, file, part)
            if session.find(self._path(file.name)) != file:
                raise _NotYet("it changed while it was fetched.")
            self._judge(fetched, manifest)
            counted = self._work.count(fetched.size)
            import_id = self._work.write(lambda at: self._record(at, file, fetched, key), **counted)
        finally:
            part.unlink(missing_ok=True)
        self._fetched.add(file, fetched.sha256)
        log.info("file_fetched", transfer_id=self._work.transfer.id, import_id=import_id, size=fetched.size)
        self._settle(session, file)

    def _fetch(self, session: RemoteSession, file: RemoteFile, part: Path) -> _Fetched:
        """Stream a file into the spool, durably."""
        with part.open("wb") as out:
            sha256 = self._receive(session, file, out.write)
            out.flush()
            os.fsync(out.fileno())
        return _Fetched(part, file.size, sha256)

    def _receive(self, session: RemoteSession, file: RemoteFile, write: Callable[[bytes], object]) -> str:
        """Read a file and return its SHA-256; stop as soon as it is longer than it was said to be."""
        digest, pace, size = hashlib.sha256(), Pace(), 0

        def take(block: bytes) -> None:
            nonlocal size
            self._work.check()
            write(block)
            digest.update(block)
            size += len(block)
            pace.check(size)
            if size > file.size:
                raise _NotYet("it is longer than it was listed.")

        session.fetch(self._path(file.name), take)
        if size != file.size:
            raise _NotYet(f"{size} bytes came instead of the {file.size} listed.")
        return digest.hexdigest()

    def _read_marker(self, session: RemoteSession, file: RemoteFile, marker: RemoteFile) -> Manifest:
        text = bytearray()

        def take(block: bytes) -> None:
            text.extend(block)
            if len(text) > LARGEST_MANIFEST:
                raise _NotYet("its marker is far too long.")

        session.fetch(self._path(marker.name), take)
        manifest = parse_manifest(text.decode("utf-8-sig", "replace"), file.name)
        if manifest.size is None and manifest.sha256 is None:
            self._check_age(file, marker)
        return manifest

    def _check_age(self, file: RemoteFile, marker: RemoteFile) -> None:
        """See that a marker, which says nothing about its file, is not left from an earlier file of that name."""
        is_older = _is_older(marker, file)
        if is_older:
            raise _NotYet("its marker is older than itself.")
        if is_older is None:
            self._check_quiet(file)

    def _judge(self, fetched: _Fetched, manifest: Manifest | None) -> None:
        if manifest is not None and not fits(fetched.path, manifest):
            raise _NotYet("its size or SHA-256 is not what its marker says.")
        if self._profile.completeness == "trailer" and not has_trailer(fetched.path, self._profile):
            raise _NotYet("its last line is not the trailer that was agreed.")

    def _record(self, connection: Connection, file: RemoteFile, fetched: _Fetched, key: str) -> int:
        self._work.note_file(connection, *identity_of(file), fetched.sha256)
        spooled = self._work.storage.imports / key
        # A transaction that is repeated finds it there; one that was lost in a crash left it there, to be replaced.
        if fetched.path.exists():
            fetched.path.replace(spooled)
            sync_directory(spooled.parent)
        return enqueue_arrival(
            connection,
            self._feed,
            key=key,
            name=file.name,
            size=fetched.size,
            sha256=fetched.sha256,
            reason=self._reason(),
            door="remote",
        )

    def _reason(self) -> str:
        rule = self._profile.completeness
        if rule in _QUIET_RULES:
            return "Its size and time stayed the same." if self._settings.quiet else "It came as it was listed."
        return _REASONS[rule]

    def _require_room(self, size: int) -> None:
        storage = self._work.storage
        if shutil.disk_usage(storage.root).free - size <= storage.reserve:
            # The others may have room.
            raise _NotYet("there is no room for it on the disk here.")

    # What becomes of it at the partner's

    def _settle(self, session: RemoteSession, file: RemoteFile, *, again: bool = False) -> None:
        """Remove or move a file that is safe here, and before it its marker, which must not be left for another."""
        if self._settings.after == KEEP:
            return
        # A newer file under this name is another matter.
        if session.find(self._path(file.name)) != file:
            return
        if again:
            log.info("file_settled_again", transfer_id=self._work.transfer.id)
        if self._profile.completeness == "marker" and session.find(self._path(self._marker_of(file))) is not None:
            self._put_away(session, self._marker_of(file))
        self._put_away(session, file.name)
        if session.find(self._path(file.name)) == file:
            self._work.remarks.append(f"{file.name} is still there, though the server said that it is not.")
        else:
            self._fetched.note_put_away(file)

    def _put_away(self, session: RemoteSession, name: str) -> None:
        folder = self._settings.move_folder
        if folder is None:
            session.remove(self._path(name))
        else:
            session.rename(self._path(name), _free_path(session, folder, name), replace=False)

    def _path(self, name: str) -> str:
        return join(self._work.transfer.folder, name)


_REASONS = {
    "marker": "Its marker was there.",
    "trailer": "Its last line is the trailer that was agreed.",
    "rename": "It had its final name.",
}


def _find_feed(work: Work) -> Feed:
    with work.database.read() as connection:
        folder = connection.execute(select(feed.c.folder).where(feed.c.id == work.transfer.feed_id)).scalar_one()
        found = find_feed(connection, work.account.id, folder)
    if found is None:
        raise RemoteRefused("The list that the files are for was deleted.")
    return found


def _is_older(marker: RemoteFile, file: RemoteFile) -> bool | None:
    """Tell whether a marker was last changed before its file; None when the server does not tell."""
    if not marker.modified or not file.modified:
        return None
    return int(marker.modified) < int(file.modified)


def _key_of(work: Work, file: RemoteFile, generation: int) -> str:
    """Return the name in the spool: the same for the same remote file, so that no attempt leaves a second copy."""
    facts = (work.transfer.id, work.transfer.created_at.isoformat(), *identity_of(file), generation)
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:32]


def _free_path(session: RemoteSession, folder: str, name: str) -> str:
    """Return where a file can be moved to, with a counter before the suffix while the name is taken."""
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    candidate = join(folder, name)
    for count in range(1, _MAX_COUNT):
        if session.find(candidate) is None:
            return candidate
        candidate = join(folder, f"{stem}-{count}{suffix}")
    raise RemoteError(f"The folder {folder} has too many files named like {name}.")
