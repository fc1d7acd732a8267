"""The result of an import as a table for people and programs: one line for each row that was not taken as it stood.

Its form is always the same, whatever the file was like: UTF-8, semicolons, the columns of `HEADER` (carma-symplify
specification, section 2, and the codes of this program).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from exchange.columns import Layout, recognise_columns
from exchange.csv_records import parse_lines
from exchange.encodings import ENCODINGS
from exchange.profiles import Profile

HEADER = ("line", "column", "code", "message", "value")

Faults = Iterable[tuple[int, str, str, bytes]]
"""Line, code, text and record of each row, as the import keeps them."""

_POSITION = re.compile(r"\bColumn (\d+)\b")
_ROLES: Mapping[str, tuple[str, ...]] = {
    "email": ("email",),
    "email-ignored": ("email",),
    "mobile": ("mobile", "number"),
    "mobile-ignored": ("mobile", "number"),
    "status": ("status",),
    "unknown-list": ("list",),
    "group-name": ("group_name",),
}
"""By code: what the refused cell means."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Finds the cell that a text speaks of in the records of one file."""

    names: Sequence[str]
    """Header cells, or the agreed meanings by position."""
    layout: Layout
    separator: str
    quote: str

    @classmethod
    def of(
        cls, header: str, profile: Profile, field_numbers: Mapping[str, str], *, separator: str, quote: str
    ) -> Columns:
        """Return the columns of a file that could be read.

        Args:
            header: the header record; empty when the file has none.
            profile: of its folder.
            field_numbers: as for `exchange.csv_reader.CsvRows`.
            separator: in use.
            quote: in use; empty for none.
        """
        names = _first_cells(header, separator, quote) if header else profile.columns
        return cls(names, recognise_columns(names, profile, field_numbers), separator, quote)

    def find(self, code: str, text: str, record: str) -> tuple[str, str]:
        """Return name and content of the cell that is at fault; no name and the record where it is no one cell."""
        position = self._find_position(code, text)
        cells = _first_cells(record, self.separator, self.quote) if position >= 0 else []
        if not 0 <= position < min(len(cells), len(self.names)):
            return "", record
        return self.names[position].strip() or str(position + 1), cells[position]

    def _find_position(self, code: str, text: str) -> int:
        if named := _POSITION.match(text):
            return int(named[1]) - 1
        places = (getattr(self.layout, role) for role in _ROLES.get(code, ()))
        return next((place for place in places if place >= 0), -1)


def _first_cells(record: str, separator: str, quote: str) -> list[str]:
    return next(parse_lines(io.StringIO(record, newline=""), separator, quote), [])


def write_result_table(
    out: BinaryIO,
    faults: Faults,
    *,
    encoding: str,
    columns: Columns | None = None,
    refusal: tuple[str, str] | None = None,
) -> None:
    """Write the table of a file, or of as much of it as was imported.

    Args:
        out: receives the bytes.
        faults: refused and noted rows.
        encoding: of the records, a key of `exchange.encodings.ENCODINGS`.
        columns: of a CSV file; None: values are whole records.
        refusal: code and text of what is the matter with the file as a whole; a line without a number tells of it.
    """
    codec = ENCODINGS[encoding].codec
    text_out = io.TextIOWrapper(out, "utf-8", newline="")
    table = csv.writer(text_out, delimiter=";")
    table.writerow(HEADER)
    if refusal is not None:
        table.writerow((None, "", *refusal, ""))
    for line, code, text, raw in faults:
        # Bytes that were no text in the file's own encoding are none here either.
        record = raw.decode(codec, "replace").removesuffix("\n").removesuffix("\r")
        name, value = columns.find(code, text, record) if columns is not None else ("", record)
        table.writerow((line, name, code, text, value))
    # The stream is the caller's.
    text_out.detach()
