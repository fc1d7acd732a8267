"""Signs mails, so that their receivers can tell that the owner of a domain sent them (DKIM, RFC 6376 and RFC 8463)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from sqlalchemy import ColumnElement, Connection, delete, or_, select
from sqlalchemy.exc import IntegrityError

from db.tables import account, dkim_key
from delivery.errors import DeliveryError
from delivery.headers import encode_domain

Algorithm = Literal["rsa", "ed25519"]
RSA_BITS = 2048

_SIGNED = (
    b"from",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"reply-to",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"feedback-id",
)
"""Header fields, where a mail has them (RFC 6376 section 5.4.1; RFC 8058 section 4 asks for those to unsubscribe)."""
_FIELDS = re.compile(rb"\r\n(?![ \t])")
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOMAIN = re.compile(rf"(?=.{{4,253}}\Z){_LABEL}(?:\.{_LABEL})+")
_TEXT_LENGTH = 255
"""Characters of one string of a TXT record (RFC 1035 section 3.3.14)."""


class InvalidKey(DeliveryError):
    """A key to sign mails with is none, or cannot be stored."""


class UnknownKey(DeliveryError):
    """There is no key to sign mails with of this domain and selector."""


class DkimSigner:
    """A private key, and the place in DNS where receivers find its public half; threads may share it."""

    def __init__(self, domain: str, selector: str, algorithm: Algorithm, private_key_pem: str) -> None:
        """Read a key.

        Args:
            domain: that signs; its name in ASCII or Unicode.
            selector: which of the domain's keys it is.
            algorithm: what kind of key it is.
            private_key_pem: PKCS #8 or the older form, without a password.

        Raises:
            InvalidKey: it is no such key, too short, or cannot have this name.
        """
        self.domain, self.selector = encode_domain(domain.strip().rstrip(".")), selector.strip().lower()
        if not _DOMAIN.fullmatch(self.domain) or not _SELECTOR.fullmatch(self.selector):
            raise InvalidKey("The domain or the selector is not a name that DNS can have.")
        self.algorithm = algorithm
        self._key = _read_key(private_key_pem, algorithm)
        self._sign = _choose_signing(self._key)

    def __repr__(self) -> str:
        return f"DkimSigner({self.domain!r}, {self.selector!r}, {self.algorithm!r})"

    def sign(self, head: bytes, body: bytes) -> bytes:
        """Return the header field to put before a mail; it ends with CRLF.

        The header is canonicalised as `relaxed`, the body as `simple` (RFC 6376 section 3.4). From is signed once
        more than it is there, so that nobody can add another one.

        Args:
            head: the header; each field ends with CRLF, none of those signed is there twice.
            body: lines end with CRLF.
        """
        names, canonical = _canonicalise(head)
        body_hash = base64.b64encode(hashlib.sha256(_strip(body)).digest())
        field = b"DKIM-Signature: v=1; a=%s-sha256; c=relaxed/simple;\r\n d=%s; s=%s;\r\n h=%s;\r\n bh=%s;\r\n b=" % (
            self.algorithm.encode(),
            self.domain.encode(),
            self.selector.encode(),
            b":\r\n ".join([b":".join(names[:6]), b":".join([*names[6:], b"from"])]),
            body_hash,
        )
        signature = base64.b64encode(self._sign(canonical + _relax(field)))
        lines = [signature[start : start + 72] for start in range(0, len(signature), 72)]
        return field + b"\r\n ".join(lines) + b"\r\n"

    def write_private_key(self) -> str:
        """Return the private key as PEM, PKCS #8."""
        return _write_pem(self._key)

    def write_public_key(self) -> bytes:
        """Return the public key as it stands in DNS (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        public = self._key.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            return public.public_bytes_raw()
        return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _canonicalise(head: bytes) -> tuple[list[bytes], bytes]:
    """Return the names of the fields to sign, and the fields as they are signed, in the order of the header."""
    names, fields = [], []
    for field in _FIELDS.split(head):
        name = field[: field.find(b":")].lower()
        if name in _SIGNED:
            names.append(name)
            fields.append(_relax(field) + b"\r\n")
    return names, b"".join(fields)


def _relax(field: bytes) -> bytes:
    """Return a field with its name in lower case and blanks only where there must be some (RFC 6376 section 3.4.2)."""
    name, _, value = field.partition(b":")
    return name.lower() + b":" + b" ".join(value.split())


def _strip(body: bytes) -> bytes:
    """Return a body without empty lines at its end (RFC 6376 section 3.4.3)."""
    if body.endswith(b"\r\n") and not body.endswith(b"\r\n\r\n") and len(body) > 2:
        return body
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[:end] + b"\r\n"


_PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def _read_key(pem: str, algorithm: Algorithm) -> _PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library quotes parts of what it was given.
        raise InvalidKey("That is not a private key in PEM form without a password.") from None
    if algorithm == "ed25519" and isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if algorithm == "rsa" and isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 1024:
        return key
    raise InvalidKey(f"That is not a key for {algorithm}, or it is shorter than 1024 bits.")


def _choose_signing(key: _PrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        # What is signed is the hash, not the text (RFC 8463 section 3).
        return lambda data: key.sign(hashlib.sha256(data).digest())
    how, algorithm = padding.PKCS1v15(), hashes.SHA256()
    return lambda data: key.sign(data, how, algorithm)


def make_key(algorithm: Algorithm) -> str:
    """Return a new private key as PEM, PKCS #8."""
    key: _PrivateKey
    if algorithm == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return _write_pem(key)


def _write_pem(key: _PrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def dns_record(signer: DkimSigner) -> str:
    """Return the line for the domain's zone by which receivers check signatures (RFC 6376 section 3.6)."""
    public_key = base64.b64encode(signer.write_public_key()).decode()
    value = f"v=DKIM1; k={signer.algorithm}; p={public_key}"
    strings = [f'"{value[start : start + _TEXT_LENGTH]}"' for start in range(0, len(value), _TEXT_LENGTH)]
    return f"{signer.selector}._domainkey.{signer.domain}. IN TXT {' '.join(strings)}"


class StoredKey(NamedTuple):
    """A key, without its secret half."""

    domain: str
    selector: str
    algorithm: str
    account_number: int | None
    """None: for all accounts."""
    created_at: datetime


def add_signer(connection: Connection, account_id: int | None, signer: DkimSigner) -> None:
    """Store a key; from now on it signs.

    Args:
        connection: in a writing transaction.
        account_id: whose mails it signs; None for all accounts that have no own key for the domain.
        signer: the key.

    Raises:
        InvalidKey: the domain has a key with this selector.
    """
    values = {
        "account_id": account_id,
        "domain": signer.domain,
        "selector": signer.selector,
        "algorithm": signer.algorithm,
        "private_key": signer.write_private_key(),
        "created_at": datetime.now(UTC),
    }
    try:
        with connection.begin_nested():
            connection.execute(dkim_key.insert().values(**values))
    except IntegrityError:
        raise InvalidKey(f"{signer.domain} has a key {signer.selector} already.") from None


def find_signer(connection: Connection, account_id: int, domain: str) -> DkimSigner | None:
    """Return what signs the mails of an account from addresses of a domain; one statement.

    The account's own keys come before those for all, then the domain's own before those of the domains above it,
    which receivers accept as well (RFC 7489 section 3.1.1), then the newest.

    Args:
        connection: reading.
        account_id: whose mails.
        domain: of the address in From.
    """
    names = _list_domains(encode_domain(domain))
    keys = (dkim_key.c.account_id, dkim_key.c.id, dkim_key.c.domain)
    query = select(*keys, dkim_key.c.selector, dkim_key.c.algorithm, dkim_key.c.private_key).where(
        dkim_key.c.domain.in_(names), or_(dkim_key.c.account_id == account_id, dkim_key.c.account_id.is_(None))
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    row = max(rows, key=lambda row: (row.account_id is not None, len(row.domain), row.id))
    return DkimSigner(row.domain, row.selector, row.algorithm, row.private_key)


def _list_domains(domain: str) -> list[str]:
    """Return a domain and those above it, but no top-level domain."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(max(len(labels) - 1, 1))]


def list_keys(connection: Connection) -> list[StoredKey]:
    """Return all keys by domain, the oldest first."""
    columns = (dkim_key.c.domain, dkim_key.c.selector, dkim_key.c.algorithm, account.c.number, dkim_key.c.created_at)
    query = select(*columns).outerjoin_from(dkim_key, account, account.c.id == dkim_key.c.account_id)
    return [StoredKey(*row) for row in connection.execute(query.order_by(dkim_key.c.domain, dkim_key.c.id))]


def find_key(connection: Connection, domain: str, selector: str) -> DkimSigner:
    """Return a stored key.

    Raises:
        UnknownKey: there is none.
    """
    query = select(dkim_key.c.algorithm, dkim_key.c.private_key).where(_is_named(domain, selector))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownKey("There is no such key.")
    return DkimSigner(domain, selector, row.algorithm, row.private_key)


def remove_key(connection: Connection, domain: str, selector: str) -> None:
    """Remove a key; mails that it has signed stay valid as long as its record is in DNS.

    Raises:
        UnknownKey: there is none.
    """
    if connection.execute(delete(dkim_key).where(_is_named(domain, selector))).rowcount == 0:
        raise UnknownKey("There is no such key.")


def _is_named(domain: str, selector: str) -> ColumnElement[bool]:
    name = encode_domain(domain.strip().rstrip("."))
    return (dkim_key.c.domain == name) & (dkim_key.c.selector == selector.strip().lower())


ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
