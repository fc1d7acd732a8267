"""A server killed in the middle of SFTP and SCP uploads: what it acknowledged is there, once, and nothing half."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftp_doors import Office
from sftp_doors import client, connect, open_sftp_office, run, store

from ftp_server.recovery import recover

SERVER = """
import sys, threading
from pathlib import Path
from db.engine import Database
from ftp_server.ftp import FtpOptions, run_ftp_server
from ftp_server.sftp import SftpOptions
from jobs.storage import Storage
def ready(address): print("port", address[1], flush=True)
options = FtpOptions(port=0, sftp=SftpOptions(port=0, ready=ready))
run_ftp_server(Database(sys.argv[1]), Storage(Path(sys.argv[2]), reserve=0), options, threading.Event())
"""
CONTENT = b"email\n" + b"ann@example.com\n" * 12_500
HALF = CONTENT[: len(CONTENT) // 2]


def start_server(office: Office) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SERVER, office.database.url, str(office.storage.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("port "):
            office.sftp_addresses.append(("127.0.0.1", int(line.split()[1])))
            return process
    raise AssertionError("the server did not start")


async def upload_until_killed(office: Office, process: subprocess.Popen[str]) -> None:
    async with connect(office) as connection, client(office) as sftp:
        await store(sftp, office.path("whole.csv"), CONTENT)
        await store(sftp, office.path("named.part"), CONTENT + b"bob@example.com\n")
        await sftp.posix_rename(office.path("named.part"), office.path("named.csv"))
        scp: Any = await connection.create_process(f"scp -t {office.path()}", encoding=None)
        scp.stdin.write(f"C0644 {len(CONTENT)} by-scp.csv\n".encode())
        await scp.stdout.readexactly(2)
        scp.stdin.write(CONTENT)
        file = await sftp.open(office.path("half.csv"), "wb")
        await file.write(HALF)
        while office.received() < len(CONTENT) + len(HALF):
            await asyncio.sleep(0.01)
        process.kill()
        await connection.wait_closed()


def test_nothing_is_lost_doubled_or_half(tmp_path: Path) -> None:
    with open_sftp_office(tmp_path) as office:
        office.halt()
        process = start_server(office)
        try:
            run(upload_until_killed(office, process))
        finally:
            process.kill()
            process.communicate()
        for _start in range(2):
            recover(office.database, office.storage)
        imported = dict(office.imports())
        assert imported == {"whole.csv": CONTENT, "named.csv": CONTENT + b"bob@example.com\n"}
        assert len(office.imports()) == len(imported)
        assert office.incomplete() == {"half.csv": HALF, "by-scp.csv": CONTENT}
        assert sorted(office.doors(), key=str) == ["scp", "sftp", "sftp", "sftp"]
        assert office.is_idle()
