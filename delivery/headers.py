"""Header fields of mails: what is put into one stays in it, on lines that every server takes (RFC 5322, RFC 2047)."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache

import idna

from delivery.errors import InvalidMessage

# Line breaks of any alphabet would end a field, and the others are shown nowhere.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_WORD_BYTES = 39
"""In an encoded word: with its frame and the longest name of a field in front of it that makes 76 characters."""
_MAX_PLAIN = 66
_QUOTED = re.compile(r'(["\\])')
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_ADDRESS = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,256}@[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f-\x9f\u2028\u2029]{1,255}"
)


def clean(text: str) -> str:
    """Return text as one line: each run of control characters and line breaks has become a blank."""
    return text.strip() if text.isprintable() else _CONTROLS.sub(" ", text).strip()


def encode_text(text: str) -> bytes:
    """Return unstructured text, such as a subject, with encoded words where it needs them (RFC 2047)."""
    text = clean(text)
    # What looks like an encoded word would be decoded by whoever reads it.
    if text.isascii() and len(text) <= _MAX_PLAIN and "=?" not in text:
        return text.encode()
    return _encode_words(text)


def encode_name(name: str) -> bytes:
    """Return a display name in front of an address (RFC 5322 section 3.4); empty for none."""
    name = clean(name)
    if not name.isascii() or len(name) > _MAX_PLAIN or "=?" in name:
        return _encode_words(name)
    if _ATOM.fullmatch(name):
        return name.encode()
    return b'"' + _QUOTED.sub(r"\\\1", name).encode() + b'"'


def _encode_words(text: str) -> bytes:
    data = text.encode()
    if len(data) <= _WORD_BYTES:
        return b"=?utf-8?B?%s?=" % b64encode(data)
    return b"\r\n ".join(b"=?utf-8?B?%s?=" % b64encode(word) for word in _cut(data))


def _cut(data: bytes) -> list[bytes]:
    """Cut UTF-8 between characters: each encoded word stands for whole ones (RFC 2047 section 5)."""
    words, start = [], 0
    while start < len(data):
        end = min(start + _WORD_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(data[start:end])
        start = end
    return words


def write_address(name: str, email: str) -> bytes:
    """Return an address with a display name before it, if that is not empty.

    Args:
        name: of any characters.
        email: from `encode_address`.
    """
    encoded = encode_name(name)
    if not encoded:
        return email.encode()
    between = b" " if len(encoded) + len(email) < _MAX_PLAIN else b"\r\n "
    return encoded + between + b"<" + email.encode() + b">"


def encode_address(email: str) -> str:
    """Return an address with its domain in ASCII (RFC 5890); the local part stays as it is (RFC 6532).

    Raises:
        InvalidMessage: it could not stand in a header or an envelope.
    """
    if not _ADDRESS.fullmatch(email):
        raise InvalidMessage("An e-mail address of this message is not well-formed.")
    if email.isascii():
        return email
    local_part, _, domain = email.rpartition("@")
    return f"{local_part}@{encode_domain(domain)}"


@lru_cache(maxsize=4096)
def encode_domain(domain: str) -> str:
    """Return a domain in ASCII (RFC 5891).

    Raises:
        InvalidMessage: it is none.
    """
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise InvalidMessage("The domain of an e-mail address is not well-formed.") from None
