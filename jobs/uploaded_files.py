"""Files that lie in an account's home, found by the names that programs give them, and kept while they are used."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jobs.feeds import OUTCOME_FOLDERS
from jobs.storage import Storage, sync_directory

_MAX_NAME = 1_000
_NOT_SEARCHED = frozenset(OUTCOME_FOLDERS) - {"processed"} | {"export"}


def find_uploaded(storage: Storage, account_number: int, name: str) -> Path | None:
    """Return a file of an account's home; None when there is none.

    Args:
        storage: where the home is.
        account_number: whose home.
        name: a path in it; or a name alone, of the newest file of that name in any of its folders. Files that were
            refused or cut are found by their paths only.
    """
    parts = PurePosixPath(name.strip().lstrip("/")).parts
    if not parts or len(name) > _MAX_NAME or ".." in parts or "\\" in name or not name.isprintable():
        return None
    home = storage.home(account_number).resolve()
    direct = home.joinpath(*parts)
    if _is_own(direct):
        return direct
    if len(parts) > 1:
        return None
    return max(_search(home, parts[0]), key=lambda path: path.stat().st_mtime, default=None)


def keep_in_spool(storage: Storage, path: Path) -> str:
    """Link a file into the spool, where it stays as it is whatever becomes of its name; return its name there.

    Raises:
        OSError: it is gone, or the disk does not let it.
    """
    key = uuid.uuid4().hex
    target = storage.imports / key
    os.link(path, target, follow_symlinks=False)
    if not stat.S_ISREG(target.lstat().st_mode):
        target.unlink()
        raise OSError("it is no plain file any more")
    sync_directory(storage.imports)
    return key


def _search(home: Path, name: str) -> Iterator[Path]:
    # Without following links, of which partners cannot make any.
    for folder, subfolders, files in os.walk(home):
        subfolders[:] = [subfolder for subfolder in subfolders if subfolder not in _NOT_SEARCHED]
        path = Path(folder, name)
        if name in files and _is_own(path):
            yield path


def _is_own(path: Path) -> bool:
    """Tell whether a path is a file, and no part of it a symbolic link."""
    try:
        return path.is_file() and path.resolve() == path
    except OSError:
        return False
