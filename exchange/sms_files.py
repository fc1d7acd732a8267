"""Tables of text messages: seven lines that say what to do, then one message for each recipient.

A file is UTF-8 with a byte order mark, its cells separated by semicolons. What is wrong with the lines or the columns
refuses the file; what is wrong with a recipient refuses his message.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from exchange.csv_records import Record, RecordReader
from exchange.errors import FileRefused

HEADER_LINES = 7
FILE_SIZE = 100 << 20
"""Most bytes of a file; a security limit."""
MAX_CODE = 10
MAX_CAMPAIGN = 200
SEPARATOR = ";"
FLAG_COLUMN = "UNICODE"
"""Name of the last column, where there is one, that says whether a message may have any characters."""

_SENDER_NUMBER = re.compile(r"(?:\+|00)?[0-9]{5,15}")
_SENDER_NAME = re.compile(r"[A-Za-z0-9 ]{1,11}")
_DATE_FORM = "%Y-%m-%d %H:%M"
_FLAGS = {"": False, "0": False, "1": True, "false": False, "true": True, "no": False, "yes": True}
_LEADING_COLUMNS = 2
_PLACEHOLDER = re.compile(r"\[([^\[\]]{1,200})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsOrder:
    """What the first lines say."""

    author: str
    """E-mail address or mobile number; may be empty."""
    start_at: datetime | None
    """Naive; None for now, or when the messages wait."""
    sends: bool
    """False: the messages wait until somebody plans them."""
    sender: str
    list_number: int | None
    campaign: str
    """May be empty."""
    code: str
    """The partner's own name for the file."""


class SmsRow(NamedTuple):
    """One message."""

    line: int
    mobile: str
    """As the file has it."""
    text: str
    """With the placeholders filled in."""
    template: str
    """With the placeholders as they are."""
    unicode: bool


class SmsFile:
    """A table of text messages, whose first lines and columns have been checked."""

    order: SmsOrder

    def __init__(self, content: bytes) -> None:
        """Read the beginning of a file.

        Raises:
            FileRefused: `encoding`, `header`, `date`, `action`, `sender`, `list`, `campaign`, `code` or `columns`.
        """
        lines = _decode(content).splitlines(keepends=True)
        header = list(takewhile(lambda line: line.startswith("#"), lines))
        if len(header) != HEADER_LINES:
            text = f"The file must begin with {HEADER_LINES} lines that begin with #; it has {len(header)}."
            raise FileRefused("header", text)
        self.order = _read_order([line[1:].replace(SEPARATOR, "").strip() for line in header])
        self._table = "".join(lines[HEADER_LINES:])
        self._columns = _check_columns(next(self._records(), None))

    def rows(self) -> Iterator[SmsRow]:
        """Yield the messages.

        Raises:
            FileRefused: `columns`, `quote`, `value-too-long` or `unicode`, of a row that is not as the first one says.
        """
        records = self._records()
        next(records)
        held = next(records, None)
        while held is not None:
            following = next(records, None)
            if following is not None or not held[1].startswith("#"):
                yield self._read(held)
            held = following

    def _records(self) -> Iterator[Record]:
        return iter(RecordReader(io.StringIO(self._table, newline=""), SEPARATOR, '"'))

    def _read(self, record: Record) -> SmsRow:
        number, _, cells, fault = record
        line = number + HEADER_LINES
        if fault is not None:
            raise FileRefused(fault[0], f"Line {line}: {fault[1]}")
        if len(cells) != len(self._columns):
            text = f"Line {line} has {len(cells)} columns instead of {len(self._columns)}."
            raise FileRefused("columns", text)
        named = {name: cell.strip() for name, cell in zip(self._columns, cells, strict=True)}
        flag = _FLAGS.get(named.pop(_fold(FLAG_COLUMN), "").lower())
        if flag is None:
            raise FileRefused("unicode", f"Line {line}: the column {FLAG_COLUMN} is neither 0 nor 1.")
        template = cells[1].strip()
        return SmsRow(line, cells[0].strip(), _fill_in(template, named), template, flag)


def _fill_in(text: str, values: dict[str, str]) -> str:
    """Replace `[Column]` by the cell of that column; what is no column stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(_fold(found[1]), found[0]), text)


def _decode(content: bytes) -> str:
    if not content.startswith(codecs.BOM_UTF8):
        raise FileRefused("encoding", "The file does not begin with the byte order mark of UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileRefused("encoding", "The file is not UTF-8.") from None
    if "\0" in text:
        raise FileRefused("encoding", "The file has NUL characters.")
    return text


def _read_order(values: Sequence[str]) -> SmsOrder:
    author, start, action, sender, list_number, campaign, code = values
    for row, value in enumerate(values, 1):
        if not value.isprintable():
            raise FileRefused("header", f"Row {row} has control characters.")
    if action not in ("I", "A"):
        raise FileRefused("action", "Row 3 must be I (send) or A (queue only).")
    if list_number and not re.fullmatch("[0-9]{1,9}", list_number):
        raise FileRefused("list", "Row 5 must be empty or the number of a list.")
    if len(campaign) > MAX_CAMPAIGN:
        raise FileRefused("campaign", f"Row 6 has more than {MAX_CAMPAIGN} characters.")
    if not 0 < len(code) <= MAX_CODE:
        raise FileRefused("code", f"Row 7 must be a code of 1 to {MAX_CODE} characters.")
    return SmsOrder(
        author=author,
        start_at=_read_start(start) if action == "I" else None,
        sends=action == "I",
        sender=_read_sender(sender),
        list_number=int(list_number) if list_number else None,
        campaign=campaign,
        code=code,
    )


def _read_sender(text: str) -> str:
    number = "".join(text.split())
    if _SENDER_NUMBER.fullmatch(number):
        return number
    if not _SENDER_NAME.fullmatch(text):
        raise FileRefused("sender", "Row 4 must be a phone number or at most 11 letters and digits.")
    return text


def _read_start(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _DATE_FORM) if text else None
    except ValueError:
        raise FileRefused("date", "Row 2 must be empty or a date in the form YYYY-MM-DD HH:MM.") from None


def _check_columns(record: Record | None) -> list[str]:
    """Return the names of the columns, folded."""
    if record is None or record[3] is not None:
        raise FileRefused("columns", "After the first lines there must be one with the names of the columns.")
    names = [_fold(cell) for cell in record[2]]
    placeholders = len(names) - _LEADING_COLUMNS - (names[-1] == _fold(FLAG_COLUMN))
    if placeholders < 1:
        raise FileRefused("columns", "There must be a column for the number, one for the text and a placeholder.")
    if not all(names) or len(set(names)) < len(names):
        raise FileRefused("columns", "Each column must have a name of its own.")
    return names


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()
