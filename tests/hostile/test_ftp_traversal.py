"""No name leads out of a home, in whatever command it stands."""

from __future__ import annotations

import ftplib
from collections.abc import Iterator

import pytest
from ftp_doors import Office, open_temporary_office
from hostile_names import CONTENT, NAMES, REFUSED, SECRET, set_traps, snapshot

COMMANDS = ["CWD", "RETR", "STOR", "APPE", "STOU", "DELE", "RMD", "MKD", "RNFR", "LIST", "NLST", "MLSD", "MLST"]
COMMANDS += ["SIZE", "MDTM", "MFMT 20200101000000", "STAT"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        set_traps(office)
        yield office


def ask(client: ftplib.FTP, line: bytes) -> str:
    assert client.sock is not None
    client.sock.sendall(line + b"\r\n")
    return client.getmultiline()


def test_no_name_leads_out(office: Office) -> None:
    before = snapshot(office.storage.homes, without=office.home)
    with office.client() as client:
        for name in NAMES:
            for command in COMMANDS:
                reply = ask(client, command.encode() + b" " + name)
                # MKD and STOR may take a name that is only odd; what counts is that it stays inside.
                while reply.startswith(("150", "125")):
                    client.putcmd("ABOR")
                    reply = client.getmultiline()
                    assert "root:" not in reply
                if reply.startswith("250") and command == "CWD":
                    assert ask(client, b"CWD /").startswith("250")
                assert reply[:1] in "2345", (command, name, reply)
                assert "root:" not in reply and SECRET not in reply.replace(name.decode("latin-1"), "")
    assert snapshot(office.storage.homes, without=office.home) == before
    assert (office.storage.home(10) / SECRET).read_bytes() == CONTENT
    assert not {path.name for path in office.storage.homes.iterdir()} - {"1", "10"}


@pytest.mark.parametrize("command", [b"STOR", b"RETR", b"DELE", b"MKD", b"CWD", b"RNFR", b"SIZE", b"APPE"])
def test_names_that_mean_something_else_are_refused(office: Office, command: bytes) -> None:
    with office.client() as client:
        replies = {name: ask(client, command + b" " + name)[:3] for name in REFUSED}
    assert set(replies.values()) <= {"550", "553"}


def test_renames_do_not_lead_out(office: Office) -> None:
    (office.home / "mine.txt").write_bytes(b"mine")
    with office.client() as client:
        for name in REFUSED:
            assert ask(client, b"RNFR mine.txt").startswith("350")
            assert ask(client, b"RNTO " + name)[:3] in ("550", "553")
    assert (office.home / "mine.txt").read_bytes() == b"mine"


def test_links_are_not_listed(office: Office) -> None:
    with office.client() as client:
        assert not {"link", "direct"} & set(client.nlst())
        lines: list[str] = []
        client.retrlines("LIST", lines.append)
        assert not [line for line in lines if "->" in line]
