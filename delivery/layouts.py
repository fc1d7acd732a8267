"""Text with gaps as bytes: what is the same for all recipients is prepared, and only the gaps are filled for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from delivery.sources import Occasion, Source

Encode = Callable[[str], bytes]


class Gap(NamedTuple):
    """A place that each recipient's own value is put into."""

    source: Source
    encode: Encode


Piece = bytes | Gap


class Form:
    """All different gaps of a mail: each source is asked once for a recipient, and each value encoded once."""

    def __init__(self) -> None:
        self._sources: dict[Source, int] = {}
        self._gaps: dict[tuple[int, Encode], int] = {}

    def number(self, gap: Gap) -> int:
        """Return which of the encoded values stands in a gap."""
        source = self._sources.setdefault(gap.source, len(self._sources))
        return self._gaps.setdefault((source, gap.encode), len(self._gaps))

    def fill_in(self, occasion: Occasion) -> list[bytes]:
        """Return the encoded values for a recipient, in the order of their numbers."""
        values = [source(occasion) for source in self._sources]
        return [encode(values[source]) for source, encode in self._gaps]


class Layout:
    """A text with gaps."""

    def __init__(self, pieces: Iterable[Piece], form: Form) -> None:
        """Prepare a text.

        Args:
            pieces: in order.
            form: knows the gaps of the whole mail.
        """
        # Fixed text and gaps take turns.
        self._parts: list[bytes] = [b""]
        self._numbers: list[int] = []
        for piece in pieces:
            if isinstance(piece, bytes):
                self._parts[-1] += piece
            else:
                self._parts += (b"", b"")
                self._numbers.append(form.number(piece))

    def fill(self, values: Sequence[bytes]) -> bytes:
        """Return the text with its gaps filled.

        Args:
            values: what `Form.fill_in` returned.
        """
        parts = self._parts.copy()
        parts[1::2] = [values[number] for number in self._numbers]
        return b"".join(parts)
