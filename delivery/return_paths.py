"""Addresses that only this server can write: where a mail comes back to when nobody takes it, and where to unsubscribe.

Each recipient's mail has its own (variable envelope return path), so that what comes back need not be understood to
know whom it is about. The local part is `bounces+` (a sub-address, RFC 5233, so that one mailbox takes all of them), a
letter for what it is for, and numbers with a signature in hexadecimal, which survives servers that change its case.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from db.tables import account

MAILBOX = "bounces"
"""Local part before the sub-address."""
MAX_LOCAL_PART = 64
"""RFC 5321 section 4.5.3.1.1."""

_RETURN, _UNSUBSCRIBE = "b", "u"
_START = f"{MAILBOX}+"
# So that no other use of the account's key can give a signature that is valid here.
_PURPOSES = {_RETURN: b"return path", _UNSUBSCRIBE: b"unsubscribe"}
_SIGNATURE_BYTES = 10
_ACCOUNT, _SENDING, _RECIPIENT, _LIST = 4, 4, 5, 4
_WIDTHS = {_RETURN: (_ACCOUNT, _SENDING, _RECIPIENT), _UNSUBSCRIBE: (_ACCOUNT, _SENDING, _RECIPIENT, _LIST)}


class ReturnPath(NamedTuple):
    """Whose mail came back; internal ids, of rows that may be gone."""

    account_id: int
    sending_id: int
    recipient_id: int


class UnsubscribeAddress(NamedTuple):
    """Who leaves which list because of which sending; internal ids, of rows that may be gone."""

    account_id: int
    sending_id: int
    recipient_id: int
    list_id: int

    @property
    def about(self) -> ReturnPath:
        """Whose mail it stood in."""
        return ReturnPath(self.account_id, self.sending_id, self.recipient_id)


def write_return_path(secret_key: str, account_number: int, sending_id: int, recipient_id: int, domain: str) -> str:
    """Return the envelope sender of one recipient's mail; its local part has at most 64 characters.

    Args:
        secret_key: of the account.
        account_number: as callers see it, less than 2**32.
        sending_id: internal id, less than 2**32.
        recipient_id: internal id, less than 2**40.
        domain: whose mails come back to this server.

    Raises:
        OverflowError: a number is too large.
    """
    return _write(_RETURN, secret_key, _pack(account_number, sending_id, recipient_id), domain)


def write_unsubscribe_address(
    secret_key: str, account_number: int, sending_id: int, recipient_id: int, list_id: int, domain: str
) -> str:
    """Return the address for the mailto form of List-Unsubscribe (RFC 2369 section 3.2), as `write_return_path` does.

    Args:
        secret_key: of the account.
        account_number: as callers see it, less than 2**32.
        sending_id: internal id, less than 2**32.
        recipient_id: internal id, less than 2**40.
        list_id: internal id of the list that is left, less than 2**32.
        domain: whose mails come back to this server.

    Raises:
        OverflowError: a number is too large.
    """
    content = _pack(account_number, sending_id, recipient_id) + list_id.to_bytes(_LIST, "big")
    return _write(_UNSUBSCRIBE, secret_key, content, domain)


def read_return_path(connection: Connection, address: str) -> ReturnPath | None:
    """Return whom an address is about; None unless this server wrote it with `write_return_path`. One statement."""
    read = _read(connection, address, _RETURN)
    return ReturnPath(*read) if read is not None else None


def read_unsubscribe_address(connection: Connection, address: str) -> UnsubscribeAddress | None:
    """Return who leaves what; None unless this server wrote the address with `write_unsubscribe_address`."""
    read = _read(connection, address, _UNSUBSCRIBE)
    return UnsubscribeAddress(*read) if read is not None else None


def _pack(account_number: int, sending_id: int, recipient_id: int) -> bytes:
    first = account_number.to_bytes(_ACCOUNT, "big") + sending_id.to_bytes(_SENDING, "big")
    return first + recipient_id.to_bytes(_RECIPIENT, "big")


def _write(kind: str, secret_key: str, content: bytes, domain: str) -> str:
    data = content + _sign(secret_key, kind, content)
    return f"{_START}{kind}{data.hex()}@{domain}"


def _read(connection: Connection, address: str, kind: str) -> tuple[int, ...] | None:
    data = _decode(address, kind)
    if data is None:
        return None
    content, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    number, *ids = _split(content, _WIDTHS[kind])
    found = connection.execute(_SIGNER, {"number": number}).one_or_none() if number <= _MAX_NUMBER else None
    if found is None or not hmac.compare_digest(signature, _sign(found.secret_key, kind, content)):
        return None
    return (found.id, *ids)


_SIGNER = select(account.c.id, account.c.secret_key).where(account.c.number == bindparam("number"))
_MAX_NUMBER = 2**31 - 1
"""That a column of the database can hold."""


def _sign(secret_key: str, kind: str, content: bytes) -> bytes:
    """Return a keyed BLAKE2 hash (RFC 7693) of 80 bits; an HMAC, as long as it may be, takes three times longer."""
    key, purpose = secret_key.encode(), _PURPOSES[kind]
    return hashlib.blake2b(content, digest_size=_SIGNATURE_BYTES, key=key, person=purpose).digest()


def _decode(address: str, kind: str) -> bytes | None:
    """Return content and signature; None when the address is not one that `_write` gives, in whatever case."""
    local_part = address.rpartition("@")[0].lower()
    start = _START + kind
    if not local_part.startswith(start) or len(local_part) > MAX_LOCAL_PART:
        return None
    with suppress(ValueError):
        data = bytes.fromhex(local_part.removeprefix(start))
        # The decoder skips blanks.
        if len(data) == sum(_WIDTHS[kind]) + _SIGNATURE_BYTES and start + data.hex() == local_part:
            return data
    return None


def _split(content: bytes, widths: tuple[int, ...]) -> list[int]:
    numbers, start = [], 0
    for width in widths:
        numbers.append(int.from_bytes(content[start : start + width], "big"))
        start += width
    return numbers
