"""The real command line as a subprocess: an installation with a directory and ports of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

STOP_SECONDS = 60


@dataclass
class Installation:
    """A working directory, the settings in it, and the processes that were started."""

    directory: Path
    http: str
    ftp: str
    sftp: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a plain environment with this installation's addresses."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("LISTBRIDGE_")}
        return plain | {
            "LISTBRIDGE_HTTP": self.http,
            "LISTBRIDGE_FTP": self.ftp,
            "LISTBRIDGE_SFTP": self.sftp,
            "LISTBRIDGE_DISK_RESERVE_MB": "0",
        }

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [Path(sys.executable).with_name("listbridge"), *arguments],
            env=self.environment | variables,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on running; its output is merged into one pipe."""
        process = subprocess.Popen(
            [Path(sys.executable).with_name("listbridge"), *arguments],
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[str]:
        """Start the whole server and wait until it says that it is ready."""
        process = self.start("serve")
        read_until(process, "Listbridge is ready.")
        return process

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_SECONDS)
            assert process.stdout is not None
            process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read lines of a process until one has this text; the lines are returned."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    pytest.fail(f"The process ended without saying {text!r}:\n{''.join(lines)}")


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Send a signal; return the exit code and the rest of the output."""
    process.send_signal(number)
    rest, _ = process.communicate(timeout=STOP_SECONDS)
    return process.returncode, rest


def make_installation(directory: Path) -> Installation:
    """Choose ports that are free now."""
    with socket.socket() as http, socket.socket() as ftp, socket.socket() as sftp:
        doors = (http, ftp, sftp)
        for door in doors:
            door.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
        return Installation(directory, addresses[0], addresses[1], addresses[2])
