"""What came of the calls of each stack, recorded once in a test run however many processes share it.

A stack's client is generated, built and made to go through the whole script by the first process that needs it;
the answers are kept in a file, and each test looks at one of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from foreign_tools import Answer, Tool
from interop_server import Server, serve_foreign_clients

Recording = Mapping[str, Mapping[str, Answer]]
"""Answers by version of SOAP and situation."""
Script = Callable[[Tool, Server, Path], Recording]


class Recordings:
    """The recordings of a test run.

    Args:
        folder: the same for all processes of the run.
        scratch: of this process alone.
        tools: those whose tests are in this run.
        script: makes all calls with one tool.
    """

    def __init__(self, folder: Path, scratch: Path, tools: Sequence[Tool], script: Script) -> None:
        self._folder = folder
        self._scratch = scratch
        self._tools = tools
        self._script = script
        self._resources = ExitStack()
        self._server: Server | None = None
        self._found: dict[Tool, Recording] = {}

    def close(self) -> None:
        """Stop the server, if it was needed."""
        self._resources.close()

    def find(self, tool: Tool) -> Recording:
        """Return what was recorded with a tool.

        Raises:
            RuntimeError: its client could not be built or run.
        """
        if tool not in self._found:
            self._found[tool] = self._find(tool)
        found = self._found[tool]
        if "failure" in found:
            raise RuntimeError(found["failure"]["text"])
        return found

    def _find(self, tool: Tool) -> Recording:
        with _lock(self._path(tool, "lock"), wait=False) as is_free:
            if is_free:
                self._record(tool)
        # Another process is at it: meanwhile, do those that nobody does.
        for other in self._tools:
            if self._path(tool, "json").exists():
                break
            with _lock(self._path(other, "lock"), wait=False) as is_free:
                if is_free:
                    self._record(other)
        with _lock(self._path(tool, "lock"), wait=True):
            found: Recording = json.loads(self._path(tool, "json").read_text())
        return found

    def _path(self, tool: Tool, ending: str) -> Path:
        return self._folder / f"{tool.name}.{ending}"

    def _record(self, tool: Tool) -> None:
        path = self._path(tool, "json")
        if path.exists():
            return
        home = self._folder / tool.name
        home.mkdir()
        found: Mapping[str, Any]
        try:
            found = self._script(tool, self._running_server(), home)
        except Exception:
            found = {"failure": {"text": traceback.format_exc()}}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(found, default=str))
        unfinished.replace(path)

    def _running_server(self) -> Server:
        if self._server is None:
            self._server = self._resources.enter_context(serve_foreign_clients(self._scratch))
        return self._server


@contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock between processes while the block runs; tell whether it was got."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def shared_folder(base: Path) -> Path:
    """Return a folder that all processes of the run share; `base` is pytest's for this process."""
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "interop"
    folder.mkdir(exist_ok=True)
    return folder
