"""A real FTP server in a thread, and clients that end uploads in every way a client can."""

from __future__ import annotations

import ftplib
import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import ColumnElement, Table, select

from audience.accounts import Account, add_account, find_account
from audience.ftp_users import add_ftp_user
from db.engine import Database
from db.migration import migrate
from db.tables import arrival, feed, ftp_user, import_run
from exchange.profiles import Profile
from ftp_server.accounts import LoginLimits
from ftp_server.ftp import FtpOptions, run_ftp_server
from jobs.feeds import open_list, set_feed
from jobs.storage import Storage

ACCOUNT = 1
USER = "partner1"
PASSWORD = "correct horse"
FAST_LOGINS = LoginLimits(delay_seconds=0.01)
DEADLINE = 20.0
QUIET = 60.0
"""Seconds no test waits for, so that only commands and the end of the connection decide."""


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the first true result of a condition; fail when there is none in a generous time."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError("it never became true")


@dataclass
class Office:
    """One account with a list, on a server that can be stopped and started again."""

    database: Database
    storage: Storage
    options: FtpOptions
    list_number: int = 1
    address: tuple[str, int] = ("", 0)
    sftp_addresses: list[tuple[str, int]] = field(default_factory=list)
    """Where SFTP was and is served, the last is the present one."""
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def home(self) -> Path:
        return self.storage.home(ACCOUNT)

    @property
    def folder(self) -> Path:
        return self.home / self.path()

    def path(self, name: str = "") -> str:
        """Return the path of a file in the list's folder as clients name it, relative to the home."""
        return f"import/{self.list_number}/{name}".rstrip("/")

    def set_profile(self, **values: Any) -> None:
        """Give the list's folder a profile, which waits for commands and not for silence unless it says so."""
        profile = Profile(**{"quiet_seconds": QUIET, **values})
        with self.database.write() as connection:
            set_feed(connection, self.storage, self.account(), self.path(), profile)

    def with_list(self, **profile: Any) -> Office:
        """Return the same office looking at a new, empty list; the server goes on."""
        with self.database.write() as connection:
            mailing = open_list(connection, self.storage, self.account(), "Newsletter", {})
        office = replace(self, list_number=mailing.number)
        office.set_profile(**profile)
        return office

    def account(self) -> Account:
        with self.database.read() as connection:
            return find_account(connection, ACCOUNT)

    def start(self) -> None:
        """Run the server until `halt`."""
        ready = threading.Event()

        def note(address: tuple[str, int]) -> None:
            self.address = address
            ready.set()

        self.stop = threading.Event()
        arguments = (self.database, self.storage, self.options, self.stop, note)
        self.thread = threading.Thread(target=run_ftp_server, args=arguments)
        self.thread.start()
        assert ready.wait(DEADLINE)

    def halt(self) -> None:
        self.stop.set()
        if self.thread is not None:
            self.thread.join()

    def arrivals(self) -> list[tuple[str, bool, int]]:
        """Return name, completeness and size of what was judged, in order."""
        with self.database.read() as connection:
            query = select(arrival.c.name, arrival.c.complete, arrival.c.size).where(self._mine(arrival))
            return [(row.name, row.complete, row.size) for row in connection.execute(query.order_by(arrival.c.id))]

    def reasons(self) -> list[str]:
        with self.database.read() as connection:
            query = select(arrival.c.reason).where(self._mine(arrival))
            return list(connection.execute(query.order_by(arrival.c.id)).scalars())

    def doors(self) -> list[str | None]:
        """Return by which doors what was judged came."""
        with self.database.read() as connection:
            query = select(arrival.c.door).where(self._mine(arrival))
            return list(connection.execute(query.order_by(arrival.c.id)).scalars())

    def imports(self) -> list[tuple[str, bytes]]:
        """Return names and contents of what is in the import queue."""
        with self.database.read() as connection:
            query = select(import_run.c.file_name, import_run.c.spool_name).where(self._mine(import_run))
            rows = connection.execute(query.order_by(import_run.c.id)).all()
        return [(row.file_name, (self.storage.imports / row.spool_name).read_bytes()) for row in rows]

    def _mine(self, table: Table) -> ColumnElement[bool]:
        feed_id = select(feed.c.id).where(feed.c.folder == self.path()).scalar_subquery()
        return table.c.feed_id == feed_id

    def incomplete(self) -> dict[str, bytes]:
        """Return names and contents of what was put aside."""
        folder = self.folder / "incomplete"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    def visible(self) -> set[str]:
        """Return the names of files in the list's folder."""
        return {path.name for path in self.folder.iterdir() if path.is_file()}

    def is_idle(self) -> bool:
        """Tell whether nothing is being received or judged."""
        return not [path for path in self.storage.receiving.iterdir() if path.name != ".lock"]

    def received(self) -> int:
        """Return how many bytes of unfinished uploads are in the spool."""
        return sum(path.stat().st_size for path in self.storage.receiving.iterdir() if not path.suffix)

    def client(self) -> ftplib.FTP:
        """Return a client that is logged in."""
        client = ftplib.FTP(encoding="utf-8")
        client.connect(*self.address, timeout=DEADLINE)
        try:
            client.login(USER, PASSWORD)
        except ftplib.Error:
            client.close()
            raise
        return client


@contextmanager
def open_office(database: Database, storage: Storage, **options: Any) -> Iterator[Office]:
    """Serve an account with one list; its folder decides by the control connection alone, without a quiet time."""
    settings: dict[str, Any] = {"port": 0, "logins": FAST_LOGINS, **options}
    office = Office(database, storage, FtpOptions(**settings))
    storage.prepare()
    with database.write() as connection:
        account = add_account(connection, ACCOUNT, password=PASSWORD)
        add_ftp_user(connection, account.id, USER, password=PASSWORD)
        # The least costly hash there can be, since these tests are not about waiting for logins.
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        connection.execute(ftp_user.update().values(password_hash=cheap))
        open_list(connection, storage, account, "Newsletter", {})
    office.set_profile()
    office.start()
    try:
        yield office
    finally:
        office.halt()


@contextmanager
def open_temporary_office(directory: Path, *, reserve: int = 0, **options: Any) -> Iterator[Office]:
    """Serve from an empty directory, with a SQLite database of its own."""
    database = Database(f"sqlite:///{directory}/listbridge.db")
    migrate(database)
    try:
        with open_office(database, Storage(directory / "data", reserve), **options) as office:
            yield office
    finally:
        database.close()


def store(client: ftplib.FTP, name: str, content: bytes) -> str:
    """Upload as a well-behaved client does; return the reply."""
    return client.storbinary(f"STOR {name}", io.BytesIO(content))


def begin(client: ftplib.FTP, name: str, content: bytes, command: str = "STOR") -> socket.socket:
    """Begin an upload, send bytes, and return the data connection; the server has received them."""
    data = client.transfercmd(f"{command} {name}")
    data.sendall(content)
    return data


def reset(connection: socket.socket) -> None:
    """Close a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_quietly(client: ftplib.FTP) -> None:
    """Close the control connection without QUIT."""
    assert client.sock is not None
    # Both, since the reader holds the socket open.
    with suppress(OSError):
        client.sock.shutdown(socket.SHUT_RDWR)
    client.close()


def reply_of(client: ftplib.FTP) -> str:
    """Return the next reply, whatever it says."""
    return client.getmultiline()
