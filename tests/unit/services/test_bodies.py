"""Large bodies take places, small ones never do; half a body and a compressed one are refused."""

from __future__ import annotations

import io
from typing import Any

import pytest

from services.http.bodies import LARGE, BodyIncomplete, BodyTooLarge, UnsupportedEncoding, hold_body, read_body
from services.http.slow_bodies import PIECE
from services.throttle import NoPlace, Places

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
def test_large_bodies_take_places(announced: bool) -> None:
    places = Places(1)
    for size in (LARGE + 1, _LIMIT, LARGE + 1):
        with hold_body(_environ(size, announced=announced), _LIMIT, places) as chunks:
            assert sum(map(len, chunks)) == size
            with pytest.raises(NoPlace), places.take():
                raise AssertionError


@pytest.mark.parametrize("announced", [True, False])
def test_no_place(announced: bool) -> None:
    places = Places(1)
    with places.take():
        for size in (0, 1, LARGE):
            with hold_body(_environ(size, announced=announced), _LIMIT, places) as chunks:
                assert sum(map(len, chunks)) == size
        body = _environ(LARGE + 1, announced=announced)
        with pytest.raises(NoPlace), hold_body(body, _LIMIT, places) as chunks:
            list(chunks)
        assert body["wsgi.input"].tell() <= (0 if announced else LARGE + 1)


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_leaves_its_place(announced: bool) -> None:
    places = Places(1)
    with pytest.raises(BodyTooLarge), hold_body(_environ(_LIMIT + 1, announced=announced), _LIMIT, places) as chunks:
        list(chunks)
    with places.take():
        pass


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
