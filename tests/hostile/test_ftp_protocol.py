"""Clients that do not keep to the protocol, on purpose or not."""

from __future__ import annotations

import ftplib
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from ftp_doors import DEADLINE, Office, open_temporary_office, reply_of, store, wait_until

CONTENT = b"email\nann@example.com\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list()


def dial(office: Office) -> socket.socket:
    connection = socket.create_connection(office.address, timeout=DEADLINE)
    assert connection.recv(1000).startswith(b"220 ")
    return connection


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "get"])
def test_http_closes_the_connection_at_once(office: Office, method: str) -> None:
    with dial(office) as connection:
        connection.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\nUSER x\r\n".encode())
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


@pytest.mark.parametrize(
    "command",
    [
        "PORT 10,0,0,1,80,80",
        "PORT 192,0,2,1,80,80",
        "PORT 127,0,0,1,0,22",
        "PORT 127,0,0,1,3,255",
        "PORT 127,0,0,1,999,1",
        "PORT 1,2,3",
        "EPRT |1|10.0.0.1|5282|",
        "EPRT |1|127.0.0.1|80|",
        "EPRT |2|::1|5282|",
        "EPRT nonsense",
    ],
)
def test_no_data_goes_to_others(office: Office, command: str) -> None:
    with office.client() as client:
        client.putcmd(command)
        assert reply_of(client)[:3] in ("501", "522")


def test_one_address_has_a_limited_number_of_sessions(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, max_per_address=3) as office, ExitStack() as stack:
        for _session in range(3):
            stack.enter_context(dial(office))
        with socket.create_connection(office.address, timeout=DEADLINE) as connection:
            assert connection.recv(1000).startswith(b"421 ")


def test_a_line_without_end_is_not_kept(office: Office) -> None:
    with dial(office) as connection:
        connection.sendall(b"A" * 100_000 + b"\r\nNOOP\r\n")
        replies = b""
        while b"200 " not in replies:
            received = connection.recv(65536)
            assert received
            replies += received
        assert replies.startswith(b"500 ")


def test_pipelined_uploads_come_in_order(office: Office) -> None:
    with office.client() as client:
        assert client.sock is not None
        host, port = client.makepasv()
        with socket.create_connection((host, port), timeout=DEADLINE) as data:
            path = office.path("a.csv")
            client.sock.sendall(f"ALLO {len(CONTENT)}\r\nTYPE I\r\nSTOR {path}\r\n".encode())
            data.sendall(CONTENT)
        assert [reply_of(client)[:3] for _reply in range(4)] == ["200", "200", "125", "226"]
    wait_until(office.imports)


def test_a_flood_of_commands_is_cut_off(office: Office) -> None:
    client = office.client()
    data = client.transfercmd(f"STOR {office.path('a.csv')}")
    data.sendall(CONTENT)
    assert client.sock is not None
    with suppress(OSError):
        client.sock.sendall(b"QUIT\r\n" + b"NOOP\r\n" * 50_000)
    with suppress(OSError, EOFError):
        while client.getline():
            pass
    data.close()
    client.close()
    wait_until(office.is_idle)


@pytest.mark.parametrize("seed", range(5))
def test_noise_neither_stops_the_server_nor_leaves_anything(office: Office, seed: int) -> None:
    generator = random.Random(seed)
    words = [b"USER", b"PASS", b"STOR", b"PASV", b"REST", b"ALLO", b"ABOR", b"SITE", b"MFMT", b"RNTO", b"OPTS", b"STOU"]
    words += [b"EPSV", b"APPE", b"REIN", b"MLST", b"CWD", b"HELP", b"FEAT", b"\xff\xf4\xff\xf2ABOR", b"LIST", b"STAT"]
    client = office.client()
    assert client.sock is not None
    for _line in range(200):
        noise = generator.randbytes(generator.randrange(30)).replace(b"\n", b"").replace(b"QUIT", b"")
        client.sock.sendall(generator.choice(words) + b" " + noise + b"\r\n")
    client.sock.settimeout(DEADLINE)
    client.close()
    with office.client() as other:
        store(other, office.path("after.csv"), CONTENT)
    wait_until(office.imports)
    wait_until(office.is_idle)


def test_a_data_connection_without_a_command_is_no_upload(office: Office) -> None:
    client = office.client()
    host, port = client.makepasv()
    with socket.create_connection((host, port), timeout=DEADLINE) as data:
        data.sendall(CONTENT)
        client.voidcmd("NOOP")
    client.quit()
    assert office.is_idle()


def test_a_refused_upload_closes_its_data_connection(office: Office) -> None:
    with office.client() as client:
        host, port = client.makepasv()
        with socket.create_connection((host, port), timeout=DEADLINE) as data:
            with pytest.raises(ftplib.error_perm):
                client.sendcmd("STOR import/999/x.csv")
            assert data.recv(1) == b""
