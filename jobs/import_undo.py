"""Undoes an import: what it did to people goes back to what was before, unless something newer happened since.

People are worked off in chunks, each in one transaction, so that nobody else waits for long. What is undone is
recorded in the history by the same transaction; after a crash the undoing is simply begun again.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection, Row, and_, delete, func, literal, or_, select

from audience.status_rules import FINAL_REASONS, Channel, Reason
from audience.suppressions import digest_address, lock_suppressions, suppressed_among
from db.engine import Database
from db.functions import merge_json
from db.leases import CANCELLED, RunTable
from db.retry import retry_on_conflict
from db.tables import account, history, import_run, outbox
from db.types import JsonObject
from db.undo import UndoCounts, UndoPart, undo_part
from exchange.profiles import Profile
from jobs.import_results import UnknownImport

log = structlog.get_logger()

CHUNK_PEOPLE = 1_000
"""While a chunk is being undone, nobody can add people to the account, and on SQLite nobody can write at all."""
UNDONE = "undone"
"""A counter of an import that was undone."""
_ENDED = ("completed", "failed", "skipped", CANCELLED)
_CHANNELS = {"email": Channel.EMAIL, "mobile": Channel.SMS}
_runs = RunTable(import_run)

_Run = Row[int, int, int, str, datetime, str]


class UndoRefused(Exception):
    """The import cannot be undone now; the text says why."""


@dataclass(slots=True)
class UndoResult:
    """What undoing an import did, or would do."""

    import_id: int
    number: int
    """Of the import, in its account."""
    dry_run: bool
    counts: UndoCounts = field(default_factory=UndoCounts)
    removed_mails: int = 0
    """Mails of the import that had not gone out yet."""

    @property
    def did_nothing(self) -> bool:
        return self.counts.total_reverted == 0 and self.removed_mails == 0


def undo_import(
    database: Database,
    import_id: int,
    actor: str | None,
    *,
    dry_run: bool = False,
) -> UndoResult:
    """Take back what an import did, where nothing newer happened since; afterwards its file may be imported again.

    Statuses go back with their earlier reasons and dates, values and groups to what they were, and people whom the
    import added and nobody else has touched are removed. Bounces, complaints and erasures stay, and so does what
    changed after the import. Called again, it does what is left to do.

    Args:
        database: where the import was done.
        import_id: which one.
        actor: who undoes it, for the history.
        dry_run: do everything except keeping it.

    Raises:
        UnknownImport: there is none with this id.
        UndoRefused: it has not ended, or another import of the account is running.
    """
    with database.read() as connection:
        run = _find_run(connection, import_id)
        _check_rest(connection, run)
    people = _read_people(database, import_id)
    result = UndoResult(import_id, run.number, dry_run)
    for chunk in _split(people, CHUNK_PEOPLE):
        result.counts.add(_undo_chunk(database, run, chunk, actor, dry_run))
    result.removed_mails = _remove_mails(database, import_id, dry_run)
    if not dry_run:
        _forget_content(database, import_id)
        log.info("import_undone", import_id=import_id, reverted=result.counts.total_reverted)
    return result


def _find_run(connection: Connection, import_id: int) -> _Run:
    columns = (import_run.c.id, import_run.c.number, import_run.c.account_id, import_run.c.state)
    started_at = func.coalesce(import_run.c.started_at, import_run.c.created_at).label("started_at")
    query = (
        select(*columns, started_at, account.c.secret_key)
        .join(account, account.c.id == import_run.c.account_id)
        .where(import_run.c.id == import_id)
    )
    run = connection.execute(query).one_or_none()
    if run is None:
        raise UnknownImport(f"There is no import {import_id}.")
    return run


def _check_rest(connection: Connection, run: _Run) -> None:
    if run.state not in _ENDED:
        raise UndoRefused(f"Import {run.id} has not ended yet; undo it when it has.")
    live = select(import_run.c.id).where(
        import_run.c.account_id == run.account_id, _runs.is_live(connection, import_run.c)
    )
    running = connection.execute(live.limit(1)).scalar_one_or_none()
    if running is not None:
        raise UndoRefused(f"Import {running} of the same account is running; try again when it has ended.")


def _read_people(database: Database, import_id: int) -> array[int]:
    """Return the ids of everybody whom the import changed, the newest first.

    Who came last goes first, so that a number that he got is free when its earlier holder is to have it back.
    """
    query = select(history.c.recipient_id).where(history.c.import_id == import_id).distinct()
    with database.read() as connection:
        newest_first = query.order_by(history.c.recipient_id.desc()).execution_options(yield_per=10_000)
        return array("q", connection.execute(newest_first).scalars())


def _split(people: array[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(people), size):
        yield people[start : start + size]


def _undo_chunk(database: Database, run: _Run, chunk: Sequence[int], actor: str | None, dry_run: bool) -> UndoCounts:
    def work() -> UndoCounts:
        with database.write() as connection:
            # Nobody may add a person, or use one that is about to be removed.
            lock_suppressions(connection, run.account_id, exclusive=True)
            if not dry_run:
                return undo_part(connection, _part(connection, run, chunk, actor))
            trial = connection.begin_nested()
            try:
                return undo_part(connection, _part(connection, run, chunk, actor))
            finally:
                trial.rollback()

    return retry_on_conflict(work)


def _part(connection: Connection, run: _Run, chunk: Sequence[int], actor: str | None) -> UndoPart:
    def find_forgotten(addresses: Sequence[tuple[str, str]]) -> Collection[tuple[str, str]]:
        digests = {
            digest_address(run.secret_key, _CHANNELS[kind], address): (kind, address) for kind, address in addresses
        }
        return {digests[digest] for digest in suppressed_among(connection, run.account_id, digests)}

    return UndoPart(
        account_id=run.account_id,
        import_id=run.id,
        recipient_ids=chunk,
        actor=actor,
        now=datetime.now(UTC),
        final_reasons=(*FINAL_REASONS, Reason.FORGOTTEN),
        find_forgotten=find_forgotten,
        keep_unsubscribed=_may_have_been_repeated(connection, run),
    )


def _may_have_been_repeated(connection: Connection, run: _Run) -> bool:
    """Tell whether an unsubscribe by this import may have been asked for by a later one, to which it was no news."""
    later = select(import_run.c.profile, import_run.c.counters).where(
        import_run.c.account_id == run.account_id,
        # One that was made before may have been started after.
        or_(import_run.c.id > run.id, and_(import_run.c.id < run.id, import_run.c.finished_at > run.started_at)),
        import_run.c.rows_done > 0,
        import_run.c.dry_run.is_(False),
    )
    return any(
        UNDONE not in row.counters and Profile.from_dict(row.profile).may_unsubscribe
        for row in connection.execute(later)
    )


def _remove_mails(database: Database, import_id: int, dry_run: bool) -> int:
    """Take back the import's mails that have not gone out, some at a time."""
    waiting = (outbox.c.import_id == import_id, outbox.c.state == "waiting")
    if dry_run:
        with database.read() as connection:
            return connection.execute(select(func.count()).select_from(outbox).where(*waiting)).scalar_one()
    some = select(outbox.c.id).where(*waiting).limit(CHUNK_PEOPLE)

    def remove_some() -> int:
        with database.write() as connection:
            return connection.execute(delete(outbox).where(outbox.c.id.in_(some))).rowcount

    return sum(iter(lambda: retry_on_conflict(remove_some), 0))


def _forget_content(database: Database, import_id: int) -> None:
    """Let the same file be imported again: a file whose content was imported before is skipped.

    What the import has asked for does not count any more either.
    """

    def forget() -> None:
        with database.write() as connection:
            counters = merge_json(import_run.c.counters, literal({UNDONE: 1}, JsonObject))
            change = import_run.update().where(import_run.c.id == import_id)
            connection.execute(change.values(sha256=None, counters=counters))

    retry_on_conflict(forget)
