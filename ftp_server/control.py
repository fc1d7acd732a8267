# ruff: noqa: N802  (pyftpdlib calls handlers by the name of their command)
"""The control connections of the FTP door: commands one after the other, and logging in.

Whatever takes time runs elsewhere; meanwhile the connection is not read, and commands that were already read wait
in line, so that pipelining clients see the same order as patient ones.
"""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.handlers.ftp.control import proto_cmds

from audience.accounts import Login
from ftp_server.accounts import Outcome
from ftp_server.homes import Home, Rights
from ftp_server.names import Refused, check_path

if TYPE_CHECKING:
    from ftp_server.ftp import Door

log = structlog.get_logger()
T = TypeVar("T")

_HTTP_METHODS = frozenset(("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE"))
_URGENT = ("ABOR", "STAT", "QUIT")
_MAX_WAITING = 1000
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
_BUSY = "451 The server cannot do that at the moment; try again later."


class ControlConnection(FTPHandler):  # type: ignore[misc]
    """One client, as far as commands in general go."""

    abstracted_fs = Home
    authorizer = Rights()
    proto_cmds = {name: about for name, about in proto_cmds.items() if name != "SITE CHMOD"}  # noqa: RUF012

    username: str
    _in_buffer: list[bytes]

    def __init__(self, conn: socket.socket, server: Any, ioloop: Any = None) -> None:
        """Take over an accepted connection."""
        self.door: Door = server.door
        options = self.door.options
        self.timeout = options.idle_seconds
        self.banner = options.banner
        self.masquerade_address = options.masquerade_address
        if options.passive_ports is not None:
            self.passive_ports = range(options.passive_ports[0], options.passive_ports[1] + 1)
        self.login: Login | None = None
        self._busy = False
        self._waiting: deque[bytes] = deque()
        super().__init__(conn, server, ioloop)
        if self.connected:
            self.call_later(options.login_seconds, self._end_login)

    # Commands, one after the other

    def decode(self, bytes: bytes) -> str:
        """Read a line as UTF-8 (RFC 2640), or as Latin-1 when it cannot be that, as older clients send it.

        Overlong UTF-8, which means to hide a character, becomes a replacement character, which no name may have.
        """
        try:
            return bytes.decode("utf-8")
        except UnicodeDecodeError:
            return bytes.decode("utf-8", "replace") if _OVERLONG.search(bytes) else bytes.decode("latin-1")

    def found_terminator(self) -> None:
        line = b"".join(self._in_buffer)
        self._in_buffer = []
        self._in_buffer_len = 0
        if self._closed:
            return
        if len(self._waiting) > _MAX_WAITING:
            self.close()
        elif self._busy:
            self._waiting.append(line)
        else:
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        if self._idler is not None and not self._idler.cancelled:
            self._idler.reset()
        text = self.decode(line)
        word, _space, argument = text.partition(" ")
        self.pre_process_command(text, word.upper(), argument)

    def pause(self) -> None:
        """Let further commands wait."""
        self._busy = True
        self.modify_ioloop_events(0)

    def resume(self) -> None:
        """Go on with the commands that waited, then with reading."""
        self._busy = False
        while self._waiting and not self._busy and not self._closed:
            self._obey(self._waiting.popleft())
        if not self._busy and not self._closed:
            self.modify_ioloop_events(self.ioloop.READ | self.ioloop.WRITE if self.producer_fifo else self.ioloop.READ)

    def defer(self, job: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run a job in a thread while commands wait; `then` continues with its result and must end in `reply`."""
        self.pause()
        self.door.bridge.submit(self.door.pool, job, partial(self._deferred, then))

    def _deferred(self, then: Callable[[T], None], future: Future[T]) -> None:
        if self._closed:
            return
        if future.exception() is not None:
            log.error("ftp_command_failed", error=type(future.exception()).__name__)
            self.reply(_BUSY)
            return
        try:
            then(future.result())
        except Refused as refusal:
            self.reply(str(refusal))
        except Exception:
            self.handle_error()

    def reply(self, text: str) -> None:
        """Answer a command that was deferred and go on."""
        if not self._closed:
            self.respond(text)
            self.resume()

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if cmd not in self.proto_cmds and cmd.endswith(_URGENT):
            cmd = cmd[-4:]
        if cmd in _HTTP_METHODS:
            log.warning("ftp_foreign_protocol")
            self.close()
            return
        try:
            self.before_command(cmd, arg)
            self._check_argument(cmd, arg)
            super().pre_process_command(line, cmd, arg)
        except Refused as refusal:
            self.respond(str(refusal))

    def before_command(self, command: str, argument: str) -> None:
        """Take note of a command before it is obeyed.

        Raises:
            Refused: it cannot be obeyed now.
        """

    def _check_argument(self, cmd: str, arg: str) -> None:
        if arg and self.authenticated and self.proto_cmds.get(cmd, {}).get("perm"):
            check_path(arg.partition(" ")[2] if cmd == "MFMT" else arg, self.fs.cwd)

    # Logging in

    def ftp_PASS(self, line: str) -> None:
        """Check a password without holding up anyone else."""
        if self.authenticated:
            self.respond("503 User already authenticated.")
        elif not self.username:
            self.respond("503 Login with USER first.")
        else:
            user, self.username = self.username, ""
            self.pause()
            self.door.gate.check(user, line, self.remote_ip, partial(self._logged_in, user))

    def _logged_in(self, user: str, outcome: Outcome) -> None:
        if self._closed:
            return
        if outcome.login is None:
            self.call_later(outcome.delay, self._refuse_login)
            return
        self.login = outcome.login
        self.username = user
        home = self.door.storage.home(outcome.login.account.number).resolve()
        self.handle_auth_success(str(home), "", "Login successful.")
        self.resume()

    def _refuse_login(self) -> None:
        self.attempted_logins += 1
        self.respond("530 Authentication failed.")
        if self.attempted_logins >= self.max_login_attempts:
            self.close_when_done()
        else:
            self.resume()

    def _end_login(self) -> None:
        if not self.authenticated:
            self.respond("421 Log in sooner.")
            self.close_when_done()
