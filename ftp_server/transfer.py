"""The data connections of the FTP door, which tell how an upload really ended."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from pyftpdlib.exceptions import _RetryError
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.handlers.ftp.dispatchers import ActiveDTP, PassiveDTP
from pyftpdlib.handlers.ftps.ssl import SSLConnectionMixin

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
        self._limiter = session.limiter
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
                self._take(upload, data)
        except _RetryError:
            pass
        except OSError as error:
            self.end(ending_of(error))

    handle_read_event = handle_read

    def _take(self, upload: Upload, data: bytes) -> None:
        upload.write(data)
        if self.cmd_channel.has_room_for(upload):
            self._slow_down(len(data))
        else:
            self.end(Ending.OVER_QUOTA)

    def use_sendfile(self) -> bool:
        return self._limiter is None and bool(super().use_sendfile())

    def send(self, data: bytes) -> int:
        sent: int = super().send(data)
        self._slow_down(sent)
        return sent

    def _slow_down(self, size: int) -> None:
        wait = self._limiter.reserve(size) if self._limiter is not None and not self._closed else 0.0
        if wait:
            # Not even watched for errors: what came before a reset is still to be read.
            self.del_channel()
            self.call_later(wait, self._go_on)

    def _go_on(self) -> None:
        self.modify_ioloop_events(self.ioloop.READ if self.receive else self.ioloop.WRITE)

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
        if self._closed:
            return
        self.cmd_channel.count_bytes(self.tot_bytes_received, self.tot_bytes_sent)
        upload = self.upload
        if upload is None:
            super().close()
            return
        # Without a file pyftpdlib neither answers nor judges; the session does both.
        self.file_obj = None
        super().close()
        self.cmd_channel.data_ended(upload, self._ending or Ending.CONTROL_LOST)


class SecureDataConnection(SSLConnectionMixin, DataConnection):  # type: ignore[misc]
    """A data connection under TLS (RFC 4217 section 9).

    The end of an upload has to be said with the closing message of TLS; without it the data was cut (RFC 8446 section
    6.1). Whoever can cut a connection cannot forge that message.
    """

    def __init__(self, sock: socket.socket, session: FTPHandler) -> None:
        """Take over an open connection for a session; the client begins the handshake."""
        super().__init__(sock, session)
        if self.connected:
            self.secure_connection(session.data_context)

    def use_sendfile(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        if self._ssl_accepting:
            self._shake_hands()
        else:
            super().handle_read_event()

    def handle_write_event(self) -> None:
        if self._ssl_accepting:
            self._shake_hands()
        else:
            super().handle_write_event()

    def _shake_hands(self) -> None:
        self._do_ssl_handshake()
        if self._ssl_accepting:
            self.modify_ioloop_events(self.ioloop.WRITE if self._ssl_want_write else self.ioloop.READ)
        else:
            self.modify_ioloop_events(self._wanted_io_events)

    def send(self, data: bytes) -> int:
        if self._ssl_accepting:
            # It is the client's turn; a loop that waits to write would turn round and round.
            self.modify_ioloop_events(self.ioloop.READ)
            return 0
        return int(super().send(data))

    def recv(self, buffer_size: int) -> bytes:
        try:
            data: bytes = self.socket.recv(buffer_size)
        except SSL.WantReadError as error:
            raise _RetryError from error
        except SSL.WantWriteError as error:
            self._ssl_want_write = True
            raise _RetryError from error
        except SSL.ZeroReturnError:
            self.end(Ending.END)
        except SSL.SysCallError as error:
            self.end(Ending.CUT if error.args[0] == -1 else Ending.RESET)
        except (SSL.Error, OSError):
            self.end(Ending.RESET)
        else:
            return data
        return b""

    def handle_error(self) -> None:
        DataConnection.handle_error(self)

    def handle_failed_ssl_handshake(self) -> None:
        """Tell the client (RFC 4217 section 10.2), unless no command waits for the connection."""
        if self._initialized and self.upload is None:
            self._resp = ("522 The TLS handshake of the data connection failed.", self.log)
        self._ending = self._ending or Ending.RESET
        self.close()

    def close(self) -> None:
        """Close; when something was sent, only after the closing message, or at the second call."""
        if self._ssl_accepting:
            self._ending = self._ending or Ending.CUT
        if not self._ssl_established:
            DataConnection.close(self)
        elif self.upload is None and not self._ssl_closing:
            super().close()
            if not self._closed and not self._ssl_want_read and not self._ssl_want_write:
                DataConnection.close(self)
        else:
            with suppress(SSL.Error, OSError):
                self.socket.shutdown()
            DataConnection.close(self)


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
