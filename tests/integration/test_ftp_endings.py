"""The endings an upload can have, over real sockets: no cut file is imported, complete ones exactly once."""

from __future__ import annotations

import ftplib
import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from ftp_doors import (
    PASSWORD,
    USER,
    Office,
    begin,
    close_quietly,
    open_temporary_office,
    reply_of,
    reset,
    store,
    wait_until,
)

CONTENT = b"email\n" + b"ann@example.com\n" * 12_500
HALF = CONTENT[: len(CONTENT) // 2]
NAME = "people.csv"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list()


def wait_for_half(office: Office) -> None:
    wait_until(lambda: office.received() >= len(HALF))


def expect(error: type[ftplib.Error], code: str, client: ftplib.FTP) -> None:
    with pytest.raises(error, match=f"^{code} "):
        client.voidresp()


def close_data(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    data.close()
    client.voidresp()
    close_quietly(client)


def reset_data(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    reset(data)
    expect(ftplib.error_temp, "426", client)
    client.quit()


def close_control(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    close_quietly(client)
    data.close()


def reset_both(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    assert client.sock is not None
    control = client.sock.dup()
    client.close()
    reset(control)
    reset(data)


def reset_both_data_first(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    assert client.sock is not None
    control = client.sock.dup()
    client.close()
    reset(data)
    reset(control)


def quit_while_sending(office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    wait_for_half(office)
    client.putcmd("QUIT")
    data.settimeout(0.2)
    with suppress(TimeoutError):
        data.recv(1)  # lets the command arrive before the end of the data
    data.close()
    expect(ftplib.error_temp, "426", client)
    assert reply_of(client).startswith("221 ")
    client.close()


def abort(office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    wait_for_half(office)
    client.putcmd("ABOR")
    assert reply_of(client).startswith("426 ")
    assert reply_of(client).startswith("226 ")
    data.close()
    client.quit()


def close_and_abort(_office: Office, client: ftplib.FTP, data: socket.socket) -> None:
    data.close()
    client.putcmd("ABOR")
    while not reply_of(client).startswith(("225", "226 ABOR")):
        pass
    client.quit()


def announce(client: ftplib.FTP, size: int) -> None:
    assert client.sendcmd(f"ALLO {size}").startswith("200 ")


CUTS = [
    close_data,
    reset_data,
    close_control,
    reset_both,
    reset_both_data_first,
    quit_while_sending,
    abort,
    close_and_abort,
]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
def test_cut_uploads_are_put_aside(office: Office, cut: Callable[[Office, ftplib.FTP, socket.socket], Any]) -> None:
    client = office.client()
    data = begin(client, office.path(NAME), HALF)
    wait_for_half(office)
    cut(office, client, data)
    wait_until(office.arrivals)
    wait_until(office.is_idle)
    assert office.arrivals() == [("people.csv", False, len(HALF))]
    assert office.incomplete() == {"people.csv": HALF}
    assert office.visible() == set()
    assert office.imports() == []


def test_a_complete_upload_is_imported_once(office: Office) -> None:
    client = office.client()
    assert store(client, office.path(NAME), CONTENT).startswith("226 ")
    assert office.visible() == {"people.csv"}
    client.quit()
    wait_until(office.imports)
    wait_until(office.is_idle)
    assert office.imports() == [("people.csv", CONTENT)]
    assert office.arrivals() == [("people.csv", True, len(CONTENT))]
    assert office.visible() == {"people.csv"}
    assert office.incomplete() == {}


def test_a_complete_upload_is_imported_after_the_quiet_time(office: Office) -> None:
    office.set_profile(quiet_seconds=0.05)
    with office.client() as client:
        store(client, office.path(NAME), CONTENT)
        wait_until(office.imports)
        assert office.reasons() == ["The control connection was alive after the quiet time."]


def test_a_hasty_client_that_quits_without_reading_is_complete(office: Office) -> None:
    client = office.client()
    data = begin(client, office.path(NAME), CONTENT)
    wait_until(lambda: office.received() >= len(CONTENT))
    data.close()
    client.putcmd("QUIT")
    client.close()
    wait_until(office.arrivals)
    assert office.imports() == [("people.csv", CONTENT)]


def test_a_client_that_vanishes_after_the_reply_is_incomplete(office: Office) -> None:
    client = office.client()
    store(client, office.path(NAME), CONTENT)
    close_quietly(client)
    wait_until(office.arrivals)
    assert office.arrivals() == [("people.csv", False, len(CONTENT))]
    assert office.incomplete() == {"people.csv": CONTENT}


def test_an_announced_size_that_differs_is_incomplete(office: Office) -> None:
    client = office.client()
    announce(client, len(CONTENT))
    begin(client, office.path(NAME), HALF).close()
    expect(ftplib.error_temp, "426", client)
    client.quit()
    assert office.arrivals() == [("people.csv", False, len(HALF))]


def test_an_announced_size_that_fits_needs_no_further_sign(office: Office) -> None:
    client = office.client()
    announce(client, len(CONTENT))
    assert store(client, office.path(NAME), CONTENT) == "226 Transfer complete; the file is accepted for import."
    close_quietly(client)
    wait_until(office.imports)
    assert office.imports() == [("people.csv", CONTENT)]


KILLED_CLIENT = """
import ftplib, sys
client = ftplib.FTP()
client.connect(sys.argv[1], int(sys.argv[2]))
client.login(sys.argv[3], sys.argv[4])
data = client.transfercmd(f"STOR {sys.argv[5]}")
data.sendall(sys.stdin.buffer.read())
print("sent", flush=True)
data.recv(1)
"""


def test_a_killed_client_leaves_an_incomplete_file(office: Office) -> None:
    host, port = office.address
    command = [sys.executable, "-c", KILLED_CLIENT, host, str(port), USER, PASSWORD, office.path(NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(HALF)
        process.stdin.close()
        assert process.stdout.readline() == b"sent\n"
        wait_for_half(office)
        process.kill()
    wait_until(office.arrivals)
    wait_until(office.is_idle)
    assert office.arrivals() == [("people.csv", False, len(HALF))]
    assert office.imports() == []


# A clean end of the data at half of it, with a control connection that goes on and quits, looks exactly like the
# whole of a shorter file. Only what the sender says about the file itself tells the difference.


def cut_politely(office: Office, client: ftplib.FTP) -> None:
    begin(client, office.path(NAME), HALF).close()
    with suppress(ftplib.error_temp):
        client.voidresp()


def test_a_polite_cut_is_caught_by_the_size(office: Office) -> None:
    office.set_profile(completeness="size")
    with office.client() as client:
        announce(client, len(CONTENT))
        cut_politely(office, client)
    assert office.arrivals() == [("people.csv", False, len(HALF))]


def test_a_polite_cut_is_caught_by_the_trailer(office: Office) -> None:
    office.set_profile(completeness="trailer")
    with office.client() as client:
        cut_politely(office, client)
    assert office.arrivals() == [("people.csv", False, len(HALF))]


def test_a_polite_cut_is_caught_by_the_marker_that_never_comes(office: Office) -> None:
    office.set_profile(completeness="marker")
    with office.client() as client:
        cut_politely(office, client)
    assert office.arrivals() == []
    assert office.visible() == {"people.csv"}


@pytest.mark.parametrize("first", [True, False])
def test_a_polite_cut_is_caught_by_the_manifest(office: Office, first: bool) -> None:
    office.set_profile(completeness="marker")
    manifest = f"{hashlib.sha256(CONTENT).hexdigest()}  people.csv\n".encode()
    with office.client() as client:
        if first:
            store(client, office.path(f"{NAME}.done"), manifest)
        cut_politely(office, client)
        if not first:
            with pytest.raises(ftplib.error_temp, match=r"^426 "):
                store(client, office.path(f"{NAME}.done"), manifest)
    assert office.arrivals() == [("people.csv", False, len(HALF))]
    assert office.incomplete() == {"people.csv": HALF, "people.csv.done": manifest}
    assert office.visible() == set()
    assert office.imports() == []
