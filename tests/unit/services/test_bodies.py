"""Large bodies take places, small ones never do."""

from __future__ import annotations

import io
from typing import Any

import pytest

from services.http.bodies import LARGE, BodyTooLarge, hold_body
from services.throttle import NoPlace, Places

_LIMIT = 2 * LARGE


def _environ(size: int, *, announced: bool) -> dict[str, Any]:
    length = {"CONTENT_LENGTH": str(size)} if announced else {"wsgi.input_terminated": True}
    return {"wsgi.input": io.BytesIO(b"x" * size), **length}


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
