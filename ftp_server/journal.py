"""Notes about uploads that are under way, so that a killed server can finish them when it starts again.

A note lies beside the hidden file, `DATA/spool/receiving/<key>.json`, from before the first byte until the upload
has been put aside, is only kept, or has its import in the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import orjson

from jobs.storage import Storage

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Note:
    """Where an upload belongs."""

    account: int
    """Number of the account."""
    folder: str
    """Relative to the account's home."""
    name: str
    inode: int = 0
    """Not 0: the visible file with this inode was judged complete, whatever its name alone would say."""


def write_note(storage: Storage, key: str, note: Note) -> None:
    """Keep a note under the key of its upload."""
    (storage.receiving / f"{key}{_SUFFIX}").write_bytes(orjson.dumps(asdict(note)))


def remove_note(storage: Storage, key: str) -> None:
    """Forget an upload; nothing happens when it is forgotten already."""
    (storage.receiving / f"{key}{_SUFFIX}").unlink(missing_ok=True)


def read_notes(storage: Storage) -> Iterator[tuple[str, Note | None]]:
    """Return keys with their notes; None for a note that was never written to its end."""
    for path in sorted(storage.receiving.glob(f"*{_SUFFIX}")):
        try:
            yield path.stem, Note(**orjson.loads(path.read_bytes()))
        except (orjson.JSONDecodeError, TypeError):
            yield path.stem, None
