"""Transfers: what is fetched from a partner's server into a feed, and which files of an export are brought there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import ColumnElement, Connection, Row, exists, select, true

from audience.accounts import Account, select_active_ids
from db.engine import Database
from db.leases import RunTable
from db.retry import retry_on_conflict
from db.tables import account, export, export_run, feed, remote_server, schedule, transfer, transfer_run
from db.tables import transferred_file as done_file
from exchange.file_names import check_pattern
from jobs.feeds import find_feed, parse_folder
from jobs.remote_servers import find_remote_server
from jobs.remote_sessions import check_folder
from jobs.schedules import enqueue_run, remove_schedule

Direction = Literal["fetch", "deliver"]
KEEP, DELETE, MOVE = "keep", "delete", "move:"
LONGEST_QUIET = 600.0
RUNS = RunTable(transfer_run)


class TransferError(ValueError):
    """A transfer cannot be made as asked; the text is fit for the caller."""


class UnknownTransfer(TransferError):
    """There is no transfer with that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """What is taken and how; everything is checked when it is made.

    Raises:
        TransferError: something cannot be used; the text says what.
    """

    pattern: str | None = None
    """Of fetching: which names, as a shell's pattern; None: that of the feed's profile."""
    after: str = KEEP
    """Of fetching: what becomes of the file there: `keep`, `delete` or `move:FOLDER`."""
    quiet: float = 30.0
    """Of fetching: seconds between two listings that must show the same size and time; 0: one listing is enough.
    A rule of the profile that the file itself, a marker or its name proves (all but `connection` and `size`) takes
    the place of this."""
    replace: bool = False
    """Of bringing: a file of the same name is replaced; else it is left, and the new one waits."""
    new_only: bool = False
    """Of bringing: files of runs that ended before the transfer was added are left."""

    def __post_init__(self) -> None:
        try:
            if self.pattern is not None:
                check_pattern(self.pattern, "glob")
            if self.move_folder is not None and check_folder(self.move_folder) in ("", "/"):
                raise ValueError("Name the folder: move:FOLDER.")
        except ValueError as error:
            raise TransferError(str(error)) from None
        if self.after not in (KEEP, DELETE) and self.move_folder is None:
            raise TransferError(f"{self.after!r} is none of keep, delete and move:FOLDER.")
        if not 0 <= self.quiet <= LONGEST_QUIET:
            raise TransferError(f"The quiet time is 0 to {LONGEST_QUIET:.0f} seconds.")

    @property
    def move_folder(self) -> str | None:
        return self.after.removeprefix(MOVE) if self.after.startswith(MOVE) else None

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild settings from their JSON form; keys that are missing take their defaults."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})


@dataclass(frozen=True, slots=True)
class Transfer:
    """One direction between a partner's server and an account."""

    id: int
    account_id: int
    remote_id: int
    direction: Direction
    folder: str
    """On the partner's server; relative to where a login leads if it does not begin with a slash."""
    feed_id: int | None
    export_id: int | None
    settings: TransferSettings
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TransferRun:
    """What became of one run."""

    id: int
    transfer_id: int
    account_number: int
    due_at: datetime
    scheduled: bool
    """False when it was asked for."""
    state: str
    files: int
    bytes: int
    error_text: str | None
    """Why it failed, what is in its way while it waits to be tried again, or what it left."""
    not_before: datetime | None
    """Of a run in the queue: when it may begin; None: at once."""
    started_at: datetime | None
    finished_at: datetime | None


def add_fetch(
    connection: Connection, owner: Account, remote_name: str, *, folder: str, into: str, settings: TransferSettings
) -> int:
    """Have files fetched from a folder of a partner's server into a feed; return the transfer's id.

    Args:
        connection: in a writing transaction.
        owner: the account.
        remote_name: of the server.
        folder: there.
        into: the feed's folder, such as `import/1`.
        settings: which files, and what becomes of them there.

    Raises:
        UnknownRemoteServer: the account has no such server.
        InvalidFolder: `into` is not the folder of a feed.
        TransferError: something else cannot be used.
    """
    found = find_feed(connection, owner.id, parse_folder(into)[0])
    if found is None:
        raise TransferError(f"{into!r} is not the folder of a list; `listbridge profile add` makes folders below it.")
    return _add(connection, owner, remote_name, "fetch", folder, settings, feed_id=found.id)


def add_delivery(
    connection: Connection, owner: Account, remote_name: str, *, export_id: int, folder: str, settings: TransferSettings
) -> int:
    """Have the files of an export brought to a folder of a partner's server; return the transfer's id.

    Raises:
        UnknownRemoteServer: the account has no such server.
        TransferError: it has no such export, or something else cannot be used.
    """
    own = (export.c.id == export_id) & (export.c.account_id == owner.id)
    if connection.execute(select(export.c.id).where(own)).first() is None:
        raise TransferError(f"There is no export {export_id} in this account.")
    return _add(connection, owner, remote_name, "deliver", folder, settings, export_id=export_id)


def _add(
    connection: Connection,
    owner: Account,
    remote_name: str,
    direction: Direction,
    folder: str,
    settings: TransferSettings,
    **subject: int,
) -> int:
    values = {
        "account_id": owner.id,
        "remote_id": find_remote_server(connection, owner.id, remote_name).id,
        "direction": direction,
        "folder": _check_folder(folder),
        "settings": asdict(settings),
        "created_at": datetime.now(UTC),
    }
    inserted = connection.execute(transfer.insert().values(values | subject))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def transfers_of(connection: Connection, account_id: int | None = None) -> list[Transfer]:
    """Return the transfers of an account, or of all, by id."""
    condition = transfer.c.account_id == account_id if account_id is not None else true()
    return [_transfer(row) for row in connection.execute(select(transfer).where(condition).order_by(transfer.c.id))]


def find_transfer(connection: Connection, transfer_id: int, account_id: int | None = None) -> Transfer:
    """Return a transfer.

    Args:
        connection: any.
        transfer_id: its id.
        account_id: whose it must be; None: whosever.

    Raises:
        UnknownTransfer: there is none with this id.
    """
    own = transfer.c.account_id == account_id if account_id is not None else true()
    row = connection.execute(select(transfer).where(transfer.c.id == transfer_id, own)).one_or_none()
    if row is None:
        raise UnknownTransfer(f"There is no transfer {transfer_id}.")
    return _transfer(row)


def change_transfer(connection: Connection, transfer_id: int, *, folder: str | None = None, **changes: Any) -> Transfer:
    """Change what is given: the folder on the partner's server, or settings; return the transfer as it is then.

    Raises:
        UnknownTransfer: there is none with this id.
        TransferError: a value cannot be used.
    """
    found = find_transfer(connection, transfer_id)
    changed = replace(
        found,
        folder=_check_folder(folder) if folder is not None else found.folder,
        settings=replace(found.settings, **changes),
    )
    values = {"folder": changed.folder, "settings": asdict(changed.settings)}
    connection.execute(transfer.update().where(transfer.c.id == transfer_id).values(values))
    return changed


def remove_transfer(connection: Connection, transfer_id: int) -> None:
    """Remove a transfer with its schedule, its runs and the memory of what it transferred.

    Raises:
        UnknownTransfer: there is none with this id.
        TransferError: a run is at work.
    """
    find_transfer(connection, transfer_id)
    mine = transfer_run.c.transfer_id == transfer_id
    if connection.execute(select(transfer_run.c.id).where(mine, transfer_run.c.state == "running")).first():
        raise TransferError("A run of the transfer is at work; cancel it first.")
    remove_schedule(connection, "transfer", transfer_id)
    connection.execute(done_file.delete().where(done_file.c.transfer_id == transfer_id))
    connection.execute(transfer_run.delete().where(mine))
    connection.execute(transfer.delete().where(transfer.c.id == transfer_id))


def enqueue_deliveries(database: Database) -> int:
    """Queue a run of each transfer without a schedule whose export has ended a run since; return how many."""
    unscheduled = ~exists().where(schedule.c.subject == "transfer", schedule.c.subject_id == transfer.c.id)
    later = exists().where(
        transfer_run.c.transfer_id == transfer.c.id, transfer_run.c.due_at >= export_run.c.finished_at
    )
    query = (
        select(transfer.c.id, export_run.c.finished_at)
        .join(export_run, export_run.c.export_id == transfer.c.export_id)
        .where(
            transfer.c.direction == "deliver",
            transfer.c.account_id.in_(select_active_ids()),
            export_run.c.state == "completed",
            export_run.c.finished_at >= transfer.c.created_at,
            unscheduled,
            ~later,
        )
        .order_by(export_run.c.finished_at)
    )
    with database.read_once() as connection:
        # One run brings all there is.
        newest = {row.id: row.finished_at for row in connection.execute(query)}
    if not newest:
        return 0

    def enqueue() -> int:
        with database.write() as connection:
            runs = [enqueue_run(connection, "transfer", key, due, scheduled=True) for key, due in newest.items()]
        return sum(run_id is not None for run_id in runs)

    return retry_on_conflict(enqueue)


def transfer_runs_of(connection: Connection, transfer_id: int, *, limit: int = 20) -> list[TransferRun]:
    """Return the newest runs of a transfer, newest first."""
    return _runs(connection, transfer_run.c.transfer_id == transfer_id, limit)


def load_transfer_run(connection: Connection, run_id: int) -> TransferRun:
    """Return one run, which must exist."""
    return _runs(connection, transfer_run.c.id == run_id, 1)[0]


def transferred_files(connection: Connection, transfer_id: int, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest files that a transfer fetched or brought, newest first, as rows for a listing."""
    query = select(done_file).where(done_file.c.transfer_id == transfer_id).order_by(done_file.c.id.desc()).limit(limit)
    return [
        {"run": row.run_id, "name": row.name, "size": row.size, "sha256": row.sha256, "at": row.at}
        for row in connection.execute(query)
    ]


def describe_subject(connection: Connection, found: Transfer) -> tuple[str, str]:
    """Return the name of a transfer's server, and what it is about: a feed's folder or `export ID`."""
    name = connection.execute(select(remote_server.c.name).where(remote_server.c.id == found.remote_id)).scalar_one()
    if found.feed_id is None:
        return name, f"export {found.export_id}"
    return name, connection.execute(select(feed.c.folder).where(feed.c.id == found.feed_id)).scalar_one()


def _runs(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[TransferRun]:
    query = (
        select(transfer_run, account.c.number)
        .join(transfer, transfer.c.id == transfer_run.c.transfer_id)
        .join(account, account.c.id == transfer.c.account_id)
        .where(condition)
        .order_by(transfer_run.c.id.desc())
        .limit(limit)
    )
    return [_run(row) for row in connection.execute(query)]


def _run(row: Row[Any]) -> TransferRun:
    return TransferRun(
        id=row.id,
        transfer_id=row.transfer_id,
        account_number=row.number,
        due_at=row.due_at,
        scheduled=row.scheduled,
        state=row.state,
        files=row.files,
        bytes=row.bytes,
        error_text=row.error_text,
        not_before=row.lease_until if row.state == RUNS.queued else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _transfer(row: Row[Any]) -> Transfer:
    settings = TransferSettings.from_dict(row.settings)
    subject = (row.feed_id, row.export_id)
    return Transfer(
        row.id, row.account_id, row.remote_id, row.direction, row.folder, *subject, settings, row.created_at
    )


def _check_folder(folder: str) -> str:
    try:
        return check_folder(folder)
    except ValueError as error:
        raise TransferError(str(error)) from None
