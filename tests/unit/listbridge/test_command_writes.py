"""How commands write: again, from the start, when the database gave their transaction up."""

from __future__ import annotations

from command_results import Run
from sqlalchemy import Connection, select

from db.tables import account
from listbridge.app import Application
from listbridge.commands.options import application, write


def _collide(opened: Application) -> None:
    """Meet the lock of the transaction that is open already."""
    with opened.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        connection.exec_driver_sql("UPDATE account SET name = 'Other'")


def test_a_write_is_repeated_from_the_start(customer: Run) -> None:
    seen: list[str] = []
    with application() as opened:

        def work(connection: Connection) -> int:
            seen.append(connection.execute(select(account.c.name)).scalar_one())
            connection.execute(account.update().values(name="Written"))
            if len(seen) == 1:
                _collide(opened)
            return len(seen)

        assert write(opened, work) == 2
        with opened.database.read_once() as connection:
            assert connection.execute(select(account.c.name)).scalar_one() == "Written"
    assert seen == ["Account 7", "Account 7"]
