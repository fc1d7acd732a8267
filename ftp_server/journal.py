"""Notes about uploads that are under way, so that a killed server can finish them when it starts again.

A note lies beside the hidden file, `DATA/spool/receiving/<key>.json`, from before the first byte until the upload
has been put aside, is answered and only kept, or has its import in the database. It is the only proof of what a
stopped server had promised: files without one are nobody's promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import orjson

from jobs.storage import Storage, sync_directory, sync_file

_SUFFIX = ".json"
_UNFINISHED = ".note"

Door = Literal["ftp", "ftps", "sftp", "scp", "scan", "remote"]
"""How a file came: by which protocol, found in its folder, or fetched from a partner's server."""

Standing = Literal["receiving", "waiting", "watched", "complete", "incomplete"]


@dataclass(frozen=True, slots=True)
class Note:
    """Where an upload belongs."""

    account: int
    """Number of the account."""
    folder: str
    """Relative to the account's home."""
    name: str
    inode: int = 0
    """Of the visible file; 0 as long as it is hidden. Another file that has its name since then is not meant."""
    rule: str = ""
    """Completeness rule of the folder when the note was written; empty for a folder without a profile."""
    standing: Standing = "receiving"
    """Verdict so far: "waiting" for its marker or for its file, when it is a marker; "watched" through the quiet
    time, with all evidence but that; "complete" to be imported; "incomplete" to be put aside."""
    door: Door | None = None
    """None in notes of versions that knew of FTP alone."""

    def __post_init__(self) -> None:
        """Check what came from a file.

        Raises:
            TypeError: a field has a value that no note is written with.
        """
        texts = (self.folder, self.name, self.rule)
        numbers = (self.account, self.inode)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
            raise TypeError("A field of the note has another type.")
        if self.standing not in get_args(Standing):
            raise TypeError("The note's standing is unknown.")
        if self.door is not None and self.door not in get_args(Door):
            raise TypeError("The note's door is unknown.")


def write_note(storage: Storage, key: str, note: Note) -> None:
    """Keep a note under the key of its upload, in place of an earlier one; a kill leaves one or the other."""
    unfinished = storage.receiving / f"{key}{_UNFINISHED}"
    try:
        unfinished.write_bytes(orjson.dumps(asdict(note)))
        unfinished.replace(storage.receiving / f"{key}{_SUFFIX}")
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def sync_note(storage: Storage, key: str) -> None:
    """Make a note durable; nothing happens when it is forgotten already. Slow; not for the FTP loop."""
    with suppress(FileNotFoundError):
        sync_file(storage.receiving / f"{key}{_SUFFIX}")
    sync_directory(storage.receiving)


def remove_note(storage: Storage, key: str) -> None:
    """Forget an upload; nothing happens when it is forgotten already."""
    (storage.receiving / f"{key}{_SUFFIX}").unlink(missing_ok=True)


def read_notes(storage: Storage) -> Iterator[tuple[str, Note | None]]:
    """Return keys with their notes, None for one that cannot be read; notes never finished are removed."""
    for unfinished in storage.receiving.glob(f"*{_UNFINISHED}"):
        unfinished.unlink(missing_ok=True)
    for path in sorted(storage.receiving.glob(f"*{_SUFFIX}")):
        try:
            yield path.stem, Note(**orjson.loads(path.read_bytes()))
        except (orjson.JSONDecodeError, TypeError, OSError):
            yield path.stem, None


def hidden_files(storage: Storage, account_number: int) -> Iterator[Path]:
    """Return the files of an account's uploads that are not under their names yet; any of them may go meanwhile."""
    for path in storage.receiving.glob(f"*{_SUFFIX}"):
        with suppress(OSError, orjson.JSONDecodeError):
            hidden = path.with_suffix("")
            if orjson.loads(path.read_bytes())["account"] == account_number and hidden.exists():
                yield hidden
