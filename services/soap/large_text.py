"""Holds the text of a parameter that may be huge: in memory while it is small, else in a nameless file.

The file is gone with the process at the latest, so that nothing is left behind by a crash.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

MEMORY = 256 * 1024
"""Most bytes that are held in memory."""
CLAIM = 16 * 1024 * 1024
"""Bytes in a file after which it is asked anew whether there is room for more."""


class NoRoom(Exception):
    """There is no room on the disk for the text."""


class Text:
    """A text that is written in pieces and then read, as often as wanted, as UTF-8 bytes.

    Args:
        directory: where its file is made once it does not fit into memory.
        claim: asked before that, and every `CLAIM` bytes; tells whether the text is to be kept, else nothing of it is.
    """

    def __init__(self, directory: Path, claim: Callable[[], bool]) -> None:
        self._directory = directory
        self._claim = claim
        self._memory = io.BytesIO()
        self._file: IO[bytes] | None = None
        self._is_kept = True
        self._claimed = MEMORY
        self.size = 0
        """Bytes."""

    @classmethod
    def nowhere(cls) -> Text:
        """Return a text that nobody will read, and that keeps nothing."""
        text = cls(Path(), lambda: False)
        text._is_kept = False
        return text

    def write(self, piece: str) -> None:
        """Append a piece.

        Raises:
            NoRoom: the disk is full.
        """
        if not self._is_kept:
            return
        content = piece.encode()
        self.size += len(content)
        try:
            if self.size > self._claimed:
                self._claim_more()
            if self._is_kept:
                (self._file or self._memory).write(content)
        except OSError:
            raise NoRoom from None

    def _claim_more(self) -> None:
        if not self._claim():
            self._is_kept = False
            self._memory = io.BytesIO()
            return
        self._claimed = self.size + CLAIM
        if self._file is None:
            self._move_to_file()

    def _move_to_file(self) -> None:
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
            # What could not be written is of no interest any more.
            with suppress(OSError):
                self._file.close()


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
