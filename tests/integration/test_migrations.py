"""Migrations lead from each schema to the next, and to the tables that the program declares."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select

import db
from audience.accounts import add_account
from db.engine import Database
from db.migration import is_current, migrate
from db.tables import account, metadata

LATEST_BUT_ONE = "0001"


def _go_back(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(db.__file__).parent / "migrations"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, LATEST_BUT_ONE)


def test_migrated_tables_are_the_declared_ones(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_older_database_is_upgraded_and_keeps_its_rows(database: Database) -> None:
    with database.write() as connection:
        add_account(connection, 1, password="secret")
    _go_back(database)
    assert not is_current(database)
    assert not inspect(database.engine).has_table("access_key")
    migrate(database)
    assert is_current(database)
    assert inspect(database.engine).has_table("access_key")
    with database.read() as connection:
        assert connection.execute(select(account.c.number)).scalars().all() == [1]
