"""No name leads out of a home, in whatever command it stands."""

from __future__ import annotations

import ftplib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftp_doors import Office, open_temporary_office

SECRET = "secret.txt"
CONTENT = b"not yours"

NAMES = [
    b"..",
    b"../",
    b"../..",
    b"../../..",
    b"../10",
    b"../10/secret.txt",
    b"/../10/secret.txt",
    b"../../homes/10/secret.txt",
    b"import/../../10/secret.txt",
    b"./../10/secret.txt",
    b"//../10/secret.txt",
    b"..//10//secret.txt",
    b".././10/secret.txt",
    b"import/1/../../../10/secret.txt",
    b"/import/1/../../../10/secret.txt",
    b"../../../../../../../../etc/passwd",
    b"/../../../../etc/passwd",
    b"..\\10\\secret.txt",
    b"..\\..\\..\\etc\\passwd",
    b"\\\\host\\share\\x",
    b"C:\\secret.txt",
    b"import\\1\\x",
    b"..%2f10%2fsecret.txt\\",
    b"%2e%2e/%2e%2e/../../../10/secret.txt",
    b"~/../10/secret.txt",
    b"~",
    b"~root",
    b"~root/.ssh/authorized_keys",
    b"~/x",
    b"a\x00b",
    b"secret.txt\x00.csv",
    b"../10/secret.txt\x00",
    b"a\nb",
    b"a\rb",
    b"a\tb",
    b"a\x1bb",
    b"a\x7fb",
    b"\xc0\xae\xc0\xae/10/secret.txt",
    b"\xc0\xae\xc0\xae\xc0\xaf10\xc0\xafsecret.txt",
    b"\xe0\x80\xae\xe0\x80\xae/10/secret.txt",
    b"\xf0\x80\x80\xae/10/secret.txt",
    b"a\xc2\x85b",
    b"a\xe2\x80\xa8b",
    b"x" * 201,
    b"x" * 255,
    b"x" * 256,
    b"x" * 1900,
    "à".encode() * 128,
    b"import/1/" + b"y" * 300,
    b"link/secret.txt",
    b"link",
    b"direct",
    b"import/link/secret.txt",
    b"/proc/self/environ",
    b"/etc/passwd",
    b"/secret.txt",
    b"nowhere/../../10/secret.txt",
]
COMMANDS = ["CWD", "RETR", "STOR", "APPE", "STOU", "DELE", "RMD", "MKD", "RNFR", "LIST", "NLST", "MLSD", "MLST"]
COMMANDS += ["SIZE", "MDTM", "MFMT 20200101000000", "STAT"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        neighbour = office.storage.prepare_home(10)
        (neighbour / SECRET).write_bytes(CONTENT)
        (office.home / "link").symlink_to(neighbour)
        (office.home / "direct").symlink_to(neighbour / SECRET)
        (office.home / "import" / "link").symlink_to(neighbour)
        yield office


def snapshot(root: Path, *, without: Path) -> dict[str, tuple[int, float]]:
    found = {}
    for folder, folders, files in os.walk(root):
        if Path(folder) == without:
            folders.clear()
            continue
        for name in (*folders, *files):
            path = Path(folder) / name
            if path == without:
                continue
            found[str(path)] = (path.lstat().st_size if path.is_file() else 0, path.lstat().st_mtime)
    return found


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


REFUSED = [
    name for name in NAMES if b"/../" in name or name.startswith((b"..", b"~", b"link", b"a", b"\xc0", b"x" * 201))
]


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
