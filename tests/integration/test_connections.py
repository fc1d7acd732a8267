"""Connections that have ended are replaced before anybody notices; reads without a transaction leave none behind."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from audience.accounts import add_account, find_account
from db.engine import Database


def _end_connections(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


@pytest.mark.postgresql
def test_replaces_connections_that_the_server_ended(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    with database.read() as first, database.read_once() as second:
        assert first.execute(text("SELECT 1")).scalar_one() == second.execute(text("SELECT 1")).scalar_one()
    _end_connections(postgresql_url)
    for _ in range(3):
        with database.read() as first, database.read_once() as second, database.write() as third:
            assert {one.execute(text("SELECT 1")).scalar_one() for one in (first, second, third)} == {1}
    database.close()


def test_reads_once_without_a_transaction(database: Database) -> None:
    with database.write() as connection:
        add_account(connection, 1, password="secret")
    with database.read_once() as connection:
        assert find_account(connection, 1).number == 1
        driver = connection.connection.driver_connection
        state = driver.in_transaction if database.is_sqlite else bool(driver.info.transaction_status)
        assert not state
        with database.write() as other:
            add_account(other, 2, password="secret")
        assert find_account(connection, 2).number == 2


def test_transactions_are_whole(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        add_account(connection, 1, password="secret")
        raise ZeroDivisionError
    with database.write() as connection:
        add_account(connection, 2, password="secret")
        with database.read() as other:
            assert other.execute(text("SELECT count(*) FROM account")).scalar_one() == 0
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM account")).scalar_one() == 1
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT nothing"))
