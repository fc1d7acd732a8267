"""The data connections of the FTP door, which tell how an upload really ended."""

from __future__ import annotations

import errno
import socket
from typing import Any

from pyftpdlib.exceptions import _RetryError
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.handlers.ftp.dispatchers import ActiveDTP, PassiveDTP

from ftp_server.arrival import Ending
from ftp_server.uploads import Upload, ending_of

_RETRY = (errno.EAGAIN, errno.EWOULDBLOCK)


class DataConnection(DTPHandler):  # type: ignore[misc]
    """A data connection. pyftpdlib takes every end of the data for a good one; this one tells them apart."""

    _lastdata: int
    file_obj: Any

    def __init__(self, sock: socket.socket, session: FTPHandler) -> None:
        """Take over an open connection for a session."""
        self.timeout = session.timeout
        self._ending: Ending | None = None
        super().__init__(sock, session)

    @property
    def upload(self) -> Upload | None:
        """The upload that is received here; None while there is none or something is sent."""
        return self.file_obj if self.receive and isinstance(self.file_obj, Upload) else None

    def close_unused(self) -> None:
        """Close a connection that no command has used."""
        if not self.receive and not self._initialized:
            self.close()

    def enable_receiving(self, type: str, cmd: str) -> None:
        """Begin to receive, byte for byte in every transfer type: files are compared with announced sizes and sums."""
        super().enable_receiving("i", cmd)

    def readable(self) -> bool:
        """Wait for the command when the client has been quicker than its own STOR; pyftpdlib would hang up."""
        if not self.receive and not self._initialized:
            self.del_channel()
            return False
        return bool(self.receive)

    def recv(self, buffer_size: int) -> bytes:
        try:
            data: bytes = self.socket.recv(buffer_size)
        except OSError as error:
            if error.errno in _RETRY:
                raise _RetryError from error
            self.end(Ending.RESET)
            return b""
        if not data:
            self.end(Ending.END)
        return data

    def handle_read(self) -> None:
        upload = self.upload
        if upload is None:
            super().handle_read()
            return
        try:
            if data := self.recv(self.ac_in_buffer_size):
                self.tot_bytes_received += len(data)
                upload.write(data)
        except _RetryError:
            pass
        except OSError as error:
            self.end(ending_of(error))

    handle_read_event = handle_read

    def drain(self) -> None:
        """Read what has arrived already, its end included, before a command that came after it is obeyed."""
        for _block in range(64):
            if self._closed or self.upload is None:
                return
            before = self.tot_bytes_received
            self.handle_read()
            if self.tot_bytes_received == before:
                return

    def handle_timeout(self) -> None:
        if self.upload is None:
            super().handle_timeout()
        elif self.tot_bytes_received > self._lastdata:
            self._lastdata = self.tot_bytes_received
        else:
            self.end(Ending.TIMED_OUT)

    def handle_error(self) -> None:
        if self.upload is None:
            super().handle_error()
        else:
            self.log_exception(self)
            self.end(Ending.DISK_FAILED)

    def handle_close(self) -> None:
        if self.upload is None:
            super().handle_close()
        else:
            self.end(Ending.RESET)

    def end(self, ending: Ending) -> None:
        """Close the connection; of several endings the first counts."""
        self._ending = self._ending or ending
        if self.upload is None:
            super().handle_close()
        else:
            self.close()

    def close(self) -> None:
        upload = self.upload
        if upload is None or self._closed:
            super().close()
            return
        # Without a file pyftpdlib neither answers nor judges; the session does both.
        self.file_obj = None
        super().close()
        self.cmd_channel.data_ended(upload, self._ending or Ending.CONTROL_LOST)


class PassiveListener(PassiveDTP):  # type: ignore[misc]
    """Waits for a passive data connection, and tells the session when none came."""

    def handle_timeout(self) -> None:
        super().handle_timeout()
        self.cmd_channel.cancel_upload()


class ActiveConnector(ActiveDTP):  # type: ignore[misc]
    """Opens an active data connection, and tells the session when it cannot."""

    def handle_timeout(self) -> None:
        super().handle_timeout()
        self.cmd_channel.cancel_upload()

    def handle_close(self) -> None:
        failed = not self._closed
        super().handle_close()
        if failed:
            self.cmd_channel.cancel_upload()


def connection_of(session: Any) -> DataConnection | None:
    """Return the open data connection of a session."""
    return session.data_channel if isinstance(session.data_channel, DataConnection) else None
