"""Reads request bodies, announced or chunked, and stops at a limit before more is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from services.throttle import Places

CHUNK = 64 * 1024
LARGE = 1024 * 1024
"""Bodies with more bytes take a place while they are in memory."""


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
    length = _announced_length(environ)
    if length is not None and length > limit:
        raise BodyTooLarge
    if length is None and not environ.get("wsgi.input_terminated"):
        # Without a length and without a server that ends the stream, reading would wait for ever.
        length = 0
    return _read_chunks(environ["wsgi.input"], length, limit)


@contextmanager
def hold_body(environ: dict[str, Any], limit: int, places: Places) -> Iterator[Iterator[bytes]]:
    """Give the body as `read_body` does; a large one has one of the places until the block ends.

    Raises:
        NoPlace: the body is large and all places are taken; told on entry when the length was announced, else
            while reading.
        BodyTooLarge: as `read_body`.
    """
    with ExitStack() as held:
        chunks = read_body(environ, limit)
        if (_announced_length(environ) or 0) > LARGE:
            held.enter_context(places.take())
            yield chunks
        else:
            yield _take_place_when_large(chunks, places, held)


def _take_place_when_large(chunks: Iterator[bytes], places: Places, held: ExitStack) -> Iterator[bytes]:
    taken = 0
    for chunk in chunks:
        if taken <= LARGE < taken + len(chunk):
            held.enter_context(places.take())
        taken += len(chunk)
        yield chunk


def _announced_length(environ: dict[str, Any]) -> int | None:
    announced = environ.get("CONTENT_LENGTH") or ""
    return int(announced) if announced.isascii() and announced.isdigit() else None


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
