"""Times uploads to this project's FTP and SFTP doors beside pyftpdlib, vsftpd, ProFTPD and OpenSSH, in one run.

    python -m benchmarks.ftp_transfer [--files N] [--size-mb N] [--rounds N] [--idle N] [--logins N]

Every server runs all the time, and each measurement goes round all of them before the next begins. Ours judges
completeness, syncs every file to the disk before it answers, and hashes it; "judged" is how long after the last
client's goodbye the last file is in the queue of imports. The others do none of that.
"""

from __future__ import annotations

import argparse
import ftplib
import io
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import func, select

from benchmarks.ftp_peers import (
    Missing,
    Peer,
    describe_listbridge,
    describe_openssh,
    describe_proftpd,
    describe_pyftpdlib,
    describe_vsftpd,
    make_key,
)
from benchmarks.soap_peers.processes import Server, free_port, run_server
from db.engine import Database
from db.tables import arrival

SMALL_BYTES = 50_000
SMALL_CLIENTS = 4
LARGE_CLIENTS = 8
_TIMEOUT = 300.0
_JUDGED_SECONDS = 60.0


@dataclass
class Running:
    """A server that runs, and what was measured of it."""

    peer: Peer
    server: Server
    port: int
    database: Database | None = None
    """Where arrivals are recorded; None where nothing judges them."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)
    judged: dict[str, list[float]] = field(default_factory=dict)

    def log_in(self) -> ftplib.FTP:
        """Return a client in the folder for uploads."""
        client = ftplib.FTP(encoding="utf-8", timeout=_TIMEOUT)  # noqa: S321  (what is measured)
        client.connect("127.0.0.1", self.port)
        client.login(self.peer.user, self.peer.password)
        client.cwd(self.peer.folder)
        return client

    def arrivals(self) -> int:
        assert self.database is not None
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(arrival)).scalar_one())

    def measure(self, name: str, work: Work) -> None:
        """Time some work of clients who are logged in, and what the server does after it."""
        files = work.files
        known = self.arrivals() if self.database is not None else 0
        clients = [self.log_in() for _ in range(work.clients)]
        before = self.server.processor_seconds()
        began = time.perf_counter()
        work.run(self, clients)
        ended = time.perf_counter()
        if self.database is not None:
            while self.arrivals() < known + files and time.perf_counter() < ended + _JUDGED_SECONDS:
                time.sleep(0.01)
            if self.arrivals() != known + files:
                raise SystemExit(f"{self.arrivals() - known} of {files} files arrived")
            self.judged.setdefault(name, []).append(time.perf_counter() - ended)
        self.seconds.setdefault(name, []).append(ended - began)
        self.processor.setdefault(name, []).append(self.server.processor_seconds() - before)
        self.take_files(files)

    def take_files(self, count: int) -> None:
        """Remove what was uploaded.

        Raises:
            SystemExit: it is not as many files as it should be.
        """
        found = [path for path in self.peer.place.iterdir() if path.is_file()]
        if len(found) != count:
            raise SystemExit(f"{self.peer.name} has {len(found)} of {count} files")
        for path in found:
            path.unlink()


@dataclass(frozen=True, slots=True)
class Work:
    """What clients do in a measurement."""

    run: Callable[[Running, list[ftplib.FTP]], None]
    files: int
    clients: int = 0
    """FTP clients that have to be there, logged in."""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="small files in a measurement")
    parser.add_argument("--size-mb", type=int, default=200, help="size of each of the eight large files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=300, help="sessions that do nothing")
    parser.add_argument("--logins", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="listbridge-transfer-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)  # for servers that give up their rights
        large = directory / "large.csv"
        with large.open("wb") as out:
            for _ in range(options.size_mb):
                out.write(os.urandom(500_000).hex().encode())
        ftp, sftp = _start_servers(directory, stack)
        names = (f"{options.files:,} × 50 kB", f"{LARGE_CLIENTS} × {options.size_mb} MB")
        many = Work(partial(upload_small, files=options.files), options.files, SMALL_CLIENTS)
        works = dict(
            zip(names, (many, Work(partial(upload_large, path=large), LARGE_CLIENTS, LARGE_CLIENTS)), strict=True)
        )
        _go_round(ftp, works, options.rounds)
        _print_table("FTP", ftp, works, "pyftpdlib")
        print(f"\n{options.logins} logins while {LARGE_CLIENTS} uploads run; {options.idle} idle sessions\n")
        print(f"{'':12} {'median ms':>10} {'p95 ms':>8} {'MB more when idle':>18}")
        for running in ftp:
            middle, most = time_logins(running, large, options.logins)
            grown = measure_idle(running, options.idle)
            print(f"{running.peer.name:12} {middle:10.1f} {most:8.1f} {grown:18.1f}", flush=True)
        if sftp:
            small = [_write(directory / f"f{number}.csv", number) for number in range(options.files)]
            many = Work(partial(put_small, paths=small), options.files)
            works = dict(zip(names, (many, Work(partial(put_large, path=large), LARGE_CLIENTS)), strict=True))
            _go_round(sftp, works, options.rounds)
            _print_table("SFTP", sftp, works, "openssh")


def _start_servers(directory: Path, stack: ExitStack) -> tuple[list[Running], list[Running]]:
    """Start whatever is there; tell what is not."""
    ftp, sftp = [], []
    key = make_key(directory / "key") if shutil.which("sftp") and shutil.which("ssh-keygen") else None
    sftp_port = free_port()
    listbridge = partial(describe_listbridge, sftp_port=sftp_port, key=key)
    for describe in (describe_pyftpdlib, listbridge, describe_vsftpd, describe_proftpd):
        port, place = free_port(), _fresh(directory)
        if running := _start(stack, place, port, partial(describe, place, port)):
            ftp.append(running)
            if running.peer.name == "listbridge":
                running.database = Database(f"sqlite:///{place}/listbridge.db")
                sftp = [Running(running.peer, running.server, sftp_port, running.database)]
    if key is None:
        print("left out: OpenSSH's clients (apt install openssh-client)")
        return ftp, []
    port, place = free_port(), _fresh(directory)
    openssh = _start(stack, place, port, partial(describe_openssh, place, port, key))
    return ftp, [*([openssh] if openssh else []), *sftp]


def _fresh(directory: Path) -> Path:
    place = Path(tempfile.mkdtemp(dir=directory))
    place.chmod(0o755)
    return place


def _start(stack: ExitStack, place: Path, port: int, describe: Callable[[], Peer]) -> Running | None:
    try:
        peer = describe()
        server = stack.enter_context(run_server([peer.command], port, place / "server.log"))
    except (Missing, RuntimeError) as error:
        print(f"left out: {error}")
        return None
    return Running(peer, server, port)


def _go_round(runnings: list[Running], works: dict[str, Work], rounds: int) -> None:
    for _ in range(rounds):
        for name, work in works.items():
            for running in runnings:
                running.measure(name, work)


def _print_table(title: str, runnings: list[Running], works: dict[str, Work], base: str) -> None:
    print(f"\n{title}\n\n{'':12} {'':16} {'seconds':>8} {'× ' + base:>12} {'processor s':>12} {'judged s':>9}")
    for name in works:
        floor = [median(running.seconds[name]) for running in runnings if running.peer.name == base]
        for running in runnings:
            seconds = median(running.seconds[name])
            ratio = f"{seconds / floor[0]:12.2f}" if floor else " " * 12
            judged = f"{median(running.judged[name]):9.2f}" if name in running.judged else ""
            processor = median(running.processor[name])
            print(f"{running.peer.name:12} {name:16} {seconds:8.2f} {ratio} {processor:12.2f} {judged}", flush=True)


def upload_small(_: Running, clients: list[ftplib.FTP], *, files: int) -> None:
    """Upload small files over a few connections, one after the other on each."""
    content = os.urandom(SMALL_BYTES // 2).hex().encode()

    def upload(client_number: int) -> None:
        for number in range(client_number, files, SMALL_CLIENTS):
            clients[client_number].storbinary(f"STOR f{number}.csv", io.BytesIO(content))
        clients[client_number].quit()

    _run_clients(upload, SMALL_CLIENTS)


def upload_large(_: Running, clients: list[ftplib.FTP], *, path: Path) -> None:
    """Upload large files, each over a connection of its own."""

    def upload(number: int) -> None:
        _upload_one(clients[number], path, f"large{number}.csv")
        clients[number].quit()

    _run_clients(upload, LARGE_CLIENTS)


def _upload_one(client: ftplib.FTP, path: Path, name: str) -> None:
    client.voidcmd("TYPE I")
    with path.open("rb") as content, client.transfercmd(f"STOR {name}") as data:
        data.sendfile(content)
    client.voidresp()


def put_small(running: Running, _: list[ftplib.FTP], *, paths: list[Path]) -> None:
    """Upload small files by SFTP over a few connections."""
    _run_clients(lambda number: _put(running, paths[number::SMALL_CLIENTS]), SMALL_CLIENTS)


def put_large(running: Running, _: list[ftplib.FTP], *, path: Path) -> None:
    """Upload large files by SFTP, each over a connection of its own."""
    _run_clients(lambda number: _put(running, [path], f"large{number}.csv"), LARGE_CLIENTS)


def _put(running: Running, paths: list[Path], name: str = "") -> None:
    peer = running.peer
    batch = "".join(f"put {path} {peer.folder}/{name or path.name}\n" for path in paths)
    options = [f"IdentityFile={peer.key}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    arguments = [word for option in options for word in ("-o", option)]
    command = ["sftp", "-q", "-b", "-", "-F", "none", *arguments, "-P", str(running.port), f"{peer.user}@127.0.0.1"]
    subprocess.run(command, input=batch, text=True, check=True, stdout=subprocess.DEVNULL, timeout=_TIMEOUT)


def _run_clients(work: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(count) as clients:
        for done in [clients.submit(work, number) for number in range(count)]:
            done.result()


def time_logins(running: Running, large: Path, count: int) -> tuple[float, float]:
    """Return median and 95th percentile of the milliseconds of a login while uploads run."""
    busy, times = True, []

    def upload(number: int) -> None:
        client = running.log_in()
        while busy:
            _upload_one(client, large, f"large{number}.csv")
        client.quit()

    with ThreadPoolExecutor(LARGE_CLIENTS) as clients:
        uploads = [clients.submit(upload, number) for number in range(LARGE_CLIENTS)]
        for _ in range(count):
            began = time.perf_counter()
            client = running.log_in()
            times.append((time.perf_counter() - began) * 1000)
            client.quit()
        busy = False
        for done in uploads:
            done.result()
    running.take_files(LARGE_CLIENTS)
    return median(times), quantiles(times, n=20)[-1]


def measure_idle(running: Running, count: int) -> float:
    """Return the MB by which a server grows for sessions that are logged in and do nothing."""
    with _sessions(running, 5):
        # What the first sessions need is not the sessions' own.
        before = running.server.memory()
        with _sessions(running, count):
            return running.server.memory() - before


@contextmanager
def _sessions(running: Running, count: int) -> Iterator[None]:
    clients = [running.log_in() for _ in range(count)]
    yield
    for client in clients:
        client.quit()


def _write(path: Path, number: int) -> Path:
    path.write_bytes(b"%d\n" % number + os.urandom(SMALL_BYTES // 2).hex().encode())
    return path


if __name__ == "__main__":
    main()
