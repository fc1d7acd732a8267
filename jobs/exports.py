"""Exports: what an account has written to files, by a schedule or on request. `jobs.export_runs` does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from audience.accounts import Account, load_account
from audience.lists import lists_of
from db.tables import export, export_run, transfer
from jobs import schedules
from jobs.export_settings import EXPORT_FOLDER, ExportError, ExportSettings
from jobs.export_types import ExportType
from jobs.local_times import parse_time
from jobs.schedules import Missed, Schedule, find_schedule, remove_schedule, set_schedule, settled_at

__all__ = [
    "EXPORT_FOLDER",
    "Export",
    "ExportBusy",
    "ExportError",
    "ExportSettings",
    "ExportType",
    "UnknownExport",
    "add_export",
    "change_export",
    "exports_of",
    "find_export",
    "remove_export",
    "request_run",
]


class UnknownExport(ExportError):
    """There is no export with that id."""


class ExportBusy(ExportError):
    """The export cannot be removed now."""


@dataclass(frozen=True, slots=True)
class Export:
    """Something an account has written to files."""

    id: int
    account_id: int
    type: str
    settings: ExportSettings
    schedule: Schedule | None
    """When it runs by itself; None: on request only."""
    created_at: datetime

    @property
    def at(self) -> str | None:
        """Time of day `HH:MM` at which it runs daily; None: by another rule, or on request only."""
        rule = self.schedule.rule.to_dict() if self.schedule is not None else {}
        return str(rule["at"]) if rule.get("kind") == "daily" else None


def add_export(
    connection: Connection, account: Account, type: ExportType, settings: ExportSettings, at: str | None = None
) -> int:
    """Add an export; return its id.

    Args:
        connection: in a writing transaction.
        account: whose people and whose home.
        type: what is exported.
        settings: which rows, which columns, which form.
        at: time of day `HH:MM` in the account's time zone at which it runs daily; None: on request only, unless
            `jobs.schedules.set_schedule` gives it another rule.

    Raises:
        ExportError: the type, the time or a list is unknown, or a setting does not go with the type.
    """
    _check(connection, account, type, settings)
    now = datetime.now(UTC)
    values = {"account_id": account.id, "type": type, "settings": settings.to_dict(), "created_at": now}
    inserted = connection.execute(export.insert().values(**values))
    assert inserted.inserted_primary_key is not None
    export_id = int(inserted.inserted_primary_key[0])
    if at is not None:
        _schedule_daily(connection, account, export_id, settings, at)
    return export_id


def change_export(
    connection: Connection, account: Account, export_id: int, settings: ExportSettings, at: str | None = None
) -> None:
    """Replace what an export contains and how its files look; runs that have begun to be written keep the old.

    Args:
        connection: in a writing transaction.
        account: whose it must be.
        export_id: which export.
        settings: in place of the present ones.
        at: time of day `HH:MM` at which it runs daily from now on; None: its schedule stays.

    Raises:
        UnknownExport: the account has none with this id.
        ExportError: as `add_export`.
    """
    found = find_export(connection, export_id)
    if found.account_id != account.id:
        raise _unknown(export_id)
    _check(connection, account, found.type, settings)
    connection.execute(export.update().where(export.c.id == export_id).values(settings=settings.to_dict()))
    if at is not None:
        _schedule_daily(connection, account, export_id, settings, at)


def remove_export(connection: Connection, export_id: int) -> None:
    """Remove an export, its schedule and the records of its runs; files that it gave stay.

    Args:
        connection: in a writing transaction.
        export_id: which export.

    Raises:
        UnknownExport: there is none with this id.
        ExportBusy: a run of it waits or goes on, or a transfer delivers its files.
    """
    find_export(connection, export_id)
    runs = export_run.c.export_id == export_id
    unfinished = select(export_run.c.id).where(runs, export_run.c.state.in_(("queued", "running")))
    if connection.execute(unfinished.limit(1)).first() is not None:
        raise ExportBusy(f"A run of export {export_id} waits or goes on; cancel it first.")
    if connection.execute(select(transfer.c.id).where(transfer.c.export_id == export_id).limit(1)).first() is not None:
        raise ExportBusy(f"A transfer delivers the files of export {export_id}; remove that first.")
    remove_schedule(connection, "export", export_id)
    connection.execute(export_run.delete().where(runs))
    connection.execute(export.delete().where(export.c.id == export_id))


def exports_of(connection: Connection, account_id: int) -> list[Export]:
    """Return the exports of an account, oldest first."""
    query = select(export).where(export.c.account_id == account_id).order_by(export.c.id)
    return [_export(connection, row) for row in connection.execute(query).all()]


def find_export(connection: Connection, export_id: int) -> Export:
    """Return an export.

    Raises:
        UnknownExport: there is none with this id.
    """
    row = connection.execute(select(export).where(export.c.id == export_id)).one_or_none()
    if row is None:
        raise _unknown(export_id)
    return _export(connection, row)


def request_run(connection: Connection, export_id: int) -> int:
    """Queue a run of an export that is due now; return the run's id.

    The run of a previous-day export begins when that day is settled, see `jobs.schedules.settled_at`.

    Raises:
        UnknownExport: there is no export with this id.
    """
    wanted = find_export(connection, export_id)
    zone = load_account(connection, wanted.account_id).zone
    today = datetime.now(UTC).astimezone(zone).date()
    settled = settled_at(today, zone) if wanted.settings.period == "previous-day" else None
    return schedules.request_run(connection, "export", export_id, not_before=settled)


def _schedule_daily(
    connection: Connection, account: Account, export_id: int, settings: ExportSettings, at: str
) -> None:
    try:
        parse_time(at)
    except ValueError as error:
        raise ExportError(str(error)) from None
    # The files of days that were missed hold what no other file does; of the others, the newest does.
    missed: Missed = "all" if settings.period == "previous-day" else "last"
    rule = {"kind": "daily", "at": at}
    set_schedule(connection, account.id, "export", export_id, rule, time_zone=account.time_zone, missed=missed)


def _export(connection: Connection, row: Row[Any]) -> Export:
    settings = ExportSettings.from_dict(row.settings)
    schedule = find_schedule(connection, "export", row.id)
    return Export(row.id, row.account_id, row.type, settings, schedule, row.created_at)


def _unknown(export_id: int) -> UnknownExport:
    return UnknownExport(f"There is no export {export_id}.")


def _check(connection: Connection, account: Account, type: str, settings: ExportSettings) -> None:
    settings.check_for(type)
    known = {mailing.number for mailing in lists_of(connection, account.id)}
    for number in (*(settings.lists or ()), *settings.exclude_lists):
        if number not in known:
            raise ExportError(f"There is no list {number} in account {account.number}.")
