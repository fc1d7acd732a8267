"""No name leads out of a home, in whatever request of SFTP or SCP it stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from shlex import quote
from typing import Any, TypeVar

import asyncssh
import pytest
from asyncssh.constants import FXF_APPEND, FXF_CREAT, FXF_TRUNC, FXF_WRITE
from ftp_doors import Office
from hostile_names import CONTENT, NAMES, REFUSED, SECRET, set_traps, snapshot
from sftp_doors import client, connect, open_sftp_office, run

MINE = "mine.txt"
T = TypeVar("T")
SHARES = pytest.mark.parametrize("share", [6, pytest.param(1, marks=pytest.mark.torture)])
"""One of so many pairs of a name and a request is tried."""

_Request = Callable[[asyncssh.SFTPClient, bytes], Awaitable[Any]]


def take(names: list[bytes], requests: list[T], share: int) -> Iterator[tuple[bytes, T]]:
    for row, name in enumerate(names):
        for column, request in enumerate(requests):
            if (row + column) % share == 0:
                yield name, request


async def read(sftp: asyncssh.SFTPClient, name: bytes) -> bytes:
    async with sftp.open(name, "rb", encoding=None) as file:
        return bytes(await file.read())  # type: ignore[arg-type]


async def write(sftp: asyncssh.SFTPClient, name: bytes, flags: int = FXF_WRITE | FXF_CREAT | FXF_TRUNC) -> None:
    async with sftp.open(name, flags, encoding=None) as file:
        await file.write(b"x")


REQUESTS: dict[str, _Request] = {
    "stat": lambda sftp, name: sftp.stat(name),
    "lstat": lambda sftp, name: sftp.lstat(name),
    "setstat": lambda sftp, name: sftp.utime(name, (1, 1)),
    "chmod": lambda sftp, name: sftp.chmod(name, 0o777),
    "truncate": lambda sftp, name: sftp.truncate(name, 0),
    "lsetstat": lambda sftp, name: sftp.utime(name, (1, 1), follow_symlinks=False),
    "read": read,
    "write": write,
    "append": lambda sftp, name: write(sftp, name, FXF_WRITE | FXF_APPEND | FXF_CREAT),
    "overwrite": lambda sftp, name: write(sftp, name, FXF_WRITE),
    "list": lambda sftp, name: sftp.readdir(name),
    "mkdir": lambda sftp, name: sftp.mkdir(name),
    "rmdir": lambda sftp, name: sftp.rmdir(name),
    "remove": lambda sftp, name: sftp.remove(name),
    "rename from": lambda sftp, name: sftp.rename(name, b"stolen.txt"),
    "rename to": lambda sftp, name: sftp.rename(MINE.encode(), name),
    "posix rename from": lambda sftp, name: sftp.posix_rename(name, b"stolen.txt"),
    "posix rename to": lambda sftp, name: sftp.posix_rename(MINE.encode(), name),
    "readlink": lambda sftp, name: sftp.readlink(name),
    "symlink to": lambda sftp, name: sftp.symlink(name, b"trap"),
    "symlink from": lambda sftp, name: sftp.symlink(b"/etc/passwd", name),
    "link to": lambda sftp, name: sftp.link(name, b"trap"),
    "link from": lambda sftp, name: sftp.link(MINE.encode(), name),
    "statvfs": lambda sftp, name: sftp.statvfs(name),
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_sftp_office(tmp_path_factory.mktemp("sftp")) as office:
        set_traps(office)
        yield office


def check_nothing_happened(office: Office, before: dict[str, tuple[int, float]]) -> None:
    assert snapshot(office.storage.homes, without=office.home) == before
    assert (office.storage.home(10) / SECRET).read_bytes() == CONTENT
    assert not {path.name for path in office.storage.homes.iterdir()} - {"1", "10"}
    links = {path.name for path in office.home.rglob("*") if path.is_symlink()}
    assert links == {"link", "direct"}


def is_harmless(answer: Any) -> bool:
    """Tell whether an answer shows nothing of a place that is not the partner's."""
    shown = str(answer)
    return CONTENT.decode() not in shown and "root:" not in shown


@SHARES
def test_no_name_leads_out(office: Office, share: int) -> None:
    before = snapshot(office.storage.homes, without=office.home)

    async def try_all() -> None:
        async with client(office) as sftp:
            for name, (about, request) in take(NAMES, list(REQUESTS.items()), share):
                (office.home / MINE).write_bytes(b"mine")
                try:
                    answer = await request(sftp, name)
                except asyncssh.SFTPError as refused:
                    answer = refused.reason
                    assert str(office.storage.root) not in answer, (about, name)
                assert is_harmless(answer), (about, name, answer)

    run(try_all())
    check_nothing_happened(office, before)


@SHARES
def test_names_that_mean_something_else_are_refused(office: Office, share: int) -> None:
    (office.home / MINE).write_bytes(b"mine")

    async def try_all() -> list[tuple[str, bytes]]:
        taken = []
        async with client(office) as sftp:
            for name, (about, request) in take(REFUSED, list(REQUESTS.items()), share):
                with suppress(asyncssh.SFTPError):
                    await request(sftp, name)
                    taken.append((about, name))
        return taken

    assert run(try_all()) == []
    assert (office.home / MINE).read_bytes() == b"mine"


def test_paths_are_spelled_inside_the_home(office: Office) -> None:
    async def try_all() -> None:
        async with client(office) as sftp:
            for name in NAMES:
                with suppress(asyncssh.SFTPError):
                    path = await sftp.realpath(name)
                    assert bytes(path)[:1] == b"/" and b".." not in bytes(path).split(b"/"), name

    run(try_all())


def test_links_are_not_listed(office: Office) -> None:
    async def list_home() -> set[str]:
        async with client(office) as sftp:
            return set(map(str, await sftp.listdir("/")))

    assert not {"link", "direct"} & run(list_home())


SCP_REQUESTS = [
    ("scp -f -- {}", b"\0\0\0\0"),
    ("scp -r -f -- {}", b"\0\0\0\0"),
    ("scp -r -t -- {}", b"C0644 1 secret.txt\nx\0"),
    ("scp -p -r -t -- import/1", b"C0644 1 NAME\nx\0"),
    ("scp -p -r -t -- import/1", b"D0755 0 NAME\nC0644 1 secret.txt\nx\0E\n"),
    ("scp -p -r -t -- import/1", b"T1 0 1 0\nC0644 1 NAME\nx\0"),
]


@SHARES
def test_no_name_of_scp_leads_out(office: Office, share: int) -> None:
    before = snapshot(office.storage.homes, without=office.home)

    async def ask(connection: asyncssh.SSHClientConnection, command: str, sent: bytes) -> bytes:
        process: Any = await connection.create_process(command, encoding=None)
        process.stdin.write(sent)
        process.stdin.write_eof()
        return bytes((await process.wait()).stdout)

    async def try_all() -> None:
        async with connect(office) as connection:
            for name, (command, sent) in take(NAMES, SCP_REQUESTS, share):
                spelled = command.format(quote(name.decode("utf-8", "replace")))
                answer = await ask(connection, spelled, sent.replace(b"NAME", name))
                assert is_harmless(answer), (spelled, sent, name, answer)
                assert str(office.storage.root).encode() not in answer

    run(try_all())
    check_nothing_happened(office, before)
