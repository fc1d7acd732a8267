"""Rows written as CSV in the dialect that a receiving system wants."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, BinaryIO, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exchange.date_patterns import compile_date_pattern

SEPARATORS = (";", ",", "|", "\t")
QUOTES = ('"', "'")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252")

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """The dialect of exported files; lines end in CRLF (RFC 4180).

    Raises:
        ValueError: a value is not one of those allowed; the text names it.
    """

    separator: str = ";"
    quote: str = '"'
    encoding: str = "utf-8"
    """`utf-8-sig` begins with a byte order mark; in `cp1252`, characters it lacks become a question mark."""
    header: bool = True
    date_format: str = "yyyyMMddTHHmmss"
    """See `exchange.date_patterns`."""
    time_zone: str = "UTC"
    """Name in the IANA database; dates are written in its local time."""
    defuse_formulas: bool = False
    """Text that a spreadsheet would take for a formula gets an apostrophe in front; so do numbers with +."""

    def __post_init__(self) -> None:
        for name, allowed in (("separator", SEPARATORS), ("quote", QUOTES), ("encoding", ENCODINGS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}")
        for name in ("header", "defuse_formulas"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false")
        for name in ("date_format", "time_zone"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be text")
        compile_date_pattern(self.date_format)
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"time_zone {self.time_zone!r} is not known") from error

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form that `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild a format from its JSON form; keys that are missing take their defaults.

        Raises:
            ValueError: a key is unknown, or a value not allowed.
        """
        unknown = set(stored) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
        return cls(**stored)


def write_rows(out: BinaryIO, csv_format: CsvFormat, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write rows one by one.

    Args:
        out: receives the bytes; it is left open, at the end of what was written.
        csv_format: the dialect.
        header: names of the columns, written when the format asks for them.
        rows: cells are written as `str` gives them; None is empty, dates are formatted (naive ones are UTC).

    Returns:
        Count of rows, without the header.
    """
    text = io.TextIOWrapper(out, csv_format.encoding, "replace", newline="")
    writer = csv.writer(text, delimiter=csv_format.separator, quotechar=csv_format.quote, lineterminator="\r\n")
    if csv_format.header:
        writer.writerow(header)
    format_cell = _choose_cell_formatter(csv_format)
    count = 0
    for row in rows:
        writer.writerow([format_cell(cell) for cell in row])
        count += 1
    text.detach()
    return count


def _choose_cell_formatter(csv_format: CsvFormat) -> Callable[[object], object]:
    pattern = compile_date_pattern(csv_format.date_format)
    zone = ZoneInfo(csv_format.time_zone)
    defused = _FORMULA_STARTS if csv_format.defuse_formulas else ()

    def format_cell(cell: object) -> object:
        if isinstance(cell, str):
            return "'" + cell if cell.startswith(defused) else cell
        if isinstance(cell, datetime):
            aware = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
            return aware.astimezone(zone).strftime(pattern)
        return cell

    return format_cell
