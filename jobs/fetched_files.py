"""Which files of a partner's server were fetched, and which of these were put away there since.

A file that was put away and is there again is another one, even where name, size and time are the same: many servers
tell no time, and a nightly file may keep its size.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import select

from db.tables import transferred_file
from jobs.remote_sessions import RemoteFile
from jobs.transfer_work import Work

_PUT_AWAY = ":put-away:"

Identity = tuple[str, int, str]


def identity_of(file: RemoteFile) -> Identity:
    """Return what a remote file is known by: name, size in bytes, and time as the server writes it."""
    return file.name, file.size, file.modified


class FetchedFiles:
    """What a transfer has fetched; only the worker that has its run changes it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._sums: dict[Identity, str | None] = {}
        self._put_away: Counter[Identity] = Counter()
        columns = transferred_file.c
        query = select(columns.name, columns.size, columns.modified, columns.sha256)
        with work.database.read_once() as connection:
            for row in connection.execute(query.where(columns.transfer_id == work.transfer.id)):
                modified, put_away, _ = row.modified.partition(_PUT_AWAY)
                identity = (row.name, row.size, modified)
                if put_away:
                    self._put_away[identity] += 1
                else:
                    self._sums[identity] = row.sha256

    def is_known(self, file: RemoteFile) -> bool:
        """Tell whether a file was fetched, and is not known to have been put away since."""
        return identity_of(file) in self._sums

    def sum_of(self, file: RemoteFile) -> str | None:
        """Return the SHA-256, hexadecimal, of what was fetched as a file that is known."""
        return self._sums[identity_of(file)]

    def generation_of(self, file: RemoteFile) -> int:
        """Return how many files of this identity were there before, and were put away."""
        return self._put_away[identity_of(file)]

    def add(self, file: RemoteFile, sha256: str) -> None:
        """Know a file whose row has been written, by `Work.note_file`."""
        self._sums[identity_of(file)] = sha256

    def note_put_away(self, file: RemoteFile) -> None:
        """Write down that a known file is not at the partner's any more.

        Raises:
            LeaseLost: the run is someone else's now.
        """
        name, size, modified = identity = identity_of(file)
        columns = transferred_file.c
        mine = (columns.transfer_id == self._work.transfer.id) & (columns.name == name) & (columns.size == size)
        marked = f"{modified}{_PUT_AWAY}{self._put_away[identity] + 1}"
        update = transferred_file.update().where(mine, columns.modified == modified).values(modified=marked)
        self._work.write(lambda connection: connection.execute(update))
        self._put_away[identity] += 1
        del self._sums[identity]
