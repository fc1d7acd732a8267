"""Clients of the SFTP and SCP door that end uploads in every way a client can, in the thread of the test."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import asyncssh
from ftp_doors import DEADLINE, PASSWORD, USER, Office, open_temporary_office

from ftp_server.host_keys import key_folder, make_host_keys
from ftp_server.sftp import SftpOptions
from jobs.storage import Storage

T = TypeVar("T")


@contextmanager
def open_sftp_office(directory: Path, sftp: dict[str, Any] | None = None, **options: Any) -> Iterator[Office]:
    """Serve FTP, SFTP and SCP from an empty directory."""
    shutil.copytree(_host_keys(), key_folder(Storage(directory / "data")))
    addresses: list[tuple[str, int]] = []
    door = SftpOptions(port=0, ready=addresses.append, **(sftp or {}))
    with open_temporary_office(directory, sftp=door, **options) as office:
        office.sftp_addresses = addresses
        yield office


@cache
def _host_keys() -> Path:
    """Return a folder with host keys, which take long to make."""
    storage = Storage(Path(mkdtemp(prefix="host-keys-")))
    make_host_keys(storage)
    return key_folder(storage)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do what a client does, in a generous time."""
    return asyncio.run(asyncio.wait_for(work, 4 * DEADLINE))


@asynccontextmanager
async def connect(
    office: Office, *, address: tuple[str, int] | None = None, **options: Any
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Log in over SSH, or through what stands between client and server at another address."""
    host, port = address or office.sftp_addresses[-1]
    settings: dict[str, Any] = {"username": USER, "password": PASSWORD, "known_hosts": None, "client_keys": None}
    settings |= {"config": None, "agent_path": None, **options}
    async with asyncssh.connect(host, port, **settings) as connection:
        yield connection


@asynccontextmanager
async def client(office: Office, **options: Any) -> AsyncIterator[asyncssh.SFTPClient]:
    """Log in over SFTP."""
    async with connect(office, **options) as connection, connection.start_sftp_client() as sftp:
        yield sftp


async def store(sftp: asyncssh.SFTPClient, path: str, content: bytes) -> None:
    """Upload as a well-behaved client does."""
    async with sftp.open(path, "wb") as file:
        await file.write(content)


def reset(connection: asyncssh.SSHClientConnection) -> None:
    """Close the connection with RST instead of FIN, and without a word."""
    sock = connection.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.abort()
