"""A served account whose readers hold links, for tests of the hosted pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lxml import html
from sqlalchemy import Connection, select
from web_server import Reply, Site, serve

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Reason, State
from audience.subscriptions import Cause, change_state, parse_address, state_in_list
from db.engine import Database
from db.migration import migrate
from db.schema import metadata
from db.tables import account as account_table
from db.tables import history, mailing_list, outbox, recipient, subscription
from delivery.links import LinkKind, write_token
from jobs.storage import Storage
from services.http.options import HttpOptions

ADA = "ada@example.com"
SOURCE = Cause("test")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class HostedShop:
    """An account with three lists, behind a real socket."""

    site: Site
    database: Database
    account: Account
    news: MailingList
    offers: MailingList
    events: MailingList

    def empty(self) -> HostedShop:
        """Remove readers and settings."""
        with self.database.write() as connection:
            for table in (recipient, subscription, history, outbox):
                connection.execute(table.delete())
            for mailing in (self.news, self.offers, self.events):
                here = mailing_list.c.id == mailing.id
                connection.execute(
                    mailing_list.update().where(here).values(name=mailing.name, settings={}, deleted_at=None)
                )
        return self

    def configure(self, mailing: MailingList, name: str | None = None, **settings: object) -> None:
        """Give a list settings, and whatever name, checked by nobody."""
        values: dict[str, Any] = {"settings": settings} | ({"name": name} if name is not None else {})
        with self.database.write() as connection:
            connection.execute(mailing_list.update().where(mailing_list.c.id == mailing.id).values(**values))

    def bring(self, state: State, mailing: MailingList | None = None, email: str = ADA) -> int:
        """Bring a new reader into a state; return his id."""
        mailing = mailing or self.news
        address = parse_address(mailing, email=email)
        reason = Reason.HARD_BOUNCE if state == State.BLOCKED else Reason.LINK
        with self.database.write() as connection:
            first = REQUEST_CONFIRMATION if state == State.PENDING else SUBSCRIBE
            change = change_state(connection, mailing, address, first, SOURCE)
            if state in (State.UNSUBSCRIBED, State.BLOCKED):
                change_state(connection, mailing, address, UNSUBSCRIBE, Cause("test", reason))
            return change.recipient_id

    def state(self, mailing: MailingList | None = None, email: str = ADA) -> State:
        mailing = mailing or self.news
        with self.database.read() as connection:
            return state_in_list(connection, mailing, parse_address(mailing, email=email))

    def path(self, kind: LinkKind, *lists: MailingList, email: str = ADA, issued_at: datetime | None = None) -> str:
        """Return the path of a reader's link; he must be known."""
        with self.database.read() as connection:
            token = write_token(
                _secret_key(connection, self.account),
                kind,
                account_number=self.account.number,
                recipient_id=_find_recipient(connection, self.account, email),
                email=email,
                list_ids=[mailing.id for mailing in lists or (self.news,)],
                issued_at=issued_at,
            )
        return f"/{kind}/{token}"

    def press(self, path: str, **form: object) -> Reply:
        """Press the button of a page."""
        return self.site.request("POST", path, urlencode(form, doseq=True).encode(), FORM)

    def changes(self) -> list[tuple[Any, ...]]:
        """Return what links have written into the history: list, old and new status, reason, sub-type, actor."""
        columns = ("list_id", "old_status", "new_status", "reason_type", "reason_subtype", "actor")
        query = select(*(history.c[name] for name in columns)).where(history.c.source == "link").order_by(history.c.id)
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def queued(self) -> list[tuple[str, int]]:
        """Return kind and list of each mail that waits."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(select(outbox.c.kind, outbox.c.list_id))]  # type: ignore[misc]


@contextmanager
def serve_hosted_shop(folder: Path) -> Iterator[HostedShop]:
    """Serve the account from an embedded database of its own."""
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    with serve(database, Storage(folder, reserve=0), HttpOptions(form_rate_per_address=0)) as site:
        yield open_hosted_shop(site, database)
    database.close()


def open_hosted_shop(site: Site, database: Database, number: int = 1234) -> HostedShop:
    """Add the account to a server."""
    with database.write() as connection:
        account = add_account(connection, number, password="secret")
        lists = [add_list(connection, account.id, name) for name in ("News", "Offers", "Events")]
    return HostedShop(site, database, account, *lists)


def dump_tables(database: Database) -> dict[str, list[Any]]:
    """Return everything in the database."""
    with database.read() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table)).all())) for name, table in metadata.tables.items()
        }


def parse_page(reply: Reply) -> html.HtmlElement:
    """Return the root of a page."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    assert headers["content-type"] == "text/html; charset=utf-8"
    return html.document_fromstring(reply.text)


def heading(reply: Reply) -> str:
    """Return the text of the only main heading of a page."""
    (found,) = parse_page(reply).xpath("//h1")
    return str(found.text_content())


def items(reply: Reply) -> list[str]:
    """Return the names of lists that a page shows, as items or beside boxes."""
    found: Iterable[Any] = parse_page(reply).xpath("//li | //label")
    return [element.text_content().strip() for element in found]


def _secret_key(connection: Connection, account: Account) -> str:
    query = select(account_table.c.secret_key).where(account_table.c.id == account.id)
    return str(connection.execute(query).scalar_one())


def _find_recipient(connection: Connection, account: Account, email: str) -> int:
    query = select(recipient.c.id).where(recipient.c.account_id == account.id, recipient.c.email == email)
    return int(connection.execute(query).scalar_one())
