"""An account with a list whose files are fetched from a partner's server, and an export that is brought there."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from partner_servers import LOOPBACK
from sqlalchemy import select

from audience.accounts import Account, add_account
from db.engine import Database
from db.leases import name_owner
from db.tables import arrival, export, export_run, import_run, transfer_run
from exchange.profiles import Profile
from jobs.feeds import open_list, set_feed
from jobs.remote_access import Dialer
from jobs.remote_servers import Access, add_remote_server
from jobs.remote_sessions import Patience
from jobs.schedules import request_run
from jobs.storage import Storage
from jobs.transfer_runs import run_next_transfer
from jobs.transfers import TransferRun, TransferSettings, add_delivery, add_fetch, load_transfer_run

QUICK = Patience(connect=5.0, step=5.0, listing=20.0)
FEED = "import/1"


@dataclass
class World:
    """What a test of transfers works with."""

    database: Database
    storage: Storage
    account: Account
    dialer: Dialer

    @classmethod
    def make(cls, database: Database, storage: Storage, patience: Patience = QUICK, **profile: Any) -> World:
        with database.write() as connection:
            account = add_account(connection, 7, password="a long password")
            open_list(connection, storage, account, "Newsletter", {})
            set_feed(connection, storage, account, FEED, Profile(**profile))
        return cls(database, storage, account, Dialer(LOOPBACK, patience=patience))

    @property
    def home(self) -> Path:
        return self.storage.home(self.account.number)

    def add_server(self, access: Access, name: str = "partner") -> str:
        with self.database.write() as connection:
            add_remote_server(connection, self.account.id, name, access)
        return name

    def add_fetch(self, access: Access, folder: str, name: str = "partner", **settings: Any) -> int:
        self.add_server(access, name)
        values = TransferSettings(**{"quiet": 0, **settings})
        with self.database.write() as connection:
            return add_fetch(connection, self.account, name, folder=folder, into=FEED, settings=values)

    def add_delivery(self, access: Access, folder: str, **settings: Any) -> int:
        self.add_server(access)
        with self.database.write() as connection:
            inserted = connection.execute(
                export.insert().values(
                    account_id=self.account.id,
                    type="unsubscribers",
                    settings={"folder": "export"},
                    created_at=datetime.now(UTC),
                )
            )
            assert inserted.inserted_primary_key is not None
            export_id = int(inserted.inserted_primary_key[0])
            values = TransferSettings(**settings)
            return add_delivery(
                connection, self.account, "partner", export_id=export_id, folder=folder, settings=values
            )

    def complete_export(self, name: str, content: bytes) -> None:
        """Put a file into the home as a completed run of the newest export does."""
        folder = self.storage.prepare_home(self.account.number) / "export"
        (folder / name).write_bytes(content)
        now = datetime.now(UTC)
        with self.database.write() as connection:
            export_id = connection.execute(select(export.c.id).order_by(export.c.id.desc())).scalars().first()
            connection.execute(
                export_run.insert().values(
                    export_id=export_id,
                    due_at=now,
                    scheduled=False,
                    state="completed",
                    file_name=name,
                    files=[f"export/{name}"],
                    finished_at=now,
                )
            )

    def request(self, transfer_id: int) -> int:
        with self.database.write() as connection:
            return request_run(connection, "transfer", transfer_id)

    def run(self, transfer_id: int) -> TransferRun:
        """Ask for a run and do what waits; return what became of it."""
        run_id = self.request(transfer_id)
        self.work_off()
        return self.load(run_id)

    def work_off(self, stopping: threading.Event | None = None) -> None:
        owner = name_owner()
        while run_next_transfer(self.database, self.storage, owner, stopping, dialer=self.dialer):
            pass

    def load(self, run_id: int) -> TransferRun:
        with self.database.read() as connection:
            return load_transfer_run(connection, run_id)

    def make_due(self) -> None:
        """Have the runs that wait for their next attempt begin now."""
        with self.database.write() as connection:
            connection.execute(transfer_run.update().where(transfer_run.c.state == "queued").values(lease_until=None))

    def imports(self) -> list[tuple[str, bytes]]:
        """Return names and contents of what is in the import queue, in order."""
        query = select(import_run.c.file_name, import_run.c.spool_name).order_by(import_run.c.id)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return [(row.file_name, (self.storage.imports / row.spool_name).read_bytes()) for row in rows]

    def doors(self) -> set[str | None]:
        with self.database.read() as connection:
            return set(connection.execute(select(arrival.c.door)).scalars())

    def spooled(self) -> int:
        """Return the number of files in the spool, of whatever kind."""
        return len(list(self.storage.imports.iterdir()))
