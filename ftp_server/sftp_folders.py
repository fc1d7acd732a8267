"""What SFTP and SCP clients see of files and folders: the same description for all, and long folders piece by piece."""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path

from asyncssh import SFTPAttrs, SFTPName
from asyncssh.constants import FILEXFER_TYPE_DIRECTORY, FILEXFER_TYPE_REGULAR

from ftp_server.sftp_errors import answering

_SLICE = 128
"""Entries that are described at a time."""


def describe(found: os.stat_result) -> SFTPAttrs:
    """Describe a file or folder to a client."""
    # Owner and mode are the same for all, and nobody's business.
    if stat.S_ISDIR(found.st_mode):
        kind, mode = FILEXFER_TYPE_DIRECTORY, stat.S_IFDIR | 0o700
    else:
        kind, mode = FILEXFER_TYPE_REGULAR, stat.S_IFREG | 0o600
    times = {"atime": int(found.st_atime), "mtime": int(found.st_mtime)}
    return SFTPAttrs(kind, size=found.st_size, uid=0, gid=0, permissions=mode, nlink=1, **times)


class Listing:
    """What is in a folder, read only as far as the client has asked for it."""

    def __init__(
        self, folder: Path, in_thread: Callable[[Callable[[], list[SFTPName]]], Awaitable[list[SFTPName]]]
    ) -> None:
        """Begin; the folder is opened when the client asks for its first entries.

        Args:
            folder: where to look.
            in_thread: runs a function in a thread.
        """
        self._folder = folder
        self._in_thread = in_thread
        self._ready: deque[SFTPName] = deque()
        self._lock = threading.Lock()
        self._scan: os._ScandirIterator[str] | None = None
        self._ended = False

    def __aiter__(self) -> Listing:
        return self

    async def __anext__(self) -> SFTPName:
        if not self._ready:
            with answering():
                self._ready.extend(await self._in_thread(self._read))
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    def _read(self) -> list[SFTPName]:
        """Return further entries, none at the end."""
        with self._lock:
            if self._ended:
                return []
            if self._scan is None:
                self._scan = os.scandir(self._folder)
            names = list(islice(_names_of(self._scan), _SLICE))
        if not names:
            self.close()
        return names

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._ended = True
            if self._scan is not None:
                self._scan.close()


def _names_of(entries: Iterator[os.DirEntry[str]]) -> Iterator[SFTPName]:
    for entry in entries:
        try:
            if not entry.is_symlink():
                yield SFTPName(entry.name.encode(), attrs=describe(entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            continue
