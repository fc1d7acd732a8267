"""The server that foreign clients call: granian in a process of its own, as in production, with the sample beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import select
from web_server import Site, serve_with_granian

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_group, add_list
from db.engine import Database
from db.migration import migrate
from db.tables import import_run
from jobs.storage import Storage

WORDS = "Città – 東京 – 😀"
PASSWORD = "secret"


@dataclass(frozen=True)
class Office:
    """An account of one client alone."""

    site: Site
    account: Account
    mailing: MailingList
    database: Database
    storage: Storage

    @property
    def user(self) -> str:
        return f"a{self.account.number}"

    def read_imported(self) -> str | None:
        """Return the document of the import that was asked for last."""
        query = select(import_run.c.spool_name).where(import_run.c.account_id == self.account.id)
        with self.database.read() as connection:
            names = connection.execute(query.order_by(import_run.c.id.desc())).scalars().all()
        return (self.storage.imports / names[0]).read_text(encoding="utf-8") if names else None


class Server:
    """A running server with its database."""

    def __init__(self, site: Site, database: Database, storage: Storage) -> None:
        self.site = site
        self._database = database
        self._storage = storage
        self._numbers = count(1001)

    def open_office(self) -> Office:
        """Add an account with a list and a group."""
        with self._database.write() as connection:
            account = add_account(connection, next(self._numbers), password=PASSWORD)
            mailing = add_list(connection, account.id, WORDS)
            add_group(connection, mailing, WORDS)
        return Office(self.site, account, mailing, self._database, self._storage)


@contextmanager
def serve_foreign_clients(folder: Path) -> Iterator[Server]:
    """Run the server with its data in a folder."""
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    factory = "sample_contract:create_from_environment"
    try:
        with serve_with_granian(database, storage, factory=factory) as (site, _process):
            yield Server(site, database, storage)
    finally:
        database.close()
