"""An account with lists, people and events, for tests of exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from audience.accounts import Account, add_account
from audience.lists import add_list
from audience.status_rules import Channel, Status
from db.engine import Database
from db.leases import name_owner
from db.tables import export_run, recipient, subscription
from jobs.export_runs import run_next_export
from jobs.exports import ExportSettings, add_export, request_run
from jobs.storage import Storage


def day(number: int, hour: int = 12) -> datetime:
    """A moment of March 2026, in UTC."""
    return datetime(2026, 3, number, hour, tzinfo=UTC)


@dataclass
class World:
    """What exports are made of, and what they made."""

    database: Database
    storage: Storage
    account: Account
    lists: dict[int, int]
    """Ids by number."""

    def add_person(self, connection: Connection, **values: Any) -> int:
        """Add a recipient; return his id."""
        defaults = {"account_id": self.account.id, "fields": {}, "created_at": day(1), "updated_at": day(1)}
        inserted = connection.execute(recipient.insert().values(**{**defaults, **values}))
        assert inserted.inserted_primary_key is not None
        return int(inserted.inserted_primary_key[0])

    def subscribe(self, connection: Connection, person: int, list_number: int, **values: Any) -> None:
        """Add a subscription."""
        defaults = {"channel": Channel.EMAIL, "status": Status.SUBSCRIBED, "source": "page"}
        defaults |= {"subscribed_at": day(1), "changed_at": day(1)}
        key = {"recipient_id": person, "list_id": self.lists[list_number]}
        connection.execute(subscription.insert().values(**{**defaults, **key, **values}))

    def add_export(self, type: Any, **settings: Any) -> int:
        """Add an export; return its id."""
        with self.database.write() as connection:
            return add_export(connection, self.account, type, ExportSettings(**settings))

    def request(self, export_id: int) -> int:
        """Queue a run; return its id."""
        with self.database.write() as connection:
            return request_run(connection, export_id)

    def work(self) -> None:
        """Do what waits."""
        while run_next_export(self.database, self.storage, name_owner()):
            pass

    def run(self, run_id: int) -> Any:
        """The row of a run."""
        with self.database.read() as connection:
            return connection.execute(select(export_run).where(export_run.c.id == run_id)).one()

    def change_run(self, run_id: int, **values: Any) -> None:
        """Write into the row of a run."""
        with self.database.write() as connection:
            connection.execute(export_run.update().where(export_run.c.id == run_id).values(**values))

    def files_of(self, run_id: int) -> dict[str, bytes]:
        """What a run left in the home, by name."""
        found = self.run(run_id)
        assert found.state == "completed", found
        home = self.storage.home(self.account.number)
        return {Path(name).name: (home / name).read_bytes() for name in found.files}

    def export(self, type: Any, **settings: Any) -> list[str]:
        """Run a new export; return the lines of its file."""
        run_id = self.request(self.add_export(type, **settings))
        self.work()
        (content,) = self.files_of(run_id).values()
        return content.decode().splitlines()


def make_world(database: Database, storage: Storage, number: int = 7, *, lists: int = 2) -> World:
    """Add an account with some lists."""
    with database.write() as connection:
        account = add_account(connection, number, password="a long password")
        ids: Mapping[int, int] = {n: add_list(connection, account.id, f"List {n}").id for n in range(1, lists + 1)}
    return World(database, storage, account, dict(ids))
