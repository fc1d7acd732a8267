"""Bodies come in pieces and up to a limit; half a body and a compressed one are refused."""

from __future__ import annotations

import io
from typing import Any

import pytest

from services.http.bodies import BodyIncomplete, BodyTooLarge, UnsupportedEncoding, read_body, skip_rest
from services.http.slow_bodies import PIECE

LARGE = 1 << 20
_LIMIT = 2 * LARGE


def _environ(size: int, *, announced: bool) -> dict[str, Any]:
    length = {"CONTENT_LENGTH": str(size)} if announced else {"wsgi.input_terminated": True}
    return {"wsgi.input": io.BytesIO(b"x" * size), **length}


class _Steps:
    """Hands over at most some bytes at once, as servers do with chunked bodies."""

    def __init__(self, size: int, step: int) -> None:
        self._content = io.BytesIO(b"x" * size)
        self._step = step

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, self._step))


class _Broken:
    def read(self, size: int) -> bytes:
        raise ConnectionResetError


@pytest.mark.parametrize("announced", [True, False])
def test_too_large(announced: bool) -> None:
    assert sum(map(len, read_body(_environ(_LIMIT, announced=announced), _LIMIT))) == _LIMIT
    with pytest.raises(BodyTooLarge):
        list(read_body(_environ(_LIMIT + 1, announced=announced), _LIMIT))


@pytest.mark.parametrize("size", [0, PIECE, 3 * PIECE])
def test_rest_is_skipped(size: int) -> None:
    environ = _environ(size, announced=True)
    chunks = read_body(environ, _LIMIT)
    next(chunks, None)
    skip_rest(chunks)
    assert environ["wsgi.input"].read() == b""


def test_rest_that_fails_is_skipped() -> None:
    skip_rest(read_body(_environ(5, announced=True) | {"CONTENT_LENGTH": "9"}, _LIMIT))


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("step", [1000, PIECE, LARGE])
@pytest.mark.parametrize("announced", [True, False])
def test_pieces(size: int, step: int, announced: bool) -> None:
    environ = _environ(size, announced=announced)
    environ["wsgi.input"] = _Steps(size, step)
    pieces = list(read_body(environ, _LIMIT))
    assert sum(map(len, pieces)) == size
    assert all(len(piece) == PIECE for piece in pieces[:-1])


@pytest.mark.parametrize("missing", [1, PIECE, 2 * PIECE])
def test_shorter_than_announced(missing: int) -> None:
    environ = _environ(2 * PIECE, announced=True)
    environ["wsgi.input"] = io.BytesIO(b"x" * (2 * PIECE - missing))
    with pytest.raises(BodyIncomplete):
        list(read_body(environ, _LIMIT))


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_that_breaks(announced: bool) -> None:
    environ = _environ(1, announced=announced) | {"wsgi.input": _Broken()}
    with pytest.raises(BodyIncomplete):
        list(read_body(environ, _LIMIT))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip", "gzip,identity", "deflate ", "x", ";"])
def test_encodings_refused(encoding: str) -> None:
    environ = _environ(1, announced=True) | {"HTTP_CONTENT_ENCODING": encoding}
    with pytest.raises(UnsupportedEncoding):
        read_body(environ, _LIMIT)
    assert environ["wsgi.input"].tell() == 0


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", " identity", "identity,identity"])
def test_encodings_taken(encoding: str) -> None:
    environ = _environ(1, announced=True) | {"HTTP_CONTENT_ENCODING": encoding}
    assert b"".join(read_body(environ, _LIMIT)) == b"x"


def test_no_length_and_no_end_is_no_body() -> None:
    assert list(read_body({"wsgi.input": io.BytesIO(b"x")}, _LIMIT)) == []
