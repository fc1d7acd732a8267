"""A feed's folder without a door: files arrive as from one, and imports are done in this process."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.lists import MailingList
from db.engine import Database
from db.leases import name_owner
from db.tables import import_run, notice, notification
from exchange.profiles import Profile
from jobs.acknowledgements import remove_markers
from jobs.feeds import Feed, find_feed, open_list, set_feed
from jobs.import_results import ImportResult, import_result
from jobs.imports import run_next_import
from jobs.queue import enqueue_arrival
from jobs.storage import Storage

NAME = "people.csv"
GOOD = b"email;mobile\nann@example.com;\nbob@example.com;\n"


@dataclass(frozen=True)
class FeedFolder:
    """The folder of a list."""

    database: Database
    storage: Storage
    account: Account
    mailing: MailingList

    @property
    def name(self) -> str:
        return f"import/{self.mailing.number}"

    @property
    def path(self) -> Path:
        return self.storage.home(self.account.number) / self.name

    def with_list(self, **profile: Any) -> FeedFolder:
        """Return the folder of a new list of the same account."""
        with self.database.write() as connection:
            mailing = open_list(connection, self.storage, self.account, "News", {})
        folder = FeedFolder(self.database, self.storage, self.account, mailing)
        folder.set_profile(**profile)
        return folder

    def set_profile(self, **values: Any) -> None:
        with self.database.write() as connection:
            set_feed(connection, self.storage, self.account, self.name, Profile(**values))

    def feed(self) -> Feed:
        with self.database.read() as connection:
            found = find_feed(connection, self.account.id, self.name)
        assert found is not None
        return found

    def arrive(self, content: bytes = GOOD, name: str = NAME) -> int:
        """Do what a door does with a complete file; return the import's id."""
        key, visible = uuid.uuid4().hex, self.path / name
        # Whole or not at all, and another file than an earlier one of that name.
        part = self.path / f".{name}"
        part.write_bytes(content)
        part.replace(visible)
        (self.storage.imports / key).hardlink_to(visible)
        remove_markers(self.feed().profile, visible)
        digest = hashlib.sha256(content).hexdigest()
        with self.database.write() as connection:
            return enqueue_arrival(
                connection, self.feed(), key=key, name=name, size=len(content), sha256=digest, reason="test"
            )

    def work(self) -> bool:
        """Do the next import, whoever had it before."""
        past = datetime.now(UTC) - timedelta(minutes=2)
        with self.database.write() as connection:
            connection.execute(import_run.update().values(lease_until=past))
        return run_next_import(self.database, self.storage, name_owner())

    def import_file(self, content: bytes = GOOD, name: str = NAME) -> ImportResult:
        """Have a file arrive and be imported."""
        import_id = self.arrive(content, name)
        assert self.work()
        with self.database.read() as connection:
            return import_result(connection, import_id)

    def files(self) -> Mapping[str, bytes]:
        """Return paths, relative to the folder, and contents of all that is in it."""
        found = sorted(path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in found}

    def notices(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(notice).order_by(notice.c.id)))

    def notifications(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(notification).order_by(notification.c.id)))


def open_feed_folder(database: Database, storage: Storage, **profile: Any) -> FeedFolder:
    """Return the folder of the first list of a new account."""
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        mailing = open_list(connection, storage, account, "News", {})
    folder = FeedFolder(database, storage, account, mailing)
    folder.set_profile(**profile)
    return folder
