"""Starts servers on chosen processors and tells what processor time and memory they take."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Command:
    """A program that runs in the foreground until it is told to end."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    socket: Path | None = None
    """A file that is there when it is ready."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: a port and all of its processes."""

    port: int
    processes: Sequence[subprocess.Popen[bytes]]

    def processor_seconds(self) -> float:
        """Return the processor time that its processes have taken so far."""
        return sum(map(_processor_seconds, self._ids()))

    def memory(self) -> float:
        """Return its memory in MB; pages that its processes share count once."""
        return sum(map(_memory, self._ids()))

    def _ids(self) -> list[int]:
        return [found for process in self.processes for found in _descend(process.pid)]


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_server(commands: Sequence[Command], port: int, log: Path, core: int | None = None) -> Iterator[Server]:
    """Run the programs of one server, pinned to one core if one is given, until the block ends.

    Args:
        commands: the programs.
        port: opened by one of them when it is ready.
        log: gets what they write.
        core: number of a processor.

    Raises:
        RuntimeError: a program has ended or the port was not opened; with the end of the log.
    """
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        processes = []
        for command in commands:
            process = subprocess.Popen(
                [*pinned, *command.arguments],
                cwd=ROOT,
                env=os.environ | dict(command.environment),
                stdout=output,
                stderr=output,
            )
            stack.callback(_stop, process)
            processes.append(process)
        sockets = [command.socket for command in commands if command.socket is not None]
        if not _wait_until_ready(port, sockets, processes):
            raise RuntimeError(f"it did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        yield Server(port, processes)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(port: int, sockets: Sequence[Path], processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            return False
        if _is_open(port) and all(path.exists() for path in sockets):
            return True
        time.sleep(0.05)
    return False


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _descend(pid: int) -> Iterator[int]:
    """Return a process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield from _descend(int(child))


def _processor_seconds(pid: int) -> float:
    # The name of the program, in brackets, may hold spaces.
    values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / _TICKS


def _memory(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1024
