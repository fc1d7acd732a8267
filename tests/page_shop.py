"""A served account with two lists, for tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from web_server import Reply, Site, serve

from audience.accounts import Account, add_account
from audience.lists import Group, MailingList, add_group, add_list
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Reason, State
from audience.subscriptions import Cause, change_state, parse_address, state_in_list
from db.engine import Database
from db.migration import migrate
from db.tables import group_member, history, mailing_list, outbox, recipient, subscription
from jobs.storage import Storage
from services.http.options import HttpOptions


@dataclass(frozen=True)
class Shop:
    """A served account with two lists."""

    site: Site
    database: Database
    account: Account
    news: MailingList
    offers: MailingList
    group: Group

    def call(self, page: str, host: str = "", **parameters: Any) -> str:
        reply = self.site.get(f"/frontend/{page}.aspx", {"Host": host} if host else None, **parameters)
        return check_page(reply)

    def state(self, email: str = "ada@example.com", mailing: MailingList | None = None) -> State:
        mailing = mailing or self.news
        with self.database.read() as connection:
            return state_in_list(connection, mailing, parse_address(mailing, email=email))

    def bring(self, state: State, email: str = "ada@example.com") -> None:
        """Bring an address into a state on the first list."""
        with self.database.write() as connection:
            address = parse_address(self.news, email=email)
            if state in (State.SUBSCRIBED, State.UNSUBSCRIBED, State.BLOCKED):
                change_state(connection, self.news, address, SUBSCRIBE, Cause("test"))
            if state in (State.UNSUBSCRIBED, State.BLOCKED):
                reason = Reason.HARD_BOUNCE if state == State.BLOCKED else Reason.LINK
                change_state(connection, self.news, address, UNSUBSCRIBE, Cause("test", reason))
        if state == State.PENDING:
            assert self.call("xmlSubscribe", Email=email, List=1) == "0"

    def fields(self, email: str = "ada@example.com") -> dict[str, str]:
        with self.database.read() as connection:
            found = select(recipient.c.fields).where(recipient.c.email == email)
            fields: dict[str, str] = connection.execute(found).scalar_one()
            return fields

    def mobile(self, email: str = "ada@example.com") -> str | None:
        with self.database.read() as connection:
            found = select(recipient.c.mobile).where(recipient.c.email == email)
            mobile: str | None = connection.execute(found).scalar_one()
            return mobile

    def configure(self, mailing: MailingList, **settings: Any) -> None:
        """Set a list's settings, and nothing else."""
        with self.database.write() as connection:
            here = mailing_list.c.id == mailing.id
            connection.execute(mailing_list.update().where(here).values(settings=settings))

    def mails(self) -> list[tuple[str, int, list[int] | None]]:
        """Return kind, list and confirmed lists, by internal ids, of each mail in the outbox, the oldest first."""
        with self.database.read() as connection:
            query = select(outbox.c.kind, outbox.c.list_id, outbox.c.list_ids).order_by(outbox.c.id)
            return [(row.kind, row.list_id, row.list_ids) for row in connection.execute(query)]

    def clear(self) -> None:
        """Forget all people, mails and settings of the lists."""
        with self.database.write() as connection:
            for table in (recipient, subscription, history, group_member, outbox):
                connection.execute(table.delete())
            connection.execute(mailing_list.update().values(settings={}))

    def count(self, table: object) -> int:
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def check_page(reply: Reply) -> str:
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    return reply.text


def open_shop(site: Site, database: Database) -> Shop:
    with database.write() as connection:
        account = add_account(connection, 1234, password="secret")
        news, offers = add_list(connection, account.id, "News"), add_list(connection, account.id, "Offers")
        return Shop(site, database, account, news, offers, add_group(connection, news, "Friends"))


@contextmanager
def run_sqlite_shop(folder: Path, options: HttpOptions | None = None) -> Iterator[Shop]:
    """Serve a new account on a new SQLite database, for the tests of a module."""
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    with run_shop(database, Storage(folder, reserve=0), options) as shop:
        yield shop
    database.close()


@contextmanager
def run_shop(database: Database, storage: Storage, options: HttpOptions | None = None) -> Iterator[Shop]:
    """Serve a new account of an empty database."""
    with serve(database, storage, options) as site:
        yield open_shop(site, database)
