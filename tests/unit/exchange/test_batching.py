"""Batches that end at the same records wherever reading began."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exchange.batching import gather_batches
from exchange.rows import Batch, RowError, SourceRow


def make_record(number: int, *, good: bool) -> SourceRow | RowError:
    if good:
        return SourceRow(number, "", f"{number}@example.com", "", "", "", "", "", {})
    return RowError(number, "columns", "", "")


@given(st.lists(st.booleans()), st.integers(1, 7), st.integers(0, 40))
def test_resumed_batches_are_the_tail_of_uninterrupted_ones(kinds: list[bool], size: int, skip: int) -> None:
    records = [make_record(number, good=good) for number, good in enumerate(kinds, 1)]
    whole = list(gather_batches(records, size, 0))
    assert [batch.position for batch in whole] == [
        min(end, len(records)) for end in range(size, len(records) + size, size)
    ]
    resumed = list(gather_batches(records[skip:], size, skip)) if skip <= len(records) else []
    after = skip - skip % size
    expected = [batch for batch in whole if batch.position > after and batch.position > skip]
    if expected and skip % size:
        first = expected[0]
        lines = slice(skip, first.position)
        kept = records[lines]
        rows = [record for record in kept if isinstance(record, SourceRow)]
        errors = [record for record in kept if isinstance(record, RowError)]
        expected[0] = Batch(rows, errors, first.position)
    assert resumed == expected
