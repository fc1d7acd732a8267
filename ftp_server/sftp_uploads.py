"""Files on their way over SFTP and SCP: the asyncio loop moves their bytes, the FTP loop opens and judges uploads."""

from __future__ import annotations

import asyncio
import os
import stat
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path

from ftp_server.admission import RateLimiter
from ftp_server.arrival import Ending
from ftp_server.bridge import Bridge
from ftp_server.desk import Desk
from ftp_server.names import Refused
from ftp_server.uploads import Upload, ending_of

MAX_AHEAD = 64 * 1024 * 1024
"""Most bytes between the end of what has come and a block that comes before its turn; a security limit."""

MAX_SPANS = 1024
"""Most pieces that may lie after a gap at a time; a security limit."""

MEASURED_EVERY = 4 * 1024 * 1024
"""Bytes of a session's uploads after which the home is measured again."""

_SCATTERED = "551 The parts of the file come in no usable order."
_REPLIES = {
    Ending.GAPS: _SCATTERED,
    Ending.OVER_QUOTA: f"552 {Ending.OVER_QUOTA.value}",
    Ending.DISK_FULL: "452 Not enough space.",
}


class Spans:
    """Which bytes of a file have come, when they come in any order."""

    def __init__(self, size: int = 0) -> None:
        """Begin with the bytes that an earlier transfer brought."""
        self._end = size
        self._later: list[tuple[int, int]] = []

    @property
    def is_whole(self) -> bool:
        """Tell whether there is no gap."""
        return not self._later

    def add(self, start: int, end: int) -> None:
        """Note down that the bytes from `start` to before `end` have come.

        Raises:
            Refused: 551, they are too far from the others, or there are too many pieces.
        """
        if start == end:
            return
        if start > self._end + MAX_AHEAD or len(self._later) >= MAX_SPANS:
            raise Refused(_SCATTERED)
        if start > self._end:
            self._insert(start, end)
            return
        self._end = max(self._end, end)
        while self._later and self._later[0][0] <= self._end:
            self._end = max(self._end, self._later.pop(0)[1])

    def _insert(self, start: int, end: int) -> None:
        first = bisect_left(self._later, start, key=lambda span: span[1])
        last = first
        while last < len(self._later) and self._later[last][0] <= end:
            start, end = min(start, self._later[last][0]), max(end, self._later[last][1])
            last += 1
        self._later[first:last] = [(start, end)]


class Room:
    """How many bytes a user's home still takes, for all files of a session together."""

    def __init__(self, measure: Callable[[], Awaitable[int | None]]) -> None:
        """Begin with nothing measured.

        Args:
            measure: returns the bytes that the home takes, with all uploads under way; None: without limit.
        """
        self._measure = measure
        self._left: int | None = None
        self._taken = 0

    async def measure(self) -> None:
        """Find out what is left by now."""
        self._left, self._taken = await self._measure(), 0

    async def take(self, size: int) -> bool:
        """Count bytes that have come; tell whether the home takes them.

        Other sessions fill the home as well, so it is measured again now and then, and before bytes are refused.
        """
        if self._left is None:
            return True
        if self._taken + size > min(self._left, MEASURED_EVERY):
            await self.measure()
        self._taken += size
        return self._left is None or self._taken <= self._left


class _Reply:
    """Takes the answer to an upload in place of an FTP control connection."""

    def __init__(self) -> None:
        self.future: Future[str] = Future()

    def is_alive(self) -> bool:
        """Count as alive: the client has said that its file is whole, so the connection proves nothing more."""
        return True

    def answer(self, reply: str) -> None:
        """Keep the reply for the client that waits for it."""
        self.future.set_result(reply)

    def watch(self, upload: Upload) -> None:
        """Settle an upload that only a living connection would prove to be complete."""
        raise AssertionError("An upload whose client said that it is whole is not watched.")


class Incoming:
    """A file that a client writes."""

    def __init__(
        self,
        upload: Upload,
        desk: Desk,
        bridge: Bridge,
        limiter: RateLimiter | None,
        room: Room,
        *,
        appends: bool,
    ) -> None:
        """Begin with an upload that is open.

        Args:
            upload: hidden until it is judged.
            desk: judges it, on the loop of `bridge`.
            bridge: leads there.
            limiter: slows the client down; None for nothing.
            room: in the user's home.
            appends: whether all that comes goes to the end, whatever place the client names.
        """
        self.upload = upload
        self._desk = desk
        self._bridge = bridge
        self._limiter = limiter
        self._room = room
        self._appends = appends
        self._spans = Spans(upload.size)
        self._may_restart = upload.continues_hidden and not appends
        self._failure: Ending | None = None

    @property
    def has_failed(self) -> bool:
        """Tell whether the file is lost, whatever comes now."""
        return self._failure is not None

    async def write(self, offset: int, data: bytes) -> None:
        """Take bytes.

        Raises:
            Refused: they do not belong to a file, or not to this home, or the disk is full, or fails. The file is lost
                then, since its client may go on as if they had been taken.
        """
        if not data:
            return
        if self._failure is None:
            self._failure = await self._store(offset, data)
        if self._failure is not None:
            raise Refused(_REPLIES.get(self._failure, "451 The file could not be stored."))
        await pause(self._limiter, len(data))

    async def _store(self, offset: int, data: bytes) -> Ending | None:
        """Store bytes; return why they could not be."""
        offset = self.upload.size if self._appends else offset
        try:
            if not await self._room.take(len(data)):
                return Ending.OVER_QUOTA
            self._restart(offset)
            self._spans.add(offset, offset + len(data))
            self.upload.write_at(offset, data)
        except Refused:
            return Ending.GAPS
        except OSError as error:
            return ending_of(error)
        return None

    def _restart(self, offset: int) -> None:
        """Forget what an earlier transfer brought of the bytes from where the client begins.

        It may write another, shorter file, and cannot know that there is a part of an earlier one.
        """
        may_restart, self._may_restart = self._may_restart, False
        if may_restart and offset < self.upload.size:
            self.upload.truncate(offset)
            self._spans = Spans(offset)

    async def close(self) -> str:
        """Have the file judged that its client has finished; return the reply, an FTP one, when it is durable."""
        return await self._end(Ending.END if self._spans.is_whole else Ending.GAPS)

    async def abandon(self, ending: Ending) -> None:
        """Put aside what came of a file that its client has not finished."""
        await self._end(ending)

    async def _end(self, ending: Ending) -> str:
        reply = _Reply()
        await asyncio.wrap_future(self._bridge.ask(self._desk.end, self.upload, self._failure or ending, reply))
        return await asyncio.wrap_future(reply.future)


class Outgoing:
    """A file that a client reads."""

    def __init__(self, path: Path, limiter: RateLimiter | None) -> None:
        """Open it.

        Raises:
            Refused: it is no plain file.
            OSError: it cannot be opened.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._limiter = limiter
        self.sent = 0
        """Bytes so far."""
        if not stat.S_ISREG(self.stat().st_mode):
            self.close()
            raise Refused("550 This is not a file.")

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes, none at the end."""
        data = os.pread(self._descriptor, size, offset)
        self.sent += len(data)
        await pause(self._limiter, len(data))
        return data

    def stat(self) -> os.stat_result:
        """Return what the file system knows of the file."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


async def pause(limiter: RateLimiter | None, size: int) -> None:
    """Wait as long as a user must who has moved so many bytes."""
    if limiter is not None and (seconds := limiter.reserve(size)):
        await asyncio.sleep(seconds)
