"""The file of refused rows: each as it stood, behind where and why, to be repaired and imported again.

The three leading columns have reserved names, which `exchange.csv_reader` skips. It also takes a first line
that begins with them for a header where the profile says that files have none; such a file comes back alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from exchange.columns import RESERVED
from exchange.encodings import ENCODINGS

_LINE_END = "\r\n"


def write_error_rows(
    out: BinaryIO,
    *,
    header: str,
    separator: str,
    encoding: str,
    errors: Iterable[tuple[int, str, str, bytes]],
    quote: str = '"',
) -> int:
    """Write the refused rows of a CSV file in its own dialect, every record ended by CRLF.

    Args:
        out: receives the bytes.
        header: the header record as it stood; empty when the file had none.
        separator: as recognised, see `exchange.csv_reader.CsvRows.separator`.
        encoding: a key of `exchange.encodings.ENCODINGS`, see `exchange.csv_reader.CsvRows.encoding`.
        errors: line, code, text and original bytes of each record, without byte order mark. Records of the
            code `quote` become one quoted cell, since their own quotation marks would swallow the next lines.
        quote: the quotation mark of the file; empty when it has none.

    Returns:
        Count of rows written.
    """
    text_encoding = ENCODINGS[encoding]
    lead = separator.join(RESERVED)
    columns = lead + separator + _strip_line_end(header) if header else lead
    out.write(text_encoding.mark + text_encoding.encode(columns + _LINE_END))
    count = 0
    for line, code, text, raw in errors:
        record = _strip_line_end(text_encoding.decode(raw))
        if code == "quote":
            record = _quote_cell(record, separator, quote)
        cells = (str(line), code, _quote_cell(_make_ascii(text), separator, quote), record)
        out.write(text_encoding.encode(separator.join(cells) + _LINE_END))
        count += 1
    return count


def _strip_line_end(record: str) -> str:
    return record.removesuffix("\n").removesuffix("\r")


def _make_ascii(text: str) -> str:
    """Return an explanation in characters that every encoding has."""
    return " ".join(text.encode("ascii", "replace").decode("ascii").split())


def _quote_cell(cell: str, separator: str, quote: str) -> str:
    return quote + cell.replace(quote, quote * 2) + quote if quote else cell.replace(separator, " ")
