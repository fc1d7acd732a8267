"""The FTP server as a whole: start, stop, heartbeat, a full disk, both databases."""

from __future__ import annotations

import ftplib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ftp_doors import (
    Office,
    begin,
    open_office,
    open_temporary_office,
    reply_of,
    store,
    wait_until,
)
from prometheus_client import REGISTRY
from sqlalchemy import select

from db.engine import Database
from db.tables import account, heartbeat
from ftp_server.ftp import FtpOptions, StorageInUse, run_ftp_server
from jobs.storage import Storage

CONTENT = b"email\nann@example.com\n"
NAME = "people.csv"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with open_temporary_office(tmp_path) as office:
        yield office


def test_serves_on_both_databases(database: Database, storage: Storage) -> None:
    with open_office(database, storage) as office:
        with office.client() as client:
            store(client, office.path(NAME), CONTENT)
        wait_until(office.imports)
        assert office.imports() == [(NAME, CONTENT)]
        assert office.arrivals() == [(NAME, True, len(CONTENT))]


def beating(office: Office) -> list[str]:
    with office.database.read() as connection:
        return list(connection.execute(select(heartbeat.c.role)).scalars())


def test_shows_that_it_lives(office: Office) -> None:
    wait_until(lambda: beating(office) == ["ftp"])
    office.halt()
    assert beating(office) == []


def test_refuses_a_second_server_on_the_same_storage(office: Office) -> None:
    with pytest.raises(StorageInUse):
        run_ftp_server(office.database, office.storage, FtpOptions(port=0), threading.Event())


def test_says_when_its_address_is_taken(office: Office, tmp_path: Path) -> None:
    options = FtpOptions(port=office.address[1])
    with pytest.raises(OSError, match="in use"):
        run_ftp_server(office.database, Storage(tmp_path / "other"), options, threading.Event())


def test_a_stop_judges_what_is_there(office: Office) -> None:
    shown, sending = office.client(), office.client()
    store(shown, office.path("shown.csv"), CONTENT)
    data = begin(sending, office.path("half.csv"), CONTENT)
    wait_until(lambda: office.received() >= len(CONTENT))
    office.halt()
    data.close()
    assert reply_of(shown).startswith("421 ")
    for client in (shown, sending):
        client.close()
    assert office.imports() == [("shown.csv", CONTENT)]
    assert sorted(office.arrivals()) == [("half.csv", False, len(CONTENT)), ("shown.csv", True, len(CONTENT))]
    assert office.incomplete() == {"half.csv": CONTENT}
    assert office.is_idle()


def test_a_suspended_account_cannot_log_in(office: Office) -> None:
    with office.database.write() as connection:
        connection.execute(account.update().values(state="suspended"))
    with pytest.raises(ftplib.error_perm, match=r"^530 Authentication failed\.$"):
        office.client()


def test_uses_the_passive_ports_it_is_given(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"passive_ports": (port, port), "masquerade_address": "192.0.2.1"}
    with open_temporary_office(tmp_path, **options) as office, office.client() as client:
        assert client.sendcmd("PASV") == f"227 Entering passive mode (192,0,2,1,{port // 256},{port % 256})."
        store(client, office.path(NAME), CONTENT)


def test_a_transfer_that_stalls_is_put_aside(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, idle_seconds=0.3) as office:
        client = office.client()
        data = begin(client, office.path(NAME), CONTENT)
        assert reply_of(client).startswith("426 No data came for too long.")
        data.close()
        client.close()
        assert office.arrivals() == [(NAME, False, len(CONTENT))]


def test_counts_logins_and_uploads(office: Office) -> None:
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    logins = count("listbridge_ftp_logins_total", result="success")
    uploads = count("listbridge_ftp_uploads_total", verdict="complete")
    with office.client() as client:
        store(client, office.path(NAME), CONTENT)
    wait_until(office.is_idle)
    assert count("listbridge_ftp_logins_total", result="success") == logins + 1
    assert count("listbridge_ftp_uploads_total", verdict="complete") == uploads + 1


# A full disk


def test_an_upload_below_the_reserve_is_refused(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, reserve=1 << 60) as office, office.client() as client:
        for command in (f"STOR {office.path(NAME)}", "STOR elsewhere.txt", f"APPE {office.path(NAME)}"):
            with pytest.raises(ftplib.error_temp, match=r"^452 Not enough space\.$"):
                client.sendcmd(command)
        assert office.is_idle()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_that_fills_up_is_answered_and_recovers(sqlite_url: str, small_disk: Path) -> None:
    database = Database(sqlite_url)
    with open_office(database, Storage(small_disk, reserve=0)) as office, office.client() as client:
        data = client.transfercmd(f"STOR {office.path(NAME)}")
        with suppress(OSError):
            data.sendall(bytes(4 << 20))
        data.close()
        assert reply_of(client) == "452 Not enough space."
        assert office.is_idle()
        assert office.incomplete() == {}
        store(client, office.path(NAME), CONTENT)
        client.voidcmd("NOOP")
        wait_until(office.imports)
        assert office.imports() == [(NAME, CONTENT)]
    database.close()
