"""Which names are those of character sets that documents and mails can be in, and not of Python's other codecs."""

from __future__ import annotations

import codecs
import re

_NAME = re.compile(r"[A-Za-z0-9_:.+-]{1,40}")
_OTHERS = (
    "unicode-escape",
    "unicodeescape",
    "raw-unicode-escape",
    "rawunicodeescape",
    "idna",
    "punycode",
    "undefined",
    "utf-7",
)


def find_charset(name: str) -> codecs.CodecInfo | None:
    """Return the codec of a character set; None when it is none, or one that hides what a text says (UTF-7).

    Args:
        name: as IANA or a program has it; case does not matter.
    """
    try:
        codec = codecs.lookup(name if _NAME.fullmatch(name) else "")
    except LookupError:
        return None
    return codec if codec._is_text_encoding and codec.name not in _OTHERS else None
