"""A server killed at random moments: what it acknowledged is there, once, and nothing half is imported."""

from __future__ import annotations

import ftplib
import random
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from ftp_doors import DEADLINE, PASSWORD, USER, Office, open_temporary_office, store

from ftp_server.recovery import recover

SERVER = """
import sys, threading
from pathlib import Path
from db.engine import Database
from ftp_server.ftp import FtpOptions, run_ftp_server
from jobs.storage import Storage
database, root = Database(sys.argv[1]), Path(sys.argv[2])
def ready(address): print(address[1], flush=True)
run_ftp_server(database, Storage(root, reserve=0), FtpOptions(port=0), threading.Event(), ready)
"""
KILLS = 10
UPLOADERS = 3


class Uploader(threading.Thread):
    """Uploads files of its own until the server is gone; remembers what was acknowledged."""

    def __init__(self, office: Office, port: int, prefix: str) -> None:
        super().__init__()
        self.office = office
        self.port = port
        self.prefix = prefix
        self.acknowledged: list[str] = []

    def run(self) -> None:
        with suppress(OSError, EOFError, ftplib.Error):
            client = ftplib.FTP(timeout=DEADLINE)
            try:
                client.connect("127.0.0.1", self.port)
                client.login(USER, PASSWORD)
                for number in range(10_000):
                    self.upload(client, f"{self.prefix}-{number}.csv", number)
            finally:
                client.close()

    def upload(self, client: ftplib.FTP, name: str, number: int) -> None:
        path = self.office.path(name)
        if number % 3 == 2:
            store(client, f"{path}.part", content_of(name))
            client.rename(f"{path}.part", path)
        else:
            store(client, path, content_of(name))
        self.acknowledged.append(name)


def content_of(name: str) -> bytes:
    return b"email\n" + f"{name}@example.com\n".encode() * 3000


def start_server(office: Office) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", SERVER, office.database.url, str(office.storage.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():
            return process, int(line)
    raise AssertionError("the server did not start")


def run_until_killed(office: Office, round_number: int, seconds: float) -> list[str]:
    process, port = start_server(office)
    uploaders = [Uploader(office, port, f"r{round_number}u{number}") for number in range(UPLOADERS)]
    for uploader in uploaders:
        uploader.start()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.communicate()
    for uploader in uploaders:
        uploader.join()
    return [name for uploader in uploaders for name in uploader.acknowledged]


@pytest.fixture
def office(tmp_path: Path) -> Office:  # type: ignore[misc]
    with open_temporary_office(tmp_path) as office:
        office.halt()
        yield office


def test_nothing_is_lost_or_doubled_by_kills(office: Office) -> None:
    generator = random.Random(2026)
    acknowledged: list[str] = []
    for round_number in range(KILLS):
        acknowledged += run_until_killed(office, round_number, generator.uniform(0.05, 0.8))
    recover(office.database, office.storage)
    imported = office.imports()
    assert [name for name, count in Counter(name for name, _content in imported).items() if count > 1] == []
    assert [name for name, content in imported if content != content_of(name)] == []
    assert set(acknowledged) <= {name for name, _content in imported}
    assert acknowledged
    assert office.is_idle()
    for name, content in office.incomplete().items():
        assert content_of(name.removesuffix(".part")).startswith(content)


@pytest.mark.parametrize(
    ("rule", "then", "imported"),
    [("connection", "rename", True), ("marker", "connection", False), ("rename", "connection", False)],
)
def test_a_kill_after_the_reply_keeps_what_the_reply_said(office: Office, rule: str, then: str, imported: bool) -> None:
    office.set_profile(completeness=rule)
    process, port = start_server(office)
    with ftplib.FTP(timeout=DEADLINE) as client:
        client.connect("127.0.0.1", port)
        client.login(USER, PASSWORD)
        assert store(client, office.path("people.csv"), content_of("people.csv")).startswith("226 ")
        process.kill()
        process.communicate()
    office.set_profile(completeness=then)
    for _start in range(2):
        recover(office.database, office.storage)
    assert office.imports() == ([("people.csv", content_of("people.csv"))] if imported else [])
    assert office.visible() == {"people.csv"}
