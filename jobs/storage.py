"""The files of a server: homes of accounts, spool, and the rules of durable writing.

    DATA/homes/<account number>/         what the account's FTP users see
    DATA/spool/receiving/                uploads in progress, hidden from everyone
    DATA/spool/imports/                  files judged complete, one per import, never changed again
    DATA/spool/exports/                  exports being written

All of it must lie on one file system: files move by rename and hard link alone.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the files of this server are."""

    root: Path
    reserve: int = 100 * 1024 * 1024
    """Bytes of free disk below which nothing more is accepted."""

    @property
    def homes(self) -> Path:
        return self.root / "homes"

    @property
    def receiving(self) -> Path:
        return self.root / "spool" / "receiving"

    @property
    def imports(self) -> Path:
        return self.root / "spool" / "imports"

    @property
    def exports(self) -> Path:
        return self.root / "spool" / "exports"

    def prepare(self) -> None:
        """Make the directories, readable by the server's own user alone."""
        for path in (self.homes, self.receiving, self.imports, self.exports):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def home(self, account_number: int) -> Path:
        """Return the home of an account; see `prepare_home` for its folders."""
        return self.homes / str(account_number)

    def prepare_home(self, account_number: int, *folders: str) -> Path:
        """Make an account's home with its export folder and the given folders, such as `import/1`."""
        home = self.home(account_number)
        for folder in ("import", "export", *folders):
            (home / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        return home

    def has_room(self) -> bool:
        """Tell whether more free disk is left than the reserve."""
        return shutil.disk_usage(self.root).free > self.reserve


def sync_directory(path: Path) -> None:
    """Make renames, links and removals inside a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(source: Path, target: Path) -> None:
    """Rename a finished file to where others look for it, durably, replacing what was there."""
    sync_file(source)
    source.replace(target)
    sync_directory(target.parent)


def free_name(folder: Path, name: str) -> Path:
    """Return `folder/name`, or with a counter before the suffix while that name is taken."""
    candidate = folder / name
    stem, suffix = candidate.stem, candidate.suffix
    count = 1
    while candidate.exists():
        candidate = folder / f"{stem}-{count}{suffix}"
        count += 1
    return candidate
