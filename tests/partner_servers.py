"""Servers of partners on the loopback: pyftpdlib, asyncssh, sshd, vsftpd, and scripted ones that misbehave."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# First, as it silences the deprecation of asyncore while it imports it.
from pyftpdlib.ioloop import IOLoop  # isort: skip
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

from jobs.remote_ftp import fingerprint_of
from jobs.remote_servers import Access, Protocol

USER = "partner"
PASSWORD = "secret word"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
DEADLINE = 20.0


@dataclass(frozen=True)
class Partner:
    """A server that is up, and where its files are."""

    access: Access
    root: Path

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def but(self, **changes: Any) -> Access:
        """Return the access with something changed."""
        return replace(self.access, **changes)


# Certificates


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key in one PEM file, the authority's certificate in another."""

    file: Path
    authority: Path
    fingerprint: str


def make_certificate(folder: Path, *, expired: bool = False) -> Certificate:
    """Make an authority, and a certificate of it for 127.0.0.1 and localhost."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test authority")])
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key(), authority_key, expired=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        _certificate(name, authority_name, key.public_key(), authority_key, expired=expired)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    shown = fingerprint_of(certificate.public_bytes(serialization.Encoding.DER))
    return Certificate(folder / "server.pem", folder / "authority.pem", shown)


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, *, expired: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now - timedelta(days=1) if expired else now + timedelta(days=30)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(end)
        # As certificates of today have them; Python 3.13 looks for both.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


# Well-behaved servers


class _ImplicitHandler(TLS_FTPHandler):  # type: ignore[misc]
    """TLS from the first byte."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        TLS_FTPHandler.handle(self)


@contextmanager
def ftp_partner(root: Path, protocol: Protocol = "ftp", certificate: Certificate | None = None) -> Iterator[Partner]:
    """Run pyftpdlib's server while the block lasts; with a certificate, which is pinned, it demands encryption."""
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    root.mkdir(parents=True, exist_ok=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmwMT")
    values: dict[str, Any] = {"authorizer": authorizer, "auth_failed_timeout": 0.05}
    base = FTPHandler
    if certificate is not None:
        base = _ImplicitHandler if protocol == "ftps-implicit" else TLS_FTPHandler
        values |= {"certfile": str(certificate.file), "tls_control_required": True, "tls_data_required": True}
        values |= {"ssl_context": None}
    handler = type("Handler", (base,), values)
    if certificate is not None:
        handler.ssl_context = handler.get_ssl_context()  # type: ignore[attr-defined]
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.serve_forever(timeout=0.02, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    pinned = certificate.fingerprint if certificate is not None else None
    access = Access(
        protocol=protocol,
        host="127.0.0.1",
        port=server.address[1],
        user_name=USER,
        password=PASSWORD,
        fingerprint=pinned,
    )
    try:
        yield Partner(access, root)
    finally:
        stop.set()
        thread.join()


SftpFactory = Callable[[Any], asyncssh.SFTPServer]


class _SshServer(asyncssh.SSHServer):
    def __init__(self, public_key: str | None) -> None:
        self._public_key = public_key

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._public_key is not None and key.export_public_key().decode().split()[1] == self._public_key


@contextmanager
def sftp_partner(
    root: Path,
    sftp_factory: SftpFactory | None = None,
    *,
    public_key: str | None = None,
    host_keys: Iterable[str] = ("ssh-ed25519",),
) -> Iterator[Partner]:
    """Run asyncssh's server while the block lasts; its first host key is pinned."""
    root.mkdir(parents=True, exist_ok=True)
    keys = [asyncssh.generate_private_key(kind) for kind in host_keys]
    factory = sftp_factory or (lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(root)))
    loop = asyncio.new_event_loop()
    started: list[Any] = []
    ready = threading.Event()

    async def start() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=keys,
            server_factory=lambda: _SshServer(public_key),
            sftp_factory=factory,
            config=None,
        )
        started.append(server)
        ready.set()

    async def end() -> None:
        started[0].close()
        await started[0].wait_closed()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(end())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(DEADLINE)
    access = Access(
        protocol="sftp",
        host="127.0.0.1",
        port=started[0].get_port(),
        user_name=USER,
        password=PASSWORD,
        fingerprint=keys[0].get_fingerprint("sha256"),
    )
    try:
        yield Partner(access, root)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


# Foreign programs

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
VSFTPD = shutil.which("vsftpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def openssh_partner(root: Path, work: Path) -> Iterator[Partner]:
    """Run OpenSSH's server as the present user, who logs in with a key."""
    assert SSHD is not None
    work.mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # Made by the service's start script otherwise; root's sshd does not start without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    host_key, user_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(str(work / "host"))
    user_key.write_public_key(str(work / "authorized"))
    for path in work.iterdir():
        path.chmod(0o600)
    port = free_port()
    (work / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {work / 'host'}\nAuthorizedKeysFile {work / 'authorized'}\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
        f"Subsystem sftp internal-sftp -d {root}\nPermitRootLogin yes\n"
    )
    process = subprocess.Popen([SSHD, "-D", "-f", work / "config", "-E", work / "log"])
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        wait_for_port(port)
        access = Access(
            protocol="sftp",
            host="127.0.0.1",
            port=port,
            user_name=user,
            private_key=user_key.export_private_key().decode(),
            fingerprint=host_key.get_fingerprint("sha256"),
        )
        yield Partner(access, root)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def vsftpd_partner(root: Path, work: Path, certificate: Certificate) -> Iterator[Partner]:
    """Run vsftpd, which has neither MLSD nor MLST and demands that data connections continue the TLS session."""
    assert VSFTPD is not None
    work.mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    (work / "empty").mkdir()
    root.chmod(0o755)
    port = free_port()
    (work / "config").write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\n"
        f"anon_root={root}\nno_anon_password=YES\nwrite_enable=YES\nanon_upload_enable=YES\n"
        "anon_other_write_enable=YES\nanon_mkdir_write_enable=YES\nanon_umask=022\nallow_writeable_chroot=YES\n"
        f"secure_chroot_dir={work / 'empty'}\nrun_as_launching_user={'NO' if os.geteuid() == 0 else 'YES'}\n"
        f"ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\n"
        f"require_ssl_reuse=YES\nrsa_cert_file={certificate.file}\nssl_ciphers=HIGH\nanon_world_readable_only=NO\n"
        "seccomp_sandbox=NO\nftp_username=daemon\nmdtm_write=NO\nuse_localtime=NO\n"
    )
    process = subprocess.Popen([VSFTPD, work / "config"])
    try:
        wait_for_port(port)
        access = Access(
            protocol="ftps",
            host="127.0.0.1",
            port=port,
            user_name="anonymous",
            password="partner@example.com",
            fingerprint=certificate.fingerprint,
        )
        yield Partner(access, root)
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


# A scripted FTP server


class Hang(Exception):
    """Answer nothing more."""


class HangUp(Exception):
    """Close the connection at once."""


Data = Iterable[bytes]


@dataclass
class Script:
    """What an FTP server answers; the default one has a folder with the given listing and files."""

    listing: Data = ()
    """Lines of MLSD, with their ends."""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, bytes | Exception] = field(default_factory=dict)
    """By command: instead of the usual."""
    greeting: bytes | Exception = b"220 Ready.\r\n"
    cut_after: int | None = None
    """Bytes of a file after which everything is closed."""
    commands: list[str] = field(default_factory=list)

    def describe(self, name: str) -> str:
        return f"type=file;size={len(self.files[name])};modify=20260101000000; {name}"


class _ScriptedHandler(socketserver.BaseRequestHandler):
    script: Script
    stop: threading.Event
    _listener: socket.socket | None = None

    def handle(self) -> None:
        with suppress(OSError, HangUp):
            try:
                self._tell(self.script.greeting)
                self._converse()
            except Hang:
                self.stop.wait()
        if self._listener is not None:
            self._listener.close()

    def _converse(self) -> None:
        with self.request.makefile("rb") as lines:
            for line in lines:
                command, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
                self.script.commands.append(f"{command} {argument}".strip())
                self._tell(self.script.answers.get(command) or self._answer(command, argument))

    def _tell(self, answer: bytes | Exception) -> None:
        if isinstance(answer, Exception):
            raise answer
        self.request.sendall(answer)

    def _answer(self, command: str, argument: str) -> bytes:
        name = argument.rpartition("/")[2]
        if command in ("USER", "PASS"):
            return b"331 Password.\r\n" if command == "USER" else b"230 Welcome.\r\n"
        if command == "PWD":
            return b'257 "/"\r\n'
        if command == "PASV":
            return self._listen()
        if command == "MLSD":
            return self._send(self.script.listing)
        if command == "RETR" and name in self.script.files:
            return self._send([self.script.files[name]])
        if command == "MLST" and name in self.script.files:
            return f"250-Here\r\n {self.script.describe(name)}\r\n250 End\r\n".encode()
        if command in ("TYPE", "CWD", "QUIT"):
            return b"200 Well.\r\n"
        return b"550 No.\r\n"

    def _listen(self) -> bytes:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE)
        port = self._listener.getsockname()[1]
        return f"227 Passive (127,0,0,1,{port >> 8},{port & 255}).\r\n".encode()

    def _send(self, data: Data) -> bytes:
        assert self._listener is not None
        self.request.sendall(b"150 Here it comes.\r\n")
        connection, _ = self._listener.accept()
        with connection, self._listener:
            for block in data:
                connection.sendall(block[: self.script.cut_after])
                if self.script.cut_after is not None:
                    raise HangUp
        return b"226 Done.\r\n"


@contextmanager
def scripted_partner(script: Script) -> Iterator[Access]:
    """Run a scripted FTP server while the block lasts."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    stop = threading.Event()
    handler = type("Handler", (_ScriptedHandler,), {"script": script, "stop": stop})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            host, port = server.server_address[:2]
            yield Access(protocol="ftp", host=str(host), port=port, user_name=USER, password=PASSWORD)
        finally:
            stop.set()
            server.shutdown()
            thread.join()
