"""The form of what is signed and goes into links: numbers in few bytes, in letters that no mail program changes."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Iterator

MAX_TOKEN = 4096
"""Characters of the longest token that is looked at; one of 20 lists has less than 200."""
SIGNATURE_BYTES = 16
"""Half an HMAC-SHA256: as hard to guess as a key of 128 bits (RFC 2104 section 5)."""


class InvalidLink(Exception):
    """The token was not made by this server, was changed, is of another kind, or its recipient is gone."""


def begin_signature(secret_key: str, purpose: bytes) -> hmac.HMAC:
    """Return what to copy for each signature with an account's key.

    Args:
        secret_key: of the account.
        purpose: so that no other use of the key can give a signature that is valid here.
    """
    return hmac.new(secret_key.encode(), purpose, "sha256")


def digest_of(begun: hmac.HMAC, content: bytes) -> bytes:
    """Return the HMAC of a content, all 32 bytes of it."""
    signature = begun.copy()
    signature.update(content)
    return signature.digest()


def encode(data: bytes) -> str:
    """Return letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(token: str) -> tuple[bytes, bytes]:
    """Return content and signature.

    Raises:
        InvalidLink: it is not what `encode` writes, to the last bit.
    """
    if len(token) > MAX_TOKEN:
        raise InvalidLink("The link is too long.")
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (ValueError, binascii.Error):
        raise InvalidLink("The link is not encoded.") from None
    # The decoder skips what it does not know and ignores bits that are left over.
    if encode(data) != token:
        raise InvalidLink("The link is not encoded.")
    return data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]


def pack(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first; all but the last have their high bit set."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def pack_all(numbers: Iterable[int]) -> bytes:
    """Return numbers packed, one after the other."""
    return b"".join(map(pack, numbers))


def unpack(packed: bytes) -> Iterator[int]:
    """Yield the numbers that were packed one after the other."""
    number = shift = 0
    for group in packed:
        number |= (group & 0x7F) << shift
        shift += 7
        if group < 0x80:
            yield number
            number = shift = 0
