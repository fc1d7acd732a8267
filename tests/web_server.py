"""A web application behind a real socket, for tests: in a thread of the test, or under granian in a process."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from werkzeug.serving import WSGIRequestHandler, make_server

from db.engine import Database
from jobs.storage import Storage
from services.contracts import SERVICES
from services.http.application import HttpOptions, create_application
from services.soap.declarations import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Site:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request over a connection of its own; an iterable body is sent in chunks."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: object) -> Reply:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.request("GET", path + query, headers=headers)

    def post_form(self, path: str, form: Mapping[str, object] | bytes) -> Reply:
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        return self.request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Write nothing."""


@contextmanager
def serve(
    database: Database,
    storage: Storage,
    options: HttpOptions | None = None,
    services: Iterable[Service] = SERVICES,
) -> Iterator[Site]:
    """Run the application in threads of this process."""
    application = create_application(database, storage, options or HttpOptions(), services)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Site("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serve_with_granian(
    database: Database,
    storage: Storage,
    *,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
    factory: str = "web_server:create_from_environment",
) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """Run the application as it runs in production, in processes of its own.

    Args:
        database: of the newest schema.
        storage: prepared.
        workers: processes.
        environment: more variables of them.
        factory: makes the application, in a module of `tests` or `tests/interop`.
    """
    site = Site("127.0.0.1", _free_port())
    settings = {
        "TEST_DATABASE": database.url,
        "TEST_DATA": str(storage.root),
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests:{ROOT}/tests/interop",
    }
    program = (
        "from services.http.server import run_web_server;"
        f"run_web_server('127.0.0.1', {site.port}, {workers}, '{factory}')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | settings | dict(environment or {})
    )
    try:
        _wait_until_alive(site, process)
        yield site, process
    finally:
        process.terminate()
        process.wait(60)


def kill_server(process: subprocess.Popen[bytes]) -> None:
    """Kill a server with its processes, at once."""
    children = [
        int(child)
        for path in Path(f"/proc/{process.pid}/task").glob("*/children")
        for child in path.read_text(encoding="ascii").split()
    ]
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGKILL)


def create_from_environment() -> WSGIApplication:
    """Return the application of a granian worker."""
    storage = Storage(Path(os.environ["TEST_DATA"]), reserve=0)
    options = HttpOptions(body_seconds=float(os.environ.get("TEST_BODY_SECONDS", "30")))
    return create_application(Database(os.environ["TEST_DATABASE"]), storage, options)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_alive(site: Site, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if site.get("/healthz").status == 200:
                return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
