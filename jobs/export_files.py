"""The files of one run on their way: written in the spool, named, and linked into the account's home.

    SPOOL/<run>.<nonce>.part       being written
    SPOOL/<run>.<place>.ready      finished; places count from 0, manifests come last
    SPOOL/<run>.facts              what is told of the files in manifests, while there are to be some

A file that is gone from the spool, though its name is recorded, has been delivered. None ever replaces another file.
"""

from __future__ import annotations

import hashlib
import secrets
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import orjson

from jobs.export_settings import ExportSettings
from jobs.storage import Storage, free_name, publish, sync_directory

Record = Callable[[list[str]], None]
"""Records the names of all files of the run, durably."""


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file of rows."""

    list: int | None
    """Number of the list that it is about; None: about all of them."""
    rows: int
    size: int
    """In bytes."""
    sha256: str | None
    """Hexadecimal; None where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How the files of a run are called."""

    settings: ExportSettings
    values: dict[str, str]
    """What stands for `{type}`, `{account}` and `{id}` in names."""
    due: datetime
    """The date of the run, in the account's time zone."""

    def name(self, list_number: int | None) -> str:
        """Return the name of the file of rows."""
        return self.settings.render_name(self.values, self.due, list_number)

    def outer_name(self, list_number: int | None) -> str:
        """Return the name of the file that the partner sees, which may be an archive."""
        name = self.name(list_number)
        return f"{PurePosixPath(name).stem}.zip" if self.settings.zip else name

    def inner_name(self, list_number: int | None) -> str:
        """Return the name of the file inside its archive."""
        name = self.name(list_number)
        return f"{PurePosixPath(name).stem}.csv" if name.lower().endswith(".zip") else name


class RunFiles:
    """The files of one run."""

    def __init__(self, storage: Storage, run_id: int, account_number: int, naming: Naming) -> None:
        """Look at the spool of a run.

        Args:
            storage: where spool and home are.
            run_id: whose files.
            account_number: whose home.
            naming: how they are called.
        """
        self._storage = storage
        self._run_id = run_id
        self._account_number = account_number
        self._naming = naming
        self._settings = naming.settings
        self._facts_path = storage.exports / f"{run_id}.facts"

    @contextmanager
    def create(self, place: int, list_number: int | None) -> Iterator[BinaryIO]:
        """Give an output for the rows of a file, which becomes the finished file at this place when the block ends."""
        with self._create(self._ready(place)) as out:
            if not self._settings.zip:
                yield out
                return
            date = self._naming.due.timetuple()[:6]
            entry = zipfile.ZipInfo(self._naming.inner_name(list_number), date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with zipfile.ZipFile(out, "w") as archive, archive.open(entry, "w", force_zip64=True) as cell:
                # What is handed out is closed by the archive alone.
                yield cell  # type: ignore[misc]

    def describe(self, place: int, list_number: int | None, rows: int) -> Written:
        """Return what is to be told of the finished file at a place."""
        path = self._ready(place)
        return Written(list_number, rows, path.stat().st_size, self._digest(path) if self._settings.manifest else None)

    def name(self, written: Sequence[Written], record: Record) -> list[str]:
        """Choose free names for all files, and make the manifests; return the names, relative to the home.

        Args:
            written: the finished files, by place.
            record: called with the names before this returns; from then on rows are not read again.
        """
        facts = orjson.dumps([asdict(one) for one in written])
        if written and self._settings.manifest:
            with self._create(self._facts_path) as out:
                out.write(facts)
        elif self._facts_path.exists():
            # Of an attempt that found rows, or made manifests.
            self._facts_path.unlink()
            sync_directory(self._storage.exports)
        names = [self._free(self._naming.outer_name(one.list)) for one in written]
        names += self._make_manifests(names)
        record(names)
        return names

    def deliver(self, names: list[str], record: Record) -> list[str]:
        """Link the files into the home, unless an attempt before did, manifests last; return the names they have there.

        Args:
            names: of all files, by place, relative to the home.
            record: called with the names when some had to be changed, because others have them by now.
        """
        # A spool that is away must not look like one from which the files were delivered.
        self._storage.exports.stat()
        self._adopt_earlier()
        place = 0
        while place < len(names):
            if self._link(place, names[place]):
                place += 1
            else:
                names = self._rename(place, names)
                record(names)
        return names

    def remove(self, place: int) -> None:
        """Remove a finished file that is not to be delivered."""
        self._ready(place).unlink(missing_ok=True)

    def _adopt_earlier(self) -> None:
        """Give a file its name of now that was finished before an upgrade, when a run had only one."""
        earlier = self._storage.exports / f"{self._run_id}.ready"
        if earlier.exists():
            earlier.rename(self._ready(0))
            sync_directory(self._storage.exports)

    def _ready(self, place: int) -> Path:
        return self._storage.exports / f"{self._run_id}.{place}.ready"

    @contextmanager
    def _create(self, target: Path) -> Iterator[BinaryIO]:
        part = self._storage.exports / f"{self._run_id}.{secrets.token_hex(4)}.part"
        try:
            with part.open("wb") as out:
                yield out
            publish(part, target)
        finally:
            part.unlink(missing_ok=True)

    def _digest(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _facts(self) -> list[Written]:
        """Return what manifests tell; nothing where there are none."""
        if not self._facts_path.exists():
            return []
        return [Written(**one) for one in orjson.loads(self._facts_path.read_bytes())]

    def _make_manifests(self, names: Sequence[str]) -> list[str]:
        """Make the manifests for files of these names; return the manifests' own names."""
        facts = self._facts()
        if not facts:
            return []
        told = list(zip([PurePosixPath(name).name for name in names], facts, strict=False))
        with self._create(self._ready(len(facts))) as out:
            out.writelines(f"{one.sha256}  {name}\n".encode() for name, one in told)
        files = [{"name": name, **{key: v for key, v in asdict(one).items() if v is not None}} for name, one in told]
        total = {"rows": sum(one.rows for one in facts), "bytes": sum(one.size for one in facts)}
        for file in files:
            file["bytes"] = file.pop("size")
        with self._create(self._ready(len(facts) + 1)) as out:
            out.write(orjson.dumps({"files": files, **total}, option=orjson.OPT_INDENT_2) + b"\n")
        base = self._naming.outer_name(None) if self._settings.split_by_list else told[0][0]
        return [self._free(f"{base}{suffix}") for suffix in (".sha256", ".json")]

    def _rename(self, place: int, names: Sequence[str]) -> list[str]:
        """Return the names with another one for a file whose name is taken; manifests tell the names of the others."""
        changed = list(names)
        changed[place] = self._free(PurePosixPath(names[place]).name)
        count = len(self._facts())
        return [*changed[:count], *self._make_manifests(changed[:count])] if place < count else changed

    def _link(self, place: int, name: str) -> bool:
        """Link a file into the home, unless that was done; False when another file has the name."""
        ready = self._ready(place)
        if not ready.exists():
            return True
        target = self._storage.prepare_home(self._account_number, str(PurePosixPath(name).parent)) / name
        try:
            # Not a rename: that would replace a file which got this name in the meantime.
            target.hardlink_to(ready)
        except FileExistsError:
            if not target.samefile(ready):
                return False
        sync_directory(target.parent)
        ready.unlink(missing_ok=True)
        return True

    def _free(self, name: str) -> str:
        folder = self._settings.folder
        home = self._storage.prepare_home(self._account_number, folder)
        return f"{folder}/{free_name(home / folder, name).name}"


def remove_leftovers(storage: Storage, run_id: int) -> int:
    """Remove what attempts of a finished run left in the spool; return the number of files."""
    leftovers = list(storage.exports.glob(f"{run_id}.*"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
