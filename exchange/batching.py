"""Rows gathered into batches whose borders do not depend on where an interrupted reading began again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from exchange.rows import Batch, RowError, SourceRow


def gather_batches(records: Iterable[SourceRow | RowError], size: int, skipped: int) -> Iterator[Batch]:
    """Yield batches that end at multiples of `size` records of the whole file.

    Args:
        records: those after the first `skipped` of the file.
        size: most records in one batch.
        skipped: records of the file that come before.
    """
    source = iter(records)
    position = skipped
    while chunk := list(islice(source, size - position % size)):
        position += len(chunk)
        rows = [record for record in chunk if isinstance(record, SourceRow)]
        errors = [record for record in chunk if isinstance(record, RowError)]
        yield Batch(rows, errors, position)
