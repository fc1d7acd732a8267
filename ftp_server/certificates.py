"""The certificate that FTPS shows: the operator's, which may change while the server runs, or one of its own."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

log = structlog.get_logger()

LOOKED_AT_EVERY = 1.0
"""Seconds for which a certificate is not looked at again."""
_VALID_FOR = timedelta(days=3650)

_PROTOCOLS = (b"ftp", b"ftp-data")

FILE_NAME = "ftp-certificate.pem"
KEY_NAME = "ftp-certificate-key.pem"


class UnusableCertificate(Exception):
    """The certificate or its key cannot be read, or they do not belong together; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate is, in PEM."""

    certificate: Path
    """With the certificates of those who signed it after it (RFC 8446 section 4.4.2)."""
    key: Path
    """May be the same file."""

    @property
    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes with the files' content."""
        found = [path.stat() for path in (self.certificate, self.key)]
        return tuple((item.st_mtime_ns, item.st_size, item.st_ino) for item in found)


def own_certificate(directory: Path) -> CertificateFiles:
    """Return where the certificate is that the server makes for itself."""
    return CertificateFiles(directory / FILE_NAME, directory / KEY_NAME)


def make_certificate(files: CertificateFiles, address: str | None = None) -> None:
    """Make a self-signed certificate with a new key, unless both files are there.

    Args:
        files: readable by the server's own user alone.
        address: IP address that clients know the server under.
    """
    if files.certificate.exists() and files.key.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, address)
    _write(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(files.certificate, certificate.public_bytes(Encoding.PEM))
    log.info("ftp_certificate_made", until=certificate.not_valid_after_utc.isoformat())


def _sign(key: ec.EllipticCurvePrivateKey, address: str | None) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Listbridge")])
    others: list[x509.GeneralName] = [x509.DNSName("localhost")]
    others += [x509.IPAddress(ipaddress.ip_address(address))] if address else []
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        UnusableCertificate: there is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnusableCertificate(f"{path} has no certificate in PEM ({type(error).__name__}).") from None


def load_context(files: CertificateFiles, newest: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """Return what TLS connections begin with: version 1.2 or later, without compression and renegotiation.

    Args:
        files: certificate and key.
        newest: the newest version of TLS that is spoken.

    Raises:
        UnusableCertificate: the files cannot be read, or do not belong together.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(newest)
    # Without tickets and cache nothing of one session is of use in another.
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_choose_protocol)
    try:
        own, *others = x509.load_pem_x509_certificates(files.certificate.read_bytes())
        # A key with a pass phrase cannot be used: nobody is there to enter it.
        key = load_pem_private_key(files.key.read_bytes(), password=None)
        context.use_certificate(own)
        for certificate in others:
            context.add_extra_chain_cert(certificate)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise TypeError(type(key).__name__)
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = f"{files.certificate} and {files.key} are not a certificate and its key ({type(error).__name__})."
        raise UnusableCertificate(text) from None
    return context


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Refuse clients that want to speak something else: a browser that was sent here by somebody else (RFC 7301)."""
    for protocol in _PROTOCOLS:
        if protocol in offered:
            return protocol
    raise SSL.Error([("", "", "no common protocol")])


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the connections of one session begin with."""

    control: SSL.Context
    data: SSL.Context
    """Without TLS 1.3: there the server sends session tickets after the handshake, and a client that has only sent
    and closes without reading them makes TCP reset the connection, which takes away the end of its file."""


def _load_contexts(files: CertificateFiles) -> Contexts:
    return Contexts(load_context(files), load_context(files, SSL.TLS1_2_VERSION))


class Certificates:
    """Gives each new TLS connection the certificate that is in force. For one thread."""

    def __init__(self, files: CertificateFiles, clock: Callable[[], float] = time.monotonic) -> None:
        """Load the certificate.

        Args:
            files: where it is.
            clock: current time in seconds.

        Raises:
            UnusableCertificate: the files cannot be read, or do not belong together.
        """
        self._files = files
        self._clock = clock
        self._stamp = _stamp(files)
        self._contexts = _load_contexts(files)
        self._looked_at = clock()

    def contexts(self) -> Contexts:
        """Return the contexts with the newest certificate that could be loaded."""
        now = self._clock()
        if now - self._looked_at >= LOOKED_AT_EVERY:
            self._looked_at = now
            self._look_again()
        return self._contexts

    def _look_again(self) -> None:
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._contexts = _load_contexts(self._files)
        except UnusableCertificate as error:
            log.error("ftp_certificate_not_loaded", error=str(error))
        else:
            log.info("ftp_certificate_loaded")


def _stamp(files: CertificateFiles) -> tuple[tuple[int, int, int], ...] | None:
    try:
        return files.stamp
    except OSError:
        return None
