"""HTML of messages that comes as bytes: from an address that a customer chose, or as a file."""

from __future__ import annotations

import codecs
import re
from email.message import Message as MimeHeaders
from typing import NamedTuple

from charset_normalizer import from_bytes

from audience.charsets import find_charset
from delivery.errors import InvalidMessage
from delivery.outgoing_http import OutgoingClient, OutgoingRequest, RequestFailed

MAX_PAGE_SIZE = 5_000_000
"""Bytes."""
MAX_URL = 2_000
HEAD_SIZE = 4096
"""Bytes in which a document can say how it is encoded; HTML wants it in the first 1024."""
GUESS_SIZE = 65536
"""Bytes that a guess is made from."""
GUESSED = ("cp1252", "cp1251", "cp1253", "shift_jis", "gb18030", "big5", "euc_kr", "euc_jp")
"""Encodings that are looked for; they can be told apart, unlike the many for Latin letters, of which one is usual."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"""<meta\s[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
# What browsers do with these names (WHATWG Encoding, section 4.2): programs say Latin 1 and mean this.
_REALLY = {"iso8859-1": "cp1252", "ascii": "cp1252"}
_TYPES = ("text/html", "application/xhtml+xml", "text/plain")


class Page(NamedTuple):
    """The content of a message that was fetched."""

    text: str
    is_html: bool


def fetch_page(client: OutgoingClient, url: str) -> Page:
    """Fetch the content of a message.

    Args:
        client: goes to no address that it must not go to.
        url: begins with http or https.

    Raises:
        InvalidMessage: there is no page in time, it is too large, or it is neither HTML nor plain text.
    """
    url = url.strip()
    if len(url) > MAX_URL:
        raise InvalidMessage(f"The address of a page has at most {MAX_URL} characters.")
    try:
        answer = client.send(OutgoingRequest("GET", url), keep=MAX_PAGE_SIZE)
    except RequestFailed as failure:
        raise InvalidMessage(f"The page could not be fetched. {failure}") from None
    if answer.status != 200:
        raise InvalidMessage(f"The page could not be fetched. The server answered with status {answer.status}.")
    content_type = MimeHeaders()
    content_type["Content-Type"] = answer.content_type
    if not answer.content_type or content_type.get_content_type() not in _TYPES:
        raise InvalidMessage("The page is neither HTML nor plain text.")
    is_html = content_type.get_content_type() != "text/plain"
    return Page(decode_page(answer.content, content_type.get_content_charset()), is_html)


def decode_page(content: bytes, declared: str | None = None) -> str:
    """Return bytes as text.

    They are in the encoding that a byte order mark tells; else the one that was declared beside them; else the one
    that the document names (HTML, section 13.2.3.2); else UTF-8 when they can be that; else it is guessed.

    Args:
        content: of a document.
        declared: name of the encoding, if it was told.

    Raises:
        InvalidMessage: they are not text in this encoding, or have a NUL character.
    """
    text = _decode(content, declared)
    if "\0" in text:
        raise InvalidMessage("The content is not text.")
    return text


def _decode(content: bytes, declared: str | None) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _decode_as(content[len(mark) :], name)
    named = declared or _find_name(content)
    if named:
        return _decode_as(content, named)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _guess(content)


def _find_name(content: bytes) -> str | None:
    found = _META.search(content[:HEAD_SIZE])
    name = found[1].decode("ascii").lower() if found is not None else None
    # A document whose ASCII letters are bytes of their own cannot be in UTF-16, whatever it says.
    return "utf-8" if name is not None and name.startswith("utf-16") else name


def _decode_as(content: bytes, name: str) -> str:
    codec = find_charset(name)
    if codec is None:
        raise InvalidMessage("The content is in an encoding that is not known.")
    try:
        return codecs.lookup(_REALLY.get(codec.name, codec.name)).decode(content)[0]
    except UnicodeError:
        raise InvalidMessage(f"The content is not text in the encoding {codec.name}, as it claims to be.") from None


def _guess(content: bytes) -> str:
    guess = from_bytes(content[:GUESS_SIZE], cp_isolation=list(GUESSED)).best()
    if guess is None:
        raise InvalidMessage("The content is not text in an encoding that is known.")
    return _decode_as(content, guess.encoding)
