"""CSV text cut into records, each with the lines it stood on, so that a broken one costs nobody else's row.

The csv module parses. What it lacks is here: records that never end are given up, and lines are kept.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TextIO

RECORD_LENGTH = 1 << 20
"""Most characters of one record; a security limit."""

RECORD_LINES = 1000
"""Most lines of one record; a security limit."""

LINE_LENGTH = 1 << 24
"""Characters kept of one line; the rest of an even longer one is dropped. A security limit."""

PATIENCE = 100
"""Open quotes after which both record limits shrink to a hundredth, lest a file be read a thousand times."""

SEPARATORS = (";", ",", "|", "\t")

_SAMPLE_LINES = 20

_SEPARATOR_LINE = re.compile(rf'"?sep=([{re.escape("".join(SEPARATORS))}])"?[\r\n]*', re.IGNORECASE)
"""What spreadsheet programs write in front of a header to say what separates the cells."""

csv.field_size_limit(RECORD_LENGTH)  # otherwise a field of 128 KiB would raise in the middle of a record

Fault = tuple[str, str]
"""Code and text of a row error."""

Record = tuple[int, str, list[str], Fault | None]
"""First line, text as it stood, cells, and why there are no cells."""

TOO_LONG: Fault = ("value-too-long", f"The line is longer than {RECORD_LENGTH:,} characters.")
OPEN_QUOTE: Fault = ("quote", "A quotation mark is opened in this line and not closed.")


class _OpenQuoteError(Exception):
    """The record being read does not end where records have to end."""


class RecordReader:
    """The records of a CSV text in order; blank lines are none, nor is a first line that only tells the separator.

    Args:
        text: opened with untranslated line ends.
        separator: one character.
        quote: one character, or nothing when quotation marks have no meaning.
    """

    def __init__(self, text: TextIO, separator: str, quote: str) -> None:
        self._separator = separator
        self._quote = quote
        self._read_line = partial(text.readline, LINE_LENGTH)
        self._again: deque[str] = deque()
        self._open_quotes = 0
        self._begin = ""
        self._pending: list[str] = []
        self._pending_length = 0
        self._parser = self._start_parser()

    def __iter__(self) -> Iterator[Record]:
        again, read_line, separator, quote = self._again, self._read_line, self._separator, self._quote
        number = 1 + self._skip_separator_line()
        while line := again.popleft() if again else read_line():
            if quote in line or len(line) > RECORD_LENGTH:
                raw, cells, fault, count = self._read_specially(line)
            else:  # what the csv module would return, in a third of the time
                raw, cells, fault, count = line, line.rstrip("\r\n").split(separator), None, 1
            if len(cells) > 1 or raw.strip():
                yield number, raw, cells, fault
            number += count

    def _skip_separator_line(self) -> bool:
        line = self._read_line()
        if _SEPARATOR_LINE.fullmatch(line):
            return True
        self._again.append(line)
        return False

    def _read_specially(self, line: str) -> tuple[str, list[str], Fault | None, int]:
        """Read the record that begins with a line; return it and its count of lines."""
        if len(line) > RECORD_LENGTH:
            self._skip_rest(line)
            return line, [], TOO_LONG, 1
        self._begin = line
        try:
            cells = next(self._parser)
        except (_OpenQuoteError, csv.Error):
            self._give_up()
            return line, [], OPEN_QUOTE, 1
        raw, count = "".join(self._pending), len(self._pending)
        self._pending.clear()
        return raw, cells, None, count

    def _start_parser(self) -> Iterator[list[str]]:
        return parse_lines(self._feed(), self._separator, self._quote, strict=True)

    def _feed(self) -> Iterator[str]:
        """Yield lines to the parser: the one that begins a record, and those by which it goes on."""
        pending = self._pending
        while True:
            line = self._continue_record() if pending else self._begin
            pending.append(line)
            yield line

    def _continue_record(self) -> str:
        line = self._again.popleft() if self._again else self._read_line()
        if len(self._pending) == 1:
            self._pending_length = len(self._pending[0])
        self._pending_length += len(line)
        share = 1 if self._open_quotes < PATIENCE else 100
        too_long = len(self._pending) * share >= RECORD_LINES or self._pending_length * share > RECORD_LENGTH
        if not line:
            raise _OpenQuoteError
        if too_long:
            self._again.appendleft(line)
            raise _OpenQuoteError
        return line

    def _give_up(self) -> None:
        """Let the lines after the first of the unfinished record be read again."""
        self._open_quotes += 1
        self._again.extendleft(reversed(self._pending[1:]))
        self._pending.clear()
        self._parser = self._start_parser()

    def _skip_rest(self, line: str) -> None:
        while len(line) == LINE_LENGTH and not line.endswith(("\r", "\n")):
            line = self._read_line()


def parse_lines(lines: Iterable[str], separator: str, quote: str, *, strict: bool = False) -> Iterator[list[str]]:
    """Return the cells of each record; a line that is blank counts as one.

    Args:
        lines: with their line ends.
        separator: one character.
        quote: one character, or nothing.
        strict: raise `csv.Error` where anything but a separator follows a closing quote. A quote that was never closed
            meets the opening one of a later line, and if that passed for a closing one, the lines between would
            vanish into a cell.
    """
    if quote:
        return csv.reader(lines, delimiter=separator, quotechar=quote, doublequote=True, strict=strict)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)


def recognise_separator(text: TextIO, quote: str) -> str:
    """Find the separator: the one that cuts the first record into most cells, and the next ones into as many.

    A text of one column gets the first of `SEPARATORS`, and one whose first line is `sep=` and a separator gets that.
    """
    lines = [text.readline(RECORD_LENGTH // _SAMPLE_LINES) for _ in range(_SAMPLE_LINES)]
    if told := _SEPARATOR_LINE.fullmatch(lines[0]):
        return told[1]
    sample = [line for line in lines if line.strip()]
    return max(SEPARATORS, key=lambda separator: _rate_separator(sample, separator, quote))


def _rate_separator(sample: list[str], separator: str, quote: str) -> float:
    widths = [len(cells) for cells in parse_lines(sample, separator, quote)]
    if not widths or widths[0] == 1:
        return 0.0
    return widths[0] * widths.count(widths[0]) / len(widths)
