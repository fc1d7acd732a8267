"""Runs the FTP door: one pyftpdlib loop, threads for what is slow, a heartbeat, a clean stop."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from db.engine import Database
from db.leases import name_owner
from ftp_server.accounts import LoginLimits, Throttle
from ftp_server.admission import Admission, DoorLimits
from ftp_server.bridge import Bridge
from ftp_server.certificates import CertificateFiles, Certificates, make_certificate, own_certificate
from ftp_server.desk import Desk
from ftp_server.gate import Gate
from ftp_server.recovery import recover
from ftp_server.scanning import Scanner
from ftp_server.session import Session
from ftp_server.sftp import SftpDoor, SftpOptions
from ftp_server.user_watch import UserWatch
from jobs.heartbeats import beat, stop_beating
from jobs.storage import Storage

log = structlog.get_logger()

ROLE = "ftp"
HEARTBEAT_SECONDS = 5.0
USER_WATCH_SECONDS = 3.0
STOP_SECONDS = 30.0
_ACCEPT_PAUSE_SECONDS = 1.0


class StorageInUse(Exception):
    """Another FTP server works on the same data directory."""


@dataclass(frozen=True, slots=True)
class FtpOptions:
    """How the FTP door is set up."""

    host: str = "127.0.0.1"
    port: int = 2121
    """0: any free port."""
    passive_ports: tuple[int, int] | None = None
    """First and last port for passive data connections; None: any free port."""
    masquerade_address: str | None = None
    """Address that passive mode names, when clients see the server under another one."""
    max_connections: int = 512
    """Sockets of clients, control and data together; a security limit."""
    max_per_address: int = 20
    """Control connections of one address, over all doors; a security limit."""
    connections_per_minute: int = 600
    """New connections of one address, over all doors; a security limit."""
    idle_seconds: float = 300.0
    """How long a client may be silent between commands, or in the middle of a transfer."""
    login_seconds: float = 30.0
    """How long a client may take to log in; a security limit."""
    banner: str = "Listbridge FTP ready."
    logins: LoginLimits = field(default_factory=LoginLimits)
    implicit: tuple[str, int] | None = None
    """Host and port for clients that begin with TLS before anything else; None: no such door."""
    certificate: CertificateFiles | None = None
    """None: the server makes its own, in the data directory."""
    require_tls: bool = False
    """Whether nobody may log in without TLS."""
    require_protection: bool = False
    """Whether data connections need TLS."""
    sftp: SftpOptions | None = None
    """None: neither SFTP nor SCP is served."""
    scan_pause_seconds: float = 2.0
    """Time between two looks for files that came by other means, at least."""


def run_ftp_server(
    database: Database,
    storage: Storage,
    options: FtpOptions,
    stop: threading.Event,
    ready: Callable[[tuple[str, int]], None] | None = None,
) -> None:
    """Serve FTP until told to stop; then end sessions, finish verdicts that are due, and return.

    Args:
        database: has the logins and takes the uploads.
        storage: has the homes and the spool; one FTP server at a time may use it.
        options: how to serve.
        stop: set from any thread to end.
        ready: called with the address once clients can connect.

    Raises:
        StorageInUse: another FTP server uses this storage.
        UnusableCertificate: the certificate or its key cannot be used.
        OSError: the address is not available.
    """
    # pyftpdlib logs every session with its address; what matters is in the program's own log.
    logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
    logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
    storage.prepare()
    with _lock(storage):
        recover(database, storage)
        door = Door(database, storage, options)
        try:
            door.serve(stop, ready)
        finally:
            door.close()


@contextmanager
def _lock(storage: Storage) -> Iterator[None]:
    with (storage.receiving / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageInUse(f"Another FTP server uses {storage.root}.") from None
        yield


class Door:
    """Everything that sessions share."""

    def __init__(self, database: Database, storage: Storage, options: FtpOptions) -> None:
        """Open the listening sockets.

        Raises:
            UnusableCertificate: the certificate or its key cannot be used.
            OSError: an address is not available.
        """
        self.database = database
        self.storage = storage
        self.options = options
        self.certificates = _open_certificates(storage, options)
        self.ioloop = IOLoop()
        throttle = Throttle(options.logins)
        limits = DoorLimits(options.max_per_address, options.connections_per_minute)
        self.admission = Admission(limits, throttle)
        try:
            self.listener = Listener((options.host, options.port), self)
            self.implicit = Listener(options.implicit, self, implicit=True) if options.implicit else None
        except OSError:
            self.ioloop.close()
            raise
        self.bridge = Bridge(self.ioloop)
        self.pool = ThreadPoolExecutor(4, "ftp-work")
        self.login_pool = ThreadPoolExecutor(2, "ftp-login")
        self._record_pool = ThreadPoolExecutor(2, "ftp-record")
        self.desk = Desk(database, storage, self.bridge, self.pool, self._record_pool, self.ioloop)
        self.gate = Gate(database, storage, self.bridge, self.login_pool, throttle, self.admission)
        self._users = UserWatch(database, self.admission, self.bridge, self._record_pool, self._end_changed)
        pause = options.scan_pause_seconds
        self._scanner = Scanner(database, storage, self.desk, self.bridge, self.ioloop, pause=pause)
        self.sftp = SftpDoor(self, options.sftp) if options.sftp is not None else None
        self._owner = name_owner()
        self._beating = False
        self._running = True

    def serve(self, stop: threading.Event, ready: Callable[[tuple[str, int]], None] | None) -> None:
        """Run the loop until `stop` is set."""
        threading.Thread(target=self._wait_for, args=(stop,), name="ftp-stop", daemon=True).start()
        self._beat()
        self.ioloop.call_every(HEARTBEAT_SECONDS, self._beat)
        self.ioloop.call_every(USER_WATCH_SECONDS, self._users.look)
        self._scanner.start()
        if self.sftp is not None:
            self.sftp.start()
        address = self.listener.socket.getsockname()[:2]
        log.info("ftp_ready", host=address[0], port=address[1])
        if self.options.implicit is not None:
            log.info("ftps_ready", host=self.options.implicit[0], port=self.options.implicit[1])
        if ready is not None:
            ready(address)
        timeout: float | None = None
        while self._running:
            timeout = self.ioloop.loop(timeout, blocking=False)

    def _wait_for(self, stop: threading.Event) -> None:
        stop.wait()
        self.bridge.call(self._stop)

    def _sessions(self) -> list[Session]:
        return [item for item in self.ioloop.socket_map.values() if isinstance(item, Session)]

    def _end_changed(self) -> None:
        for session in self._sessions():
            if session.login is not None and not self.admission.is_current(session.login):
                session.end()
        if self.sftp is not None:
            self.sftp.end_changed()

    def _stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """End all sessions, wait for the verdicts under way, and free everything."""
        self.desk.stopping = True
        self.listener.close()
        if self.implicit is not None:
            self.implicit.close()
        for session in self._sessions():
            session.end_quiet()
            session.respond("421 The server is stopping.")
            session.close()
        if self.sftp is not None:
            # In a thread, since files that are being judged need this loop.
            self.bridge.submit(self.pool, self.sftp.halt, lambda _future: None)
        self._finish_work()
        for pool in (self.login_pool, self._record_pool, self.pool):
            pool.shutdown()
        self._users.close()
        self._scanner.close()
        self.bridge.close()
        self.ioloop.close()
        with self.database.write() as connection:
            stop_beating(connection, ROLE, self._owner)

    def _finish_work(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self.bridge.outstanding and time.monotonic() < deadline:
            self.ioloop.loop(STOP_SECONDS, blocking=False)

    def _beat(self) -> None:
        if not self._beating:
            self._beating = True
            self.bridge.submit(self.pool, self._write_heartbeat, self._beaten)

    def _beaten(self, future: Future[None]) -> None:
        self._beating = False
        if future.exception() is not None:
            log.error("heartbeat_failed", error=type(future.exception()).__name__)

    def _write_heartbeat(self) -> None:
        with self.database.write() as connection:
            beat(connection, ROLE, self._owner)


def _open_certificates(storage: Storage, options: FtpOptions) -> Certificates:
    if options.certificate is not None:
        return Certificates(options.certificate)
    files = own_certificate(storage.root)
    make_certificate(files, options.masquerade_address)
    return Certificates(files)


class Listener(FTPServer):  # type: ignore[misc]
    """A listening socket."""

    def __init__(self, address: tuple[str, int], door: Door, *, implicit: bool = False) -> None:
        """Listen.

        Args:
            address: host and port.
            door: whose sessions begin here.
            implicit: whether clients begin with TLS before anything else.

        Raises:
            OSError: the address is not available.
        """
        self.door = door
        self.implicit = implicit
        self.max_cons = door.options.max_connections
        super().__init__(address, Session, ioloop=door.ioloop)

    def handle_error(self) -> None:
        """Go on listening; pyftpdlib would stop for good when, for example, no file descriptor is left."""
        log.exception("ftp_accept_failed")
        self.del_channel()
        self.ioloop.call_later(_ACCEPT_PAUSE_SECONDS, self._listen_again)

    def _listen_again(self) -> None:
        if not self._closed:
            self.add_channel()

    def writable(self) -> bool:
        return False
