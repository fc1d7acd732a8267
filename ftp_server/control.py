# ruff: noqa: N802  (pyftpdlib calls handlers by the name of their command)
"""The control connections of the FTP door: commands one after the other, and logging in.

Whatever takes time runs elsewhere; meanwhile the connection is not read, and commands that were already read wait
in line, so that pipelining clients see the same order as patient ones.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from OpenSSL import SSL
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler

from audience.ftp_users import FtpRights, FtpUser
from ftp_server.admission import RateLimiter
from ftp_server.gate import Outcome
from ftp_server.homes import Home, Rights
from ftp_server.names import Refused, check_path, read_name
from ftp_server.transfer import DataConnection, SecureDataConnection
from ftp_server.visits import Visit

if TYPE_CHECKING:
    from ftp_server.ftp import Door

log = structlog.get_logger()
T = TypeVar("T")

_HTTP_METHODS = frozenset(("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE"))
_URGENT = ("ABOR", "STAT", "QUIT")
_MAX_WAITING = 1000
_LOGGING_IN = frozenset(("USER", "PASS"))
_OPENING_DATA = frozenset(("PASV", "EPSV", "PORT", "EPRT"))
_READING = frozenset(("RETR", "XSHA256"))
_WRITING = frozenset(["STOR", "STOU", "APPE", "ALLO", "DELE", "RNFR", "RNTO", "MKD", "XMKD", "RMD", "XRMD", "MFMT"])
_BUSY = "451 The server cannot do that at the moment; try again later."


class ControlConnection(TLS_FTPHandler):  # type: ignore[misc]
    """One client, as far as commands in general go."""

    abstracted_fs = Home
    authorizer = Rights()
    proto_cmds = {  # noqa: RUF012
        **{name: about for name, about in TLS_FTPHandler.proto_cmds.items() if name != "SITE CHMOD"},
        "XSHA256": {"perm": None, "auth": True, "arg": True, "help": "Syntax: XSHA256 <SP> path [start [end]]."},
    }

    username: str
    ac_in_buffer: bytes
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
        self.login: FtpUser | None = None
        self.visit: Visit | None = None
        self._busy = False
        self._counted = False
        self._waiting: deque[bytes] = deque()
        super().__init__(conn, server, ioloop)
        if not self.connected:
            return
        self._counted = self.door.admission.connect(self.remote_ip)
        self._extra_feats = ["AUTH TLS", "PBSZ", "PROT", "XSHA256"]
        contexts = self.door.certificates.contexts()
        self.ssl_context, self.data_context = contexts.control, contexts.data
        self.call_later(options.login_seconds, self._end_login)

    @classmethod
    def get_ssl_context(cls) -> None:
        """Have none of the class: each session asks for the certificate that is in force."""

    @property
    def encrypted(self) -> bool:
        """Whether commands come under TLS."""
        return bool(self._ssl_established)

    @property
    def limiter(self) -> RateLimiter | None:
        """What slows down the transfers of the user."""
        return self.door.admission.limiter(self.login) if self.login is not None else None

    # Coming and going

    def handle(self) -> None:
        """Greet the client, with implicit TLS after the handshake; or send it away."""
        if self.server.implicit and self._counted:
            self.secure_connection(self.ssl_context)
        elif self._counted:
            super().handle()
        else:
            log.warning("ftp_connection_refused")
            self.respond("421 Too many connections or failed logins from your address.")
            self.close_when_done()

    def handle_ssl_established(self) -> None:
        """Greet a client that came with implicit TLS; its data is protected unless it says otherwise."""
        if self.server.implicit:
            self._pbsz = self._prot = True
            super().handle()

    def handle_error(self) -> None:
        """Close without the closing message of TLS, which may be what failed."""
        self._error = True
        FTPHandler.handle_error(self)

    def close(self) -> None:
        """End the session."""
        if not self._closed:
            self._leave()
            if self._counted:
                self._counted = False
                self.door.admission.disconnect(self.remote_ip)
            super().close()

    def flush_account(self) -> None:
        """Forget who was logged in."""
        self._leave()
        super().flush_account()

    def _leave(self) -> None:
        if self.login is not None:
            self.door.admission.leave(self.login.id)
            self.login = None
        if self.visit is not None:
            self.visit.end()
            self.visit = None

    def end(self) -> None:
        """End the session of a user who is not what it was when it logged in."""
        log.warning("session_revoked", user=self.username)
        self.respond("421 The user was changed; log in again.")
        self.close()

    def count_bytes(self, received: int, sent: int) -> None:
        """Count what a data connection moved."""
        if self.visit is not None:
            self.visit.count(received=received, sent=sent)

    def on_file_sent(self, _file: str) -> None:
        """Count a file that was sent to its end."""
        if self.visit is not None:
            self.visit.count_file(sent=True)

    # Commands, one after the other

    def decode(self, bytes: bytes) -> str:
        """Read a line as names are read."""
        return read_name(bytes)

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
            Refused: it cannot be obeyed now, or not by this user.
        """
        options = self.door.options
        if command in _LOGGING_IN and options.require_tls and not self.encrypted:
            raise Refused("530 Begin with AUTH TLS: logging in needs TLS here.")
        if self._demands_protection():
            if command in _OPENING_DATA and not self._prot:
                raise Refused("521 Data connections have to be protected here: send PBSZ 0 and PROT P.")
            if command == "PROT" and argument.upper() == "C":
                # Else a connection that was opened for protected data would serve for data in the open.
                raise Refused("521 Data connections have to be protected here.")
        if self.login is not None:
            _check_rights(self.login.rights, command)

    def _demands_protection(self) -> bool:
        return self.door.options.require_protection or (self.login is not None and self.login.rights.requires_tls)

    def _check_argument(self, cmd: str, arg: str) -> None:
        if arg and self.authenticated and self.proto_cmds.get(cmd, {}).get("perm"):
            check_path(arg.partition(" ")[2] if cmd == "MFMT" else arg, self.fs.cwd)

    # TLS

    def ftp_AUTH(self, line: str) -> None:
        """Begin TLS (RFC 4217 section 4); only before logging in, so that nobody stays logged in across it.

        What came before the handshake came in the open, from whomever, and is not obeyed after it.
        """
        if self.authenticated:
            raise Refused("503 Use AUTH before you log in.")
        super().ftp_AUTH(line)
        if isinstance(self.socket, SSL.Connection):
            if self.ac_in_buffer or self._in_buffer or self._waiting:
                log.warning("ftp_commands_before_handshake")
            self.ac_in_buffer = b""
            self._in_buffer = []
            self._in_buffer_len = 0
            self._waiting.clear()
            self.username = ""

    @property
    def dtp_handler(self) -> type[DataConnection]:
        """Which kind of data connection comes next."""
        return SecureDataConnection if self._prot else DataConnection

    # Logging in

    def ftp_USER(self, line: str) -> None:
        """Take the name; who needs TLS is told so before the password follows."""
        if self.encrypted:
            super().ftp_USER(line)
        else:
            self.pause()
            self.door.gate.ask_tls(line, self.remote_ip, partial(self._take_user, line))

    def _take_user(self, name: str, demands_tls: bool) -> None:
        if self._closed:
            return
        if demands_tls:
            self.respond("530 This user has to log in with TLS: begin with AUTH TLS.")
        else:
            super().ftp_USER(name)
        self.resume()

    def ftp_PASS(self, line: str) -> None:
        """Check a password without holding up anyone else."""
        if self.authenticated:
            self.respond("503 User already authenticated.")
        elif not self.username:
            self.respond("503 Login with USER first.")
        else:
            user, self.username = self.username, ""
            self.pause()
            then = partial(self._logged_in, user)
            self.door.gate.check(user, line, self.remote_ip, then, encrypted=self.encrypted)

    def _logged_in(self, user: str, outcome: Outcome) -> None:
        login = outcome.login
        if login is None:
            if not self._closed:
                self.call_later(outcome.delay, self._refuse_login, outcome.text)
            return
        if self._closed:
            self.door.admission.leave(login.id)
            return
        self.login = login
        self.visit = Visit(login, "ftps" if self.encrypted else "ftp")
        self.authorizer = Rights(may_read=login.rights.may_read, may_write=login.rights.may_write)
        self.username = user
        home = self.door.storage.home(login.account.number).resolve()
        self.handle_auth_success(str(home), "", "Login successful.")
        self.resume()

    def _refuse_login(self, text: str) -> None:
        self.attempted_logins += 1
        self.respond(f"530 {text}")
        if self.attempted_logins >= self.max_login_attempts:
            self.close_when_done()
        else:
            self.resume()

    def _end_login(self) -> None:
        if self.authenticated:
            return
        if self._ssl_accepting:
            self.close()
        else:
            self.respond("421 Log in sooner.")
            self.close_when_done()


def _check_rights(rights: FtpRights, command: str) -> None:
    if command in _READING and not rights.may_read:
        raise Refused("550 You may not read files here.")
    if command in _WRITING and not rights.may_write:
        raise Refused("550 You may not store or change files here.")
