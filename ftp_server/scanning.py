"""Finds files that came to a feed's folder by none of the doors: rsync, a network file system, an object store's mount.

Nobody tells that such a file is complete, so it must have stayed the same for the time that the profile says, beside
what its completeness rule asks for. Folders are listed in a thread; names change on the FTP loop, as those of uploads.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, select

from audience.accounts import Account
from db.engine import Database
from db.tables import account, feed
from exchange.profiles import MARKER_SUFFIXES, Profile
from ftp_server.arrival import Evidence, Step, judge_marked
from ftp_server.bridge import Bridge
from ftp_server.desk import Desk
from ftp_server.evidence import find_evidence, marker_path
from ftp_server.names import Refused, Role, check_path, role_of
from jobs.feeds import FEED_COLUMNS, Feed, read_feed, takes_files
from jobs.storage import Storage

log = structlog.get_logger()

BATCH = 100
"""Files that are given to the import queue between two looks at the folders; more would hold up the FTP loop."""
_REST = 10
"""How many times longer than a look the pause after it is, at least."""

Signature = tuple[int, ...]
"""What changes when a file, or its marker, is changed or replaced."""


@dataclass(slots=True)
class _Sight:
    """A file that may have to be imported, as it was when it was last found changed."""

    signature: int
    since: float
    age: float
    """Of its content, as a time stamp."""
    is_settled: bool = False
    """It stays where it is until it changes: there is something wrong with it, which has been told."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that has stayed the same for long enough, and has all that its profile asks for."""

    account: Account
    feed: Feed
    path: Path
    signature: Signature
    reason: str


class Scanner:
    """Looks into the folders of all feeds again and again, while the FTP server runs."""

    def __init__(
        self, database: Database, storage: Storage, desk: Desk, bridge: Bridge, ioloop: Any, *, pause: float
    ) -> None:
        """Set up; `start` begins.

        Args:
            database: knows the feeds.
            storage: has their folders.
            desk: takes what is found.
            bridge: of the loop.
            ioloop: the loop.
            pause: seconds between two looks, at least.
        """
        self._database = database
        self._storage = storage
        self._desk = desk
        self._bridge = bridge
        self._ioloop = ioloop
        self._pause = pause
        self._pool = ThreadPoolExecutor(1, "ftp-scan")
        self._lookouts: dict[int, Lookout] = {}

    def start(self) -> None:
        """Begin with the first look; on the loop."""
        if not self._desk.stopping:
            self._bridge.submit(self._pool, self._look, self._looked)

    def close(self) -> None:
        """Free the thread, once the loop has ended."""
        self._pool.shutdown()

    def _look(self) -> tuple[list[Found], float]:
        begun = time.monotonic()
        with self._database.read_once() as connection:
            feeds = list(_scanned_feeds(connection))
        kept = {found.id: self._lookouts.get(found.id) for _, found in feeds}
        self._lookouts = {found.id: self._lookout(kept[found.id], owner, found) for owner, found in feeds}
        quiet = [item for lookout in self._lookouts.values() for item in lookout.look(begun)]
        ready = list(self._choose(quiet))
        return ready, time.monotonic() - begun

    def _lookout(self, kept: Lookout | None, owner: Account, found: Feed) -> Lookout:
        if kept is not None and kept.feed == found:
            return kept
        return Lookout(owner, found, self._storage.home(owner.number) / found.folder)

    def _choose(self, quiet: list[tuple[float, str, Lookout]]) -> Iterator[Found]:
        """Yield the oldest of the files that are complete, at most `BATCH`."""
        noted = set(_noted_inodes(self._storage)) if quiet else set()
        count = 0
        for _, name, lookout in sorted(quiet, key=lambda item: item[:2]):
            found = lookout.judge(name, noted)
            if found is not None:
                yield found
                count += 1
            if count == BATCH:
                return

    def _looked(self, future: Future[tuple[list[Found], float]]) -> None:
        pause = self._pause
        if future.exception() is not None:
            log.error("folders_not_scanned", error=type(future.exception()).__name__)
        else:
            ready, seconds = future.result()
            for found in ready:
                self._take(found)
            if len(ready) < BATCH:
                pause = max(pause, seconds * _REST)
        self._ioloop.call_later(pause, self.start)

    def _take(self, found: Found) -> None:
        # An upload may have taken its name since, which is judged by other rules.
        if _sign(found.feed.profile, found.path) != found.signature or self._desk.stopping:
            return
        try:
            self._desk.adopt_found(found.account, found.feed, found.path, "scan", found.reason)
        except OSError as error:
            # It is found again by the next look.
            log.error("found_file_not_taken", feed=found.feed.id, error=type(error).__name__)


class Lookout:
    """What has been seen in the folder of one feed."""

    def __init__(self, owner: Account, found: Feed, folder: Path) -> None:
        """Begin with nothing seen."""
        self.feed = found
        self._account = owner
        self._folder = folder
        self._sights: dict[str, _Sight] = {}

    def look(self, clock: float) -> list[tuple[float, str, Lookout]]:
        """List the folder; return age, name and this for each file that has not changed for the profile's time.

        Args:
            clock: seconds now, of a clock that only goes forward.
        """
        before, self._sights = self._sights, {}
        # Whatever is not found again is forgotten.
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder) as entries:
            for entry in entries:
                sight = self._see(entry.name, before.get(entry.name), clock)
                if sight is not None:
                    self._sights[entry.name] = sight
        quiet_since = clock - self.feed.profile.scan_seconds
        return [
            (sight.age, name, self)
            for name, sight in self._sights.items()
            if not sight.is_settled and sight.since <= quiet_since
        ]

    def _see(self, name: str, before: _Sight | None, clock: float) -> _Sight | None:
        """Return what is known of a file by now; None when it is nothing that would be imported."""
        if not _is_allowed(name):
            return before or self._settle("name")
        if role_of(self.feed.profile, name) is not Role.DATA or name.endswith(MARKER_SUFFIXES):
            return None
        signature = _sign(self.feed.profile, self._folder / name)
        if signature is None:
            return None
        changed = signature[2] / 1e9
        if changed > time.time() + self.feed.profile.scan_seconds:
            # The clocks differ, or it is a placeholder; once the time has come it is like any other.
            return before if before is not None and before.is_settled else self._settle("time")
        mark = hash(signature)
        if before is None or before.signature != mark:
            return _Sight(mark, clock, changed)
        return before

    def judge(self, name: str, noted: set[int]) -> Found | None:
        """Look closely at a file that has stayed the same; None when it is to stay where it is.

        Args:
            name: of the file.
            noted: inodes of files that uploads show, which are judged as such.
        """
        path, profile = self._folder / name, self.feed.profile
        signature = _sign(profile, path)
        if signature is None or hash(signature) != self._sights[name].signature or signature[0] in noted:
            return None
        try:
            evidence = find_evidence(profile, path, path)
        except OSError:
            # It cannot be read, or is gone.
            return None
        if evidence is Evidence.MARKER_MISSING:
            return None
        reason = f"It was found in its folder, unchanged for {profile.scan_seconds:g} seconds."
        if evidence is not Evidence.NONE:
            verdict = judge_marked(evidence)
            if verdict.step is not Step.ADOPT:
                self._sights[name].is_settled = True
                log.warning("found_file_incomplete", feed=self.feed.id, reason=verdict.reason)
                return None
            reason = f"{reason} {verdict.reason}"
        return Found(self._account, self.feed, path, signature, reason)

    def _settle(self, why: str) -> _Sight:
        log.warning("found_file_left", feed=self.feed.id, why=why)
        return _Sight(0, 0.0, 0.0, is_settled=True)


def _scanned_feeds(connection: Connection) -> Iterator[tuple[Account, Feed]]:
    """Yield the feeds whose folders are looked into: none of closed accounts or deleted lists."""
    owner = (account.c.id, account.c.number, account.c.name, account.c.time_zone, account.c.state)
    query = (
        select(*FEED_COLUMNS, *(column.label(f"owner_{column.name}") for column in owner))
        .join_from(account, feed, feed.c.account_id == account.c.id)
        .where(account.c.state == "active", takes_files())
    )
    for row in connection.execute(query):
        found = read_feed(row)
        # Only the doors see a file being renamed.
        if found is not None and found.profile.scan_seconds > 0 and found.profile.completeness != "rename":
            yield Account(*row[len(FEED_COLUMNS) :]), found


def _sign(profile: Profile, path: Path) -> Signature | None:
    """Return inode, size and time of change of a file and of its marker; None when they are not, or not only, there."""
    try:
        own = _sign_file(path)
        needed = profile.completeness == "marker"
        marker = _sign_file(marker_path(profile, path)) if own is not None and needed else ()
    except OSError:
        return None
    return own + marker if own is not None and marker is not None else None


def _sign_file(path: Path) -> Signature | None:
    found = path.lstat()
    # Another link is one in the spool, of a file that is being imported, or leads out of the folder.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_allowed(name: str) -> bool:
    """Tell whether a partner may give a file this name."""
    if name.isascii() and name.isprintable() and len(name) < 100 and name[0] != "~" and "\\" not in name:
        return True
    try:
        check_path(name, "/")
    except Refused:
        return False
    return True


def _noted_inodes(storage: Storage) -> Iterator[int]:
    """Yield the inodes of files that have a note of an upload."""
    for path in storage.receiving.glob("*.json"):
        # It may be gone, or be no note of this version.
        with suppress(OSError, orjson.JSONDecodeError, KeyError, TypeError):
            yield int(orjson.loads(path.read_bytes())["inode"])
