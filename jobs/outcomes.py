"""What the sender of a file gets back: the file in `processed/` or `failed/`, its refused rows, and a result.

Everything here can be done again after a crash and gives the same files: a file that already stands in its
place is recognised by being the same file (hard link) as the one in the spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from exchange.error_rows import write_error_rows
from jobs.storage import Storage, publish, sync_directory

ERRORS_SUFFIX = ".errors.csv"
RESULT_SUFFIX = ".result.json"


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """The rows of a file that were not imported, or not wholly, as the file had them."""

    header: str
    separator: str
    encoding: str
    quote: str
    errors: Iterable[tuple[int, str, str, bytes]]
    """Line, code, text, record."""


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """An uploaded file that is done with."""

    folder: Path
    """Of the feed, in the account's home."""
    name: str
    shown_as: str
    """Its name in `processed/` or `failed/`; the same each time the file is handed back."""
    spool_name: str
    accepted: bool
    result: Mapping[str, Any]
    refused: RefusedRows | None


def hand_back(storage: Storage, outcome: FileOutcome) -> Path:
    """Move an uploaded file to where its sender finds it, with the refused rows and the result beside it.

    Returns:
        Where it is now; its name may have got a number.


    The file in the feed's folder is removed only if it is still the one that was imported; a newer upload of the
    same name stays.
    """
    spooled = storage.imports / outcome.spool_name
    place = outcome.folder / ("processed" if outcome.accepted else "failed")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = _link_once(spooled, place, outcome.shown_as) if spooled.exists() else place / outcome.shown_as
    if outcome.refused is not None:
        write_refused_rows(storage, outcome.spool_name, target.with_name(target.name + ERRORS_SUFFIX), outcome.refused)
    part = storage.exports / f"{outcome.spool_name}.result.part"
    part.write_bytes(orjson.dumps(outcome.result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    publish(part, target.with_name(target.name + RESULT_SUFFIX))
    visible = outcome.folder / outcome.name
    if _is_same_file(visible, spooled):
        visible.unlink()
        sync_directory(outcome.folder)
    return target


def write_refused_rows(storage: Storage, key: str, target: Path, refused: RefusedRows) -> None:
    """Write an error-rows file durably; see `exchange.error_rows` for its form."""
    part = storage.exports / f"{key}.errors.part"
    with part.open("wb") as out:
        _write(out, refused)
    publish(part, target)


def _write(out: BinaryIO, refused: RefusedRows) -> None:
    write_error_rows(
        out,
        header=refused.header,
        separator=refused.separator,
        encoding=refused.encoding,
        quote=refused.quote,
        errors=refused.errors,
    )


def _link_once(spooled: Path, place: Path, name: str) -> Path:
    """Link the spooled file into a folder under its name, or under a numbered one; return where it is."""
    candidate = place / name
    count = 1
    while True:
        try:
            os.link(spooled, candidate)
        except FileExistsError:
            if _is_same_file(candidate, spooled):
                return candidate
            candidate = place / f"{Path(name).stem}-{count}{Path(name).suffix}"
            count += 1
        else:
            sync_directory(place)
            return candidate


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except FileNotFoundError:
        return False


def describe_instant(instant: datetime | None) -> str | None:
    """Return an instant for a result file: ISO 8601 in UTC, whole seconds."""
    return instant.isoformat(timespec="seconds") if instant is not None else None
