"""Sends one message over and over with wrk."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soap_peers.messages import Message
from benchmarks.soap_peers.processes import Server

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run has shown."""

    rate: float
    """Requests per second."""
    rate_per_core: float
    """Requests per second of processor time that the server took."""
    p99: float
    """Milliseconds in which 99 of 100 requests were answered."""
    load_share: float
    """Processor time of the load generator, as a share of one core."""


def send_load(
    server: Server, path: str, message: Message, *, seconds: float, clients: int, core: int | None = None
) -> Figures:
    """Send a message from so many clients, each over one connection, for some seconds.

    Raises:
        ValueError: some were not answered with 2xx.
    """
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    with tempfile.NamedTemporaryFile() as envelope:
        envelope.write(message.envelope)
        envelope.flush()
        # One thread: it must not take the processor from servers that share it.
        options = ["--threads", "1", "--connections", str(clients), "--duration", str(max(1, round(seconds)))]
        target = f"http://127.0.0.1:{server.port}{path}"
        command = [*pinned, "wrk", *options, "--script", str(_SCRIPT), target, "--", envelope.name, message.action]
        taken, began, used = server.processor_seconds(), time.perf_counter(), _children_seconds()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        taken, elapsed = server.processor_seconds() - taken, time.perf_counter() - began
    result = json.loads(output.splitlines()[-1])
    if result["failed"] or not result["requests"]:
        raise ValueError(f"requests failed: {result}")
    return Figures(
        rate=result["requests"] / result["microseconds"] * 1e6,
        rate_per_core=result["requests"] / max(taken, 0.01),
        p99=result["p99_microseconds"] / 1000,
        load_share=(_children_seconds() - used) / elapsed,
    )


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
