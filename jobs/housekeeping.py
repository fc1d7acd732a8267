"""Takes away what nobody needs any more: imported files, remains of exports, heartbeats of the dead, deleted lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import select

from db.engine import Database
from db.tables import export_run, heartbeat, import_run, notification
from jobs.deleted_lists import empty_deleted_lists, remove_along
from jobs.exports import remove_leftovers
from jobs.storage import Storage

log = structlog.get_logger()

KEPT_HEARTBEATS = timedelta(days=1)
KEPT_NOTIFICATIONS = timedelta(days=30)
FINISHED = ("completed", "failed", "skipped")
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


def _is_older(path: Path, instant: datetime) -> bool:
    try:
        return path.stat().st_mtime < instant.timestamp()
    except FileNotFoundError:
        # Finished, and renamed, a moment ago.
        return False


def _imported(database: Database, paths: Sequence[Path], before: datetime) -> list[Path]:
    ended = select(import_run.c.spool_name).where(
        import_run.c.spool_name.in_([path.name for path in paths]),
        import_run.c.state.in_(FINISHED),
        import_run.c.finished_at < before,
    )
    with database.read() as connection:
        names = set(connection.execute(ended).scalars())
    return [path for path in paths if path.name in names]


def _groups(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), _ASKED_AT_ONCE):
        yield paths[start : start + _ASKED_AT_ONCE]
