"""The SFTP and SCP door: one asyncio loop in a thread of its own, beside the loop of FTP.

It offers the subsystem sftp and the command scp and nothing else: no shell, no other command, no terminal, no
forwarding of ports, agents or displays.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import asyncssh
import structlog
from asyncssh.constants import FXP_CLOSE, FXP_OPENDIR
from asyncssh.packet import SSHPacket
from asyncssh.sftp import SFTPServerHandler
from asyncssh.stream import SSHServerStreamSession

from audience.ftp_users import MAX_NAME, FtpUser, find_ftp_user
from db.engine import Database
from ftp_server.host_keys import make_host_keys
from ftp_server.scp import COMMAND, run_scp
from ftp_server.sftp_files import Files, Protocol
from ftp_server.visits import Visit

if TYPE_CHECKING:
    from ftp_server.ftp import Door

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

STOP_SECONDS = 25.0
"""How long files that are being judged may take when the server stops."""

MAX_PASSWORDS = 6
"""Wrong passwords of one connection; a security limit."""

MAX_KEYS = 20
"""Public keys that one connection may try; a security limit."""

MAX_FOLDERS = 16
"""Folders that one session may be reading at a time; a security limit."""

MAX_SESSIONS = 10
"""Sessions of one connection at a time; a security limit."""

_SFTP_VERSION = 3


@dataclass(frozen=True, slots=True)
class SftpOptions:
    """How the door is set up."""

    host: str = "127.0.0.1"
    port: int = 2222
    """0: any free port."""
    max_connections: int = 256
    """Of all clients together; a security limit."""
    idle_seconds: float = 300.0
    """How long a client may neither ask nor take anything."""
    login_seconds: float = 30.0
    """How long a client may take to log in; a security limit."""
    ready: Callable[[tuple[str, int]], None] | None = None
    """Called with the address once clients can connect."""


class SftpDoor:
    """Listens, and ends what goes on when the server stops."""

    def __init__(self, door: Door, options: SftpOptions) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            door: what the sessions of all protocols share.
            options: how to serve.
        """
        self.door = door
        self.options = options
        self.guests: set[Guest] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
        self._listener: asyncssh.SSHAcceptor | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make the host keys unless there are some, and listen.

        Raises:
            OSError: the address is not available.
        """
        # asyncssh logs every session with its address; what matters is in the program's own log.
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        keys = make_host_keys(self.door.storage)
        for key in keys:
            log.info("sftp_host_key", kind=key.kind, fingerprint=key.fingerprint)
        self._thread.start()
        listening = self._listen([key.key for key in keys])
        try:
            address = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        except OSError:
            self._end_loop()
            raise
        log.info("sftp_ready", host=address[0], port=address[1])
        if self.options.ready is not None:
            self.options.ready(address)

    async def _listen(self, keys: list[asyncssh.SSHKey]) -> tuple[str, int]:
        self._listener = await asyncssh.listen(
            self.options.host,
            self.options.port,
            server_factory=lambda: Guest(self),
            server_host_keys=keys,
            server_version="Listbridge",
            config=[],
            encoding=None,
            allow_pty=False,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            # A short packet that unfolds to a very long one is the only thing that compression would add.
            compression_algs=None,
            gss_host=None,
            login_timeout=self.options.login_seconds,
        )
        self._watch = self._loop.create_task(self._end_idle())
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside the rest; what is under way at the end is waited for."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_idle(self) -> None:
        pause = min(self.options.idle_seconds / 4, 5.0)
        while True:
            await asyncio.sleep(pause)
            since = time.monotonic() - self.options.idle_seconds
            for guest in [guest for guest in self.guests if guest.active_at < since]:
                guest.send_away("Nothing was heard for too long.")

    def end_changed(self) -> None:
        """End the sessions of users who are not what they were when they logged in; may be called from any thread."""
        # The loop is gone when the server stops; so are the sessions.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end_changed)

    def _end_changed(self) -> None:
        for guest in [guest for guest in self.guests if not guest.is_current]:
            guest.send_away("The user was changed; log in again.")

    def halt(self) -> None:
        """End all sessions, wait until what they were sending is judged or put aside, and free everything.

        Nothing happens when it never began to listen.
        """
        if self._listener is None:
            self._loop.close()
            return
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(STOP_SECONDS + 5)
        finally:
            self._end_loop()

    async def _close(self) -> None:
        assert self._listener is not None and self._watch is not None, "it listens"
        self._listener.close()
        self._watch.cancel()
        for guest in list(self.guests):
            guest.send_away("The server is stopping.")
        deadline = time.monotonic() + STOP_SECONDS
        while self._tasks and time.monotonic() < deadline:
            await asyncio.wait(self._tasks, timeout=1.0)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Guest(asyncssh.SSHServer):
    """One client's connection, and who it is."""

    def __init__(self, sftp: SftpDoor) -> None:
        """Begin with nobody logged in."""
        self._sftp = sftp
        self._door = sftp.door
        self._connection: asyncssh.SSHServerConnection | None = None
        self._address: str | None = None
        self._proven: dict[str, FtpUser] = {}
        self._user: FtpUser | None = None
        self._passwords_left = MAX_PASSWORDS
        self._keys_left = MAX_KEYS
        self._refused_name: str | None = None
        self._one_by_one = asyncio.Lock()
        self._gone = asyncio.Event()
        self._judged = asyncio.Event()
        self.sessions = 0
        self.active_at = time.monotonic()

    def touch(self) -> None:
        """Take note that the client is there."""
        self.active_at = time.monotonic()

    @property
    def is_current(self) -> bool:
        """Tell whether the user, if any, may do what it could when it logged in."""
        return self._user is None or self._door.admission.is_current(self._user)

    def send_away(self, reason: str) -> None:
        """End the connection with a word to the client."""
        if self._connection is not None:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Let a client connect, unless there are too many or its address is banned."""
        address = conn.get_extra_info("peername")[0]
        if len(self._sftp.guests) >= self._sftp.options.max_connections or not self._door.admission.connect(address):
            conn.abort()
            return
        self._connection, self._address = conn, address
        self._sftp.guests.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client."""
        self._connection = None
        self._gone.set()
        self._sftp.guests.discard(self)
        if self._address is not None:
            self._door.admission.disconnect(self._address)
            if self._refused_name is not None:
                self._door.gate.refuse_keys(self._refused_name, self._address)
        self._leave()

    # Logging in

    def password_auth_supported(self) -> bool:
        """Offer passwords, also to clients that ask for them with keyboard-interactive (RFC 4256)."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Check a password with all that counts over FTP.

        asyncssh cancels this when the client hangs up or begins another attempt. The attempt goes on then, so that it
        counts and delays the next one, and whoever it lets in is led out again.
        """
        if self._passwords_left <= 0:
            return self._send_guesser_away()
        self._passwords_left -= 1
        attempt = self._sftp.run(self._try_password(username, password))
        try:
            user = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(self._lead_out)
            raise
        if user is not None:
            self._enter(user)
            return True
        return False if self._passwords_left else self._send_guesser_away()

    async def _try_password(self, username: str, password: str) -> FtpUser | None:
        """Return who is inside now; nobody, when the password is wrong, after the delay of such an answer."""
        async with self._one_by_one:
            if self._connection is None or self._address is None:
                return None
            self._refused_name = None
            log_in, address = self._door.gate.log_in, self._address
            outcome = await self._in_thread(self._door.login_pool, log_in, username, password, address, encrypted=True)
            if outcome.login is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._gone.wait(), outcome.delay)
            return outcome.login

    def _lead_out(self, attempt: asyncio.Task[FtpUser | None]) -> None:
        """Let whom an attempt has let in leave, since nobody waits for its answer."""
        user = attempt.result() if not attempt.cancelled() and attempt.exception() is None else None
        if user is not None:
            self._door.admission.leave(user.id)

    def public_key_auth_supported(self) -> bool:
        """Offer public keys."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key is one of the user's; asyncssh asks for the proof that it is the client's."""
        if self._keys_left <= 0:
            return self._send_guesser_away()
        self._keys_left -= 1
        user = await self._in_thread(self._door.login_pool, find_key_owner, self._door.database, username, key)
        if user is not None:
            self._keys_left += 1
            self._proven[username], self._refused_name = user, None
            return True
        if self._passwords_left == MAX_PASSWORDS and not self._proven:
            # Clients try all the keys they have, so one connection counts once, unless something else comes of it.
            self._refused_name = username
        return False if self._keys_left else self._send_guesser_away()

    async def _in_thread(
        self, pool: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(function, *args, **kwargs))

    def _send_guesser_away(self) -> bool:
        self.send_away("Too many attempts to log in.")
        return False

    def _enter(self, user: FtpUser) -> None:
        """Take note of a user whom the gate has let in."""
        self._leave()
        self._user = user
        if self._connection is None:
            self._leave()

    def _leave(self) -> None:
        user, self._user = self._user, None
        if user is not None:
            self._door.admission.leave(user.id)

    async def auth_completed(self) -> None:
        """Let a user in who has proved with a key who it is; one with a password is in already."""
        assert self._connection is not None and self._address is not None
        name = self._connection.get_extra_info("username")
        if self._user is None or self._user.name != name:
            await self._admit(name, self._address)
        self._judged.set()

    async def _admit(self, name: str, address: str) -> None:
        gate, user = self._door.gate, self._proven[name]
        outcome = await self._in_thread(self._door.pool, gate.admit, user, address, encrypted=True)
        if outcome.login is not None:
            self._enter(outcome.login)
        else:
            self.send_away(outcome.text)

    # What is offered

    def session_requested(self) -> Awaitable[asyncssh.SSHServerSession[bytes]]:
        """Offer a session to whoever is in."""
        return self._offer()

    async def _offer(self) -> Offer:
        # A client asks as soon as its key has been accepted, which is before its rights were looked at.
        await self._judged.wait()
        if self._user is None or self.sessions >= MAX_SESSIONS:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "No more sessions.")
        self.sessions += 1
        return Offer(self, self._user, self._sftp)


class Offer(SSHServerStreamSession[bytes]):
    """One session: the subsystem sftp or the command scp."""

    def __init__(self, guest: Guest, user: FtpUser, sftp: SftpDoor) -> None:
        """Begin with neither of them asked for."""
        super().__init__(None)
        self._guest = guest
        self._user = user
        self._sftp = sftp

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """Refuse terminals."""
        return False

    def exec_requested(self, command: str) -> bool:
        """Run no command but scp, and that one without a shell."""
        return command.startswith(COMMAND)

    def subsystem_requested(self, subsystem: str) -> bool:
        """Offer sftp alone."""
        return subsystem == "sftp"

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take note that the client is there."""
        self._guest.touch()
        super().data_received(data, datatype)

    def resume_writing(self) -> None:
        """Take note that the client has read what was sent."""
        self._guest.touch()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the session."""
        self._guest.sessions -= 1
        super().connection_lost(exc)

    def session_started(self) -> None:
        """Serve what was asked for."""
        self._sftp.run(self._serve())

    async def _serve(self) -> None:
        channel: Any = self._chan
        command = channel.get_command()
        reader, writer = asyncssh.SSHReader[bytes](self, channel), asyncssh.SSHWriter[bytes](self, channel)
        name: Protocol = "scp" if command else "sftp"
        visit = Visit(self._user, name)
        files = Files(channel, self._sftp.door, self._user, name, visit)
        try:
            with suppress(asyncssh.Error, OSError):
                if command:
                    await run_scp(files, command, reader, writer)
                else:
                    await Requests(files, reader, writer).run()
        finally:
            await files.abandon()
            visit.end()


class Requests(SFTPServerHandler):
    """Answers the requests of an SFTP session, one after the other."""

    _extensions = [  # noqa: RUF012
        (name, version)
        for name, version in SFTPServerHandler._extensions
        if name not in (b"hardlink@openssh.com", b"copy-data", b"ranges@asyncssh.com")
    ]
    _packet_handlers: dict[Any, Any] = {  # noqa: RUF012
        kind: answer
        for kind, answer in SFTPServerHandler._packet_handlers.items()
        if kind not in (b"copy-data", b"ranges@asyncssh.com")
    }

    async def _open_folder(self, packet: SSHPacket) -> bytes:
        if len(self._dir_handles) >= MAX_FOLDERS:
            raise asyncssh.SFTPFailure(f"A session may read {MAX_FOLDERS} folders at a time.")
        return await self._process_opendir(packet)

    async def _close_handle(self, packet: SSHPacket) -> None:
        await self._process_close(packet)
        self._files.close_listings(self._dir_handles.values())

    _packet_handlers |= {FXP_OPENDIR: _open_folder, FXP_CLOSE: _close_handle}

    def __init__(self, files: Files, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        """Begin; the arguments are what the class works with."""
        super().__init__(files, reader, writer, _SFTP_VERSION)
        self._files = files
        self._channel: Any = writer.channel

    async def _cleanup(self, exc: Exception | None) -> None:
        # Before asyncssh closes what is open, as if the client had asked for it.
        await self._files.abandon()
        if not self._channel.is_closing():
            # Without it, scp of OpenSSH takes the end for a failure.
            self._channel.exit(0)
        await super()._cleanup(exc)


def find_key_owner(database: Database, name: str, key: asyncssh.SSHKey) -> FtpUser | None:
    """Return the user of this name when the key is one of its own. Slow; not for a loop."""
    with database.read() as connection:
        user = find_ftp_user(connection, name) if len(name) <= MAX_NAME else None
    known = user.public_keys if user is not None else ()
    return user if key.public_data in {asyncssh.import_public_key(text).public_data for text in known} else None
