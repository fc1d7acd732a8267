"""Rows gathered into batches whose borders do not depend on where an interrupted reading began again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exchange.rows import Batch, RowError, SourceRow

BATCH_LENGTH = 8 << 20
"""Characters of records after which a batch ends, however few they are, so that memory is bounded."""


def gather_batches(records: Iterable[SourceRow | RowError], size: int, skipped: int) -> Iterator[Batch]:
    """Yield batches that end at multiples of `size` records of the whole file, or earlier after long records.

    Args:
        records: those after the first `skipped` of the file, where a batch ended before.
        size: most records in one batch.
        skipped: records of the file that come before.
    """
    rows: list[SourceRow] = []
    errors: list[RowError] = []
    position, length = skipped, 0
    for record in records:
        if isinstance(record, SourceRow):
            rows.append(record)
        else:
            errors.append(record)
        position += 1
        length += len(record.raw)
        if position % size == 0 or length >= BATCH_LENGTH:
            yield Batch(rows, errors, position)
            rows, errors, length = [], [], 0
    if rows or errors:
        yield Batch(rows, errors, position)
