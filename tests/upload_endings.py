"""The ways an upload can end over each door, at whatever byte, and whether the file is whole then."""

from __future__ import annotations

import asyncio
import ftplib
import io
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncssh
import orjson
from ftp_doors import DEADLINE, PASSWORD, USER, Office, close_quietly, reply_of, reset, wait_until
from sftp_doors import client, connect, run, store
from sftp_doors import reset as reset_ssh


@dataclass(frozen=True)
class Cut:
    """One upload."""

    office: Office
    name: str
    content: bytes
    at: int
    """How many bytes are sent, unless the upload is complete."""

    @property
    def path(self) -> str:
        return self.office.path(self.name)

    @property
    def part(self) -> bytes:
        return self.content[: self.at]

    def wait_for_part(self) -> None:
        wait_until(lambda: self.office.received() >= self.at)


@dataclass(frozen=True)
class Way:
    """One way to end an upload."""

    door: str
    name: str
    end: Callable[[Cut], Any]
    whole: bool | None
    """Whether the file is complete; None when that depends on the moment: `end` returns whether the server said so."""

    def __str__(self) -> str:
        return f"{self.door}: {self.name}"


# FTP and FTPS


def ftp_client(office: Office, tls: bool) -> ftplib.FTP:
    """Return a client that is logged in, with protected data connections under TLS."""
    if not tls:
        return office.client()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    made = ftplib.FTP_TLS(context=context, encoding="utf-8")
    made.connect(*office.address, timeout=DEADLINE)
    made.login(USER, PASSWORD)
    made.prot_p()
    return made


def send(ftp: ftplib.FTP, cut: Cut, command: str = "STOR") -> socket.socket:
    data = ftp.transfercmd(f"{command} {cut.path}")
    data.sendall(cut.part)
    return data


def finish(data: socket.socket) -> None:
    """End the data as a client does that has no more."""
    if isinstance(data, ssl.SSLSocket):
        with suppress(OSError):
            data.unwrap()
    data.close()


def twin(sock: socket.socket) -> socket.socket:
    """Return a second handle of a connection, so that its reader cannot hold it open."""
    return socket.socket(fileno=os.dup(sock.fileno()))


def complete(ftp: ftplib.FTP, cut: Cut) -> None:
    ftp.storbinary(f"STOR {cut.path}", io.BytesIO(cut.content))
    ftp.quit()


def close_data(ftp: ftplib.FTP, cut: Cut) -> None:
    finish(send(ftp, cut))
    with suppress(ftplib.Error):
        ftp.voidresp()
    close_quietly(ftp)


def reset_data(ftp: ftplib.FTP, cut: Cut) -> None:
    data = send(ftp, cut)
    cut.wait_for_part()
    reset(data)
    with suppress(ftplib.Error):
        ftp.voidresp()
    ftp.quit()


def close_control(ftp: ftplib.FTP, cut: Cut) -> None:
    data = send(ftp, cut)
    cut.wait_for_part()
    close_quietly(ftp)
    data.close()


def reset_both(ftp: ftplib.FTP, cut: Cut) -> None:
    data = send(ftp, cut)
    assert ftp.sock is not None
    control, sock = twin(ftp.sock), twin(data)
    ftp.close()
    data.close()
    reset(control)
    reset(sock)


def quit_while_sending(ftp: ftplib.FTP, cut: Cut) -> None:
    data = send(ftp, cut)
    cut.wait_for_part()
    ftp.putcmd("QUIT")
    data.settimeout(0.05)
    with suppress(TimeoutError, OSError):
        data.recv(1)  # lets the command arrive before the end of the data
    finish(data)
    while not reply_of(ftp).startswith("221"):
        pass
    ftp.close()


def abort(ftp: ftplib.FTP, cut: Cut) -> None:
    data = send(ftp, cut)
    cut.wait_for_part()
    ftp.putcmd("ABOR")
    while not reply_of(ftp).startswith("226"):
        pass
    data.close()
    ftp.quit()


def announce_more(ftp: ftplib.FTP, cut: Cut) -> None:
    ftp.sendcmd(f"ALLO {len(cut.content)}")
    finish(send(ftp, cut))
    with suppress(ftplib.Error):
        ftp.voidresp()
    ftp.quit()


def go_on(ftp: ftplib.FTP, cut: Cut) -> None:
    reset_data(ftp, cut)
    wait_until(lambda: cut.name in cut.office.incomplete())
    with ftp_client(cut.office, isinstance(ftp, ftplib.FTP_TLS)) as again:
        size = again.size(cut.path)
        assert size is not None
        again.storbinary(f"STOR {cut.path}", io.BytesIO(cut.content[size:]), rest=size)


def rename(ftp: ftplib.FTP, cut: Cut) -> None:
    ftp.storbinary(f"STOR {cut.path}.part", io.BytesIO(cut.content))
    ftp.rename(f"{cut.path}.part", cut.path)
    close_quietly(ftp)


FTP_WAYS: list[tuple[Callable[[ftplib.FTP, Cut], None], bool]] = [
    (complete, True),
    (close_data, False),
    (reset_data, False),
    (close_control, False),
    (reset_both, False),
    (quit_while_sending, False),
    (abort, False),
    (announce_more, False),
    (go_on, True),
    (rename, True),
]


def over_ftp(way: Callable[[ftplib.FTP, Cut], None], tls: bool) -> Callable[[Cut], None]:
    def end(cut: Cut) -> None:
        ftp = ftp_client(cut.office, tls)
        try:
            way(ftp, cut)
        finally:
            ftp.close()

    return end


# SFTP

_Work = Callable[[asyncssh.SSHClientConnection, asyncssh.SFTPClient, Cut], Coroutine[Any, Any, None]]


async def sftp_complete(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await store(sftp, cut.path, cut.content)
    connection.abort()


async def write_part(sftp: asyncssh.SFTPClient, cut: Cut) -> Any:
    file = await sftp.open(cut.path, "wb")
    await file.write(cut.part)
    return file


async def sftp_leave(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await write_part(sftp, cut)
    sftp.exit()
    await sftp.wait_closed()


async def sftp_reset(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await write_part(sftp, cut)
    reset_ssh(connection)


async def sftp_drop(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await write_part(sftp, cut)
    connection.abort()


async def sftp_disconnect(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await write_part(sftp, cut)
    connection.disconnect(asyncssh.DISC_BY_APPLICATION, "bye")


async def sftp_gap(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    with suppress(asyncssh.SFTPError):
        async with sftp.open(cut.path, "wb") as file:
            await file.write(cut.part, 0)
            await file.write(cut.content[cut.at + 1 :] + b"\n", cut.at + 1)


async def sftp_half_request(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    file = await write_part(sftp, cut)
    close = b"\4" + b"\0\0\0\x63" + b"\0\0\0\4" + file._handle
    request = len(close).to_bytes(4, "big") + close
    writer: Any = sftp._handler._writer
    writer.write(request[: cut.at % len(request)])
    writer.write_eof()
    await sftp.wait_closed()


async def sftp_go_on(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await sftp_drop(connection, sftp, cut)
    office = cut.office
    while cut.name not in office.incomplete():
        await asyncio.sleep(0.01)
    async with client(office) as again, again.open(cut.path, "ab") as file:
        await file.write(cut.content[cut.at :])


async def sftp_rename(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient, cut: Cut) -> None:
    await store(sftp, f"{cut.path}.part", cut.content)
    await sftp.posix_rename(f"{cut.path}.part", cut.path)
    connection.abort()


SFTP_WAYS: list[tuple[_Work, bool]] = [
    (sftp_complete, True),
    (sftp_leave, False),
    (sftp_reset, False),
    (sftp_drop, False),
    (sftp_disconnect, False),
    (sftp_gap, False),
    (sftp_half_request, False),
    (sftp_go_on, True),
    (sftp_rename, True),
]


def over_sftp(work: _Work) -> Callable[[Cut], None]:
    async def log_in_and_end(cut: Cut) -> None:
        async with connect(cut.office) as connection:
            await work(connection, await connection.start_sftp_client(), cut)

    return lambda cut: run(log_in_and_end(cut))


# SCP

_Scp = Callable[[asyncssh.SSHClientConnection, Any, Cut], Coroutine[Any, Any, None]]


async def scp_begin(process: Any, cut: Cut, content: bytes) -> None:
    await process.stdout.readexactly(1)
    process.stdin.write(f"C0644 {len(cut.content)} {cut.name}\n".encode())
    assert await process.stdout.readexactly(1) == b"\0"
    process.stdin.write(content)


async def scp_complete(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.content + b"\0")
    assert await process.stdout.readexactly(1) == b"\0"
    connection.abort()


async def scp_end(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.part)
    process.stdin.write_eof()
    await process.wait_closed()


async def scp_reset(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.part)
    reset_ssh(connection)


async def scp_drop(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.part)
    connection.abort()


async def scp_disconnect(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.part)
    connection.disconnect(asyncssh.DISC_BY_APPLICATION, "bye")


async def scp_without_last_byte(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.content)
    process.stdin.write_eof()
    await process.wait_closed()


async def scp_reset_before_last_byte(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.content)
    await asyncio.sleep(0)
    reset_ssh(connection)


async def scp_with_an_error(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, cut, cut.part.ljust(len(cut.content), b"\0") + b"\1scp: read error\n")
    assert await process.stdout.readexactly(1) == b"\1"


async def scp_rename(connection: asyncssh.SSHClientConnection, process: Any, cut: Cut) -> None:
    await scp_begin(process, Cut(cut.office, f"{cut.name}.part", cut.content, cut.at), cut.content + b"\0")
    assert await process.stdout.readexactly(1) == b"\0"
    sftp = await connection.start_sftp_client()
    await sftp.posix_rename(f"{cut.path}.part", cut.path)


SCP_WAYS: list[tuple[_Scp, bool]] = [
    (scp_complete, True),
    (scp_end, False),
    (scp_reset, False),
    (scp_drop, False),
    (scp_disconnect, False),
    (scp_without_last_byte, False),
    (scp_reset_before_last_byte, False),
    (scp_with_an_error, False),
    (scp_rename, True),
]


def over_scp(work: _Scp) -> Callable[[Cut], None]:
    async def log_in_and_end(cut: Cut) -> None:
        async with connect(cut.office) as connection:
            process = await connection.create_process(f"scp -t {cut.office.path()}", encoding=None)
            await work(connection, process, cut)

    return lambda cut: run(log_in_and_end(cut))


# A connection that breaks at any byte of what the client sends: in the key exchange, the data or what comes after it


@asynccontextmanager
async def broken_after(office: Office, size: int) -> AsyncIterator[tuple[str, int]]:
    """Stand between client and server; pass on so many bytes of the client, then break both connections."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*office.sftp_addresses[-1])
        answers = asyncio.create_task(pass_on(back, writer))
        left = size
        while left and (data := await reader.read(min(left, 4096))):
            forth.write(data)
            await forth.drain()
            left -= len(data)
        for stream in (forth, writer):
            stream.transport.abort() if size % 2 else stream.close()
        await answers

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


def through_a_broken_line(work: Callable[[asyncssh.SSHClientConnection, Cut], Coroutine[Any, Any, None]]) -> Any:
    async def try_to_send(cut: Cut) -> bool:
        # What is sent before the data takes some 3,000 bytes, what comes after it some hundreds.
        async with broken_after(cut.office, cut.at * (len(cut.content) + 3500) // len(cut.content)) as address:
            with suppress(asyncssh.Error, OSError, asyncio.IncompleteReadError, AssertionError):
                async with connect(cut.office, address=address) as connection:
                    await work(connection, cut)
                    return True
        return False

    return lambda cut: run(try_to_send(cut))


async def send_sftp(connection: asyncssh.SSHClientConnection, cut: Cut) -> None:
    await store(await connection.start_sftp_client(), cut.path, cut.content)


async def send_scp(connection: asyncssh.SSHClientConnection, cut: Cut) -> None:
    process: Any = await connection.create_process(f"scp -t {cut.office.path()}", encoding=None)
    await scp_begin(process, cut, cut.content + b"\0")
    assert await process.stdout.readexactly(1) == b"\0"


# Killed clients

KILLED = """
import asyncio, ftplib, json, os, signal, ssl, sys, time
import asyncssh
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def send_ftp(task):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = ftplib.FTP_TLS(context=context) if task["door"] == "ftps" else ftplib.FTP()
    client.connect(*task["ftp"])
    client.login(task["user"], task["password"])
    if task["door"] == "ftps":
        client.prot_p()
    data = client.transfercmd("STOR " + task["path"])
    data.sendall(task["part"].encode())
    stay(client, data)

async def send_ssh(task):
    host, port = task["sftp"]
    connection = await asyncssh.connect(
        host, port, username=task["user"], password=task["password"], known_hosts=None, client_keys=None, config=None
    )
    if task["door"] == "sftp":
        file = await (await connection.start_sftp_client()).open(task["path"], "wb")
        await file.write(task["part"].encode())
    else:
        process = await connection.create_process("scp -t " + task["path"], encoding=None)
        await process.stdout.readexactly(1)
        process.stdin.write(("C0644 %d x\\n" % task["size"]).encode())
        await process.stdout.readexactly(1)
        process.stdin.write(task["part"].encode())
        await process.stdin.drain()
    stay(connection)

def stay(*_kept):
    print(os.getpid(), flush=True)
    time.sleep(600)

for line in sys.stdin:
    task = json.loads(line)
    if os.fork() == 0:
        asyncio.run(send_ssh(task)) if task["door"] in ("sftp", "scp") else send_ftp(task)
"""


class KilledClients:
    """A process that makes clients, each a process of its own, which are killed when they have sent a part."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", KILLED]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self, door: str, cut: Cut) -> None:
        """Send a part of a file and be killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        office = cut.office
        task = {
            "door": door,
            "ftp": office.address,
            "sftp": office.sftp_addresses[-1],
            "user": USER,
            "password": PASSWORD,
            "path": cut.path,
            "size": len(cut.content),
            "part": cut.part.decode(),
        }
        self._process.stdin.write(orjson.dumps(task).decode() + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        if door != "scp":
            cut.wait_for_part()
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self._process.communicate()


def ways(killed: KilledClients) -> list[Way]:
    """Return all ways over all doors, eleven of each."""
    found = [
        Way("ftps" if tls else "ftp", *_named(way, over_ftp(way, tls), whole))
        for tls in (False, True)
        for way, whole in FTP_WAYS
    ]
    found += [Way("sftp", *_named(way, over_sftp(way), whole)) for way, whole in SFTP_WAYS]
    found += [Way("scp", *_named(way, over_scp(way), whole)) for way, whole in SCP_WAYS]
    found += [Way("sftp", "broken line", through_a_broken_line(send_sftp), None)]
    found += [Way("scp", "broken line", through_a_broken_line(send_scp), None)]
    doors = ("ftp", "ftps", "sftp", "scp")
    return found + [Way(door, "killed client", partial(killed.end, door), False) for door in doors]


def _named(way: Any, end: Any, whole: bool) -> tuple[str, Any, bool]:
    return way.__name__.replace("_", " "), end, whole
