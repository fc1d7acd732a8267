"""Partners' FTP servers: plain, with explicit TLS (RFC 4217) or with TLS from the first byte."""

from __future__ import annotations

import ftplib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jobs.remote_sessions import (
    BLOCK,
    Listing,
    ListingBuilder,
    Patience,
    RemoteError,
    RemoteFile,
    RemoteRefused,
    StepRefused,
    TakeBlock,
    Wanted,
    join,
)

_MAX_REPLY_LINES = 1_000
_MAX_LINE = 16 * 1024
_NOT_KNOWN = ("500", "501", "502", "504")
_NOT_THERE = ("550", "450")
_FAREWELL_SECONDS = 5.0
NOT_IN_TIME = "The server did not answer in time."
CUT = "The server closed the connection."


def fingerprint_of(certificate: bytes) -> str:
    """Return what a certificate is pinned by: `sha256:` and the digest of its DER form, hexadecimal."""
    return f"sha256:{hashlib.sha256(certificate).hexdigest()}"


class CertificateDiffers(RemoteRefused):
    """The server shows another certificate than the pinned one."""

    def __init__(self, shown: str) -> None:
        super().__init__(f"The server shows another certificate than the pinned one: {shown}.")
        self.shown = shown


class FtpSession:
    """A session with an FTP server; see `jobs.remote_sessions.RemoteSession`."""

    def __init__(
        self,
        connection: socket.socket,
        host: str,
        *,
        tls: bool,
        implicit: bool = False,
        pinned: str | None = None,
        patience: Patience,
    ) -> None:
        """Begin on a connection that has just been made.

        Args:
            connection: to the server; closed with the session.
            host: the server's name, that its certificate must be for unless it is pinned.
            tls: agree on TLS before anything secret is sent.
            implicit: TLS begins at once instead of by a command.
            pinned: the only certificate that is accepted, see `fingerprint_of`; None: one that the machine's
                authorities vouch for.
            patience: how long the server may take.

        Raises:
            RemoteError: the server is no FTP server, or not the one it should be.
        """
        connection.settimeout(patience.step)
        self._patience = patience
        self._tls = tls
        self._listed_by_facts = True
        self._base = "/"
        self._client = _Client(connection, host, pinned, patience.step)
        try:
            with self._asking("The greeting", patience.step):
                self._client.begin(tls=tls, implicit=implicit)
        except RemoteError:
            self._client.close()
            raise

    @property
    def fingerprint(self) -> str | None:
        """Of the certificate that the server showed; None without TLS."""
        return self._client.fingerprint

    def log_in(self, user: str, password: str) -> None:
        """Log in, and encrypt what follows as the session is.

        Raises:
            RemoteRefused: the server does not know this user, or not with this password.
            RemoteError: it did not get that far.
        """
        with self._asking("Logging in", self._patience.step):
            try:
                self._client.login(user, password, secure=False)
            except ftplib.error_perm:
                raise RemoteRefused("The server refused the user name or the password.") from None
            if self._tls:
                self._client.prot_p()
            self._client.voidcmd("TYPE I")
            with suppress(ftplib.error_perm):
                self._base = self._client.pwd() or "/"

    def list_files(self, folder: str, wanted: Wanted) -> Listing:
        builder = ListingBuilder(wanted)
        deadline = time.monotonic() + self._patience.listing
        self._command("Opening the folder", f"CWD {self._path(folder)}")
        if self._listed_by_facts:
            try:
                for line in self._lines("MLSD", deadline):
                    _add_facts(builder, line)
                return builder.build()
            except _NotKnown:
                self._listed_by_facts = False
        for name in list(self._names(builder, folder, deadline)):
            found = self._ask_details(join(folder, name))
            if found is not None:
                builder.add(found)
            if time.monotonic() > deadline:
                raise RemoteError("The server did not list the folder in time.")
        return builder.build()

    def find(self, path: str) -> RemoteFile | None:
        if self._listed_by_facts:
            try:
                answer = self._command("Looking at the file", f"MLST {self._path(path)}")
            except StepRefused as error:
                if _code_of(error) in _NOT_THERE:
                    return None
            else:
                return _parse_fact_reply(answer, path)
        return self._ask_details(path)

    def fetch(self, path: str, take: TakeBlock) -> None:
        with self._transfer("Fetching", f"RETR {self._path(path)}") as connection:
            while block := self._receive(connection):
                take(block)

    def put(self, blocks: Iterable[bytes], path: str) -> None:
        with self._transfer("Storing", f"STOR {self._path(path)}") as connection:
            for block in blocks:
                with self._asking("Storing"):
                    connection.sendall(block)
            _end_encryption(connection)

    def rename(self, source: str, target: str, *, replace: bool) -> None:
        exists = self._ask_details(target) is not None
        if exists and not replace:
            raise StepRefused("There is a file of that name already.")
        try:
            self._rename(source, target)
        except StepRefused:
            if not exists:
                raise
            self.remove(target)
            self._rename(source, target)

    def _rename(self, source: str, target: str) -> None:
        self._command("Renaming", f"RNFR {self._path(source)}")
        self._command("Renaming", f"RNTO {self._path(target)}")

    def remove(self, path: str) -> None:
        self._command("Removing", f"DELE {self._path(path)}")

    def close(self) -> None:
        with suppress(RemoteError), self._asking("Leaving", _FAREWELL_SECONDS):
            self._client.quit()
        self._client.close()

    def _path(self, path: str) -> str:
        return path if path.startswith("/") else join(self._base, path)

    def _ask_details(self, path: str) -> RemoteFile | None:
        """Return a file by SIZE and MDTM (RFC 3659); None when it is not there, or no file."""
        try:
            size = self._command("Asking for the size", f"SIZE {self._path(path)}")[4:].strip()
        except StepRefused as error:
            if _code_of(error) in _NOT_THERE:
                return None
            raise
        if not (size.isascii() and size.isdigit()):
            raise RemoteError("The size that the server tells is no number.")
        with suppress(StepRefused):
            modified = self._command("Asking for the time", f"MDTM {self._path(path)}")[4:].strip()
            return RemoteFile(_name_of(path), int(size), _clean_time(modified))
        return RemoteFile(_name_of(path), int(size), "")

    def _names(self, builder: ListingBuilder, folder: str, deadline: float) -> Iterator[str]:
        """Yield the names that NLST tells and that are wanted; some servers put the folder before each."""
        prefix = f"{self._path(folder).rstrip('/')}/"
        try:
            for line in self._lines("NLST", deadline):
                builder.count()
                name = line.removeprefix(prefix).removeprefix("./")
                if builder.admit(name):
                    yield name
        except StepRefused as error:
            # What some servers say about an empty folder.
            if _code_of(error) not in _NOT_THERE:
                raise

    def _lines(self, command: str, deadline: float) -> Iterator[str]:
        rest = b""
        with self._transfer("Listing the folder", command) as connection:
            while block := self._receive(connection):
                *lines, rest = (rest + block).split(b"\n")
                if time.monotonic() > deadline or len(rest) > _MAX_LINE:
                    raise RemoteError("The server did not list the folder in time.")
                yield from (_decode_line(line) for line in lines if line.strip())
        if rest.strip():
            yield _decode_line(rest)

    def _receive(self, connection: socket.socket) -> bytes:
        with self._asking("The transfer"):
            return connection.recv(BLOCK)

    @contextmanager
    def _transfer(self, step: str, command: str) -> Iterator[socket.socket]:
        """Open a data connection, close it at the end, and have the server say that all went well."""
        with self._asking(step, self._patience.step):
            connection = self._client.transfercmd(command)
        connection.settimeout(self._patience.step)
        try:
            yield connection
        except BaseException:
            connection.close()
            with suppress(RemoteError), self._asking(step, _FAREWELL_SECONDS):
                self._client.voidresp()
            raise
        connection.close()
        with self._asking(step, self._patience.step):
            self._client.voidresp()

    def _command(self, step: str, command: str) -> str:
        with self._asking(step, self._patience.step):
            return self._client.voidcmd(command) if not command.startswith("RNFR") else self._client.sendcmd(command)

    @contextmanager
    def _asking(self, step: str, seconds: float | None = None) -> Iterator[None]:
        """Turn what goes wrong into a sentence; with seconds, however slowly the server drips its answer.

        The text of an answer is not shown: it may repeat what was sent.
        """
        expired = threading.Event()
        watch = threading.Timer(seconds, self._client.cut, (expired,)) if seconds is not None else None
        if watch is not None:
            watch.daemon = True
            watch.start()
        try:
            yield
        except (ftplib.error_temp, ftplib.error_perm) as error:
            code = str(error)[:3]
            if code in _NOT_KNOWN:
                raise _NotKnown(f"{step}: the server does not know how (answer {code}).") from None
            if code == "421":
                raise RemoteError(f"{step}: the server ended the session (answer 421).") from None
            raise StepRefused(f"{step}: the server refused it (answer {code}).") from None
        except ssl.SSLCertVerificationError as error:
            raise RemoteRefused(f"The certificate is not accepted: {error.verify_message}.") from None
        except ssl.SSLError:
            raise RemoteError(f"{step}: TLS could not be agreed upon, or was broken.") from None
        except TimeoutError:
            raise RemoteError(f"{step}: {NOT_IN_TIME}") from None
        except (EOFError, OSError):
            raise RemoteError(f"{step}: {NOT_IN_TIME if expired.is_set() else CUT}") from None
        except (ftplib.Error, UnicodeError, ValueError):
            raise RemoteError(f"{step}: the server does not speak FTP as it should.") from None
        finally:
            if watch is not None:
                watch.cancel()


class _NotKnown(StepRefused):
    """The server has no such command."""


class _Client(ftplib.FTP_TLS):
    """ftplib's client on a given connection, that checks a pinned certificate and reuses the TLS session."""

    def __init__(self, connection: socket.socket, host: str, pinned: str | None, seconds: float) -> None:
        context = ssl.create_default_context()
        if pinned is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        super().__init__(context=context, timeout=seconds)
        self.fingerprint: str | None = None
        self.sock: Any = connection
        self.af = connection.family
        self.host = host
        self._pinned = pinned
        self._lines = 0

    def begin(self, *, tls: bool, implicit: bool) -> None:
        if implicit:
            self.sock = self.context.wrap_socket(self.sock, server_hostname=self.host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        if tls and not implicit:
            self.auth()
        if tls:
            self.fingerprint = self._check_pin(self.sock)

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = super(ftplib.FTP_TLS, self).ntransfercmd(cmd, rest)
        if not self._prot_p:  # type: ignore[attr-defined]
            return connection, size
        try:
            # Many servers take only a data connection that continues the session of the control connection.
            encrypted = self.context.wrap_socket(connection, server_hostname=self.host, session=self.sock.session)
            if not encrypted.session_reused:
                self._check_pin(encrypted)
        except BaseException:
            connection.close()
            raise
        return encrypted, size

    def putcmd(self, line: str) -> None:
        self._lines = 0
        super().putcmd(line)

    def getline(self) -> str:
        self._lines += 1
        if self._lines > _MAX_REPLY_LINES:
            raise ValueError("too many lines")
        return super().getline()

    def cut(self, expired: threading.Event) -> None:
        """End the connection from another thread."""
        expired.set()
        with suppress(OSError, AttributeError, TypeError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def _check_pin(self, connection: ssl.SSLSocket) -> str:
        certificate = connection.getpeercert(binary_form=True)
        found = fingerprint_of(certificate or b"")
        if self._pinned is not None and found != self._pinned.lower():
            raise CertificateDiffers(found)
        return found


def _end_encryption(connection: socket.socket) -> None:
    """Tell the server that the data is whole; one that does not answer is not waited for long."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(_FAREWELL_SECONDS)
        with suppress(OSError):
            connection.unwrap()


def _add_facts(builder: ListingBuilder, line: str) -> None:
    """Add what a line of MLSD tells (RFC 3659 section 7.2), if it is a file."""
    builder.count()
    facts, name = _parse_facts(line)
    if facts.get("type", "").lower() != "file":
        return
    if builder.admit(name) and facts.get("size", "").isdecimal():
        builder.add(RemoteFile(name, int(facts["size"]), _clean_time(facts.get("modify", ""))))


def _parse_facts(line: str) -> tuple[dict[str, str], str]:
    written, _, name = line.partition(" ")
    pairs = (fact.partition("=") for fact in written.split(";") if fact)
    return {key.lower(): value for key, _, value in pairs}, name


def _parse_fact_reply(answer: str, path: str) -> RemoteFile | None:
    line = next((line for line in answer.splitlines() if line.startswith(" ")), "")
    facts, _ = _parse_facts(line.strip())
    if facts.get("type", "").lower() != "file" or not facts.get("size", "").isdecimal():
        return None
    return RemoteFile(_name_of(path), int(facts["size"]), _clean_time(facts.get("modify", "")))


def _clean_time(text: str) -> str:
    """Return the whole seconds of a time `YYYYMMDDHHMMSS.sss`; commands of one server may differ in the fraction."""
    digits = text.partition(".")[0]
    return digits if digits.isascii() and digits.isdigit() and len(digits) == 14 else ""


def _decode_line(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _code_of(error: StepRefused) -> str:
    return str(error).rpartition("answer ")[2][:3]
