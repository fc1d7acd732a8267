"""Partners' SFTP servers. asyncssh does the work on a loop of the session's own, one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, TypeVar, cast

import asyncssh

from jobs.remote_sessions import (
    BLOCK,
    Listing,
    ListingBuilder,
    Patience,
    RemoteError,
    RemoteFile,
    RemoteRefused,
    StepRefused,
    TakeBlock,
    Wanted,
)

_Result = TypeVar("_Result")
_FAREWELL_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15.0
# A server shows one key of a kind that both know; it may have several, and any of them may be the pinned one.
# Certificates of host keys are no part: what is pinned is a key.
_KEY_KINDS = (
    ["ssh-ed25519"],
    ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
    ["rsa-sha2-512", "rsa-sha2-256"],
)


class SftpSession:
    """A session with an SFTP server; see `jobs.remote_sessions.RemoteSession`."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        user: str,
        password: str | None,
        private_key: str | None,
        pinned: str | None,
        patience: Patience,
    ) -> None:
        """Connect and log in; nothing secret is sent before the server has proved its host key.

        Args:
            address: an address that may be connected to, and the port.
            user: to log in as.
            password: None with a key alone.
            private_key: in OpenSSH's or PEM form, not encrypted; None with a password alone.
            pinned: fingerprint of the host key, `SHA256:…`; None: no key is accepted, the error tells the server's.
            patience: how long the server may take.

        Raises:
            UnknownHostKey: the server shows another key than the pinned one.
            RemoteRefused: the server does not know this user, or not with this password or key.
            RemoteError: it did not get that far.
        """
        self.fingerprint: str | None = None
        self._patience = patience
        self._pinned = pinned
        self._runner = asyncio.Runner()
        self._connection: asyncssh.SSHClientConnection | None = None
        # Nothing of this machine's own: no configuration, no agent, no keys of whoever runs the program.
        self._options: dict[str, Any] = {
            "username": user,
            "password": password,
            "client_keys": [asyncssh.import_private_key(private_key)] if private_key else None,
            "known_hosts": ([], [], []),
            "config": None,
            "agent_path": None,
            "gss_host": None,
            "connect_timeout": patience.connect,
            "login_timeout": patience.step,
            "keepalive_interval": _KEEP_ALIVE_SECONDS,
            "client_factory": self._make_client,
        }
        try:
            self._connection = self._connect(address)
            self._sftp = self._do("Opening SFTP", self._connection.start_sftp_client())
        except BaseException:
            self.close()
            raise

    def list_files(self, folder: str, wanted: Wanted) -> Listing:
        builder = ListingBuilder(wanted)
        self._do("Listing the folder", self._list(folder, builder), self._patience.listing)
        return builder.build()

    def find(self, path: str) -> RemoteFile | None:
        try:
            found = self._do("Looking at the file", self._sftp.lstat(path))
        except _NotThere:
            return None
        return _describe(path.rpartition("/")[2], found)

    def fetch(self, path: str, take: TakeBlock) -> None:
        file = self._do("Fetching", self._sftp.open(path, "rb"))
        try:
            while block := self._do("Fetching", file.read(BLOCK)):
                take(cast("bytes", block))
        finally:
            with suppress(RemoteError):
                self._do("Fetching", file.close())

    def put(self, blocks: Iterable[bytes], path: str) -> None:
        file = self._do("Storing", self._sftp.open(path, "wb"))
        try:
            for block in blocks:
                self._do("Storing", file.write(block))
        except BaseException:
            with suppress(RemoteError):
                self._do("Storing", file.close(), _FAREWELL_SECONDS)
            raise
        self._do("Storing", file.close())

    def rename(self, source: str, target: str, *, replace: bool) -> None:
        if not replace:
            if self.find(target) is not None:
                raise StepRefused("There is a file of that name already.")
            self._do("Renaming", self._sftp.rename(source, target))
            return
        try:
            self._do("Renaming", self._sftp.posix_rename(source, target))
        except StepRefused:
            # Servers without OpenSSH's extension rename to free names alone.
            with suppress(_NotThere):
                self.remove(target)
            self._do("Renaming", self._sftp.rename(source, target))

    def remove(self, path: str) -> None:
        self._do("Removing", self._sftp.remove(path))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            with suppress(RemoteError):
                self._do("Leaving", self._connection.wait_closed(), _FAREWELL_SECONDS)
            self._connection = None
        self._runner.close()

    def _connect(self, address: tuple[str, int]) -> asyncssh.SSHClientConnection:
        shown: list[str] = []
        for kinds in _KEY_KINDS:
            self.fingerprint = None
            options = self._options | {"server_host_key_algs": kinds}
            try:
                return self._do("Connecting", asyncssh.connect(*address, **options))
            except asyncssh.HostKeyNotVerifiable:
                shown += [self.fingerprint] if self.fingerprint else []
                if self._pinned is None:
                    break
            except (asyncssh.KeyExchangeFailed, _Lost):
                continue  # No key of this kind; some servers hang up before they have said so.
        self.fingerprint = shown[0] if shown else None
        if not shown:
            raise RemoteError("Connecting: the server closed the connection, or shares no kind of host key.")
        raise UnknownHostKey(shown)

    def _make_client(self) -> asyncssh.SSHClient:
        return _Client(self)

    def check_key(self, fingerprint: str) -> bool:
        """Note the host key that the server shows, and tell whether it is the pinned one."""
        self.fingerprint = fingerprint
        return fingerprint == self._pinned

    async def _list(self, folder: str, builder: ListingBuilder) -> None:
        # As bytes, so that a name that is not UTF-8 does not spoil the others.
        async for entry in self._sftp.scandir(folder.encode() or b"."):
            builder.count()
            name = entry.filename
            name = name if isinstance(name, str) else name.decode("utf-8", "replace")
            found = _describe(name, entry.attrs)
            if found is not None and builder.admit(name):
                builder.add(found)

    def _do(self, step: str, work: Awaitable[_Result], seconds: float | None = None) -> _Result:
        """Do one step on the loop, and turn what goes wrong into a sentence that repeats nothing the server said."""
        try:
            return self._runner.run(_within(work, seconds or self._patience.step))
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
            raise
        except asyncssh.PermissionDenied:
            raise RemoteRefused("The server refused the user name, the password or the key.") from None
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            raise _NotThere(f"{step}: there is no such file or folder.") from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage):
            raise RemoteError(f"{step}: the connection was cut.") from None
        except asyncssh.SFTPError as error:
            raise StepRefused(f"{step}: the server refused it ({type(error).__name__.removeprefix('SFTP')}).") from None
        except TimeoutError:
            raise RemoteError(f"{step}: The server did not answer in time.") from None
        except asyncssh.ConnectionLost:
            raise _Lost(f"{step}: the connection was cut.") from None
        except (asyncssh.Error, OSError):
            raise RemoteError(f"{step}: the connection was not accepted, or was cut.") from None
        except (ValueError, asyncssh.packet.PacketDecodeError):
            raise RemoteError(f"{step}: the server does not speak SFTP as it should.") from None


class UnknownHostKey(RemoteRefused):
    """The server shows another host key than the pinned one."""

    def __init__(self, shown: list[str]) -> None:
        super().__init__(f"The server shows another host key than the pinned one: {', '.join(shown)}.")
        self.shown = shown


class _Lost(RemoteError):
    """The server closed the connection."""


class _NotThere(StepRefused):
    """There is no such file."""


class _Client(asyncssh.SSHClient):
    def __init__(self, session: SftpSession) -> None:
        self._session = session

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return self._session.check_key(key.get_fingerprint("sha256"))


async def _within(work: Awaitable[_Result], seconds: float) -> _Result:
    return await asyncio.wait_for(work, seconds)


def _describe(name: str, attributes: asyncssh.SFTPAttrs) -> RemoteFile | None:
    """Return an entry that is a regular file; None for folders, links and what has no size."""
    if attributes.type != asyncssh.FILEXFER_TYPE_REGULAR or attributes.size is None:
        return None
    modified = attributes.mtime
    return RemoteFile(name, attributes.size, str(int(modified)) if modified is not None else "")
