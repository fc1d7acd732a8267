"""Calls whose transaction the database ends in favour of another one: repeated, so that nothing is lost.

Triggers end the first transactions, as a deadlock would; they count in a sequence, which no rollback winds back.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from web_server import Site, serve

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.retry import POSTGRESQL_RETRIES
from db.tables import import_run, subscription
from jobs.storage import Storage
from services.mailup.import_service import NAMESPACE

pytestmark = pytest.mark.postgresql

_ENVELOPE = (
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><Authentication><User>a1</User>'
    "<Password>secret</Password></Authentication></e:Header><e:Body>"
    f'<StartImportProcesses xmlns="{NAMESPACE}"><listsIDs>1;2</listsIDs><xmlDoc>&lt;subscribers/&gt;</xmlDoc>'
    "</StartImportProcesses></e:Body></e:Envelope>"
)


@pytest.fixture
def database(postgresql_url: str) -> Iterator[Database]:
    database = Database(postgresql_url)
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        add_list(connection, account.id, "News")
        add_list(connection, account.id, "Offers")
    yield database
    database.close()


@pytest.fixture
def site(database: Database, storage: Storage) -> Iterator[Site]:
    with serve(database, storage) as site:
        yield site


def _break(database: Database, table: str, times: int, state: str) -> None:
    """Let the first `times` changes of a table fail with an SQLSTATE."""
    with database.write() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE changes")
        connection.exec_driver_sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('changes') <= {times} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF; "
            "RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION fail()"
        )


def _count_changes(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT last_value FROM changes").scalar_one())


def _count_subscriptions(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(subscription)).scalar_one()


@pytest.mark.parametrize("state", ["40P01", "40001"])
@pytest.mark.parametrize("times", [1, POSTGRESQL_RETRIES])
def test_an_unsubscription_survives(site: Site, database: Database, state: str, times: int) -> None:
    assert site.get("/frontend/xmlSubscribe.aspx", Email="ada@example.com", List=1, Confirm=0).text == "0"
    _break(database, "subscription", times, state)
    assert site.get("/frontend/xmlUnsubscribe.aspx", Email="ada@example.com", List=1).text == "0"
    assert site.get("/frontend/xmlChkSubscriber.aspx", Email="ada@example.com", List=1).text == "3"
    assert _count_changes(database) == times + 1


@pytest.mark.parametrize(("state", "attempts"), [("40P01", POSTGRESQL_RETRIES + 1), ("23514", 1)])
def test_what_stays_impossible_is_told(site: Site, database: Database, state: str, attempts: int) -> None:
    _break(database, "recipient", 100, state)
    assert site.get("/frontend/xmlSubscribe.aspx", Email="ada@example.com", List=1).text == "1"
    assert _count_changes(database) == attempts
    assert _count_subscriptions(database) == 0


def test_an_import_starts_once_for_each_list(site: Site, database: Database, storage: Storage) -> None:
    _break(database, "import_run", 1, "40P01")
    reply = site.request("POST", "/Services/WSMailUpImport.asmx", _ENVELOPE.encode(), {"Content-Type": "text/xml"})
    assert reply.text.count("ReturnCode&gt;0&lt;") == 3
    with database.read() as connection:
        names = connection.execute(select(import_run.c.spool_name)).scalars().all()
    assert len(set(names)) == 2
    assert {path.name for path in storage.imports.iterdir()} == set(names)
