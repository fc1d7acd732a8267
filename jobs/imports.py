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
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from sqlalchemy import ColumnElement, Connection, Row, exists, select
from sqlalchemy.exc import DBAPIError

from audience.accounts import Account, load_account, select_active_ids
from audience.lists import MailingList, fields_of, groups_of, lists_of, load_list
from db.engine import Database
from db.leases import MAX_ATTEMPTS, LeaseKeeper, RunTable
from db.merge import COUNT_NAMES, MergeConflict, MergeCounts
from db.tables import import_error, import_run
from exchange.columns import count_reserved
from exchange.csv_reader import CsvRows, check_trailer
from exchange.encodings import encode_record
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.recipient_xml import XmlGrammar, XmlRows
from exchange.rows import Batch, RowError
from exchange.zip_parcel import open_member
from jobs.acknowledgements import tell_ended
from jobs.bundles import may_begin
from jobs.full_lists import FullList, check_missing, find_lists, find_met, keep_met, unsubscribe_missing
from jobs.import_chunk import Chunk, ImportPlan
from jobs.import_endings import ImportEnding, Source
from jobs.import_results import ImportResult, empty_counters, import_result
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
_IDENTIFIED = ("duplicate", "unknown-recipient", "forgotten")
"""Codes of refused rows of which it is known whom they are about."""
_PAUSE = timedelta(seconds=30)
"""Before a finished import is handed back again, when the disk did not let it."""

Progress = Callable[[int, int], None]
"""Called after each chunk with the records done and the bytes of the file."""


class Interrupted(Exception):
    """The process is to stop; the import goes on in the next one."""


class Cancelled(Exception):
    """Somebody asked for the end of the import."""


class LeaseLost(Exception):
    """Another process took the import over; this one must not write any more."""


def run_next_import(database: Database, storage: Storage, owner: str, stopping: threading.Event | None = None) -> bool:
    """Do the oldest import that is waiting, or that a dead process left; False when there is none.

    Imports of one account run one after the other; those of accounts that are not active wait.

    Args:
        database: where the imports and the recipients are.
        storage: where the files are.
        owner: from `db.leases.name_owner`.
        stopping: once set, the import is put back into the queue at the end of its present chunk.
    """
    run_id = _claim(database, _runs, owner, import_run.c.account_id.in_(select_active_ids()))
    if run_id is None:
        return False
    try:
        _Import(database, storage, run_id, owner, stopping=stopping).run()
    except LeaseLost:
        log.warning("import_lost", import_id=run_id)
    except Exception:
        _give_up_at_last(database, run_id, owner)
        raise
    return True


def _give_up_at_last(database: Database, run_id: int, owner: str) -> None:
    """End an import that fails each time, even before its first row, so that others of its account have their turn."""
    text = f"The import was begun {MAX_ATTEMPTS} times and failed each time."
    # A database that is away is no fault of the import.
    with suppress(DBAPIError), database.write() as connection:
        attempts = connection.execute(select(import_run.c.attempts).where(import_run.c.id == run_id)).scalar_one()
        if attempts > MAX_ATTEMPTS:
            _runs.finish(connection, run_id, owner, "failed", error_code="gave-up", error_text=text)


def _claim(database: Database, runs: RunTable, owner: str, *conditions: ColumnElement[bool]) -> int | None:
    other = import_run.alias()
    with database.write() as connection:
        busy = exists().where(
            other.c.account_id == import_run.c.account_id,
            other.c.id != import_run.c.id,
            runs.is_live(connection, other.c),
        )
        return runs.claim(connection, owner, ~busy, may_begin(datetime.now(UTC)), *conditions)


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
        owner: from `db.leases.name_owner`.
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
        self._bytes_done = self._run.bytes_done
        self._cancelled = threading.Event()

    def run(self) -> None:
        """Bring the import to its end, good or bad.

        Raises:
            LeaseLost: another process has it now.
        """
        if self._run.attempts > MAX_ATTEMPTS:
            self._end("failed", "gave-up", f"The import was begun {MAX_ATTEMPTS} times and never came to an end.")
            return
        with LeaseKeeper(self._database, _runs, self._run.id, self._owner) as keeper:
            self._cancelled = keeper.cancelled
            self._import()

    def _import(self) -> None:
        if self._cancelled.is_set():
            self._end_cancelled()
            return
        earlier = self._find_same_content()
        if earlier is not None:
            self._end("skipped", "same-content", f"The same content was imported as number {earlier}.")
            return
        source: Source | None = None
        try:
            if self._plan.default_list.number not in self._plan.lists:
                raise FileRefused("list-gone", "The list was deleted.")
            source = self._open()
            self._import_rows(source)
            if self._plan.profile.mode == "full" and not _is_repair(source):
                self._end_missing()
        except FileRefused as refusal:
            self._end("failed", refusal.code, refusal.text, source=source if self._counters["total"] else None)
        except Cancelled:
            self._end_cancelled(source)
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
                self._check_going_on()
                merging = merger.submit(self._commit, chunk, batch, encoding)
            if merging is not None:
                merging.result()

    def _check_going_on(self) -> None:
        if self._stopping is not None and self._stopping.is_set():
            raise Interrupted
        if self._cancelled.is_set():
            raise Cancelled

    def _end_cancelled(self, source: Source | None = None) -> None:
        text = f"The import was cancelled after {self._counters['total']:,} rows; what they did was kept."
        self._end("cancelled", "cancelled", text, source=source)

    def _end_missing(self) -> None:
        """End the subscriptions of those who are not in the file, as the profile says.

        Raises:
            FileRefused: too many are missing.
            Interrupted: this process is to stop.
            Cancelled: somebody asked for the end of the import.
        """
        run, profile = self._run, self._plan.profile
        _check_identified(self._counters["refused"])
        with self._database.read() as connection:
            lists = find_lists(connection, run.id, run.list_id)
            full = FullList(run.id, run.account_id, lists, profile, run.source, run.created_at)
            missing = check_missing(connection, full)
        self._counters = {"missing": 0, **self._counters}
        if profile.missing == "keep" or run.dry_run:
            self._counters["missing"] += missing
            return
        after: int | None = 0
        while after is not None:
            self._check_going_on()
            after = self._end_some_missing(full, after)

    def _end_some_missing(self, full: FullList, after: int) -> int | None:
        """End a batch of subscriptions after a recipient's; return the last one of it, None when none were left."""
        now, most = datetime.now(UTC), self._chunk_rows
        with self._database.write() as connection:
            ended = unsubscribe_missing(connection, full, now, after=after, most=most)
            if ended is None:
                return None
            counters = self._counters | {"missing": self._counters["missing"] + ended.people}
            if not _runs.renew(connection, self._run.id, self._owner, counters=counters):
                raise LeaseLost
        self._counters = counters
        return ended.last_id

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
            refused = [*batch.errors, *chunk.refused, *chunk.forgotten, *chunk.left_out]
            noted = [*chunk.noted, *chunk.repeated]
            counters = _add_counts(self._counters, merged, batch, refused, noted)
            self._record_errors(connection, [*refused, *noted], encoding)
            self._bytes_done = min(self._bytes_done + _measure(batch), self._run.size)
            # A chunk that was committed shows that the import can be done, so attempts count from here again.
            position = {
                "rows_done": batch.position,
                "bytes_done": self._bytes_done,
                "counters": counters,
                "attempts": 1,
            }
            if not _runs.renew(connection, self._run.id, self._owner, **position):
                raise LeaseLost
        return counters

    def _merge(self, connection: Connection, chunk: Chunk) -> MergeCounts:
        if not self._run.dry_run:
            return chunk.merge(connection, datetime.now(UTC))
        trial = connection.begin_nested()
        try:
            counts = chunk.merge(connection, datetime.now(UTC))
            met = find_met(connection, self._run.id)
        finally:
            trial.rollback()
        # What was merged is undone; whom the file has met must be known all the same to its end.
        keep_met(connection, self._run.id, met)
        return counts

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
        ending = ImportEnding(
            storage=self._storage,
            account=self._account,
            run=self._run,
            profile=self._plan.profile,
            field_numbers=self._field_numbers(),
            state=state,
            code=code,
            text=text,
            counters=self._counters,
            source=source,
        )
        try:
            with self._database.read() as connection:
                ending.hand_back(connection, datetime.now(UTC))
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
            if self._run.feed_id is not None:
                tell_ended(connection, ending.describe(), self._plan.default_list)
        log.info("import_ended", import_id=self._run.id, state=state, code=code, rows=self._counters["total"])


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


def _is_repair(source: Source) -> bool:
    """Tell whether a file is one of refused rows that came back, which holds some people and not everybody."""
    if not isinstance(source, CsvRows):
        return False
    first = source.header.partition(source.separator)[0]
    return count_reserved([first.strip().strip('"')]) > 0


def _check_identified(refused: dict[str, int]) -> None:
    """Refuse to say who is missing while it is not known whom some rows are about.

    Raises:
        FileRefused: `refused-rows`.
    """
    unknown = sum(count for code, count in refused.items() if code not in _IDENTIFIED)
    if unknown:
        text = f"{unknown:,} rows were refused, so it is not known who is missing. Nobody was unsubscribed."
        raise FileRefused("refused-rows", text)


def _measure(batch: Batch) -> int:
    """Return about how many bytes of the file the records of a batch are."""
    return sum(len(row.raw) for row in batch.rows) + sum(len(error.raw) for error in batch.errors)


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
