"""What all files that send have in common while a worker has them: their run, their account, and what is written of it.

A file is worked off in two steps, each one transaction: what is sent is made, with an import of the people it goes to;
and when that import has ended, the sending is planned. Whoever does a step again finds that it was done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sqlalchemy import Connection, Row, select

from audience.accounts import Account
from audience.errors import UnknownList
from audience.lists import Group, MailingList, add_group, find_list
from audience.numbers import take_number
from db.engine import Database
from db.leases import RunTable
from db.retry import retry_on_conflict
from db.tables import list_group, sending_file
from delivery.sending_requests import SendingRules
from exchange.errors import FileRefused
from exchange.profiles import Profile
from jobs.local_times import first_instant
from jobs.queue import ImportRequest, enqueue_import
from jobs.sending_folders import SendingFolder, load_folder
from jobs.storage import Storage, sync_directory

SENDING_FILES = RunTable(sending_file)
_IMPORT_DOORS: Mapping[str, str] = {"recipients": "soap"}
Outcome = TypeVar("Outcome")


class LeaseLost(Exception):
    """Another process took the run over; this one must not write any more."""


@dataclass(frozen=True)
class Work:
    """A claimed run."""

    database: Database
    storage: Storage
    run: Row[Any]
    """Of `sending_file`, as it was when the step began."""
    account: Account
    owner: str
    rules: SendingRules

    @cached_property
    def folder(self) -> SendingFolder:
        """What was agreed about the folder it came to; the defaults when it came to none."""
        if self.run.feed_id is None:
            return SendingFolder()
        with self.database.read_once() as connection:
            return load_folder(connection, self.run.feed_id).settings

    @property
    def has_begun(self) -> bool:
        return "begun" in self.run.options

    def open(self) -> BinaryIO:
        """Open the file's copy in the spool.

        Raises:
            FileRefused: `spool-missing`.
        """
        path: Path = self.storage.imports / self.run.spool_name
        try:
            return path.open("rb")
        except FileNotFoundError:
            text = "The server's copy of the file is gone; send the file again."
            raise FileRefused("spool-missing", text) from None

    def write(self, step: Callable[[Connection], Outcome]) -> Outcome:
        """Do a step in one writing transaction, again when others got in its way.

        Raises:
            LeaseLost: another process has the run now.
        """

        def attempt() -> Outcome:
            with self.database.write() as connection:
                if not SENDING_FILES.renew(connection, self.run.id, self.owner):
                    raise LeaseLost
                return step(connection)

        return retry_on_conflict(attempt)

    def note(self, connection: Connection, *, begun: bool = False, **values: Any) -> None:
        """Write column values of the run, in the transaction of a step; `counters` are added to those it has."""
        if begun:
            values["options"] = {**self.run.options, **values.get("options", {}), "begun": True}
        if "counters" in values:
            values["counters"] = {**self.run.counters, **values["counters"]}
        connection.execute(sending_file.update().where(sending_file.c.id == self.run.id).values(**values))

    def reload(self) -> Work:
        """Return the same with the run as it is now."""
        with self.database.read_once() as connection:
            run = connection.execute(select(sending_file).where(sending_file.c.id == self.run.id)).one()
        return replace(self, run=run)

    def instant_of(self, shown: datetime | None) -> datetime | None:
        """Return the instant of a date and time, naive ones in the account's zone; None when it has passed."""
        if shown is None:
            return None
        instant = first_instant(shown, self.account.zone) if shown.tzinfo is None else shown.astimezone(UTC)
        return instant if instant > datetime.now(UTC) else None

    @contextmanager
    def writing_people(self) -> Iterator[BinaryIO]:
        """Give a stream for the people of the sending; it is in the spool when the `with` block ends well.

        The name is the same each time, so that an attempt that died leaves nothing behind.
        """
        target = self.storage.imports / self.people_name
        part = target.with_name(f"{target.name}.part")
        try:
            with part.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_directory(self.storage.imports)

    @property
    def people_name(self) -> str:
        """Name in the spool of the file with the people."""
        return f"{self.run.spool_name}-people"

    def import_people(
        self, connection: Connection, mailing: MailingList, profile: Profile, *, spool_name: str, file_name: str
    ) -> int:
        """Put the import of a sending's people into the queue, in the transaction of a step; return its id."""
        request = ImportRequest(
            account_id=self.account.id,
            list_id=mailing.id,
            profile=profile,
            source=_IMPORT_DOORS.get(self.run.kind, "ftp"),
            file_name=file_name,
            spool_name=spool_name,
            size=(self.storage.imports / spool_name).stat().st_size,
        )
        return enqueue_import(connection, request)


def find_list_of(connection: Connection, account: Account, number: int, guid: str = "", *, text: str) -> MailingList:
    """Return the list that a file names.

    Raises:
        FileRefused: `unknown-list`, with this text.
    """
    try:
        return find_list(connection, account.id, number, guid or None)
    except UnknownList:
        raise FileRefused("unknown-list", text) from None


def add_temporary_group(connection: Connection, mailing: MailingList) -> Group:
    """Make the group that the people of one file are put into; its name has a number of its own in the account."""
    while True:
        name = f"Automatic {take_number(connection, mailing.account_id, 'temporary-group'):02}"
        taken = select(list_group.c.id).where(list_group.c.list_id == mailing.id, list_group.c.name == name)
        # The members of a group of that name that somebody made by hand must get nothing.
        if connection.execute(taken).first() is None:
            return add_group(connection, mailing, name)
