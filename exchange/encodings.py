"""How the bytes of a file become text, so that a wrong encoding is noticed and no byte is lost.

Undecodable bytes of UTF-8 and cp1252 become lone surrogates, which refuse only the rows they stand in and
turn back into the same bytes; broken UTF-16 has no such way back and refuses the file.
"""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import BinaryIO

from exchange.errors import FileRefused

HEAD_SIZE = 4096
"""Bytes looked at to recognise an encoding; even, so that UTF-16 units stay whole."""

BLOCK_SIZE = 1 << 18
"""Bytes decoded at once when a file is checked as a whole."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """An encoding as a file really uses it, byte order mark included."""

    name: str
    """One of `ENCODINGS`; a mark at the start is part of the name."""
    codec: str
    """The name Python knows for the text after the mark."""
    mark: bytes = b""

    def encode(self, text: str) -> bytes:
        """Return the bytes that `text` was decoded from, without a mark."""
        return text.encode(self.codec, "surrogateescape")

    def decode(self, record: bytes) -> str:
        """Return the text of a record that bears no mark."""
        return record.decode(self.codec, "surrogateescape")


ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        TextEncoding("utf-8", "utf-8"),
        TextEncoding("utf-8-sig", "utf-8", codecs.BOM_UTF8),
        TextEncoding("utf-16", "utf-16-le", codecs.BOM_UTF16_LE),
        TextEncoding("utf-16-le", "utf-16-le"),
        TextEncoding("utf-16-be-sig", "utf-16-be", codecs.BOM_UTF16_BE),
        TextEncoding("utf-16-be", "utf-16-be"),
        TextEncoding("cp1252", "cp1252"),
        TextEncoding("latin-1", "latin-1"),
    )
}
"""Every encoding a file can be recognised as, by name."""


def recognise_encoding(stream: BinaryIO, declared: str) -> TextEncoding:
    """Find out how a file is encoded, and leave the stream at its start.

    Args:
        stream: seekable.
        declared: the encoding of the profile; a byte order mark in the file overrules it.

    Raises:
        FileRefused: `encoding`, when the text cannot be what was declared, or is broken UTF-16.
    """
    stream.seek(0)
    encoding = _judge_head(stream.read(HEAD_SIZE), declared)
    if encoding.codec.startswith("utf-16"):
        stream.seek(len(encoding.mark))
        _check_whole(stream, encoding)
    stream.seek(0)
    return encoding


def open_text(stream: BinaryIO, encoding: TextEncoding) -> io.TextIOWrapper:
    """Read a stream as text with its line ends untouched; LF, CRLF and a bare CR all end a line."""
    stream.seek(len(encoding.mark))
    errors = "strict" if encoding.codec.startswith("utf-16") else "surrogateescape"
    return io.TextIOWrapper(stream, encoding.codec, errors, newline="")


def encode_record(raw: str, encoding: str) -> bytes:
    """Return the original bytes of a record read from a file of this encoding, a key of `ENCODINGS`."""
    return ENCODINGS[encoding].encode(raw)


def _judge_head(head: bytes, declared: str) -> TextEncoding:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise FileRefused("encoding", "The file begins with the byte order mark of UTF-32, which is not supported.")
    for encoding in ENCODINGS.values():
        if encoding.mark and head.startswith(encoding.mark):
            return encoding
    low_zeros, high_zeros = head[::2].count(0), head[1::2].count(0)
    if declared == "utf-16":
        return _judge_byte_order(head, low_zeros, high_zeros)
    if _is_lopsided(low_zeros, high_zeros, len(head)):
        raise FileRefused("encoding", f"The file is declared as {declared} but looks like UTF-16.")
    return ENCODINGS[declared]


def _judge_byte_order(head: bytes, low_zeros: int, high_zeros: int) -> TextEncoding:
    if head.strip() and not low_zeros + high_zeros:
        raise FileRefused("encoding", "The file is declared as utf-16 but does not look like it.")
    return ENCODINGS["utf-16-be" if low_zeros > high_zeros else "utf-16-le"]


def _is_lopsided(low_zeros: int, high_zeros: int, size: int) -> bool:
    """Tell whether zero bytes fill one half of the byte pairs and not the other, as in Latin UTF-16."""
    more, fewer = max(low_zeros, high_zeros), min(low_zeros, high_zeros)
    return more > 1 and more * 8 >= size and fewer * 4 <= more


def _check_whole(stream: BinaryIO, encoding: TextEncoding) -> None:
    decoder = codecs.getincrementaldecoder(encoding.codec)("strict")
    end = False
    while not end:
        block = stream.read(BLOCK_SIZE)
        end = not block
        try:
            decoder.decode(block, end)
        except UnicodeDecodeError as error:
            raise FileRefused("encoding", "The file is not valid UTF-16; it may have been cut.") from error
