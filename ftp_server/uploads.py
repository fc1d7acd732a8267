"""One file on its way in: hidden in the spool while it is received, then under its name, or put aside."""

from __future__ import annotations

import errno
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import BinaryIO

from audience.accounts import Account
from ftp_server.arrival import Arrival, Ending
from ftp_server.journal import Door, Note, Standing, remove_note, write_note
from ftp_server.names import INCOMPLETE_FOLDER, Place, Refused, Role, explain_kept, role_of
from ftp_server.records import Found
from jobs.feeds import Feed
from jobs.storage import Storage, free_name

APPEND = -1
"""Offset that means the end of the file."""

CONTINUABLE_SECONDS = 12 * 3600
"""How long an incomplete file is taken for the beginning of an upload of the same name; yesterday's is not."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROOM_CHECKED_EVERY = 16 * 1024 * 1024
_SAID: dict[Door, str] = {
    "sftp": "The client closed the file over SFTP.",
    "scp": "All bytes that SCP announced came, and its last byte after them.",
}
BEING_IMPORTED = "550 The file is being imported, or was; upload it under another name or as a whole."


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an upload goes, and what is known of that place."""

    account: Account
    place: Place
    target: Path
    feed: Feed | None
    door: Door = "ftp"
    """By which the file comes."""

    @property
    def role(self) -> Role:
        return role_of(self.feed.profile if self.feed else None, self.place.name)

    @property
    def kept_because(self) -> str:
        """Why a file here is not imported, for people; empty for data and markers."""
        return explain_kept(self.feed.profile if self.feed else None, self.place.name)


def find_destination(account: Account, place: Place, target: Path, found: Found, door: Door) -> Destination:
    """Return where a file goes, or a renamed one.

    Args:
        account: whose home it is.
        place: of the file in it.
        target: the same, on disk.
        found: what `ftp_server.records.look_up` said of the folder.
        door: by which the file comes.

    Raises:
        Refused: 550, there can be no file of that name.
    """
    if not found.list_known:
        raise Refused(f"550 There is no list {place.list_name} in this account; make the list first.")
    if target.is_dir():
        raise Refused("550 There is a folder of that name.")
    if not target.parent.is_dir():
        raise Refused("550 There is no such folder.")
    return Destination(account, place, target, found.feed, door)


class Upload:
    """A file being received. It lives on the FTP loop; writing is the only work it does there."""

    def __init__(self, storage: Storage, destination: Destination, announced: int | None) -> None:
        """Prepare; nothing is on disk before `open`.

        Args:
            storage: whose spool hides the file.
            destination: where the file goes.
            announced: size in bytes that ALLO named.
        """
        self.key = uuid.uuid4().hex
        self.destination = destination
        self.role = destination.role
        feed = destination.feed
        rule = feed.profile.completeness if feed is not None and self.role is Role.DATA else None
        said = _SAID.get(destination.door, "")
        self.arrival = Arrival(rule, announced, destination.kept_because, said=said)
        self.path = storage.receiving / self.key
        """Where the file is now."""
        self.size = 0
        self.received = 0
        self.inode = 0
        self.continues_hidden = False
        """Whether it begins with an earlier part that the client cannot see under the name it writes to."""
        self._storage = storage
        self._continued: Path | None = None
        self._file: BinaryIO | None = None

    def open(self, offset: int | None) -> None:
        """Make the hidden file, or continue an earlier one.

        Args:
            offset: bytes to keep of the earlier one, `APPEND` for all; None to begin anew.

        Raises:
            Refused: there is nothing to continue there, or it is in use.
            OSError: the disk fails.
        """
        self.note_down("receiving")
        try:
            self._file = self._create() if offset is None else self._continue(offset)
        except (Refused, OSError):
            remove_note(self._storage, self.key)
            raise
        self.inode = self.path.stat().st_ino

    def note_down(self, standing: Standing) -> None:
        """Write what is known by now into the upload's note.

        Raises:
            OSError: the disk fails.
        """
        place, feed = self.destination.place, self.destination.feed
        rule = feed.profile.completeness if feed is not None else ""
        door = self.destination.door
        note = Note(self.destination.account.number, place.folder, place.name, self.inode, rule, standing, door)
        write_note(self._storage, self.key, note)

    def _create(self) -> BinaryIO:
        return self.path.open("xb", buffering=0)

    def _continue(self, offset: int) -> BinaryIO:
        partial = find_partial(self.destination.target)
        size = partial.stat().st_size if partial else 0
        if offset > size:
            raise Refused(f"554 There are only {size} bytes to continue after.")
        if partial is None:
            return self._create()
        if partial.stat().st_nlink > 1:
            raise Refused(BEING_IMPORTED)
        if partial == self.destination.target:
            partial = put_aside(partial, partial)
        else:
            self.continues_hidden = True
        # It keeps its name among the incomplete files until it is complete, so a crash leaves it there.
        self.path.hardlink_to(partial)
        self._continued = partial
        self.size = size if offset == APPEND else offset
        file = self.path.open("r+b", buffering=0)
        file.truncate(self.size)
        return file

    def write(self, data: bytes) -> None:
        """Add bytes at the end.

        Raises:
            OSError: the disk is full, or nearly so, or fails.
        """
        self.write_at(self.size, data)

    def write_at(self, offset: int, data: bytes) -> None:
        """Put bytes where they belong, also after a gap or over others.

        Raises:
            OSError: the disk is full, or nearly so, or fails.
        """
        assert self._file is not None
        rest, place = memoryview(data), offset
        while rest:
            written = os.pwrite(self._file.fileno(), rest, place)
            rest, place = rest[written:], place + written
        before, self.received = self.received, self.received + len(data)
        self.size = max(self.size, place)
        if before // _ROOM_CHECKED_EVERY != self.received // _ROOM_CHECKED_EVERY and not self._storage.has_room():
            raise OSError(errno.ENOSPC, "The reserve of free disk is reached.")

    def truncate(self, size: int) -> None:
        """Keep only the first bytes, `size` of them.

        Raises:
            OSError: the disk fails.
        """
        assert self._file is not None
        self._file.truncate(size)
        self.size = size

    def set_times(self, accessed: float, modified: float) -> None:
        """Give the file the times it has where it comes from, in seconds since 1970.

        Raises:
            OSError: the file system does not take them.
        """
        assert self._file is not None
        os.utime(self._file.fileno(), (accessed, modified))

    def close(self, ending: Ending) -> Ending:
        """Close the file; return how the upload ended, which is worse when closing fails."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                return ending_of(error)
        return ending

    def publish(self) -> None:
        """Show the file under its name, in place of what was there.

        Raises:
            OSError: the folder is gone or a folder has the name.
        """
        if self._continued is not None and is_same(self._continued, self.path):
            self._continued.unlink()
        self.path.replace(self.destination.target)
        self.path = self.destination.target

    def put_aside(self) -> None:
        """Move the file to the folder for incomplete files."""
        self.path = put_aside(self.path, self.destination.target)

    def discard(self) -> None:
        """Remove what this transfer brought; an earlier part that was continued stays."""
        self.close(Ending.ABORTED)
        self.path.unlink(missing_ok=True)
        remove_note(self._storage, self.key)


def find_partial(target: Path) -> Path | None:
    """Return the file that an upload to `target` may continue: the visible one, or one put aside not long ago."""
    if target.is_file():
        return target
    partial = target.parent / INCOMPLETE_FOLDER / target.name
    if partial.is_file() and partial.stat().st_mtime > time() - CONTINUABLE_SECONDS:
        return partial
    return None


def put_aside(path: Path, target: Path) -> Path:
    """Move a file that should have come to `target` to the folder `incomplete` there; return where it is.

    The newest keeps its name, since that is the one an upload may continue; an older one gets a number.
    """
    folder = target.parent / INCOMPLETE_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / target.name
    if is_same(place, path):
        path.unlink()
        return place
    if place.exists():
        place.rename(free_name(folder, target.name))
    return path.rename(place)


def is_same(path: Path, other: Path) -> bool:
    """Tell whether two names are there and stand for one file."""
    return path.exists() and other.exists() and path.samefile(other)


def ending_of(error: OSError) -> Ending:
    """Return how an upload ended whose storing failed like this."""
    return Ending.DISK_FULL if error.errno in _FULL else Ending.DISK_FAILED
