"""What a text message may say, and the parts that it goes out in: pure functions on the GSM 7-bit alphabet and UCS-2.

Alphabet: 3GPP TS 23.038 section 6.2.1 (GSM 03.38). Characters of its extension table take two septets. A message of
several parts has a header in each, which leaves 153 of 160 septets, or 67 of 70 units of UTF-16 (TS 23.040
section 9.2.3.24.1).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from delivery.errors import InvalidMessage

MAX_PARTS = 3
GSM_UNITS = 160
GSM_UNITS_OF_PART = 153
UNICODE_UNITS = 70
UNICODE_UNITS_OF_PART = 67
UNKNOWN_CHARACTER = "?"

_ESCAPE = 0x1B
# The character at 0x1B is the escape itself, which no text has.
_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\uffffÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_CODES: dict[str, bytes] = {
    **{character: bytes([code]) for code, character in enumerate(_ALPHABET) if code != _ESCAPE},
    **{character: bytes([_ESCAPE, code]) for character, code in _EXTENSION.items()},
}
# What decomposition does not find: other forms of a mark, and letters that look alike.
_NEAREST = {
    **dict.fromkeys("‘’‚‛`´′", "'"),
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("–—−‐‑‒―", "-"),
    **dict.fromkeys("\t\u00a0\u2028\u2029", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    **dict(zip("•·‹›⁄łŁđĐıŋ", "*.<>/lLdDin", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    "œ": "oe",
    "Œ": "OE",
}


def to_gsm(text: str, replacement: str | None = UNKNOWN_CHARACTER) -> str:
    """Return a text in the characters of the GSM alphabet: those outside of it as the nearest ones.

    Accents that the alphabet has not are left out, and quotes and dashes become plain ones.

    Args:
        text: any.
        replacement: for what has no near character; None refuses it.

    Raises:
        InvalidMessage: a character has no near one, and there is no replacement.
    """
    if replacement is None and (strangers := _find_strangers(text)):
        raise InvalidMessage(f"These characters need Unicode: {' '.join(strangers[:10])}")
    return "".join(_nearest(character) if is_near(character) else replacement or "" for character in text)


def split(text: str, unicode: bool) -> list[str]:
    """Return the parts that a text goes out in; put together they are the text.

    Args:
        text: when not Unicode, in the characters of the GSM alphabet (see `to_gsm`).
        unicode: whether it goes out as UCS-2.

    Raises:
        InvalidMessage: there would be more than `MAX_PARTS`.
    """
    units = [_count_units(character, unicode) for character in text]
    if sum(units) <= (UNICODE_UNITS if unicode else GSM_UNITS):
        return [text]
    parts = _divide(text, units, UNICODE_UNITS_OF_PART if unicode else GSM_UNITS_OF_PART)
    if len(parts) > MAX_PARTS:
        raise InvalidMessage(f"The text takes {len(parts)} parts; {MAX_PARTS} are the most.")
    return parts


def encode_part(part: str, unicode: bool) -> bytes:
    """Return a part as gateways take it: UTF-16 (big-endian), or one septet of the GSM alphabet in each octet."""
    return part.encode("utf-16-be", "replace") if unicode else b"".join(_CODES[character] for character in part)


@lru_cache(maxsize=4096)
def is_near(character: str) -> bool:
    """Return whether the GSM alphabet has a character, or one or more that stand for it."""
    return all(near in _CODES for near in _nearest(character))


@lru_cache(maxsize=4096)
def _nearest(character: str) -> str:
    if character in _CODES:
        return character
    if character in _NEAREST:
        return _NEAREST[character]
    bare = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    bare = "".join(_NEAREST.get(part, part) for part in bare)
    if all(part in _CODES for part in bare):
        return bare
    # Greek, of which the alphabet has capitals only.
    upper = "".join(_NEAREST.get(part, part) for part in bare.upper())
    return upper if all(part in _CODES for part in upper) else character


def _find_strangers(text: str) -> list[str]:
    return sorted({character for character in text if not is_near(character)})


def _count_units(character: str, unicode: bool) -> int:
    if unicode:
        return 2 if ord(character) > 0xFFFF else 1
    return len(_CODES[character])


def _divide(text: str, units: list[int], most: int) -> list[str]:
    """Fill one part after the other; what takes two units is never cut in two."""
    parts, begin, used = [], 0, 0
    for place, needed in enumerate(units):
        if used + needed > most:
            parts.append(text[begin:place])
            begin, used = place, 0
        used += needed
    return [*parts, text[begin:]]
