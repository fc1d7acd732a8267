"""How much a user's home holds, and whether more may come. Slow; not for a loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audience.ftp_users import FtpUser
from ftp_server.journal import hidden_files
from jobs.storage import Storage


@dataclass(frozen=True, slots=True)
class Usage:
    """What a home holds, with the uploads to it that are under way."""

    size: int
    """Bytes."""
    files: int


def check_quota(storage: Storage, user: FtpUser, incoming: int = 0) -> str | None:
    """Tell why a user cannot store one more file.

    Args:
        storage: has the home and the uploads under way.
        user: who wants to store it.
        incoming: bytes of the file, as far as they are announced.

    Returns:
        A sentence for the user; None when there is no objection.
    """
    rights = user.rights
    if rights.quota_bytes is None and rights.quota_files is None:
        return None
    usage = measure(storage, user.account.number)
    if rights.quota_files is not None and usage.files >= rights.quota_files:
        return f"The home folder may hold {rights.quota_files:,} files and no more."
    if rights.quota_bytes is not None and usage.size + max(incoming, 1) > rights.quota_bytes:
        return f"The home folder may hold {rights.quota_bytes:,} bytes and no more."
    return None


def room_in_home(storage: Storage, user: FtpUser) -> int | None:
    """Return how many more bytes a user's home takes, below zero when it holds too many; None: without limit."""
    quota = user.rights.quota_bytes
    return None if quota is None else quota - measure(storage, user.account.number).size


def measure(storage: Storage, account_number: int) -> Usage:
    """Measure the home of an account and the uploads to it; a file with two names in them counts once."""
    seen: set[int] = set()
    size, files = 0, 0
    for entry in _files(storage, account_number):
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if found.st_nlink > 1 and found.st_ino in seen:
            continue
        seen.add(found.st_ino)
        size, files = size + found.st_size, files + 1
    return Usage(size, files)


def _files(storage: Storage, account_number: int) -> Iterator[os.DirEntry[str] | Path]:
    yield from hidden_files(storage, account_number)
    yield from _files_below(storage.home(account_number))


def _files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        else:
            yield entry
