"""Runs the web application in worker processes under granian."""

from __future__ import annotations

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

THREADS = 16
"""Threads of a worker that run requests; they mostly wait for the database."""
BACKLOG = 1024
"""Connections the system holds before a worker takes them."""
STOP_SECONDS = 30
"""How long requests in progress may go on after the signal to stop."""


def run_web_server(host: str, port: int, workers: int, application_factory: str, *, threads: int = THREADS) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Args:
        host: address to listen on.
        port: TCP port.
        workers: processes; one that dies is replaced.
        application_factory: `package.module:function`, called without arguments in each worker.
        threads: of each worker, for requests.
    """
    server = Server(
        application_factory,
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        backlog=BACKLOG,
        # Requests in progress or waiting for a thread; further connections stay in the backlog.
        backpressure=4 * threads,
        # The watch over slow bodies cuts connections, which several requests share in HTTP/2.
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    server.serve()
