"""Servers of partners: where they are, how to log in there, and what they must show to be believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import asyncssh
from sqlalchemy import Connection, Row, select

from db.tables import remote_server, transfer

Protocol = Literal["ftp", "ftps", "ftps-implicit", "sftp"]
DEFAULT_PORTS: Mapping[str, int] = {"ftp": 21, "ftps": 21, "ftps-implicit": 990, "sftp": 22}
_HOST_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_CERTIFICATE = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_SECRET = 1_000


class RemoteServerError(ValueError):
    """A server cannot be set up, or not be removed, like this; the text is fit for the caller."""


class UnknownRemoteServer(RemoteServerError):
    """The account has no server of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached; everything is checked when it is made.

    Raises:
        RemoteServerError: something cannot be used; the text says what.
    """

    protocol: Protocol
    host: str
    port: int
    user_name: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    """For `sftp`: in OpenSSH's or PEM form, not encrypted."""
    fingerprint: str | None = None
    """`SHA256:BASE64` of the host key, or `sha256:HEX` of the certificate's DER form."""

    def __post_init__(self) -> None:
        self._check_place()
        self._check_secrets()
        self._check_fingerprint()

    def _check_place(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise RemoteServerError(f"{self.protocol!r} is none of {', '.join(get_args(Protocol))}.")
        if not _HOST.fullmatch(self.host):
            raise RemoteServerError(f"{self.host!r} is not the name or address of a host.")
        if not 0 < self.port < 65536:
            raise RemoteServerError("A port is a number from 1 to 65535.")

    def _check_secrets(self) -> None:
        for text in (self.user_name, self.password or ""):
            if not text.isprintable() or len(text) > _LONGEST_SECRET:
                raise RemoteServerError("User name and password must not have control characters.")
        if not self.user_name or not (self.password or self.private_key):
            raise RemoteServerError("A user name is needed, with a password or, for sftp, a private key.")
        if self.private_key is not None:
            self._check_key(self.private_key)

    def _check_key(self, private_key: str) -> None:
        if self.protocol != "sftp":
            raise RemoteServerError("Only sftp logs in with a private key.")
        try:
            asyncssh.import_private_key(private_key)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
            raise RemoteServerError("The private key cannot be read; it must not be encrypted.") from None

    def _check_fingerprint(self) -> None:
        if self.fingerprint is None:
            return
        if self.protocol == "ftp":
            raise RemoteServerError("Plain ftp has no fingerprint; use ftps or sftp.")
        form = _HOST_KEY if self.protocol == "sftp" else _CERTIFICATE
        if not form.fullmatch(self.fingerprint):
            wanted = "SHA256: and 43 characters of base64" if self.protocol == "sftp" else "sha256: and 64 hex digits"
            raise RemoteServerError(f"The fingerprint of {self.protocol} is {wanted}, as `remote probe` shows it.")


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A server of an account's partner."""

    id: int
    account_id: int
    name: str
    access: Access
    created_at: datetime


def add_remote_server(connection: Connection, account_id: int, name: str, access: Access) -> int:
    """Add a server; return its id.

    Raises:
        RemoteServerError: the name cannot be used, or is used already.
    """
    if not _NAME.fullmatch(name):
        raise RemoteServerError(f"{name!r} is no name: use up to 64 letters, digits, '.', '_' and '-'.")
    if _select(connection, account_id, name) is not None:
        raise RemoteServerError(f"There is a server {name!r} already.")
    values = asdict(access) | {"account_id": account_id, "name": name, "created_at": datetime.now(UTC)}
    inserted = connection.execute(remote_server.insert().values(values))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def remote_servers_of(connection: Connection, account_id: int) -> list[RemoteServer]:
    """Return the servers of an account by name."""
    query = select(remote_server).where(remote_server.c.account_id == account_id).order_by(remote_server.c.name)
    return [_remote_server(row) for row in connection.execute(query)]


def find_remote_server(connection: Connection, account_id: int, name: str) -> RemoteServer:
    """Return a server.

    Raises:
        UnknownRemoteServer: the account has none of this name.
    """
    row = _select(connection, account_id, name)
    if row is None:
        raise UnknownRemoteServer(f"There is no server {name!r} in this account.")
    return _remote_server(row)


def load_remote_server(connection: Connection, remote_id: int) -> RemoteServer:
    """Return the server of an id, which must exist."""
    return _remote_server(connection.execute(select(remote_server).where(remote_server.c.id == remote_id)).one())


def change_remote_server(connection: Connection, account_id: int, name: str, **changes: Any) -> RemoteServer:
    """Change what is given of a server's access; return it as it is then.

    Raises:
        UnknownRemoteServer: the account has none of this name.
        RemoteServerError: a value cannot be used.
    """
    found = find_remote_server(connection, account_id, name)
    access = replace(found.access, **changes)
    connection.execute(remote_server.update().where(remote_server.c.id == found.id).values(asdict(access)))
    return replace(found, access=access)


def remove_remote_server(connection: Connection, account_id: int, name: str) -> None:
    """Remove a server.

    Raises:
        UnknownRemoteServer: the account has none of this name.
        RemoteServerError: transfers use it.
    """
    found = find_remote_server(connection, account_id, name)
    used = select(transfer.c.id).where(transfer.c.remote_id == found.id).order_by(transfer.c.id)
    if ids := list(connection.execute(used).scalars()):
        raise RemoteServerError(f"Transfers use the server: {', '.join(map(str, ids))}. Remove them first.")
    connection.execute(remote_server.delete().where(remote_server.c.id == found.id))


def _select(connection: Connection, account_id: int, name: str) -> Row[Any] | None:
    here = (remote_server.c.account_id == account_id) & (remote_server.c.name == name)
    return connection.execute(select(remote_server).where(here)).one_or_none()


def _remote_server(row: Row[Any]) -> RemoteServer:
    access = Access(
        protocol=row.protocol,
        host=row.host,
        port=row.port,
        user_name=row.user_name,
        password=row.password,
        private_key=row.private_key,
        fingerprint=row.fingerprint,
    )
    return RemoteServer(row.id, row.account_id, row.name, access, row.created_at)
