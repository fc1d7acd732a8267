"""Reads request bodies, announced or chunked, and stops at a limit before more is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CHUNK = 64 * 1024


class BodyTooLarge(Exception):
    """The request's body is longer than allowed here."""


def read_body(environ: dict[str, Any], limit: int) -> Iterator[bytes]:
    """Return the body of a WSGI request in pieces.

    Args:
        environ: of the request.
        limit: most bytes; a security limit.

    Raises:
        BodyTooLarge: announced by Content-Length (at once), or found while reading.
    """
    announced = environ.get("CONTENT_LENGTH") or ""
    length = int(announced) if announced.isascii() and announced.isdigit() else None
    if length is not None and length > limit:
        raise BodyTooLarge
    if length is None and not environ.get("wsgi.input_terminated"):
        # Without a length and without a server that ends the stream, reading would wait for ever.
        length = 0
    return _read_chunks(environ["wsgi.input"], length, limit)


def _read_chunks(stream: Any, length: int | None, limit: int) -> Iterator[bytes]:
    taken = 0
    while length is None or taken < length:
        chunk = stream.read(CHUNK if length is None else min(CHUNK, length - taken))
        if not chunk:
            return
        taken += len(chunk)
        if taken > limit:
            raise BodyTooLarge
        yield chunk
