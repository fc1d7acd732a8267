"""The rows every file format is read into, so that what follows need not know the format."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, Protocol


class SourceRow(NamedTuple):
    """One recipient as a file tells it, mapped to roles but not yet validated."""

    line: int
    """Line of the file at which the record starts, counted from 1 (in XML: the element's ordinal)."""
    raw: str
    """The record as it stood, line end included; undecodable bytes are surrogate-escaped."""
    email: str
    """Trimmed; empty when absent."""
    mobile: str
    """International prefix and number joined as given; empty when absent."""
    list_number: str
    """Empty: the list of the feed."""
    groups: str
    """Group numbers separated by commas; empty for none."""
    group_name: str
    """Name of one more group, made when missing; empty for none."""
    status: str
    """Cell of the status column; empty when absent."""
    fields: dict[str, str]
    """Field number as text to value. An empty value clears the stored one; an absent key keeps it."""
    external: str = ""
    """Id that the sender's own system gives the person; empty when absent."""
    notes: tuple[tuple[str, str], ...] = ()
    """Code and text of each value that was left out, so that the row is imported, but not wholly."""


class RowError(NamedTuple):
    """A row that was refused, and why."""

    line: int
    code: str
    text: str
    raw: str


class Batch(NamedTuple):
    """Some consecutive records of a file."""

    rows: list[SourceRow]
    errors: list[RowError]
    position: int
    """Records of the file consumed so far, good and bad, those skipped included."""


class RowSource(Protocol):
    """A file that can be read in batches, again and again from any record."""

    @property
    def header(self) -> str:
        """The header record as it stood, line end included; empty when the file has none."""

    def batches(self, size: int, skip: int = 0) -> Generator[Batch, None, None]:
        """Read records in order.

        Args:
            size: most records in one batch, rows and errors together.
            skip: records not to return, because an earlier run has already imported them.

        Raises:
            FileRefused: the file as a whole cannot be imported.
        """
