"""Takes mails that come back, by SMTP and by LMTP: only those to addresses that are its own, nothing for anybody else.

A mail is answered with 250 once it is kept in the database (RFC 5321 section 6.1). Nothing is ever passed on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db.engine import Database
from db.retry import retry_on_conflict
from delivery.inbound_mails import MAX_SIZE, SPECIAL_MAILBOXES, MailSource, keep_mail
from delivery.return_paths import read_return_path, read_unsubscribe_address

log = structlog.get_logger()
# It names peers, addresses and contents.
logging.getLogger("mail.log").disabled = True

COMMAND_SECONDS = 300.0
"""How long a client may take for a command, or for a mail (RFC 5321 section 4.5.3.2)."""
MAX_RECIPIENTS = 100
MAX_LINE = 64 * 1024
"""More than RFC 5321 section 4.5.3.1.6 allows: reports of careless servers are welcome, too."""
_MAX_UNBROKEN = 10 * MAX_LINE
"""Bytes without a line's end after which a session ends: the library holds all of them."""
_THREADS = 4
_LIMITS = {"*": 50, "MAIL": 2_000, "RCPT": 20_000, "DATA": 2_000, "RSET": 4_000}
"""Commands in one connection; those who bring many mails do not begin anew for each."""
_BUSY = "421 4.7.0 Too many connections, try again later\r\n"
_AWAY = "451 4.3.0 Try again later"
_FULL = "452 4.3.1 Too much at once, try again later"
_UNBROKEN = "500 5.5.2 Line too long\r\n"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundOptions:
    """Where mails are taken, and which."""

    smtp: tuple[str, int] | None
    """Host and port; None: not by SMTP."""
    lmtp: tuple[str, int] | None
    """The same for LMTP (RFC 2033), whose client is a mail server of one's own."""
    domain: str
    """Of the addresses that are taken."""
    hello_name: str
    """Name of this host, as it greets."""
    max_size: int = MAX_SIZE
    """Bytes of a mail."""
    connections: int = 200
    connections_per_address: int = 20
    receiving: int = 64 * 1024 * 1024
    """Bytes of the mails that are being received, over all connections."""


class InboundServer:
    """Both doors, in a thread of their own."""

    ports: dict[MailSource, int]
    """Where it listens, once it has started."""

    def __init__(self, options: InboundOptions, database: Database) -> None:
        self.ports = {}
        self._options = options
        self._database = database
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="inbound", daemon=True)
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        """Listen; return when it does.

        Raises:
            OSError: an address cannot be listened at.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Listen no more, end connections; mails that are being kept are kept."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="inbound") as threads:
            servers: list[asyncio.Server] = []
            try:
                servers = await self._listen(threads)
            except OSError as error:
                self._failure = error
            finally:
                self._started.set()
            if self._failure is None:
                await self._stopping.wait()
            for server in servers:
                server.close()

    async def _listen(self, threads: ThreadPoolExecutor) -> list[asyncio.Server]:
        doors: tuple[tuple[MailSource, tuple[str, int] | None, type[_Counted]], ...] = (
            ("smtp", self._options.smtp, _Counted),
            ("lmtp", self._options.lmtp, _LmtpSession),
        )
        servers: list[asyncio.Server] = []
        loop, crowd = asyncio.get_running_loop(), _Crowd(self._options)
        for source, address, session in doors:
            if address is not None:
                intake = _Intake(source, self._options, self._database, threads)
                servers.append(await loop.create_server(_factory(session, intake, crowd, self._options), *address))
                self.ports[source] = servers[-1].sockets[0].getsockname()[1]
        return servers


def _factory(session: type[_Counted], intake: _Intake, crowd: _Crowd, options: InboundOptions) -> Callable[[], SMTP]:
    def make() -> SMTP:
        made = session(
            intake,
            data_size_limit=options.max_size,
            enable_SMTPUTF8=True,
            hostname=options.hello_name,
            ident="Listbridge",
            timeout=COMMAND_SECONDS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            command_call_limit=_LIMITS,
            loop=asyncio.get_running_loop(),
        )
        made.crowd = crowd
        return made

    return make


class _Crowd:
    """How many connections there are, from where, and how much they have in hand."""

    def __init__(self, options: InboundOptions) -> None:
        self._options = options
        self._open: Counter[str] = Counter()
        self._held = 0

    def enter(self, host: str) -> bool:
        """Count a connection; False when it is one too many."""
        here = self._open[host] >= self._options.connections_per_address
        if here or self._open.total() >= self._options.connections:
            return False
        self._open[host] += 1
        return True

    def leave(self, host: str) -> None:
        """Count a connection that has ended."""
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]

    def hold(self, size: int) -> bool:
        """Count bytes of a mail that is being received; False when they are too many."""
        if self._held + size > self._options.receiving:
            return False
        self._held += size
        return True

    def release(self, size: int) -> None:
        """Count bytes that are held no more."""
        self._held -= size


class _Counted(SMTP):
    """A session that ends at once when there are too many, and refuses a mail for which there is no room."""

    line_length_limit = MAX_LINE
    crowd: _Crowd
    _host: str | None = None
    _receives = False
    _has_room = True
    _held = 0
    _unbroken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host = str((transport.get_extra_info("peername") or ("",))[0])
        if self.crowd.enter(host):
            self._host = host
            super().connection_made(transport)
        elif isinstance(transport, asyncio.WriteTransport):
            transport.write(_BUSY.encode())
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._host is None:
            return
        if self._receives and not self._count(data):
            if isinstance(self.transport, asyncio.WriteTransport):
                self.transport.write(_UNBROKEN.encode())
                self.transport.close()
            return
        super().data_received(data)

    def _count(self, data: bytes) -> bool:
        """Count what belongs to a mail; False when it has a line that nobody could hold."""
        end = data.rfind(b"\r\n")
        self._unbroken = self._unbroken + len(data) if end < 0 else len(data) - end
        # What is more than that the library does not hold.
        size = min(len(data), max((self.data_size_limit or 0) - self._held, 0))
        if self._has_room and self.crowd.hold(size):
            self._held += size
        elif self._has_room:
            self._has_room = False
            # The library forgets a mail with a line that is longer, and reads to its end.
            self.line_length_limit = 0
            self._let_go()
        return self._unbroken <= _MAX_UNBROKEN

    def _let_go(self) -> None:
        self.crowd.release(self._held)
        self._held = 0

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  (the library's name)
        """Take a mail, if there is room for it."""
        self._receives = True
        try:
            await super().smtp_DATA(arg)
        finally:
            self._let_go()
            self._receives, self._has_room, self._unbroken = False, True, 0
            self.line_length_limit = MAX_LINE

    async def push(self, status: Any) -> None:
        """Answer; a mail that there is no room for may come again."""
        await super().push(_FULL if not self._has_room and str(status).startswith("500") else status)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self._host is not None else False

    def connection_lost(self, error: Exception | None) -> None:
        if self._host is not None:
            self.crowd.leave(self._host)
            super().connection_lost(error)


class _LmtpSession(_Counted, LMTP):
    """By LMTP: after a mail there is an answer for each recipient (RFC 2033 section 4.2)."""

    _answers = 1

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  (the library's name)
        """Take a mail; all of its recipients have the same answer, since it is kept once or not at all."""
        self._answers = max(1, len(self.envelope.rcpt_tos)) if self.envelope is not None and not arg else 1
        try:
            await super().smtp_DATA(arg)
        finally:
            self._answers = 1

    async def push(self, status: Any) -> None:
        """Answer, after a mail as often as it had recipients."""
        is_final = not str(status).startswith("354")
        for _ in range(self._answers if is_final else 1):
            await super().push(status)


class _Intake:
    """What the sessions of a door ask."""

    def __init__(
        self, source: MailSource, options: InboundOptions, database: Database, threads: ThreadPoolExecutor
    ) -> None:
        self._source: MailSource = source
        self._options = options
        self._database = database
        self._threads = threads

    async def handle_RCPT(  # noqa: N802  (the library's name)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take nothing but one's own."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        try:
            is_own = await self._run(self._is_own, address)
        except (SQLAlchemyError, OSError) as error:
            log.warning("inbound_database_away", error=type(error).__name__)
            return _AWAY
        if not is_own:
            return "550 5.1.1 There is no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail, then say so."""
        sender = (envelope.mail_from or "").strip("<>")
        content = envelope.original_content or b""
        try:
            is_new = await self._run(self._keep, sender, tuple(envelope.rcpt_tos), content)
        except (SQLAlchemyError, OSError) as error:
            log.warning("inbound_database_away", error=type(error).__name__)
            return _AWAY
        log.info("mail_kept", source=self._source, size=len(content), again=not is_new)
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        """Answer what the library stumbled over."""
        log.warning("inbound_command_failed", error=type(error).__name__)
        return "500 5.5.2 That could not be read"

    async def _run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _is_own(self, address: str) -> bool:
        local_part, _, domain = address.rpartition("@")
        if address.lower() == "postmaster":
            # Without a domain, too (RFC 5321 section 4.5.1).
            return True
        if domain.lower() != self._options.domain.lower():
            return False
        if local_part.lower() in SPECIAL_MAILBOXES:
            return True
        with self._database.read() as connection:
            readers = (read_return_path, read_unsubscribe_address)
            return any(read(connection, address) is not None for read in readers)

    def _keep(self, sender: str, recipients: tuple[str, ...], content: bytes) -> bool:
        def write(connection: Connection) -> bool:
            return keep_mail(connection, self._source, sender, recipients, content)

        return retry_on_conflict(lambda: self._database.write_shared(write))
