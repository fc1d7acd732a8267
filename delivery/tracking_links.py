"""The links of a sending: they tell that a mail was opened and what was clicked, show it as a web page, or unsubscribe.

What counts opens and clicks is checked without a look at the recipient, so its signature covers no address: whether he
exists is found out when the event is stored. What shows or changes something personal is a link of `delivery.links`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from delivery.links import TokenWriter
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

TrackedKind = Literal["open", "click"]
OPEN_PATH, CLICK_PATH, WEB_VERSION_PATH, UNSUBSCRIBE_PATH = "/o/", "/c/", "/v/", "/unsubscribe/"
"""Where the pages are that links lead to; the token follows."""
MAX_URL = 8000
"""Characters of the longest address that a link carries."""
_PURPOSE = b"listbridge tracking 1\0"
_PURPOSE_OF_TARGET = b"listbridge target 1\0"
_MAX_ACCOUNT = 2**31 - 1
_MAX_ID = 2**63 - 1
# Of numbers that are the same for many recipients.
_pack_often = lru_cache(maxsize=1024)(pack)


class LinkSigner:
    """Makes the links of an account's sendings; threads may share it."""

    def __init__(self, secret_key: str, account_number: int, public_url: str) -> None:
        """Prepare what all links have in common.

        Args:
            secret_key: of the account.
            account_number: as callers see it.
            public_url: where the pages are, such as `https://mail.example.com`.
        """
        self.public_url = public_url.rstrip("/")
        self.tokens = TokenWriter(secret_key, account_number)
        self.signatures = _Signatures(secret_key)
        self._account = pack(account_number)

    def of_recipient(self, sending_id: int, recipient_id: int, email: str) -> RecipientLinks:
        """Return what makes the links of one recipient.

        Args:
            sending_id: internal id.
            recipient_id: internal id.
            email: the recipient's address as it is stored.
        """
        sending, recipient = _pack_often(sending_id), pack(recipient_id)
        return RecipientLinks(self, self._account + sending + recipient, sending, recipient, email)


class RecipientLinks:
    """Makes the links of one recipient of one sending."""

    __slots__ = ("_click_token", "_content", "_email", "_open_token", "_recipient", "_sending", "_signer")

    def __init__(self, signer: LinkSigner, content: bytes, sending: bytes, recipient: bytes, email: str) -> None:
        """Sign what all opens and clicks of the recipient have in common.

        Args:
            signer: of the account.
            content: account, sending and recipient, packed.
            sending: packed.
            recipient: packed.
            email: as it is stored.
        """
        self._signer, self._content = signer, content
        self._sending, self._recipient, self._email = sending, recipient, email
        opening, clicking = signer.signatures.of_recipient(content)
        self._open_token = encode(content + opening)
        self._click_token = encode(content + clicking)

    def open_url(self) -> str:
        """Return the address of the image that tells that the mail was opened."""
        return f"{self._signer.public_url}{OPEN_PATH}{self._open_token}.gif"

    def click_url(self, place: int, url: str | None = None) -> str:
        """Return the address that leads on to a link of the mail.

        Args:
            place: of the link in the mail, see table `sending_link`.
            url: where it leads, when that is not the same for all recipients: it is signed and goes with the link.
        """
        start = f"{self._signer.public_url}{CLICK_PATH}"
        if url is None:
            return f"{start}{self._click_token}/{place}"
        target = url.encode(errors="replace")
        token = encode(self._content + self._signer.signatures.of_target(self._content, target))
        return f"{start}{token}?u={quote(target, safe='')}"

    def web_version_url(self) -> str:
        """Return the address of the mail as a web page."""
        # It never ends, so it needs no time.
        numbers = self._recipient + pack(0) + self._sending
        token = self._signer.tokens.write("view", numbers, self._email, of_sending=True)
        return f"{self._signer.public_url}{WEB_VERSION_PATH}{token}"

    def unsubscribe_url(self, list_ids: Iterable[int], issued_at: datetime) -> str:
        """Return the address of the page to unsubscribe on; a form that is posted there needs no page (RFC 8058).

        Args:
            list_ids: internal ids, first the one whose pages are shown, each once.
            issued_at: aware.
        """
        numbers = self._recipient + _pack_often(int(issued_at.timestamp())) + self._sending
        numbers += b"".join(map(_pack_often, list_ids))
        token = self._signer.tokens.write("unsubscribe", numbers, self._email, of_sending=True)
        return f"{self._signer.public_url}{UNSUBSCRIBE_PATH}{token}"


@dataclass(frozen=True, slots=True)
class TrackedLink:
    """What a token that counts says of itself, before its signature was checked."""

    account_number: int
    sending_id: int
    recipient_id: int
    content: bytes
    signature: bytes


def read_tracked_link(token: str) -> TrackedLink:
    """Return what a token says; whether it is true, `LinkChecker` tells.

    Raises:
        InvalidLink: it is none.
    """
    content, signature = decode(token)
    numbers = tuple(unpack(content))
    # Written again, it must be the same: otherwise two tokens could say one thing.
    if len(numbers) != 3 or pack_all(numbers) != content:
        raise InvalidLink("The link is incomplete.")
    account_number, sending_id, recipient_id = numbers
    if account_number > _MAX_ACCOUNT or max(sending_id, recipient_id) > _MAX_ID:
        raise InvalidLink("The link is of nobody.")
    return TrackedLink(account_number, sending_id, recipient_id, content, signature)


class LinkChecker:
    """Tells which tokens an account's key has signed; threads may share it."""

    def __init__(self, secret_key: str) -> None:
        """Prepare for an account.

        Args:
            secret_key: of the account.
        """
        self._signatures = _Signatures(secret_key)

    def check(self, link: TrackedLink, kind: TrackedKind) -> None:
        """Check a token without an address of its own.

        Raises:
            InvalidLink: it was not signed with this key, or for the other kind.
        """
        opening, clicking = self._signatures.of_recipient(link.content)
        _compare(link.signature, opening if kind == "open" else clicking)

    def check_target(self, link: TrackedLink, url: str) -> None:
        """Check a token that carries where it leads.

        Raises:
            InvalidLink: it was not signed with this key, or for another address.
        """
        _compare(link.signature, self._signatures.of_target(link.content, url.encode(errors="replace")))


class _Signatures:
    def __init__(self, secret_key: str) -> None:
        self._recipient = begin_signature(secret_key, _PURPOSE)
        self._target = begin_signature(secret_key, _PURPOSE_OF_TARGET)

    def of_recipient(self, content: bytes) -> tuple[bytes, bytes]:
        """Return the signatures for opening and clicking: halves of one HMAC, neither of which tells the other."""
        digest = digest_of(self._recipient, content)
        return digest[:SIGNATURE_BYTES], digest[SIGNATURE_BYTES:]

    def of_target(self, content: bytes, url: bytes) -> bytes:
        # Each number of the content says where it ends, so what follows the third is the address.
        return digest_of(self._target, content + url)[:SIGNATURE_BYTES]


def _compare(signature: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(signature, expected):
        raise InvalidLink("The link is not valid.")
