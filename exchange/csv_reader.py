"""CSV files read into rows under the profile of their folder, in one pass and with memory for one batch.

A file of refused rows (`exchange.error_rows`) is read back too: its leading columns are skipped, and its
first line is known as a header even where the profile says that files have none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import BinaryIO

from exchange.batching import gather_batches
from exchange.columns import RESERVED, Layout, count_reserved, recognise_columns
from exchange.conversions import ReadRow, prepare_reading
from exchange.csv_records import Record, RecordReader, recognise_separator
from exchange.encodings import TextEncoding, open_text, recognise_encoding
from exchange.errors import FileRefused, RowRefused
from exchange.profiles import Profile
from exchange.rows import Batch, RowError, SourceRow
from exchange.trailers import match_trailer


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the bytes of one file become records."""

    encoding: TextEncoding
    separator: str
    quote: str


@dataclass(frozen=True, slots=True)
class _Opening:
    """What the beginning of a file tells."""

    dialect: Dialect
    header: str
    """Empty when the first record is already a row."""
    layout: Layout


class CsvRows:
    """A CSV file as a `RowSource`.

    Every member may raise `FileRefused`: `encoding`, `empty-file`, `header`, `unknown-column`,
    `column-twice`, `no-key-column` or `too-many-columns`, always before the first row.

    Args:
        open_stream: opens the file afresh, seekable and at its start; what it returns is closed after use.
        profile: how the files of this folder are read.
        field_numbers: lower-cased name of each field of the account to its number as text.
    """

    def __init__(self, open_stream: Callable[[], BinaryIO], profile: Profile, field_numbers: Mapping[str, str]) -> None:
        self._open_stream = open_stream
        self._profile = profile
        self._field_numbers = field_numbers

    @property
    def header(self) -> str:
        """The header record as it stood, line end included; empty when the file has none."""
        return self._opening.header

    @property
    def separator(self) -> str:
        """The separator in use, agreed or recognised."""
        return self._opening.dialect.separator

    @property
    def encoding(self) -> str:
        """The encoding in use, a key of `exchange.encodings.ENCODINGS`."""
        return self._opening.dialect.encoding.name

    def batches(self, size: int, skip: int = 0) -> Generator[Batch, None, None]:
        """Read records in order; see `RowSource.batches`.

        Batches end at multiples of `size`, wherever the reading began. Rows are refused with the codes
        `columns`, `encoding`, `control-character`, `value-too-long` and `quote`, and those of
        `exchange.transforms.CellRefused`.
        """
        opening = self._opening
        with self._open_stream() as stream, closing(_read_records(stream, opening.dialect, self._profile)) as records:
            deque(islice(records, skip + bool(opening.header)), maxlen=0)
            read = prepare_reading(opening.layout, self._profile)
            yield from gather_batches(map(partial(_read_row, read), records), size, skip)

    @cached_property
    def _opening(self) -> _Opening:
        with self._open_stream() as stream:
            dialect = recognise_dialect(stream, self._profile)
            with closing(_read_records(stream, dialect, self._profile)) as records:
                first = next(records, None)
        if first is None:
            raise FileRefused("empty-file", "The file has no content.")
        _, raw, cells, fault = first
        reserved = count_reserved(cells)
        header = raw if self._profile.header or reserved else ""
        if self._profile.header:
            _check_header(raw, fault, dialect)
        else:
            cells = [*cells[:reserved], *self._profile.columns]
        layout = recognise_columns(cells, self._profile, self._field_numbers, encoding=dialect.encoding.codec)
        return _Opening(dialect, header, layout)


def recognise_dialect(stream: BinaryIO, profile: Profile) -> Dialect:
    """Find out encoding and separator of a seekable stream.

    Raises:
        FileRefused: `encoding`.
    """
    encoding = recognise_encoding(stream, profile.encoding)
    separator = profile.separator
    if separator is None:
        text = open_text(stream, encoding)
        separator = recognise_separator(text, profile.quote)
        text.detach()
    return Dialect(encoding, separator, profile.quote)


def check_trailer(stream: BinaryIO, profile: Profile) -> None:
    """See whether a file ends with the agreed trailer line and has as many records as that says.

    Args:
        stream: seekable; it is left open, at its start.
        profile: its `trailer` may leave out the group `rows`; then only the line itself is looked for.

    A file of refused rows has no trailer, see `is_error_rows`; if it got one, that has to be true.

    Raises:
        FileRefused: `trailer-missing`, `trailer-count`, `trailer-pattern` or `encoding`.
    """
    dialect = recognise_dialect(stream, profile)
    text = open_text(stream, dialect.encoding)
    count, last, header = 0, "", profile.header
    for _, raw, cells, _ in RecordReader(text, dialect.separator, dialect.quote):
        header = header or (count == 0 and count_reserved(cells) > 0)
        last = raw
        count += 1
    text.detach()
    stream.seek(0)
    found_groups = match_trailer(profile.trailer, last)
    if found_groups is None and is_error_rows(stream, profile):
        return
    if found_groups is None:
        raise FileRefused("trailer-missing", "The last line is not the agreed trailer; the file may have been cut.")
    announced = found_groups.get("rows")
    found = max(0, count - 1 - header)
    if announced is not None and not _equals(announced, found):
        raise FileRefused("trailer-count", f"The trailer announces {announced[:20]} rows; the file has {found}.")


def is_error_rows(stream: BinaryIO, profile: Profile) -> bool:
    """Tell whether a file begins as one of refused rows does, which comes back repaired and without a trailer.

    Where a file holds everybody (mode `full`) none is taken for one, since nothing would show that it was cut.

    Args:
        stream: seekable; it is left open, at its start.
        profile: of the folder that the file is in.

    Raises:
        FileRefused: `encoding`.
    """
    if profile.mode == "full":
        return False
    dialect = recognise_dialect(stream, profile)
    text = open_text(stream, dialect.encoding)
    _, _, cells, _ = next(iter(RecordReader(text, dialect.separator, dialect.quote)), (0, "", [], None))
    text.detach()
    stream.seek(0)
    return tuple(cell.strip().lower() for cell in cells[: len(RESERVED)]) == RESERVED


def _equals(digits: str, number: int) -> bool:
    return digits.isdecimal() and len(digits) < 20 and int(digits) == number


def _read_records(stream: BinaryIO, dialect: Dialect, profile: Profile) -> Generator[Record, None, None]:
    """Yield the records of a file, its header included and its trailer left out."""
    text = open_text(stream, dialect.encoding)
    records = iter(RecordReader(text, dialect.separator, dialect.quote))
    if profile.completeness == "trailer":
        records = _drop_trailer(records, profile.trailer)
    try:
        yield from records
    finally:
        # The stream belongs to the caller; a wrapper that is collected later would close it once more.
        text.detach()


def _drop_trailer(records: Iterator[Record], trailer: str) -> Iterator[Record]:
    held: Record | None = None
    for record in records:
        if held is not None:
            yield held
        held = record
    if held is not None and match_trailer(trailer, held[1]) is None:
        yield held


def _read_row(read: ReadRow, record: Record) -> SourceRow | RowError:
    line, raw, cells, fault = record
    if fault is not None:
        return RowError(line, *fault, raw)
    try:
        return read(line, raw, cells)
    except RowRefused as refusal:
        return RowError(line, refusal.code, refusal.text, raw)


def _check_header(raw: str, fault: tuple[str, str] | None, dialect: Dialect) -> None:
    if fault is not None:
        raise FileRefused("header", f"The header cannot be read. {fault[1]}")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        text = f"The header has bytes that are not {dialect.encoding.codec}; declare the encoding of the file."
        raise FileRefused("encoding", text) from error
