"""The old SCP protocol, whose server the client starts as a command.

It tells the size of a file first and ends the data with a zero byte. asyncssh closes the file before it has seen that
byte, also when the connection is cut, so receiving one file is done here.
"""

from __future__ import annotations

from contextlib import suppress

import asyncssh
from asyncssh.scp import _SCPArgParser, _SCPArgs, _SCPSink, _SCPSource
from asyncssh.sftp import SFTPServerFS

from ftp_server.arrival import Ending
from ftp_server.names import Refused
from ftp_server.sftp_files import Files
from ftp_server.sftp_uploads import Incoming

COMMAND = "scp "
_BLOCK = 256 * 1024


async def run_scp(
    files: Files, command: str, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]
) -> None:
    """Send or receive what a client's command asks for.

    Args:
        files: of the user.
        command: `scp -f …` to send, `scp -t …` to receive.
        reader: of the channel.
        writer: of the channel.
    """
    try:
        arguments = _SCPArgParser().parse(command)
    except ValueError:
        writer.write(b"\x02scp: This is no scp command of a client.\n")
        writer.close()
        return
    await _handler(files, arguments, reader, writer).run(arguments.path)


def _handler(
    files: Files, arguments: _SCPArgs, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]
) -> _SCPSource | Sink:
    if arguments.source:
        return _SCPSource(
            SFTPServerFS(files), reader, writer, arguments.preserve, arguments.recurse, error_handler=False, server=True
        )
    return Sink(files, reader, writer, arguments)


class Sink(_SCPSink):
    """Receives files and folders."""

    def __init__(
        self,
        files: Files,
        reader: asyncssh.SSHReader[bytes],
        writer: asyncssh.SSHWriter[bytes],
        arguments: _SCPArgs,
    ) -> None:
        """Begin; the arguments are those of `run_scp`, the command parsed."""
        super().__init__(
            SFTPServerFS(files),
            reader,
            writer,
            arguments.must_be_dir,
            arguments.preserve,
            arguments.recurse,
            error_handler=False,
            server=True,
        )
        self._files = files

    async def _recv_file(self, srcpath: bytes, dstpath: bytes, size: int) -> None:
        file = await self._files.create(dstpath, size)
        try:
            self.send_ok()
            await self._receive_data(file, size)
            error = await self.await_response()
            if error is not None:
                await self._files.drop(file, Ending.UNREADABLE)
                raise asyncssh.SFTPFailure(Ending.UNREADABLE.value)
            await self._files.close(file)
        finally:
            # Nothing is left to drop unless something went wrong.
            await self._files.drop(file, Ending.LOST)
        self.send_ok()

    async def _receive_data(self, file: Incoming, size: int) -> None:
        """Read all that is announced, also when it cannot be stored: the client listens only after that."""
        offset = 0
        while offset < size:
            data = await self.recv_data(min(size - offset, _BLOCK))
            if not data:
                raise ConnectionResetError
            if not file.has_failed:
                with suppress(Refused, OSError):
                    await file.write(offset, data)
            offset += len(data)
