"""In which encoding the bytes of pages and files are read."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from delivery.errors import InvalidMessage
from delivery.html_sources import HEAD_SIZE, decode_page

TEXT = "<p>Città – perché</p>"


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (TEXT.encode(), None),
        (TEXT.encode(), "UTF-8"),
        (TEXT.encode("cp1252"), "iso-8859-1"),
        (TEXT.encode("cp1252"), "latin1"),
        (TEXT.encode("cp1252"), "us-ascii"),
        (TEXT.encode("mac-roman"), "macintosh"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        # A mark knows better than what was declared, and that better than the document itself.
        (codecs.BOM_UTF8 + TEXT.encode(), "iso-8859-1"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-8"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), None),
        (b'<meta charset="cp1252">' + TEXT.encode(), "utf-8"),
        (b'<META  CharSet = "windows-1252" >' + TEXT.encode("cp1252"), None),
        (b"<meta name=x content='text/html;charset=Shift_JIS'>" + "東京".encode("shift-jis") + b"<p>", None),
        (b"<meta charset=utf-16>" + TEXT.encode(), None),
        (b"x" * HEAD_SIZE + b"<meta charset=utf-16>" + TEXT.encode(), None),
    ],
)
def test_encodings(content: bytes, declared: str | None) -> None:
    assert decode_page(content, declared).endswith((TEXT, "東京<p>"))


def test_what_no_name_tells_is_guessed() -> None:
    text = "<p>È già l'estate: la città è più bella, perché c'è più luce e la gioventù è là.</p>" * 20
    assert decode_page(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (b"a\0b", None),
        (b"\xff\xfe\0\0", None),
        (b"\xff\xfea", None),
        (b"caf\xe9", "utf-8"),
        (b"\x81", "iso-8859-1"),
        (b"x", "no-such-encoding"),
        (b"x", "rot13"),
        (b"x", "hex"),
        (b"+AGE-", "utf-7"),
        (b"\\ud800", "unicode_escape"),
        (b"\\ud800", "raw-unicode-escape"),
        (b"xn--a", "idna"),
        (b"x" * 100, "punycode"),
        (b"x", "undefined"),
        (b"x", "utf\0-8"),
        (b"<meta charset=rot13>", None),
    ],
)
def test_what_is_no_text(content: bytes, declared: str | None) -> None:
    with pytest.raises(InvalidMessage):
        decode_page(content, declared)


@given(some.binary(max_size=200), some.none() | some.text(max_size=20))
@example(b"<meta charset=", None)
@example(b"\x80" * 50, None)
def test_whatever_comes_is_text_or_refused(content: bytes, declared: str | None) -> None:
    try:
        text = decode_page(content, declared)
    except InvalidMessage:
        return
    assert "\0" not in text
    text.encode()
