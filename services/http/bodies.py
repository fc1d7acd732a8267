"""Reads request bodies, announced or chunked: never more than a limit, never for ever, never a cut one as if whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar

from services.http.slow_bodies import PIECE, WATCH, Progress, find_progress

SKIPPED_PIECES = 256
"""Pieces of a refused body that are read before the answer."""


class BodyRefused(Exception):
    """The request's body cannot be taken; the answer is the same at all doors."""

    status: ClassVar[str] = "400 Bad Request"
    headers: ClassVar[tuple[tuple[str, str], ...]] = ()


class BodyTooLarge(BodyRefused):
    """The request's body is longer than allowed here (RFC 9110 section 15.5.14)."""

    status = "413 Content Too Large"


class BodyTooSlow(BodyRefused):
    """A piece of the request's body has not come in time (RFC 9110 section 15.5.9)."""

    status = "408 Request Timeout"


class BodyIncomplete(BodyRefused):
    """The request's body ended before its announced length (RFC 9112 section 8)."""


class UnsupportedEncoding(BodyRefused):
    """The request's body is compressed; nothing is ever unpacked here (RFC 9110 section 15.5.16)."""

    status = "415 Unsupported Media Type"
    headers = (("Accept-Encoding", "identity"),)


def read_body(environ: dict[str, Any], limit: int) -> Iterator[bytes]:
    """Return the body of a WSGI request in pieces of 64 KiB, the last one shorter.

    Args:
        environ: of the request.
        limit: most bytes; a security limit.

    Raises:
        UnsupportedEncoding: there is a Content-Encoding; told at once.
        BodyTooLarge: announced by Content-Length (at once), or found while reading.
        BodyTooSlow: found while reading.
        BodyIncomplete: found while reading.
    """
    if not _is_plain(environ.get("HTTP_CONTENT_ENCODING", "")):
        raise UnsupportedEncoding
    length = _announced_length(environ)
    if length is not None and length > limit:
        raise BodyTooLarge
    if length is None and not environ.get("wsgi.input_terminated"):
        # Without a length and without a server that ends the stream, reading would wait for ever.
        length = 0
    return _read_pieces(environ["wsgi.input"], length, limit, find_progress(environ))


def skip_rest(chunks: Iterator[bytes]) -> None:
    """Read on for a while: many callers do not look for the answer before all of a body is sent."""
    with suppress(BodyRefused):
        for _ in islice(chunks, SKIPPED_PIECES):
            pass


def _announced_length(environ: dict[str, Any]) -> int | None:
    announced: str = environ.get("CONTENT_LENGTH") or ""
    return int(announced) if announced.isdecimal() and announced.isascii() else None


def _is_plain(encodings: str) -> bool:
    return not encodings or all(name.strip().lower() in ("", "identity") for name in encodings.split(","))


def _read_pieces(stream: Any, length: int | None, limit: int, progress: Progress) -> Iterator[bytes]:
    taken = 0
    while length is None or taken < length:
        size = PIECE if length is None else min(PIECE, length - taken)
        piece = _read_piece(stream, size, progress)
        progress.taken = taken = taken + len(piece)
        if taken > limit:
            raise BodyTooLarge
        if len(piece) == size:
            yield piece
            continue
        if WATCH.has_cut(progress):
            raise BodyTooSlow
        if length is not None:
            raise BodyIncomplete
        if piece:
            yield piece
        break
    progress.read_at = time.monotonic()


def _read_piece(stream: Any, size: int, progress: Progress) -> bytes:
    """Return a whole piece, or less at the end of the body, however little the server hands over at once.

    Raises:
        BodyTooSlow: the connection failed because it was cut.
        BodyIncomplete: the connection failed.
    """
    progress.waiting_since = time.monotonic()
    try:
        piece: bytes = stream.read(size)
        return piece if len(piece) == size else _read_rest(stream, size, piece)
    except OSError as error:
        raise (BodyTooSlow if WATCH.has_cut(progress) else BodyIncomplete) from error
    finally:
        progress.waiting_since = None


def _read_rest(stream: Any, size: int, piece: bytes) -> bytes:
    parts, missing = [piece], size - len(piece)
    while missing and parts[-1]:
        parts.append(stream.read(missing))
        missing -= len(parts[-1])
    return b"".join(parts)
