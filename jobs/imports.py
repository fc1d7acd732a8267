"""The import job: a file from the spool becomes recipients, in chunks that are each all there or not at all.

A chunk's rows, the errors in it, the counters and the position in the file are committed in one transaction.
After a crash the next owner of the import reads the file again up to that position and goes on. While one
chunk is being merged by the database, the next one is read and validated.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from sqlalchemy import ColumnElement, Connection, Row, exists, select, true

from audience.accounts import Account, load_account
from audience.lists import MailingList, fields_of, groups_of, lists_of, load_list
from db.engine import Database
from db.merge import COUNT_NAMES, MergeConflict, MergeCounts
from db.tables import account, feed, import_error, import_run, mailing_list
from exchange.csv_reader import CsvRows, check_trailer
from exchange.encodings import encode_record
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.recipient_xml import XmlGrammar, XmlRows
from exchange.rows import Batch, RowError
from exchange.zip_parcel import open_member
from jobs.import_chunk import Chunk, ImportPlan
from jobs.leases import MAX_ATTEMPTS, LeaseKeeper, RunTable
from jobs.outcomes import ERRORS_SUFFIX, FileOutcome, RefusedRows, describe_instant, hand_back, write_refused_rows
from jobs.queue import ImportRequest, enqueue_import, spool
from jobs.storage import Storage

log = structlog.get_logger()

CHUNK_ROWS = 10_000
SQLITE_CHUNK_ROWS = 2_500
"""Smaller, because nobody else can write while a chunk is being merged there."""
_CONFLICT_ATTEMPTS = 10
_runs = RunTable(import_run)
_own_runs = RunTable(import_run, queued="prepared")
_WAIT_SECONDS = 0.5
_PAUSE = timedelta(seconds=30)
"""Before a finished import is handed back again, when the disk did not let it."""

Progress = Callable[[int, int], None]
"""Called after each chunk with the records done and the bytes of the file."""


Source = CsvRows | XmlRows


class UnknownImport(Exception):
    """There is no import with this id."""


class Interrupted(Exception):
    """The process is to stop; the import goes on in the next one."""


class LeaseLost(Exception):
    """Another process took the import over; this one must not write any more."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of an import."""

    id: int
    number: int
    account_number: int
    list_number: int
    source: str
    file_name: str
    state: str
    counters: dict[str, Any]
    error_code: str | None
    error_text: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def empty_counters() -> dict[str, Any]:
    """Return the counters of an import before its first row."""
    return {"total": 0, **dict.fromkeys(COUNT_NAMES, 0), "refused": {}, "noted": {}}


def run_next_import(database: Database, storage: Storage, owner: str, stopping: threading.Event | None = None) -> bool:
    """Do the oldest import that is waiting, or that a dead process left; False when there is none.

    Imports of one account run one after the other.

    Args:
        database: where the imports and the recipients are.
        storage: where the files are.
        owner: from `jobs.leases.name_owner`.
        stopping: once set, the import is put back into the queue at the end of its present chunk.
    """
    run_id = _claim(database, _runs, owner)
    if run_id is None:
        return False
    try:
        _Import(database, storage, run_id, owner, stopping=stopping).run()
    except LeaseLost:
        log.warning("import_lost", import_id=run_id)
    return True


def _claim(database: Database, runs: RunTable, owner: str, *conditions: ColumnElement[bool]) -> int | None:
    other = import_run.alias()
    with database.write() as connection:
        busy = exists().where(
            other.c.account_id == import_run.c.account_id,
            other.c.id != import_run.c.id,
            runs.is_live(connection, other.c),
        )
        return runs.claim(connection, owner, ~busy, *conditions)


def import_file(
    database: Database,
    storage: Storage,
    owner: str,
    *,
    account: Account,
    mailing: MailingList,
    path: Path,
    profile: Profile,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Import a file of this machine in this process, as soon as no other import of the account is running.

    Args:
        database: where to.
        storage: whose spool keeps a copy until the import is done.
        owner: from `jobs.leases.name_owner`.
        account: whose recipients they are.
        mailing: the list for rows that name none.
        path: the file; the error-rows file is written beside it as `<name>.errors.csv`.
        profile: how it is read.
        dry_run: do everything except keeping it. Chunks are undone one by one, so that other writers never
            wait for the whole file; a person in two distant rows counts as new twice.
        progress: told after each chunk.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as content:
        spooled = spool(storage, content)
    request = ImportRequest(
        account_id=account.id,
        list_id=mailing.id,
        profile=profile,
        source="command-line",
        file_name=str(path.resolve()),
        spool_name=spooled.name,
        size=spooled.size,
        dry_run=dry_run,
    )
    with database.write() as connection:
        # Prepared, not queued: a worker would take it.
        run_id = enqueue_import(connection, request, state="prepared")
    while _claim(database, _own_runs, owner, import_run.c.id == run_id) is None:
        time.sleep(_WAIT_SECONDS)
    _Import(database, storage, run_id, owner, progress=progress).run()
    with database.read() as connection:
        return import_result(connection, run_id)


class _Import:
    """One claimed import on its way."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        run_id: int,
        owner: str,
        *,
        progress: Progress | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._database = database
        self._storage = storage
        self._owner = owner
        self._progress = progress
        self._stopping = stopping
        with database.read() as connection:
            self._run = connection.execute(select(import_run).where(import_run.c.id == run_id)).one()
            self._account = load_account(connection, self._run.account_id)
            self._plan = _read_plan(connection, self._run)
            self._fields = fields_of(connection, self._run.account_id)
        self._chunk_rows = SQLITE_CHUNK_ROWS if database.is_sqlite else CHUNK_ROWS
        self._counters = empty_counters() | self._run.counters

    def run(self) -> None:
        """Bring the import to its end, good or bad.

        Raises:
            LeaseLost: another process has it now.
        """
        if self._run.attempts > MAX_ATTEMPTS:
            self._end("failed", "gave-up", f"The import was begun {MAX_ATTEMPTS} times and never came to an end.")
            return
        with LeaseKeeper(self._database, _runs, self._run.id, self._owner):
            self._import()

    def _import(self) -> None:
        earlier = self._find_same_content()
        if earlier is not None:
            self._end("skipped", "same-content", f"The same content was imported as number {earlier}.")
            return
        try:
            if self._plan.default_list.number not in self._plan.lists:
                raise FileRefused("list-gone", "The list was deleted.")
            source = self._open()
            self._import_rows(source)
        except FileRefused as refusal:
            self._end("failed", refusal.code, refusal.text)
        except Interrupted:
            with self._database.write() as connection:
                _runs.requeue(connection, self._run.id, self._owner)
        else:
            self._end("completed", source=source)

    def _find_same_content(self) -> int | None:
        run = self._run
        if run.sha256 is None or run.feed_id is None:
            return None
        same = (
            select(import_run.c.number)
            .where(import_run.c.feed_id == run.feed_id, import_run.c.sha256 == run.sha256)
            .where(import_run.c.state == "completed", import_run.c.id != run.id)
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.execute(same).scalar_one_or_none()

    def _open(self) -> Source:
        path = self._storage.imports / self._run.spool_name
        profile = self._plan.profile
        if not path.exists():
            raise FileRefused("spool-missing", "The server's copy of the file is gone; send the file again.")

        def open_stream() -> BinaryIO:
            return open_member(path.open("rb"), self._run.file_name)

        if profile.format == "xml":
            grammar = XmlGrammar(**profile.grammar)
            # The service has read it before it said that the import was accepted.
            return XmlRows(open_stream, profile, self._field_numbers(), grammar, is_checked=self._run.source == "soap")
        if profile.completeness == "trailer":
            with open_stream() as stream:
                check_trailer(stream, profile)
        return CsvRows(open_stream, profile, self._field_numbers())

    def _field_numbers(self) -> dict[str, str]:
        return {name.lower(): str(number) for number, name in self._fields.items()}

    def _import_rows(self, source: Source) -> None:
        """Read one chunk while the one before is being merged.

        Raises:
            FileRefused: the file turned out to be unreadable.
            Interrupted: this process is to stop.
        """
        reading = closing(source.batches(self._chunk_rows, self._run.rows_done))
        with reading as batches, ThreadPoolExecutor(1, thread_name_prefix="merge") as merger:
            merging: Future[None] | None = None
            encoding = source.encoding if isinstance(source, CsvRows) else "utf-8"
            for batch in batches:
                chunk = Chunk(self._plan)
                chunk.add(batch.rows)
                if merging is not None:
                    merging.result()
                if self._stopping is not None and self._stopping.is_set():
                    raise Interrupted
                merging = merger.submit(self._commit, chunk, batch, encoding)
            if merging is not None:
                merging.result()

    def _commit(self, chunk: Chunk, batch: Batch, encoding: str) -> None:
        for _attempt in range(_CONFLICT_ATTEMPTS):
            try:
                counters = self._commit_once(chunk, batch, encoding)
            except MergeConflict:
                log.info("import_chunk_again", import_id=self._run.id, position=batch.position)
            else:
                self._counters = counters
                break
        else:
            raise MergeConflict
        if self._progress is not None:
            self._progress(batch.position, self._run.size)

    def _commit_once(self, chunk: Chunk, batch: Batch, encoding: str) -> dict[str, Any]:
        with self._database.write() as connection:
            merged = self._merge(connection, chunk)
            refused = [*batch.errors, *chunk.refused, *chunk.forgotten]
            counters = _add_counts(self._counters, merged, batch, refused, chunk.noted)
            self._record_errors(connection, [*refused, *chunk.noted], encoding)
            # A chunk that was committed shows that the import can be done, so attempts count from here again.
            position = {"rows_done": batch.position, "counters": counters, "attempts": 1}
            if not _runs.renew(connection, self._run.id, self._owner, **position):
                raise LeaseLost
        return counters

    def _merge(self, connection: Connection, chunk: Chunk) -> MergeCounts:
        if not self._run.dry_run:
            return chunk.merge(connection, datetime.now(UTC))
        trial = connection.begin_nested()
        try:
            return chunk.merge(connection, datetime.now(UTC))
        finally:
            trial.rollback()

    def _record_errors(self, connection: Connection, errors: list[RowError], encoding: str) -> None:
        if errors:
            connection.execute(
                import_error.insert(),
                [
                    {
                        "import_id": self._run.id,
                        "line": error.line,
                        "code": error.code,
                        "text": error.text,
                        "raw": encode_record(error.raw, encoding),
                    }
                    for error in errors
                ],
            )

    def _end(
        self, state: str, code: str | None = None, text: str | None = None, *, source: Source | None = None
    ) -> None:
        """Give the sender what is his, then end the run: in this order, so that a crash in between repeats it."""
        try:
            self._hand_back(state, code, text, source, datetime.now(UTC))
        except OSError as error:
            # The rows are in; only the files have to wait for room. That must not count as a failed attempt.
            log.error("import_not_handed_back", import_id=self._run.id, error=type(error).__name__)
            with self._database.write() as connection:
                _runs.postpone(connection, self._run.id, self._owner, _PAUSE, attempts=self._run.attempts - 1)
            return
        values = {"error_code": code, "error_text": text, "counters": self._counters}
        with self._database.write() as connection:
            if not _runs.finish(connection, self._run.id, self._owner, state, **values):
                raise LeaseLost
        log.info("import_ended", import_id=self._run.id, state=state, code=code, rows=self._counters["total"])

    def _hand_back(
        self, state: str, code: str | None, text: str | None, source: Source | None, finished: datetime
    ) -> None:
        run = self._run
        with self._database.read() as connection:
            refused = self._refused_rows(connection, source)
            if run.feed_id is not None:
                folder = connection.execute(select(feed.c.folder).where(feed.c.id == run.feed_id)).scalar_one()
                result = {
                    "import": run.number,
                    "file": run.file_name,
                    "state": state,
                    "error_code": code,
                    "error_text": text,
                    "counters": self._counters,
                    "started_at": describe_instant(run.started_at),
                    "finished_at": describe_instant(finished),
                }
                place = self._storage.home(self._account.number) / folder
                outcome = FileOutcome(place, run.file_name, run.spool_name, state != "failed", result, refused)
                hand_back(self._storage, outcome)
            elif run.source == "command-line" and refused is not None:
                target = Path(run.file_name + ERRORS_SUFFIX)
                write_refused_rows(self._storage, run.spool_name, target, refused)

    def _refused_rows(self, connection: Connection, source: Source | None) -> RefusedRows | None:
        if not isinstance(source, CsvRows) or not (self._counters["refused"] or self._counters["noted"]):
            return None
        columns = (import_error.c.line, import_error.c.code, import_error.c.text, import_error.c.raw)
        query = select(*columns).where(import_error.c.import_id == self._run.id).order_by(import_error.c.line)
        rows = connection.execution_options(yield_per=1000).execute(query)
        return RefusedRows(
            source.header, source.separator, source.encoding, self._plan.profile.quote, (tuple(row) for row in rows)
        )


def _read_plan(connection: Connection, run: Row[Any]) -> ImportPlan:
    lists = lists_of(connection, run.account_id)
    groups = groups_of(connection, [mailing.id for mailing in lists])
    return ImportPlan(
        account_id=run.account_id,
        import_id=run.id,
        source=run.source,
        profile=Profile.from_dict(run.profile),
        default_list=load_list(connection, run.list_id),
        lists={mailing.number: mailing for mailing in lists},
        groups={group.number: group for group in groups},
    )


def _add_counts(
    counters: dict[str, Any], merged: MergeCounts, batch: Batch, refused: list[RowError], noted: list[RowError]
) -> dict[str, Any]:
    added = {name: counters[name] + getattr(merged, name) for name in COUNT_NAMES}
    return {
        "total": counters["total"] + len(batch.rows) + len(batch.errors),
        **added,
        "refused": _count_codes(counters["refused"], refused),
        "noted": _count_codes(counters["noted"], noted),
    }


def _count_codes(before: dict[str, int], errors: list[RowError]) -> dict[str, int]:
    return dict(Counter(before) + Counter(error.code for error in errors))


def import_result(connection: Connection, import_id: int) -> ImportResult:
    """Return what is known of an import.

    Raises:
        UnknownImport: there is none with this id.
    """
    found = _results(connection, import_run.c.id == import_id)
    if not found:
        raise UnknownImport(f"There is no import {import_id}.")
    return found[0]


def list_imports(connection: Connection, account_id: int | None = None, *, limit: int = 100) -> list[ImportResult]:
    """Return the newest imports, of one account or of all, newest first."""
    condition = import_run.c.account_id == account_id if account_id is not None else true()
    return _results(connection, condition, limit=limit)


def _results(connection: Connection, condition: ColumnElement[bool], limit: int = 1) -> list[ImportResult]:
    query = (
        select(
            import_run.c.id,
            import_run.c.number,
            account.c.number.label("account_number"),
            mailing_list.c.number.label("list_number"),
            import_run.c.source,
            import_run.c.file_name,
            import_run.c.state,
            import_run.c.counters,
            import_run.c.error_code,
            import_run.c.error_text,
            import_run.c.created_at,
            import_run.c.started_at,
            import_run.c.finished_at,
        )
        .join(account, account.c.id == import_run.c.account_id)
        .join(mailing_list, mailing_list.c.id == import_run.c.list_id)
        .where(condition)
        .order_by(import_run.c.id.desc())
        .limit(limit)
    )
    results = [ImportResult(**row) for row in connection.execute(query).mappings()]
    return [replace(result, counters=empty_counters() | result.counters) for result in results]
