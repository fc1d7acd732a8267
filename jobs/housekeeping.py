"""Takes away what nobody needs any more: imported files, remains of runs, heartbeats of the dead, deleted lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import exists, select, tuple_

from db.engine import Database
from db.leases import CANCELLED
from db.tables import (
    delivery,
    export_run,
    heartbeat,
    import_run,
    import_seen,
    inbound_mail,
    notice,
    notification,
    outbox,
    sending,
    sending_file,
    transfer_run,
    transferred_file,
)
from jobs.deleted_lists import empty_deleted_lists, remove_along
from jobs.export_files import remove_leftovers
from jobs.storage import Storage

log = structlog.get_logger()

KEPT_HEARTBEATS = timedelta(days=1)
KEPT_NOTIFICATIONS = timedelta(days=30)
KEPT_NOTICES = timedelta(days=30)
KEPT_QUEUES = timedelta(days=30)
"""How long gateways may still tell of a message."""
KEPT_INBOUND = timedelta(days=30)
"""How long a mail that came back is recognised when it is handed over once more."""
KEPT_CONTENTS = timedelta(days=7)
"""How long what nobody understood of such mails can be looked at."""
KEPT_RUNS = timedelta(days=365)
"""How long the history of exports and transfers is kept."""
FINISHED = ("completed", "failed", "skipped", CANCELLED)
_MAY_GO_ON = ("failed", CANCELLED)
_ASKED_AT_ONCE = 500


def keep_house(database: Database, storage: Storage, keep_spool: timedelta) -> None:
    """Do all of it; see the functions below.

    Args:
        database: knows what is finished.
        storage: whose spool is swept.
        keep_spool: how long the spool keeps the copy of an imported file after the import has ended.
    """
    log.info(
        "house_kept",
        imports=remove_imported(database, storage, keep_spool),
        exports=remove_export_leftovers(database, storage),
        heartbeats=remove_heartbeats(database),
        notifications=remove_notifications(database),
        notices=remove_notices(database),
        mails=remove_mails(database),
        deliveries=remove_deliveries(database),
        inbound=remove_inbound(database),
        runs=remove_runs(database),
        seen=remove_seen(database, keep_spool),
        lists=empty_deleted_lists(database),
    )


def remove_imported(database: Database, storage: Storage, keep: timedelta) -> int:
    """Remove spooled files whose import ended that long ago, and copies that were never finished; return how many.

    A file that no import knows stays: its upload may have been acknowledged.
    """
    before = datetime.now(UTC) - keep
    gone = [path for path in storage.imports.glob("*.part") if _is_older(path, before)]
    for paths in _groups(sorted(storage.imports.iterdir())):
        gone += _imported(database, paths, before)
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def remove_export_leftovers(database: Database, storage: Storage) -> int:
    """Remove what attempts at exports left in the spool when their run has ended; return the number of files."""
    removed = 0
    for paths in _groups(sorted(storage.exports.iterdir())):
        run_ids = {int(stem) for path in paths if (stem := path.name.partition(".")[0]).isdecimal()}
        unfinished = select(export_run.c.id).where(export_run.c.id.in_(run_ids), export_run.c.state.not_in(FINISHED))
        with database.read() as connection:
            run_ids -= set(connection.execute(unfinished).scalars())
        removed += sum(remove_leftovers(storage, run_id) for run_id in run_ids)
    return removed


def remove_heartbeats(database: Database) -> int:
    """Remove the heartbeats of processes not heard of for a day; return how many."""
    stale = heartbeat.c.at < datetime.now(UTC) - KEPT_HEARTBEATS
    with database.write() as connection:
        return connection.execute(heartbeat.delete().where(stale)).rowcount


def remove_notifications(database: Database) -> int:
    """Remove notifications that ended thirty days ago, delivered or not; return how many."""
    before = datetime.now(UTC) - KEPT_NOTIFICATIONS
    # A notification ends after it became due, and the index knows when that was.
    ended = notification.c.state.in_(("delivered", "failed")) & (notification.c.due_at < before)
    return remove_along(database, notification.c.id, ended & (notification.c.finished_at < before))


def remove_notices(database: Database) -> int:
    """Remove the notices to staff that went out, or were given up, thirty days ago; return how many."""
    before = datetime.now(UTC) - KEPT_NOTICES
    sent = (notice.c.state == "sent") & (notice.c.sent_at < before)
    return remove_along(database, notice.c.id, sent | ((notice.c.state == "failed") & (notice.c.finished_at < before)))


def remove_mails(database: Database) -> int:
    """Remove the mails of lists that went out, or were given up, thirty days ago; return how many."""
    before = datetime.now(UTC) - KEPT_NOTICES
    ended = outbox.c.state.in_(("sent", "failed", "cancelled")) & (outbox.c.finished_at < before)
    return remove_along(database, outbox.c.id, ended)


def remove_deliveries(database: Database) -> int:
    """Remove the queues of sendings that ended thirty days ago; return how many rows that were.

    What happened to each mail stays in its events.
    """
    before = datetime.now(UTC) - KEPT_QUEUES
    ended = sending.c.state.in_(("completed", "failed", "cancelled")) & (sending.c.finished_at < before)
    has_queue = exists().where(delivery.c.sending_id == sending.c.id)
    with database.read() as connection:
        ids = list(connection.execute(select(sending.c.id).where(ended, has_queue)).scalars())
    return sum(remove_along(database, delivery.c.id, delivery.c.sending_id == sending_id) for sending_id in ids)


def remove_inbound(database: Database) -> int:
    """Remove mails that came back and were read thirty days ago, of younger ones the contents; return how many."""
    now = datetime.now(UTC)
    columns = inbound_mail.c
    with database.write() as connection:
        old = columns.content.is_not(None) & (columns.finished_at < now - KEPT_CONTENTS)
        connection.execute(inbound_mail.update().where(old).values(content=None))
    return remove_along(database, columns.id, columns.finished_at < now - KEPT_INBOUND)


def remove_runs(database: Database) -> int:
    """Remove runs of exports and transfers that ended a year ago; return how many.

    The newest that an export completed stays, since an incremental one goes on from there; of a transfer the newest
    stays, and so do those by which files are known to have been transferred.
    """
    before = datetime.now(UTC) - KEPT_RUNS
    later, covered = export_run.alias(), export_run.c.covers_until
    is_followed = exists().where(
        later.c.export_id == export_run.c.export_id,
        later.c.due_at > export_run.c.due_at,
        later.c.state == "completed",
        covered.is_(None) | (later.c.covers_until >= covered),
    )
    exports = export_run.c.state.in_(FINISHED) & (export_run.c.finished_at < before) & is_followed
    has_files = exists().where(transferred_file.c.run_id == transfer_run.c.id)
    newer = transfer_run.alias()
    is_old = exists().where(newer.c.transfer_id == transfer_run.c.transfer_id, newer.c.due_at > transfer_run.c.due_at)
    transfers = transfer_run.c.state.in_(FINISHED) & (transfer_run.c.finished_at < before) & ~has_files & is_old
    return remove_along(database, export_run.c.id, exports) + remove_along(database, transfer_run.c.id, transfers)


def remove_seen(database: Database, keep: timedelta) -> int:
    """Remove what imports noted about the people whom they met, when they have ended; return how many rows.

    Args:
        database: that has the notes.
        keep: how long an import that failed may still be run again, for which it needs them.
    """
    removed = 0
    for import_id, list_id in _noted_imports(database):
        # An import has notes of two kinds, the second under its negative id.
        if _has_ended(database, abs(import_id), datetime.now(UTC) - keep):
            of_list = (import_seen.c.import_id == import_id) & (import_seen.c.list_id == list_id)
            removed += remove_along(database, import_seen.c.recipient_id, of_list)
    return removed


def _noted_imports(database: Database) -> Iterator[tuple[int, int]]:
    """Step from one import and list to the next, since each may have millions of rows."""
    key = (import_seen.c.import_id, import_seen.c.list_id)
    query = select(*key).order_by(*key).limit(1)
    with database.read_once() as connection:
        found = connection.execute(query).one_or_none()
    while found is not None:
        yield found.import_id, found.list_id
        with database.read_once() as connection:
            found = connection.execute(query.where(tuple_(*key) > tuple_(*found))).one_or_none()


def _has_ended(database: Database, import_id: int, before: datetime) -> bool:
    state = select(import_run.c.state, import_run.c.finished_at).where(import_run.c.id == import_id)
    with database.read_once() as connection:
        found = connection.execute(state).one_or_none()
    if found is None or found.state not in _MAY_GO_ON:
        return found is None or found.state in FINISHED
    return bool(found.finished_at < before)


def _is_older(path: Path, instant: datetime) -> bool:
    try:
        return path.stat().st_mtime < instant.timestamp()
    except FileNotFoundError:
        # Finished, and renamed, a moment ago.
        return False


def _imported(database: Database, paths: Sequence[Path], before: datetime) -> list[Path]:
    names: set[str] = set()
    for runs in (import_run, sending_file):
        ended = select(runs.c.spool_name).where(
            runs.c.spool_name.in_([path.name for path in paths]),
            runs.c.state.in_(FINISHED),
            runs.c.finished_at < before,
        )
        with database.read() as connection:
            names.update(connection.execute(ended).scalars())
    return [path for path in paths if path.name in names]


def _groups(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), _ASKED_AT_ONCE):
        yield paths[start : start + _ASKED_AT_ONCE]
