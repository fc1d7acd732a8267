"""Quoted-printable in pieces: whatever the pieces are, their text comes out again, on lines that are short enough."""

from __future__ import annotations

import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.quoted_printable import SOFT_BREAK, encode_piece

TEXTS = st.binary(max_size=300) | st.text(alphabet="ab =.\t\r\né🎉", max_size=300).map(str.encode)


def normalise(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@given(st.lists(TEXTS, max_size=5))
def test_pieces_come_out_as_they_went_in(pieces: list[bytes]) -> None:
    encoded = SOFT_BREAK.join(map(encode_piece, pieces))
    assert normalise(quopri.decodestring(encoded)) == b"".join(map(normalise, pieces))
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
    assert encoded.count(b"\r\n") == encoded.count(b"\n") == encoded.count(b"\r")
    assert encoded.isascii()
    assert not any(line.endswith((b" ", b"\t")) for line in encoded.split(b"\r\n"))


@pytest.mark.parametrize("length", range(70, 82))
@pytest.mark.parametrize("last", [b"a", b"=", b" ", "é".encode(), b"\n"])
def test_around_the_longest_line(length: int, last: bytes) -> None:
    text = b"x" * (length - len(last)) + last
    encoded = encode_piece(text) + SOFT_BREAK
    assert quopri.decodestring(encoded).replace(b"\r\n", b"\n") == text
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
