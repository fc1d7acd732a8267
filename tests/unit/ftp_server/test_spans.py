"""Which bytes have come, in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftp_server.names import Refused
from ftp_server.sftp_uploads import MAX_AHEAD, MAX_SPANS, Spans

_PIECES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=30)


@given(st.integers(0, 20), _PIECES)
def test_it_is_whole_when_every_byte_to_the_last_has_come(earlier: int, pieces: list[tuple[int, int]]) -> None:
    spans, come = Spans(earlier), set(range(earlier))
    for start, length in pieces:
        spans.add(start, start + length)
        come |= set(range(start, start + length))
    assert spans.is_whole == (come == set(range(len(come))))


def test_pieces_that_are_too_far_away_are_refused() -> None:
    spans = Spans(10)
    spans.add(10 + MAX_AHEAD, 11 + MAX_AHEAD)
    with pytest.raises(Refused, match="order"):
        spans.add(11 + MAX_AHEAD, 12 + MAX_AHEAD)


def test_too_many_pieces_are_refused() -> None:
    spans = Spans()
    for number in range(MAX_SPANS):
        spans.add(2 * number + 1, 2 * number + 2)
    with pytest.raises(Refused, match="order"):
        spans.add(2 * MAX_SPANS + 1, 2 * MAX_SPANS + 2)
