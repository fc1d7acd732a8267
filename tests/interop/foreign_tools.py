"""What every foreign SOAP stack has in common: what it needs, how its client is generated, how it is asked to call.

Each stack has a small driver. Those in other languages are programs that read one call per line as JSON from their
standard input and write one answer per line as JSON; only ASCII is written to them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

CLIENTS = Path(__file__).parent / "clients"
BUILD_SECONDS = 300

Contracts = Mapping[str, str]
"""Addresses of contracts by the names of their services."""


@dataclass(frozen=True)
class Request:
    """One call, as every stack can make it."""

    service: str
    namespace: str
    operation: str
    arguments: Mapping[str, Any]
    """All parameters in the contract's order; None sends none. A list is `{"of": element name, "items": [...]}`, and
    an item that is of a type that extends the declared one names it under `xsi:type`."""
    header: Mapping[str, Any] | None = None
    """`name` and `members` of the header."""
    address: str | None = None
    """Where to send it instead of to the address in the contract."""


Answer = dict[str, Any]
"""Holds `value`, or `fault` with its `code`, `text` and `detail` (text, or None when it came to nothing)."""


class Client(Protocol):
    """A stack that has a client of each service."""

    def call(self, request: Request) -> Answer:
        """Make one call and return what came of it."""


class Tool:
    """One foreign stack."""

    name: str
    versions: Sequence[str] = ("1.1", "1.2")
    """Of SOAP, that its clients can speak."""
    packages: str
    """How to install it."""
    programs: Sequence[str] = ()
    files: Sequence[str] = ()
    unable: Mapping[str, str] = MappingProxyType({})
    """Why it can make no client of some services, by their names."""

    @cached_property
    def is_installed(self) -> bool:
        """Whether all that it needs is there."""
        return self.find_parts()

    def find_parts(self) -> bool:
        """Look for all that it needs."""
        return all(map(shutil.which, self.programs)) and all(Path(file).exists() for file in self.files)

    def build(self, folder: Path, contracts: Contracts) -> None:
        """Generate and compile the clients in an empty folder, unless the stack does so while it runs."""

    def connect(self, folder: Path, contracts: Contracts, version: str) -> AbstractContextManager[Client]:
        """Start the driver for a version of SOAP."""
        raise NotImplementedError


def run(folder: Path, *command: str | Path) -> None:
    """Run one step of a build in a folder.

    Raises:
        RuntimeError: with all it printed, when it fails.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        printed = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{printed}")


def _read_contract(address: str) -> bytes:
    """Return a served contract without the server's host and port."""
    place = urlsplit(address)
    connection = HTTPConnection(place.netloc, timeout=60)
    connection.request("GET", f"{place.path}?{place.query}")
    content = connection.getresponse().read()
    connection.close()
    return content.replace(place.netloc.encode(), b"")


@contextmanager
def reuse_build(tool: str, contracts: Contracts, sources: Path) -> Iterator[tuple[Path, bool]]:
    """Keep what is built in the block for later runs with the same contracts and driver.

    Args:
        tool: names it.
        contracts: as served; their addresses make no difference.
        sources: folder of the driver.

    Returns:
        Where to build, and whether that was done before.
    """
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        digest.update(path.read_bytes())
    for name, address in sorted(contracts.items()):
        digest.update(name.encode() + _read_contract(address))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "listbridge-interop"
    kept = cache / f"{tool}-{digest.hexdigest()[:32]}"
    if kept.exists():
        yield kept, True
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as unfinished:
        yield Path(unfinished, "build"), False
        for former in cache.glob(f"{tool}-*"):
            shutil.rmtree(former, ignore_errors=True)
        Path(unfinished, "build").rename(kept)


class _Driver:
    """Speaks with a driver program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def call(self, request: Request) -> Answer:
        sink, source = self._process.stdin, self._process.stdout
        assert sink is not None and source is not None
        sink.write(json.dumps(asdict(request)).encode() + b"\n")
        sink.flush()
        line = source.readline()
        if not line:
            raise RuntimeError(f"The driver ended with {self._process.wait()} in {request.operation}.")
        answer: Answer = json.loads(line)
        return answer


@contextmanager
def start_driver(folder: Path, *command: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[Client]:
    """Run a driver program in a folder; what it writes to its standard error is shown when the block fails."""
    errors = folder / "driver.err"
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
        )
    try:
        with process:
            try:
                yield _Driver(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(60)
    except Exception as error:
        error.add_note(errors.read_text(errors="replace")[-3000:])
        raise
    finally:
        process.kill()
