"""What an SFTP or SCP client can do with files: the same home and the same rules as over FTP."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, ParamSpec, TypeVar

import asyncssh
from asyncssh import SFTPAttrs, SFTPServer
from asyncssh.constants import (
    FXF_APPEND,
    FXF_CREAT,
    FXF_EXCL,
    FXF_TRUNC,
    FXF_WRITE,
)

from audience.ftp_users import FtpUser
from ftp_server.arrival import Ending
from ftp_server.homes import Home
from ftp_server.names import (
    Place,
    Refused,
    check_folder,
    check_path,
    check_upload,
    is_protected,
    read_name,
)
from ftp_server.quotas import check_quota, room_in_home
from ftp_server.records import Found, look_up
from ftp_server.sftp_errors import answering, unsupported
from ftp_server.sftp_folders import Listing, describe
from ftp_server.sftp_uploads import Incoming, Outgoing, Room
from ftp_server.uploads import APPEND, Upload, ending_of, find_destination, find_partial
from ftp_server.visits import Visit
from jobs.feeds import IMPORT_FOLDER

if TYPE_CHECKING:
    from ftp_server.ftp import Door

P = ParamSpec("P")
T = TypeVar("T")

MAX_FILES = 64
"""Files that one session may have open at a time; a security limit."""

_REMEMBERED = 100
_REMEMBERED_SECONDS = 30.0
_WRITES = FXF_WRITE | FXF_APPEND


class Files(SFTPServer):
    """One session's view of a home, and what it has open there."""

    def __init__(
        self,
        channel: asyncssh.SSHServerChannel[bytes],
        door: Door,
        user: FtpUser,
        name: Protocol,
        visit: Visit,
    ) -> None:
        """Begin with nothing open.

        Args:
            channel: of the session.
            door: what all sessions share.
            user: who has logged in.
            name: of the protocol.
            visit: counts what is moved.
        """
        super().__init__(channel)
        self._door = door
        self._user = user
        self._name: Protocol = name
        self._visit = visit
        root = door.storage.home(user.account.number).resolve()
        self._root = root
        self._view = Home(str(root), None)
        self._open: set[Incoming | Outgoing] = set()
        self._listings: set[Listing] = set()
        self._room = Room(partial(self._in_thread, room_in_home, door.storage, user))
        self._sent: OrderedDict[Path, tuple[float, SFTPAttrs]] = OrderedDict()

    # Names

    def _find(self, raw: bytes) -> Path:
        """Return where on disk a client's path leads.

        Raises:
            Refused: nowhere in the home.
        """
        path = read_name(raw)
        check_path(path, "/")
        found = self._view.ftp2fs(path)
        if not self._view.validpath(found):
            raise Refused("550 There is no such file or folder.")
        return Path(found)

    def _place(self, path: Path) -> Place:
        return Place.of(self._root, path)

    def _must_write(self) -> None:
        if not self._user.rights.may_write:
            raise Refused("550 This user may not write.")

    def _must_read(self) -> None:
        if not self._user.rights.may_read:
            raise Refused("550 This user may not read.")

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        job = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._door.pool, job)

    async def _on_ftp_loop(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what changes names where all such changes are one sequence."""
        return await asyncio.wrap_future(self._door.bridge.ask(function, *args, **kwargs))

    async def _look_up(self, folder: str) -> Found:
        return await self._in_thread(look_up, self._door.database, self._door.storage, self._user.account.id, folder)

    # Files

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> Incoming | Outgoing:
        """Open a file, to read it or to write it."""
        with answering():
            self._check_open()
            target = self._find(path)
            file = await self._receive(target, pflags, None) if pflags & _WRITES else self._send(target)
            self._open.add(file)
            return file

    async def create(self, path: bytes, size: int) -> Incoming:
        """Begin an upload whose size in bytes the client has announced."""
        with answering():
            self._check_open()
            file = await self._receive(self._find(path), FXF_WRITE | FXF_CREAT | FXF_TRUNC, size)
            self._open.add(file)
            return file

    def _check_open(self) -> None:
        if len(self._open) >= MAX_FILES:
            raise Refused(f"450 A session may have {MAX_FILES} files open.")

    def _send(self, path: Path) -> Outgoing:
        self._must_read()
        return Outgoing(path, self._door.admission.limiter(self._user))

    async def _receive(self, target: Path, pflags: int, announced: int | None) -> Incoming:
        self._must_write()
        place = self._place(target)
        check_upload(place)
        found = await self._look_up(place.folder)
        if refusal := await self._in_thread(check_quota, self._door.storage, self._user, announced or 0):
            raise Refused(f"552 {refusal}")
        await self._room.measure()
        upload = await self._on_ftp_loop(self._open_upload, target, found, pflags, announced)
        door, appends = self._door, bool(pflags & FXF_APPEND)
        return Incoming(upload, door.desk, door.bridge, door.admission.limiter(self._user), self._room, appends=appends)

    def _open_upload(self, target: Path, found: Found, pflags: int, announced: int | None) -> Upload:
        destination = find_destination(self._user.account, self._place(target), target, found, self._name)
        if not found.has_room:
            raise Refused("452 Not enough space.")
        if pflags & FXF_EXCL and target.exists():
            raise FileExistsError(errno.EEXIST, "")
        if not pflags & FXF_CREAT and find_partial(target) is None:
            raise FileNotFoundError(errno.ENOENT, "")
        continues = not pflags & FXF_TRUNC
        if continues and self._door.desk.is_watched(target):
            raise Refused("450 The file is being judged; try again later.")
        upload = Upload(self._door.storage, destination, announced)
        try:
            upload.open(APPEND if continues else None)
        except OSError as error:
            full = ending_of(error) is Ending.DISK_FULL
            raise Refused("452 Not enough space." if full else "451 The file could not be stored.") from error
        return upload

    async def close(self, file_obj: object) -> None:
        """Let go of a file; one that was written is durable, judged and in the import queue after that."""
        with answering():
            file = _opened(file_obj)
            if file not in self._open:
                return
            if isinstance(file, Incoming):
                self._open.discard(file)
                await self._finish(file)
            else:
                await self.drop(file, Ending.END)
            self._visit.count_file(sent=isinstance(file, Outgoing))

    async def _finish(self, file: Incoming) -> None:
        self._visit.count(received=file.upload.received)
        self._remember(file.upload)
        reply = await file.close()
        if not reply.startswith("2"):
            self._sent.pop(file.upload.destination.target, None)
            raise Refused(reply)

    def _remember(self, upload: Upload) -> None:
        """Keep what clients ask about a file they have just sent, since its import may move it at once."""
        self._sent[upload.destination.target] = time.monotonic(), describe(upload.path.stat())
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def _recall(self, target: Path) -> SFTPAttrs | None:
        """Return how a file that was sent a moment ago looked, when it is not there any more."""
        since, attrs = self._sent.get(target, (0.0, None))
        recent = time.monotonic() < since + _REMEMBERED_SECONDS
        return attrs if recent and not target.exists() else None

    async def abandon(self) -> None:
        """Let go of all that is open, since the client is gone; what it was writing is put aside."""
        for file in list(self._open):
            await self.drop(file, Ending.LOST)
        self.close_listings()

    async def drop(self, file: Incoming | Outgoing, ending: Ending) -> None:
        """Let go of a file; one that was being written is put aside, one that is judged already stays as it is."""
        if file not in self._open:
            return
        self._open.discard(file)
        if isinstance(file, Incoming):
            self._visit.count(received=file.upload.received)
            await file.abandon(ending)
        else:
            self._visit.count(sent=file.sent)
            file.close()

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """Return bytes of a file that is open for reading."""
        with answering():
            file = _opened(file_obj)
            if isinstance(file, Incoming):
                raise Refused("550 The file is open for writing.")
            return await file.read(offset, size)

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Take bytes of a file that is open for writing."""
        with answering():
            await self._written(file_obj).write(offset, data)
            return len(data)

    def _written(self, file_obj: object) -> Incoming:
        file = _opened(file_obj)
        if isinstance(file, Outgoing):
            raise Refused("550 The file is open for reading.")
        return file

    async def fsync(self, file_obj: object) -> None:
        """Do nothing: a file is made durable when it is closed."""

    def fstat(self, file_obj: object) -> SFTPAttrs:
        """Describe an open file."""
        with answering():
            file = _opened(file_obj)
            return describe(file.stat() if isinstance(file, Outgoing) else file.upload.path.stat())

    def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        """Give an open file the times of its original."""
        with answering():
            upload = self._written(file_obj).upload
            if attrs.size is not None and attrs.size != upload.size:
                raise Refused("550 Sizes of files are not changed.")
            if attrs.atime is not None and attrs.mtime is not None:
                upload.set_times(attrs.atime, attrs.mtime)

    # Names of files and folders

    def lstat(self, path: bytes) -> SFTPAttrs:
        """Describe what has a name."""
        with answering():
            return describe(self._find(path).lstat())

    def stat(self, path: bytes) -> SFTPAttrs:
        """Describe what has a name, or the incomplete file that an upload to this name would continue."""
        with answering():
            target = self._find(path)
            if (sent := self._recall(target)) is not None:
                return sent
            continuable = None if target.exists() else find_partial(target)
            return describe((continuable or target).lstat())

    def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Give a file the times of its original; modes and owners are the server's own and stay."""
        with answering():
            self._must_write()
            target = self._find(path)
            if attrs.size is not None:
                raise Refused("550 Sizes of files are not changed.")
            if self._recall(target) is not None:
                return
            target.lstat()
            if attrs.atime is not None and attrs.mtime is not None:
                os.utime(target, (attrs.atime, attrs.mtime))

    def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Do what `setstat` does: there are no links."""
        self.setstat(path, attrs)

    def scandir(self, path: bytes) -> Listing:
        """Yield what is in a folder."""
        with answering():
            listing = Listing(self._find(path), self._in_thread)
            self._listings.add(listing)
            return listing

    def close_listings(self, still_read: Collection[object] = ()) -> None:
        """Let go of folders that the client has closed."""
        for listing in [listing for listing in self._listings if listing not in still_read]:
            self._listings.discard(listing)
            listing.close()

    def realpath(self, path: bytes) -> bytes:
        """Return the one spelling of a path, whether anything is there or not."""
        with answering():
            text = read_name(path)
            check_path(text, "/")
            return str(self._view.ftpnorm(text)).encode()

    async def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Make a folder, though not one that looks like a list's and is none."""
        with answering():
            self._must_write()
            target = self._find(path)
            place = self._place(target)
            check_folder(place)
            if place.folder == IMPORT_FOLDER:
                found = await self._look_up(f"{IMPORT_FOLDER}/{place.name}")
                if not found.list_known:
                    raise Refused(f"550 There is no list {place.name} in this account; make the list first.")
            await self._on_ftp_loop(target.mkdir)

    async def rmdir(self, path: bytes) -> None:
        """Remove an empty folder, unless the server needs it."""
        with answering():
            self._must_write()
            target = self._find(path)
            if is_protected(self._place(target)):
                raise Refused("550 This folder belongs to the server.")
            await self._on_ftp_loop(target.rmdir)

    async def remove(self, path: bytes) -> None:
        """Remove a file; if its upload was not judged yet, it never will be."""
        with answering():
            self._must_write()
            target = self._find(path)
            await self._on_ftp_loop(self._remove, target)
            self._sent.pop(target, None)

    def _remove(self, target: Path) -> None:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        self._door.desk.forget(target)
        target.unlink()

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename, unless something has the new name (draft-ietf-secsh-filexfer-02, 6.5)."""
        with answering():
            if self._find(newpath).exists():
                raise FileExistsError(errno.EEXIST, "")
        await self.posix_rename(oldpath, newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename; a final name in a list's folder means that the file is complete."""
        with answering():
            self._must_write()
            source, target = self._find(oldpath), self._find(newpath)
            place = self._place(target)
            check_upload(place)
            if source.is_dir():
                await self._on_ftp_loop(self._rename_folder, source, target)
                return
            found = await self._look_up(place.folder)
            reply: Future[str] = Future()
            self._sent.pop(source, None)
            await self._on_ftp_loop(self._rename_file, source, target, found, reply.set_result)
            answer = await asyncio.wrap_future(reply)
            if not answer.startswith("2"):
                raise Refused(answer)

    def _rename_folder(self, source: Path, target: Path) -> None:
        if is_protected(self._place(source)) or self._place(source).in_import:
            raise Refused("550 This folder cannot be renamed.")
        if self._place(target).in_import:
            raise Refused("550 Folders cannot be moved to where files are imported.")
        if target.exists():
            raise FileExistsError(errno.EEXIST, "")
        source.rename(target)

    def _rename_file(self, source: Path, target: Path, found: Found, answer: Callable[[str], None]) -> None:
        if not source.is_file():
            raise FileNotFoundError(errno.ENOENT, "")
        destination = find_destination(self._user.account, self._place(target), target, found, self._name)
        self._door.desk.rename(self._user.account, source, destination, answer)

    def statvfs(self, path: bytes) -> os.statvfs_result:
        """Describe the disk."""
        with answering():
            self._find(path)
            return os.statvfs(self._root)

    def fstatvfs(self, file_obj: object) -> os.statvfs_result:
        """Describe the disk."""
        with answering():
            return os.statvfs(self._root)

    # What there is not

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: SFTPAttrs) -> NoReturn:
        """Refuse later versions of the protocol than clients agree on with this server."""
        raise unsupported()

    def readlink(self, path: bytes) -> NoReturn:
        """Refuse: there are no links."""
        raise unsupported()

    def symlink(self, oldpath: bytes, newpath: bytes) -> NoReturn:
        """Refuse: there are no links."""
        raise unsupported()

    def link(self, oldpath: bytes, newpath: bytes) -> NoReturn:
        """Refuse: there are no links."""
        raise unsupported()

    def lock(self, file_obj: object, offset: int, length: int, flags: int) -> NoReturn:
        """Refuse locks."""
        raise unsupported()

    def unlock(self, file_obj: object, offset: int, length: int) -> NoReturn:
        """Refuse locks."""
        raise unsupported()

    def format_user(self, uid: int | None) -> str:
        """Name no user of the machine."""
        return "ftp"

    def format_group(self, gid: int | None) -> str:
        """Name no group of the machine."""
        return "ftp"

    def exit(self) -> None:
        """Do nothing: `abandon` has done it."""


Protocol = Literal["sftp", "scp"]


def _opened(file_obj: object) -> Incoming | Outgoing:
    assert isinstance(file_obj, Incoming | Outgoing)
    return file_obj
