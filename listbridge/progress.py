"""How far a long command is: a moving bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ROWS_PER_LINE = 100_000
_BLOCK = 1 << 20

Report = Callable[[int, int], None]
"""Told the records done and the size of the file."""


@contextmanager
def show_progress(path: Path) -> Iterator[Report]:
    """Show on standard error how an import goes on.

    Args:
        path: the file; its line ends tell about how many rows there will be.
    """
    if not sys.stderr.isatty():
        yield _Lines().report
        return
    columns = (
        TextColumn("{task.completed:,.0f} rows"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("import", total=_estimate_rows(path))
        yield lambda done, _size: progress.update(task, completed=done)


class _Lines:
    def __init__(self) -> None:
        self._told = 0

    def report(self, done: int, _size: int) -> None:
        if done - self._told >= ROWS_PER_LINE:
            self._told = done - done % ROWS_PER_LINE
            print(f"{done:,} rows", file=sys.stderr, flush=True)


def _estimate_rows(path: Path) -> int | None:
    """Return about how many rows a file has; None when it is compressed."""
    with path.open("rb") as content:
        if content.read(4) == b"PK\x03\x04":
            return None
        content.seek(0)
        return sum(block.count(b"\n") for block in iter(lambda: content.read(_BLOCK), b""))
