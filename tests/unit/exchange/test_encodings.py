"""Encodings: marks, declarations, damage, and the way back to the bytes."""

from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.encodings import BLOCK_SIZE, ENCODINGS, encode_record, open_text, recognise_encoding
from exchange.errors import FileRefused

TEXT = "email;città\nann@example.com;Forlì\n"


@pytest.mark.parametrize(
    ("content", "declared", "name"),
    [
        (TEXT.encode(), "utf-8", "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8", "utf-8-sig"),
        (codecs.BOM_UTF8 + TEXT.encode(), "cp1252", "utf-8-sig"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-16", "utf-8-sig"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-8", "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "latin-1", "utf-16-be-sig"),
        (TEXT.encode("utf-16-le"), "utf-16", "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16", "utf-16-be"),
        (TEXT.encode("cp1252"), "cp1252", "cp1252"),
        (TEXT.encode("latin-1"), "latin-1", "latin-1"),
        (b"", "utf-8", "utf-8"),
        (b"", "utf-16", "utf-16-le"),
    ],
)
def test_encoding_is_recognised_and_text_read(content: bytes, declared: str, name: str) -> None:
    stream = io.BytesIO(content)
    encoding = recognise_encoding(stream, declared)
    assert encoding.name == name
    assert stream.tell() == 0
    assert open_text(stream, encoding).read() == (TEXT if content else "")


@pytest.mark.parametrize(
    ("content", "declared", "words"),
    [
        (TEXT.encode("utf-16-le"), "utf-8", "looks like UTF-16"),
        (TEXT.encode("utf-16-be"), "utf-8", "looks like UTF-16"),
        (TEXT.encode("utf-16-le"), "cp1252", "looks like UTF-16"),
        (TEXT.encode(), "utf-16", "does not look like it"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-8", "UTF-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "utf-8", "UTF-32"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")[:-1], "utf-16", "not valid UTF-16"),
        (codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") * BLOCK_SIZE + b"\x00\xd8", "utf-16", "not valid"),
    ],
)
def test_wrong_encoding_is_refused(content: bytes, declared: str, words: str) -> None:
    with pytest.raises(FileRefused, match=words) as refusal:
        recognise_encoding(io.BytesIO(content), declared)
    assert refusal.value.code == "encoding"


def test_a_few_zero_bytes_are_not_taken_for_utf_16() -> None:
    assert recognise_encoding(io.BytesIO(b"email\nann\0@example.com\n"), "utf-8").name == "utf-8"


def test_line_ends_are_kept_and_all_of_them_end_lines() -> None:
    text = open_text(io.BytesIO(b"a\nb\r\nc\rd"), ENCODINGS["utf-8"])
    assert list(text) == ["a\n", "b\r\n", "c\r", "d"]


@given(st.binary(), st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "latin-1"]))
def test_bytes_survive_unchanged(content: bytes, name: str) -> None:
    encoding = ENCODINGS[name]
    text = open_text(io.BytesIO(encoding.mark + content), encoding).read()
    assert encode_record(text, name) == content
    assert encoding.decode(content) == text


@given(st.text(), st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-16-be-sig"]))
def test_utf_16_survives_unchanged(content: str, name: str) -> None:
    assert ENCODINGS[name].decode(encode_record(content, name)) == content
