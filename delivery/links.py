"""Signed links: what a mail gives its reader to confirm or to unsubscribe with, without a password and without cookies.

A token is what the link is about, packed, and a signature. The signature covers the reader's address too, which the
token does not show: an embedded database may give the id of a removed recipient to somebody else, whom the links of
the first must not touch.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, bindparam, select

from db.tables import account, recipient

LinkKind = Literal["confirm", "unsubscribe"]

CONFIRM_PERIOD = timedelta(days=30)
"""How long a link can confirm; an unsubscribe link works as long as its list."""
MAX_TOKEN = 4096
"""Characters of the longest token that is looked at; one of 20 lists has less than 200."""

_CODES: dict[LinkKind, bytes] = {"confirm": b"c", "unsubscribe": b"u"}
# So that no other use of the account's key can give a signature that is valid here.
_PURPOSE = b"listbridge link 1\0"
_SIGNATURE_BYTES = 16
_MAX_ACCOUNT = 2**31 - 1
_MAX_ID = 2**63 - 1
# Signs for accounts that do not exist, so that these take as long to refuse as wrong signatures.
_NO_KEY = "0" * 64


class InvalidLink(Exception):
    """The token was not made by this server, was changed, is of another kind, or its recipient is gone."""


class ExpiredLink(InvalidLink):
    """The token was valid once; it is for the recipient himself to know, since nobody else can have it."""

    def __init__(self, link: Link) -> None:
        super().__init__("The link has ended.")
        self.link = link


@dataclass(frozen=True, slots=True)
class Link:
    """What a verified token is about."""

    kind: LinkKind
    account_id: int
    recipient_id: int
    email: str
    list_ids: tuple[int, ...]
    """Internal ids, the one whose pages are shown first; the lists may have been deleted since."""
    issued_at: datetime


def write_token(
    secret_key: str,
    kind: LinkKind,
    *,
    account_number: int,
    recipient_id: int,
    email: str,
    list_ids: Iterable[int],
    issued_at: datetime | None = None,
) -> str:
    """Return a token of letters, digits, `-` and `_`: with up to 20 lists less than 200 characters.

    Args:
        secret_key: of the account.
        kind: what the link is for; a token of one kind is refused where the other is asked for.
        account_number: as callers see it.
        recipient_id: internal id.
        email: the recipient's address as it is stored.
        list_ids: internal ids of the lists that the link is about, first the one whose pages are shown.
        issued_at: aware; by default now. Kept to the second.
    """
    issued = int((issued_at or datetime.now(UTC)).timestamp())
    numbers = (account_number, recipient_id, issued, *dict.fromkeys(list_ids))
    content = _CODES[kind] + b"".join(map(_pack, numbers))
    return _encode(content + _sign(secret_key, content, email))


def read_token(connection: Connection, token: str, kind: LinkKind, *, now: datetime | None = None) -> Link:
    """Return what a token of this kind is about; one statement.

    Args:
        connection: reading or writing.
        token: from anybody.
        kind: what it must be for.
        now: aware; by default the clock's.

    Raises:
        InvalidLink: it is not valid; why is nobody's business.
        ExpiredLink: it was valid.
    """
    content, signature = _decode(token)
    number, recipient_id, issued, *list_ids = _read_numbers(content)
    found = connection.execute(_SIGNER, {"number": number, "recipient_id": recipient_id}).one_or_none()
    account_id, secret_key, email = found if found is not None and found.email else (0, _NO_KEY, "")
    expected = _sign(secret_key, content, email)
    if not (hmac.compare_digest(signature, expected) and account_id and content[:1] == _CODES[kind]):
        raise InvalidLink("The link is not valid.")
    link = Link(kind, account_id, recipient_id, email, tuple(list_ids), datetime.fromtimestamp(issued, UTC))
    if kind == "confirm" and (now or datetime.now(UTC)) >= link.issued_at + CONFIRM_PERIOD:
        raise ExpiredLink(link)
    return link


_SIGNER = (
    select(account.c.id, account.c.secret_key, recipient.c.email)
    .join_from(account, recipient, recipient.c.account_id == account.c.id)
    .where(account.c.number == bindparam("number"), recipient.c.id == bindparam("recipient_id"))
)


def _sign(secret_key: str, content: bytes, email: str) -> bytes:
    """Return the first half of an HMAC-SHA256: as hard to guess as a key of 128 bits (RFC 2104 section 5)."""
    # No address has a NUL, so the last one says where the content ends.
    message = _PURPOSE + content + b"\0" + email.encode()
    return hmac.digest(secret_key.encode(), message, "sha256")[:_SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(token: str) -> tuple[bytes, bytes]:
    """Return content and signature.

    Raises:
        InvalidLink: it is not what `_encode` writes, to the last bit.
    """
    if len(token) > MAX_TOKEN:
        raise InvalidLink("The link is too long.")
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (ValueError, binascii.Error):
        raise InvalidLink("The link is not encoded.") from None
    # The decoder skips what it does not know and ignores bits that are left over.
    if _encode(data) != token:
        raise InvalidLink("The link is not encoded.")
    return data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]


def _pack(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first; all but the last have their high bit set."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _read_numbers(content: bytes) -> list[int]:
    """Return the numbers of a content.

    Raises:
        InvalidLink: account, recipient or time is missing or larger than the database can hold.
    """
    numbers = list(_unpack(content[1:]))
    if len(numbers) < 3 or numbers[0] > _MAX_ACCOUNT or numbers[1] > _MAX_ID:
        raise InvalidLink("The link is incomplete.")
    return numbers


def _unpack(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for group in packed:
        number |= (group & 0x7F) << shift
        shift += 7
        if group < 0x80:
            yield number
            number = shift = 0
