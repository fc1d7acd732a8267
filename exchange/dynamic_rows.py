"""Tables of recipients with further columns, whose cells are for one message and are kept with nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from exchange.columns import COLUMNS_MOST, EMAIL_LENGTH, VALUE_LENGTH
from exchange.csv_reader import recognise_dialect
from exchange.csv_records import Record, RecordReader
from exchange.encodings import open_text
from exchange.errors import FileRefused
from exchange.profiles import Profile

_NAME_LENGTH = 200
_SURROGATE = re.compile("[\ud800-\udfff]")


class DynamicRow(NamedTuple):
    """One recipient, and what his message is filled with."""

    line: int
    email: str
    """As the file has it; empty when the row cannot be read."""
    values: dict[str, str]
    """By the name of the column; those headed by the number of a field by `field:<number>` too, and by the
    field's name, if it has one."""


def read_dynamic_rows(stream: BinaryIO, profile: Profile, fields: Mapping[int, str]) -> Iterator[DynamicRow]:
    """Read a table.

    Args:
        stream: seekable; it is left open.
        profile: its separator, and which header cell is the e-mail address.
        fields: names of the account's fields by number.

    Raises:
        FileRefused: `encoding`, `empty-file`, `header`, `column-twice`, `no-key-column` or `too-many-columns`, before
            the first row.
    """
    dialect = recognise_dialect(stream, profile)
    text = open_text(stream, dialect.encoding)
    try:
        records = iter(RecordReader(text, dialect.separator, dialect.quote))
        header = next(records, None)
        if header is None:
            raise FileRefused("empty-file", "The table of recipients has no content.")
        names, email = _read_header(header, profile, fields)
        for record in records:
            yield _read_row(record, names, email)
    finally:
        # The stream belongs to the caller; a wrapper that is collected later would close it once more.
        text.detach()


def _read_header(record: Record, profile: Profile, fields: Mapping[int, str]) -> tuple[list[tuple[str, ...]], int]:
    """Return the names of each column, none for those that are skipped, and where the e-mail address stands."""
    _, _, cells, fault = record
    if fault is not None or any(_SURROGATE.search(cell) for cell in cells):
        raise FileRefused("header", "The header of the table of recipients cannot be read.")
    if len(cells) > COLUMNS_MOST:
        raise FileRefused("too-many-columns", f"The table has more than {COLUMNS_MOST:,} columns.")
    roles = {name.lower(): role for name, role in profile.column_names.items()} | {"email": "email"}
    heads = [cell.strip() for cell in cells]
    emails = [place for place, head in enumerate(heads) if roles.get(head.lower()) == "email"]
    if len(emails) != 1:
        raise FileRefused("no-key-column", "The table must have one column with the e-mail address.")
    names = [_names_of(head, fields) if head.lower() not in roles else () for head in heads]
    taken = [name.casefold() for several in names for name in several]
    if len(set(taken)) < len(taken):
        raise FileRefused("column-twice", "The table has two columns of the same name.")
    return names, emails[0]


def _names_of(head: str, fields: Mapping[int, str]) -> tuple[str, ...]:
    if len(head) > _NAME_LENGTH:
        raise FileRefused("header", "A column's name is too long.")
    if head.isascii() and head.isdigit() and len(head) < 10:
        return f"field:{int(head)}", fields.get(int(head)) or head
    return (head,) if head else ()


def _read_row(record: Record, names: list[tuple[str, ...]], email: int) -> DynamicRow:
    line, raw, cells, fault = record
    if fault is not None or len(cells) != len(names) or not _is_usable(raw, cells):
        return DynamicRow(line, "", {})
    values = {name: cell.strip() for several, cell in zip(names, cells, strict=True) for name in several}
    return DynamicRow(line, cells[email].strip(), values)


def _is_usable(raw: str, cells: list[str]) -> bool:
    if len(raw) > EMAIL_LENGTH and any(len(cell) > VALUE_LENGTH for cell in cells):
        return False
    return not _SURROGATE.search(raw) and "\0" not in raw
