"""The parts of a mail: text with gaps, files, and how they stand in one another (RFC 2045, RFC 2046, RFC 2387)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from delivery.headers import clean
from delivery.layouts import Encode, Gap, Piece
from delivery.messages import MessageFile
from delivery.quoted_printable import MAX_LINE, SOFT_BREAK, encode_piece
from delivery.sources import Source

Escape = Callable[[str], str]


class Slot(NamedTuple):
    """A place in a text that each recipient's own value is put into."""

    source: Source
    escape: Escape


Markup = list[str | Slot]


def leave(address: str) -> str:
    """Return an address of this server's pages, in which there is nothing to escape anywhere."""
    return address


class Entity(NamedTuple):
    """A part of a mail, or all of it."""

    headers: bytes
    """Each ends with CRLF."""
    body: list[Piece]


# Halves of surrogate pairs stand for nothing; what another charset has not is sent in UTF-8.
_ERRORS = {"utf-8": "replace"}
_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# What has headers of its own must not be encoded (RFC 2046 section 5.2.1).
_NEVER_ENCODED = ("message/", "multipart/")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&()+,.;=@^_`{}~ -]{1,60}")


def text_entity(subtype: str, markup: Markup, charset: str) -> Entity:
    """Return a part of text.

    Args:
        subtype: `plain` or `html`.
        markup: the text.
        charset: in which all characters below 128 are what they are in ASCII.

    Raises:
        UnicodeEncodeError: the text has characters that the charset has not.
    """
    headers = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return Entity(headers.encode(), list(_encode_all(_merge(markup), charset)))


def _merge(markup: Markup) -> Markup:
    merged: Markup = []
    fixed: list[str] = []
    for piece in markup:
        if isinstance(piece, str):
            fixed.append(piece)
            continue
        merged += ("".join(fixed), piece)
        fixed = []
    return [piece for piece in (*merged, "".join(fixed)) if piece]


def _encode_all(markup: Markup, charset: str) -> Iterable[Piece]:
    for place, piece in enumerate(markup, 1):
        if isinstance(piece, str):
            encoded = encode_piece(piece.encode(charset, _ERRORS.get(charset, "strict")))
            yield encoded
            ends_line = encoded.endswith(b"\r\n")
        else:
            yield Gap(piece.source, _encoder(piece.escape, charset))
            ends_line = False
        # So that the next piece begins a line, however long this one is.
        if place < len(markup) and not ends_line:
            yield SOFT_BREAK


@lru_cache(maxsize=256)
def _encoder(escape: Escape, charset: str) -> Encode:
    errors = _ERRORS.get(charset, "strict")

    def encode(value: str) -> bytes:
        # Most names are such, and most addresses of this server: nothing has to be done with them.
        is_simple = value.isalnum() if escape is not leave else "=" not in value
        if is_simple and len(value) < MAX_LINE and value.isascii():
            return value.encode()
        return encode_piece(escape(value).encode(charset, errors))

    return encode


def file_entity(file: MessageFile, content_id: str = "") -> Entity:
    """Return a part with a file; it is encoded here, once for all recipients.

    Args:
        file: its name may be an address, of which the last part is shown.
        content_id: by which the HTML shows it; empty for an attachment.
    """
    content_type = file.content_type.lower()
    if not _CONTENT_TYPE.fullmatch(content_type) or content_type.startswith(_NEVER_ENCODED):
        content_type = "application/octet-stream"
    disposition = "inline" if content_id else "attachment"
    headers = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n"
    headers += f"Content-Disposition: {disposition};\r\n {_write_file_name(file)}\r\n"
    if content_id:
        headers += f"Content-ID: <{content_id}>\r\n"
    return Entity(headers.encode(), [base64.encodebytes(file.content).rstrip().replace(b"\n", b"\r\n")])


def _write_file_name(file: MessageFile) -> str:
    name = clean(file.name)
    if file.kind == "image":
        name = re.split(r"[?#]", name)[0].rpartition("/")[2] or "image"
    if _PLAIN_NAME.fullmatch(name):
        return f'filename="{name}"'
    return _continue_name(quote(name, safe="", errors="replace"))


def _continue_name(quoted: str) -> str:
    """Return a name with other characters than ASCII, in pieces that fit on a line (RFC 2231)."""
    pieces = re.findall(r"(?:%..|[^%]){1,15}", quoted) or [""]
    if len(pieces) == 1:
        return f"filename*=utf-8''{quoted}"
    pieces[0] = f"utf-8''{pieces[0]}"
    return ";\r\n ".join(f"filename*{number}*={piece}" for number, piece in enumerate(pieces))


def multipart(subtype: str, entities: Sequence[Entity], boundary: str) -> Entity:
    """Return one part made of several; a single one is left as it is.

    Args:
        subtype: such as `alternative`.
        entities: in order.
        boundary: begins with `=_`, which no encoded text has (RFC 2045 section 6.7).
    """
    if len(entities) == 1:
        return entities[0]
    mark = f"--{boundary}".encode()
    body: list[Piece] = []
    for entity in entities:
        body += (mark, b"\r\n", entity.headers, b"\r\n", *entity.body, b"\r\n")
    body += (mark, b"--\r\n")
    related = ' type="multipart/alternative";' if subtype == "related" else ""
    headers = f'Content-Type: multipart/{subtype};{related}\r\n boundary="{boundary}"\r\n'
    return Entity(headers.encode(), body)
