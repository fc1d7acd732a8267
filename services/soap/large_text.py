"""Holds the text of a parameter that may be huge: in memory while it is small, else in a nameless file.

The file is gone with the process at the latest, so that nothing is left behind by a crash.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, cast

MEMORY = 256 * 1024
"""Most bytes that are held in memory."""


class NoRoom(Exception):
    """There is no room on the disk for the text."""


class Text:
    """A text that is written in pieces and then read, as often as wanted, as UTF-8 bytes.

    Args:
        directory: where its file is made once it does not fit into memory.
        has_room: asked before that.
    """

    def __init__(self, directory: Path, has_room: Callable[[], bool]) -> None:
        self._directory = directory
        self._has_room = has_room
        self._memory = io.BytesIO()
        self._file: IO[bytes] | None = None
        self.size = 0
        """Bytes."""

    @classmethod
    def nowhere(cls) -> Text:
        """Return a text that nobody will read, and that keeps nothing."""
        return _NoText(Path(), lambda: True)

    def write(self, piece: str) -> None:
        """Append a piece.

        Raises:
            NoRoom: the disk is full.
        """
        content = piece.encode()
        self.size += len(content)
        try:
            if self._file is None and self.size > MEMORY:
                self._move_to_file()
            (self._file or self._memory).write(content)
        except OSError:
            raise NoRoom from None

    def _move_to_file(self) -> None:
        if not self._has_room():
            raise NoRoom
        self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - closed by `close`
        self._file.write(self._memory.getbuffer())
        self._memory = io.BytesIO()

    def open(self) -> BinaryIO:
        """Return the content from its start, independent of other readers; all must be done before `close`."""
        if self._file is None:
            return io.BytesIO(self._memory.getbuffer())
        self._file.flush()
        return cast(BinaryIO, io.BufferedReader(_Window(self._file.fileno())))

    def is_blank(self) -> bool:
        """Tell whether there is nothing but white space."""
        with self.open() as stream:
            return all(not block.strip() for block in iter(lambda: stream.read(MEMORY), b""))

    def close(self) -> None:
        """Forget the text."""
        if self._file is not None:
            self._file.close()


class _NoText(Text):
    def write(self, piece: str) -> None:
        """Keep nothing."""


class _Window(io.RawIOBase):
    """Reads a file from its start without moving the position of whoever shares it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        count = os.preadv(self._descriptor, [buffer], self._position)  # type: ignore[list-item]
        self._position += count
        return count
