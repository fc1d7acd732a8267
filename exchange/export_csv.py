"""Rows written as CSV in the dialect that a receiving system wants."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exchange.date_patterns import compile_date_pattern

SEPARATORS = (";", ",", "|", "\t")
QUOTES = ('"', "'")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252")
LINE_END = "\r\n"

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_REMEMBERED_MINUTES = 16_384


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

    @property
    def defused(self) -> tuple[str, ...]:
        """First characters of the texts that get an apostrophe in front, which whoever supplies the rows puts there."""
        return _FORMULA_STARTS if self.defuse_formulas else ()

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


class CsvWriter:
    """Writes rows, or lines that a database made of them, in a dialect."""

    def __init__(self, out: BinaryIO, csv_format: CsvFormat, dates: Sequence[int] = ()) -> None:
        """Begin with nothing written.

        Args:
            out: receives the bytes; it is left open, at the end of what was written.
            csv_format: the dialect.
            dates: positions of the columns that have instants.
        """
        self.rows = 0
        """How many were written, without the header."""
        self._text = io.TextIOWrapper(out, csv_format.encoding, "replace", newline="")
        self._csv = csv.writer(
            self._text, delimiter=csv_format.separator, quotechar=csv_format.quote, lineterminator=LINE_END
        )
        self._format = csv_format
        self._dates = dates
        self._format_date = _choose_date_formatter(csv_format)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._is_quoted = False

    def write_header(self, names: Sequence[str]) -> None:
        """Write the names of the columns, if the format asks for them."""
        if self._format.header:
            self._csv.writerow([f"'{name}" if name.startswith(self._format.defused) else name for name in names])

    def write_batch(self, rows: Sequence[Sequence[object]]) -> None:
        """Write rows: None is an empty cell, dates are formatted, all else is written as `str` gives it.

        Args:
            rows: all of the same width; instants are aware, or text in UTC in the form of ISO 8601 without a zone.
        """
        self.rows += len(rows)
        if self._dates:
            columns: list[Iterable[object]] = list(zip(*rows, strict=True))
            for place in self._dates:
                columns[place] = map(self._format_date, columns[place])
            self._csv.writerows(zip(*columns, strict=True))
        else:
            self._csv.writerows(rows)

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Write lines that are in this dialect already, but in UTF-8 and with ends of LF.

        Args:
            lines: in parts of any length.
        """
        parts = self._decode(b"".join(lines)).split(self._format.quote)
        # What is between quotes is a cell's own.
        for place in range(self._is_quoted, len(parts), 2):
            self.rows += parts[place].count("\n")
            parts[place] = parts[place].replace("\n", LINE_END)
        self._is_quoted ^= len(parts) % 2 == 0
        self._text.write(self._format.quote.join(parts))

    def close(self) -> None:
        """Hand over what is left to the output."""
        self._text.detach()


def _choose_date_formatter(csv_format: CsvFormat) -> Callable[[Any], str | None]:
    """Return a function that formats instants; it remembers minutes, of which many rows have few."""
    # A second is shown as it is in every zone whose offset is of whole minutes.
    pieces = compile_date_pattern(csv_format.date_format).split("%S")
    zone = ZoneInfo(csv_format.time_zone)

    @lru_cache(maxsize=_REMEMBERED_MINUTES)
    def format_minute(minute: str) -> list[str]:
        local = datetime.fromisoformat(minute).replace(tzinfo=UTC).astimezone(zone)
        return [local.strftime(piece) for piece in pieces]

    def format_date(cell: Any) -> str | None:
        if cell is None:
            return None
        text = cell if isinstance(cell, str) else cell.astimezone(UTC).isoformat(" ")
        return text[17:19].join(format_minute(text[:16]))

    return format_date
