"""Gives the sender of an imported file what is his: the file, its refused rows, the result and acknowledgements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Row, select

from audience.accounts import Account
from db.tables import feed, import_error
from exchange.csv_reader import CsvRows
from exchange.profiles import Profile
from exchange.recipient_xml import XmlRows
from exchange.result_table import Columns, write_result_table
from jobs.acknowledgements import (
    EndedImport,
    describe_result,
    name_handed_back,
    write_marker,
    write_table,
    writes_markers,
)
from jobs.outcomes import ERRORS_SUFFIX, FileOutcome, RefusedRows, hand_back, write_refused_rows
from jobs.storage import Storage

Source = CsvRows | XmlRows


@dataclass(frozen=True, slots=True)
class ImportEnding:
    """An import that comes to its end, and where what is left of it goes."""

    storage: Storage
    account: Account
    run: Row[Any]
    """Of `import_run`, as it was claimed."""
    profile: Profile
    field_numbers: dict[str, str]
    """Lower-cased name of each field to its number."""
    state: str
    code: str | None
    text: str | None
    counters: dict[str, Any]
    source: Source | None
    """What was read; None when nothing could be."""

    def describe(self) -> EndedImport:
        """Return what is told of it."""
        run = self.run
        return EndedImport(
            id=run.id,
            number=run.number,
            account_id=run.account_id,
            feed_id=run.feed_id,
            file_name=run.file_name,
            state=self.state,
            code=self.code,
            text=self.text,
            counters=self.counters,
            profile=self.profile,
        )

    def hand_back(self, connection: Connection, finished: datetime) -> None:
        """Put everything into its place; done again after a crash, it gives the same files.

        Raises:
            OSError: the disk does not let it.
        """
        run = self.run
        refused = self._refused_rows(connection)
        if run.feed_id is not None:
            self._acknowledge(connection, refused, finished)
        elif run.source == "command-line" and refused is not None:
            target = Path(run.file_name + ERRORS_SUFFIX)
            write_refused_rows(self.storage, run.spool_name, target, refused)

    def _acknowledge(self, connection: Connection, refused: RefusedRows | None, finished: datetime) -> None:
        run, ended = self.run, self.describe()
        folder = connection.execute(select(feed.c.folder).where(feed.c.id == run.feed_id)).scalar_one()
        outcome = FileOutcome(
            folder=self.storage.home(self.account.number) / folder,
            name=run.file_name,
            shown_as=name_handed_back(self.profile, run.file_name, run.started_at, self.account.zone),
            spool_name=run.spool_name,
            accepted=ended.is_accepted,
            result=describe_result(ended, run.started_at, finished),
            refused=refused,
        )
        target = hand_back(self.storage, outcome)
        if "table" in self.profile.acknowledgements:
            write_table(self.storage, outcome.spool_name, target, partial(self._write_table, connection))
        # Last, since whoever waits for it looks for all the rest as soon as it is there.
        if writes_markers(self.profile):
            write_marker(self.storage, outcome.spool_name, outcome.folder / outcome.name, ended)

    def _write_table(self, connection: Connection, out: BinaryIO) -> None:
        source, columns, encoding = self.source, None, str(self.profile.encoding)
        if isinstance(source, CsvRows):
            encoding = source.encoding
            dialect = {"separator": source.separator, "quote": self.profile.quote}
            columns = Columns.of(source.header, self.profile, self.field_numbers, **dialect)
        refusal = (self.code, self.text or "") if self.code is not None else None
        write_result_table(out, self._faults(connection), encoding=encoding, columns=columns, refusal=refusal)

    def _faults(self, connection: Connection) -> Iterator[tuple[int, str, str, bytes]]:
        columns = (import_error.c.line, import_error.c.code, import_error.c.text, import_error.c.raw)
        query = select(*columns).where(import_error.c.import_id == self.run.id).order_by(import_error.c.line)
        return ((*row,) for row in connection.execution_options(yield_per=1000).execute(query))

    def _refused_rows(self, connection: Connection) -> RefusedRows | None:
        source = self.source
        if not isinstance(source, CsvRows) or not (self.counters["refused"] or self.counters["noted"]):
            return None
        faults = self._faults(connection)
        return RefusedRows(source.header, source.separator, source.encoding, self.profile.quote, faults)
