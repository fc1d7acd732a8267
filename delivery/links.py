"""Signed links: what a mail gives its reader to confirm or to unsubscribe with, without a password and without cookies.

A token is what the link is about, packed, and a signature. The signature covers the reader's address too, which the
token does not show: an embedded database may give the id of a removed recipient to somebody else, whom the links of
the first must not touch.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, bindparam, select

from db.tables import account, recipient
from delivery.tokens import (
    SIGNATURE_BYTES,
    InvalidLink,
    begin_signature,
    decode,
    digest_of,
    encode,
    pack,
    pack_all,
    unpack,
)

LinkKind = Literal["confirm", "unsubscribe", "view"]

CONFIRM_PERIOD = timedelta(days=30)
"""How long a link can confirm; an unsubscribe link works as long as its list."""

_CODES: dict[LinkKind, bytes] = {"confirm": b"c", "unsubscribe": b"u", "view": b"v"}
# As the kind without it, but a sending's internal id stands before the lists.
_CODES_OF_SENDING: dict[LinkKind, bytes] = {"unsubscribe": b"s", "view": b"v"}
_PURPOSE = b"listbridge link 1\0"
_MAX_ACCOUNT = 2**31 - 1
_MAX_ID = 2**63 - 1
# Signs for accounts that do not exist, so that these take as long to refuse as wrong signatures.
_NO_KEY = "0" * 64


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
    sending_id: int = 0
    """Internal id of the sending that it came with; 0 when it came with none. It may have been deleted since."""


class TokenWriter:
    """Writes the tokens of one account."""

    def __init__(self, secret_key: str, account_number: int) -> None:
        """Prepare what all tokens have in common.

        Args:
            secret_key: of the account.
            account_number: as callers see it.
        """
        self._signature = begin_signature(secret_key, _PURPOSE)
        self._account = pack(account_number)

    def write(self, kind: LinkKind, numbers: bytes, email: str, *, of_sending: bool) -> str:
        """Return a token.

        Args:
            kind: what the link is for.
            numbers: packed: internal id of the recipient, seconds since 1970, internal ids of the sending (of a link
                that goes out with one) and of the lists, each once.
            email: as it is stored.
            of_sending: whether the link goes out with a sending.
        """
        code = _CODES_OF_SENDING[kind] if of_sending else _CODES[kind]
        content = code + self._account + numbers
        return encode(content + self.sign(content, email))

    def sign(self, content: bytes, email: str) -> bytes:
        """Return the signature of a token's content and of the address that it does not show."""
        # No address has a NUL, so the last one says where the content ends.
        return digest_of(self._signature, b"%b\0%b" % (content, email.encode()))[:SIGNATURE_BYTES]


def write_token(
    secret_key: str,
    kind: LinkKind,
    *,
    account_number: int,
    recipient_id: int,
    email: str,
    list_ids: Iterable[int],
    issued_at: datetime | None = None,
    sending_id: int = 0,
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
        sending_id: internal id of the sending that the link goes out with; 0 for none.
    """
    issued = int((issued_at or datetime.now(UTC)).timestamp())
    sendings = (sending_id,) if sending_id else ()
    numbers = pack_all((recipient_id, issued, *sendings, *dict.fromkeys(list_ids)))
    return TokenWriter(secret_key, account_number).write(kind, numbers, email, of_sending=bool(sending_id))


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
    content, signature = decode(token)
    numbers = _read_numbers(content)
    signer = {"number": numbers[0], "recipient_id": numbers[1]}
    found = connection.execute(_SIGNER, signer).one_or_none()
    account_id, secret_key, email = found if found is not None and found.email else (0, _NO_KEY, "")
    expected = TokenWriter(secret_key, numbers[0]).sign(content, email)
    if not (hmac.compare_digest(signature, expected) and account_id and _is_of(content, kind)):
        raise InvalidLink("The link is not valid.")
    link = _read_link(kind, account_id, email, numbers, of_sending=content[:1] == _CODES_OF_SENDING.get(kind))
    if kind == "confirm" and (now or datetime.now(UTC)) >= link.issued_at + CONFIRM_PERIOD:
        raise ExpiredLink(link)
    return link


def _is_of(content: bytes, kind: LinkKind) -> bool:
    return content[:1] in (_CODES[kind], _CODES_OF_SENDING.get(kind))


def _read_link(kind: LinkKind, account_id: int, email: str, numbers: list[int], *, of_sending: bool) -> Link:
    _, recipient_id, issued, *rest = numbers
    sending_id = rest.pop(0) if of_sending and rest else 0
    return Link(kind, account_id, recipient_id, email, tuple(rest), datetime.fromtimestamp(issued, UTC), sending_id)


_SIGNER = (
    select(account.c.id, account.c.secret_key, recipient.c.email)
    .join_from(account, recipient, recipient.c.account_id == account.c.id)
    .where(account.c.number == bindparam("number"), recipient.c.id == bindparam("recipient_id"))
)


def _read_numbers(content: bytes) -> list[int]:
    """Return the numbers of a content.

    Raises:
        InvalidLink: account, recipient or time is missing or larger than the database can hold.
    """
    numbers = list(unpack(content[1:]))
    if len(numbers) < 3 or numbers[0] > _MAX_ACCOUNT or numbers[1] > _MAX_ID:
        raise InvalidLink("The link is incomplete.")
    return numbers
