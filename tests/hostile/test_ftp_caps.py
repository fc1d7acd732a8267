"""One client that takes too much, guesses passwords, or speaks with a foreign tongue, while others are served."""

from __future__ import annotations

import ftplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from argon2 import extract_parameters
from ftp_doors import DEADLINE, PASSWORD, USER, Office, open_temporary_office, wait_until
from sqlalchemy import Engine, event

from audience.ftp_users import find_ftp_user
from audience.passwords import _decoy_hash, hash_password
from ftp_server.accounts import LoginLimits

ELSEWHERE = "127.0.0.2"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        implicit = probe.getsockname()
    with open_temporary_office(tmp_path_factory.mktemp("caps"), implicit=implicit, login_seconds=1.5) as office:
        yield office


def dial(office: Office) -> socket.socket:
    return socket.create_connection(office.address, timeout=DEADLINE)


def log_in(office: Office, password: str = PASSWORD, user: str = USER, source: str = "127.0.0.1") -> str:
    """Log in; return the reply, or that to the connection."""
    with ftplib.FTP() as client:
        try:
            client.connect(*office.address, timeout=DEADLINE, source_address=(source, 0))
            return client.login(user, password)
        except ftplib.Error as error:
            return str(error)
        except (OSError, EOFError):
            return "closed"


def greeting(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except OSError:
        return b""


def flood(tmp_path: Path, connects: int) -> None:
    limits = {"max_per_address": 5, "connections_per_minute": connects // 2}
    with open_temporary_office(tmp_path, **limits) as office, ExitStack() as stack:
        held = [stack.enter_context(dial(office)) for _connection in range(5)]
        assert [greeting(connection)[:4] for connection in held] == [b"220 "] * 5
        for count in range(connects):
            with dial(office) as connection:
                assert greeting(connection)[:4] in (b"421 ", b"")
            if count % (connects // 10) == 0:
                assert log_in(office, source=ELSEWHERE).startswith("230 ")
        for connection in held:
            connection.close()
        # The minute is not over, so that room alone is not enough.
        assert log_in(office).startswith(("421 ", "closed"))


def test_a_flood_from_one_address_leaves_room_for_others(tmp_path: Path) -> None:
    flood(tmp_path, 300)


@pytest.mark.torture
def test_a_large_flood_from_one_address_leaves_room_for_others(tmp_path: Path) -> None:
    flood(tmp_path, 10_000)


def test_a_place_is_free_again_when_its_connection_ends(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, max_per_address=1) as office:
        for _round in range(3):
            wait_until(lambda: log_in(office).startswith("230 "))


def test_who_logs_in_slowly_is_sent_away(office: Office) -> None:
    with dial(office) as connection:
        greeting(connection)
        connection.settimeout(0.2)
        received = b""
        with suppress(ConnectionError):
            for letter in b"USER " + b"x" * 100:
                connection.send(bytes([letter]))
                with suppress(TimeoutError):
                    received += connection.recv(1000)
                if b"421 " in received:
                    break
    assert b"421 " in received


@pytest.mark.parametrize("door", ["explicit", "implicit"])
def test_who_begins_tls_and_stops_is_sent_away(office: Office, door: str) -> None:
    assert office.options.implicit is not None
    address = office.address if door == "explicit" else office.options.implicit
    with socket.create_connection(address, timeout=DEADLINE) as connection:
        if door == "explicit":
            connection.sendall(b"AUTH TLS\r\n")
            while b"234 " not in connection.recv(1000):
                pass
        connection.sendall(b"\x16\x03\x01")
        with suppress(ConnectionError):
            assert connection.recv(1000) == b""


def test_an_address_is_banned_after_failures_over_many_users(tmp_path: Path) -> None:
    limits = LoginLimits(delay_seconds=0.001, address_failures=8, address_seconds=3.0)
    with open_temporary_office(tmp_path, logins=limits) as office, office.client() as inside:
        replies = [log_in(office, "wrong", f"user{number}") for number in range(8)]
        assert set(replies) == {"530 Authentication failed."}
        assert log_in(office).startswith(("421 ", "closed"))
        assert log_in(office, source=ELSEWHERE).startswith("230 ")
        assert inside.pwd() == "/"
        wait_until(lambda: log_in(office).startswith("230 "))


def test_unknown_names_cost_the_same(office: Office) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    asked = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        for name in (USER, "nobody"):
            statements.clear()
            with office.database.read() as connection:
                find_ftp_user(connection, name)
            asked.append(list(statements))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert asked[0] == asked[1]
    assert extract_parameters(_decoy_hash()) == extract_parameters(hash_password("x"))


# Foreign tongues


def context(*protocols: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


def begin_tls(office: Office, first: bytes, *protocols: str) -> ssl.SSLSocket:
    connection = dial(office)
    greeting(connection)
    connection.sendall(first)
    assert connection.recv(1000).endswith(b"234 AUTH TLS successful.\r\n")
    return context(*protocols).wrap_socket(connection)


def test_commands_before_the_handshake_are_not_obeyed_after_it(office: Office) -> None:
    injected = f"AUTH TLS\r\nUSER {USER}\r\nPASS {PASSWORD}\r\nDELE x\r\nPAR".encode()
    with begin_tls(office, injected) as connection:
        connection.sendall(b"NOOP\r\nPWD\r\n")
        replies = b""
        while replies.count(b"\r\n") < 2:
            replies += connection.recv(1000)
        assert [reply[:3] for reply in replies.splitlines()] == [b"200", b"530"]


def test_a_name_given_in_the_open_is_forgotten(office: Office) -> None:
    with dial(office) as plain:
        greeting(plain)
        plain.sendall(f"USER {USER}\r\n".encode())
        assert plain.recv(1000).startswith(b"331 ")
        plain.sendall(b"AUTH TLS\r\n")
        assert plain.recv(1000).startswith(b"234 ")
        with context().wrap_socket(plain) as connection:
            connection.sendall(f"PASS {PASSWORD}\r\n".encode())
            assert connection.recv(1000).startswith(b"503 ")


def test_nobody_stays_logged_in_across_the_handshake(office: Office) -> None:
    with office.client() as client, pytest.raises(ftplib.error_perm, match="503 "):
        client.sendcmd("AUTH TLS")


@pytest.mark.parametrize("door", ["explicit", "implicit"])
def test_http_inside_tls_closes_the_connection(office: Office, door: str) -> None:
    assert office.options.implicit is not None
    if door == "explicit":
        connection = begin_tls(office, b"AUTH TLS\r\n")
    else:
        connection = context().wrap_socket(socket.create_connection(office.options.implicit, timeout=DEADLINE))
        assert connection.recv(1000).startswith(b"220 ")
    with connection:
        connection.sendall(b"GET / HTTP/1.1\r\nCookie: secret\r\n\r\n")
        with suppress(ConnectionError, ssl.SSLEOFError):
            assert connection.recv(1000) == b""


def test_a_handshake_for_another_protocol_fails(office: Office) -> None:
    begin_tls(office, b"AUTH TLS\r\n", "ftp").close()
    with pytest.raises((ssl.SSLError, OSError)):
        begin_tls(office, b"AUTH TLS\r\n", "h2", "http/1.1")


def test_a_passive_port_is_not_for_other_addresses(office: Office) -> None:
    with office.client() as client:
        host, port = ftplib.parse227(client.sendcmd("PASV"))
        with socket.create_connection((host, port), timeout=DEADLINE, source_address=(ELSEWHERE, 0)) as thief:
            assert greeting(thief) == b""
        assert client.getmultiline().startswith("425 ")
        with socket.create_connection((host, port), timeout=DEADLINE) as data:
            client.putcmd("NLST")
            assert client.getmultiline()[:3] in ("125", "150")
            assert b"import" in data.recv(1000)
        assert client.voidresp().startswith("226 ")
