"""What a file seems to be: encoding, separator and quoting guessed from its beginning, for a person to confirm.

Nothing here is used when files are imported; then what was agreed counts.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import BinaryIO

import charset_normalizer
import clevercsv

from exchange.csv_records import SEPARATORS, parse_lines, recognise_separator
from exchange.encodings import TextEncoding, open_text, recognise_encoding
from exchange.errors import FileRefused
from exchange.profiles import Encoding

SAMPLE_SIZE = 1 << 20
"""Bytes of a file that are looked at."""

_HINT_SIZE = 1 << 15
_DIALECT_LENGTH = 4000
_DIALECT_LINES = 50
_UNUSUAL_SEPARATORS = (":", "^", "~", "#", "\x1f")
_QUOTED = re.compile(r"""(?:^|[;,|\t])\s*(['"]).*?\1\s*(?:[;,|\t]|$)""", re.MULTILINE)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1e]")
_CONTROLS_SHARE = 50
"""One control character among so many is too much for a text."""
_UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


@dataclass(frozen=True, slots=True)
class SuggestedDialect:
    """How a file seems to be written."""

    encoding: Encoding
    separator: str | None
    """None where the file has one column or the reader recognises it by itself."""
    quote: str
    remarks: tuple[str, ...]
    """For people: what the guesses rest on."""


def take_sample(stream: BinaryIO) -> bytes:
    """Return the beginning of a file, up to the end of a line where it has any."""
    sample = stream.read(SAMPLE_SIZE)
    if len(sample) < SAMPLE_SIZE:
        return sample
    return sample[: _find_last_line_end(sample)]


def suggest_dialect(sample: bytes) -> SuggestedDialect:
    """Guess how a file is written.

    Args:
        sample: its beginning, as `take_sample` returns it.

    Raises:
        FileRefused: `empty-file`, `binary` or `encoding`, when it is no text that could be imported.
    """
    encoding, remarks = _suggest_encoding(sample)
    text = _decode(sample, recognise_encoding(BytesIO(sample), encoding))
    if not text.strip():
        raise FileRefused("empty-file", "The file has no content.")
    if len(_CONTROL.findall(text)) * _CONTROLS_SHARE > len(text):
        raise FileRefused("binary", "The file is full of control characters; it is no text.")
    quote = "'" if _QUOTED.findall(text[:_DIALECT_LENGTH]).count("'") > text.count('"') else '"'
    separator, more = _suggest_separator(text, quote)
    return SuggestedDialect(encoding, separator, quote, (*remarks, *more))


def _find_last_line_end(sample: bytes) -> int:
    """Return the position after the last line end; that of the last whole UTF-16 unit where there is none."""
    if sample.startswith(codecs.BOM_UTF16_LE) or sample[1:200:2].count(0) > 50:
        return _find_last(sample, b"\n\0")
    if sample.startswith(codecs.BOM_UTF16_BE) or sample[0:200:2].count(0) > 50:
        return _find_last(sample, b"\0\n")
    return max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1 or len(sample)


def _find_last(sample: bytes, unit: bytes) -> int:
    end = sample.rfind(unit)
    while end % 2:
        end = sample.rfind(unit, 0, end + 1) if end > 0 else -2
    return end + 2 if end >= 0 else len(sample) // 2 * 2


def _suggest_encoding(sample: bytes) -> tuple[Encoding, list[str]]:
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8", ["Encoding: UTF-8, by its byte order mark."]
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not sample.startswith(codecs.BOM_UTF32_LE):
        return "utf-16", ["Encoding: UTF-16, by its byte order mark."]
    if sample.count(0) * 4 >= len(sample) > 1:
        return "utf-16", ["Encoding: UTF-16 without a byte order mark, by its zero bytes."]
    if sample.startswith(b"PK\x03\x04"):
        raise FileRefused("binary", "The file is a ZIP archive; check the file that is in it.")
    if 0 in sample:
        raise FileRefused("binary", "The file has zero bytes; it is no text.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return _suggest_narrow(sample)
    return "utf-8", ["Encoding: UTF-8; every character is valid."]


def _suggest_narrow(sample: bytes) -> tuple[Encoding, list[str]]:
    encoding: Encoding = "latin-1" if _UNDEFINED_IN_CP1252.search(sample) else "cp1252"
    best = charset_normalizer.from_bytes(sample[:_HINT_SIZE]).best()
    hint = (
        f" It could be {best.encoding} too." if best is not None and best.encoding not in ("cp1252", "latin_1") else ""
    )
    return encoding, [f"Encoding: {encoding}, since it is not valid UTF-8.{hint} Look at the accented letters below."]


def _decode(sample: bytes, encoding: TextEncoding) -> str:
    text = open_text(BytesIO(sample), encoding)
    try:
        return text.read()
    except UnicodeDecodeError:
        raise FileRefused("encoding", "The file is not valid UTF-16.") from None


def _suggest_separator(text: str, quote: str) -> tuple[str | None, list[str]]:
    own = recognise_separator(StringIO(text, newline=""), quote)
    lines = text.splitlines()[:20]
    if any(len(cells) > 1 for cells in parse_lines(lines, own, quote)):
        return None, [f"Separator: {describe_separator(own)}, recognised by itself."]
    other = _ask_clevercsv(text)
    if other is None:
        return None, ["Separator: none was found; the file seems to have one column."]
    return other, [f"Separator: {describe_separator(other)}, an unusual one."]


def _ask_clevercsv(text: str) -> str | None:
    """Return another separator than the usual ones, if one makes a table of the text."""
    lines = text[:_DIALECT_LENGTH].splitlines()[:_DIALECT_LINES]
    candidates = [*SEPARATORS, *_UNUSUAL_SEPARATORS]
    try:
        found = clevercsv.Detector().detect("\n".join(lines), delimiters=candidates)
    except Exception:  # a guess may fail in whatever way; the person at the terminal then decides alone
        return None
    return found.delimiter if found is not None and found.delimiter in _UNUSUAL_SEPARATORS else None


def describe_separator(separator: str) -> str:
    """Return how a separator is called."""
    return "tab" if separator == "\t" else f'"{separator}"' if separator.isprintable() else f"{ord(separator):#04x}"
