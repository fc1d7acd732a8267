"""Quoted-printable in pieces: text with gaps is encoded once, what fills them by itself (RFC 2045 section 6.7)."""

from __future__ import annotations

from binascii import b2a_qp

SOFT_BREAK = b"=\r\n"
MAX_LINE = 76
"""Characters, with the `=` of a soft line break."""


def encode_piece(data: bytes) -> bytes:
    """Return text as lines of at most 76 characters that end with CRLF, the last one of at most 75.

    A soft line break may follow it, and it must begin a line; line breaks of all kinds become CRLF.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    encoded = b2a_qp(data)
    if len(encoded) < MAX_LINE and b"\n" not in encoded:
        return encoded
    # The encoder takes the last line for the end of the text, and lets it have no room for a soft line break.
    if len(encoded) - encoded.rfind(b"\n") > MAX_LINE:
        encoded = encoded[:-1] + b"=\n" + encoded[-1:]
    return encoded.replace(b"\n", b"\r\n")
