"""What transfers ask of a partner's server, whichever protocol it speaks; names and sizes it tells are not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from exchange.file_names import check_name

Wanted = Callable[[str], bool]
"""Tells by its name whether a file is of interest."""
TakeBlock = Callable[[bytes], None]
"""Takes the next bytes of a file; whatever it raises ends the transfer."""

BLOCK = 256 * 1024
MAX_ENTRIES = 250_000
"""Most entries of one folder; a security limit."""


class RemoteError(Exception):
    """A step at a partner's server failed; the text says which and why, without secrets. It may work later."""


class RemoteRefused(RemoteError):
    """It will not work later either: somebody has to change a setting here or there."""


class StepRefused(RemoteError):
    """The server said no to one step; the session goes on."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the server's listing describes it."""

    name: str
    """Without any folder; made sure to be a plain file name."""
    size: int
    modified: str
    """The time of its last change as the server writes it; empty when the server does not tell."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a folder."""

    files: tuple[RemoteFile, ...]
    unusable: int
    """Names that no file can have here: with separators, control characters, a dot in front, more than 200 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long, in seconds, a server may take; security limits."""

    connect: float = 10.0
    step: float = 60.0
    """For one command and its answer, and for each block of a file."""
    listing: float = 300.0
    """For one folder."""


class RemoteSession(Protocol):
    """An open session; every method raises `RemoteError` when the server fails it."""

    @property
    def fingerprint(self) -> str | None:
        """Of the host key or certificate that the server showed; None without encryption."""

    def list_files(self, folder: str, wanted: Wanted) -> Listing:
        """Return the regular files of a folder whose names are wanted."""

    def find(self, path: str) -> RemoteFile | None:
        """Return one file as a listing would describe it; None when there is none."""

    def fetch(self, path: str, take: TakeBlock) -> None:
        """Read a file from its beginning to its end."""

    def put(self, blocks: Iterable[bytes], path: str) -> None:
        """Write a file, replacing one of that name."""

    def rename(self, source: str, target: str, *, replace: bool) -> None:
        """Rename a file; one that has the new name is replaced only when `replace` is set."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def close(self) -> None:
        """End the session, without waiting long for the server."""


class ListingBuilder:
    """Collects the entries of a folder, and stops a server that never comes to an end."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._files: list[RemoteFile] = []
        self._unusable = 0
        self._entries = 0

    def count(self) -> None:
        """Count an entry of any kind.

        Raises:
            RemoteError: there were too many.
        """
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise RemoteError(f"The folder has more than {MAX_ENTRIES} entries.")

    def admit(self, name: str) -> bool:
        """Tell whether a file of this name is wanted and can have it here; what cannot is counted."""
        if not is_plain_name(name):
            self._unusable += 1
            return False
        return self._wanted(name)

    def add(self, file: RemoteFile) -> None:
        """Add a file that was admitted."""
        self._files.append(file)

    def build(self) -> Listing:
        return Listing(tuple(self._files), self._unusable)


def is_plain_name(name: str) -> bool:
    """Tell whether a name from a listing can be a file's name here, and names the same file there."""
    try:
        check_name(name)
    except ValueError:
        return False
    # The sign that stands for bytes which are not UTF-8 leads to no file.
    return "\ufffd" not in name and not name.startswith("~")


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder of the server."""
    return f"{folder.rstrip('/')}/{name}" if folder.strip("/") or folder.startswith("/") else name


def check_folder(folder: str) -> str:
    """Return a folder of a partner's server in the spelling that is used; empty for the one after login.

    Raises:
        ValueError: no command can name it.
    """
    if not folder.isprintable() or "\ufffd" in folder or len(folder.encode()) > 1000:
        raise ValueError("A folder's name must not have control characters or more than 1000 bytes.")
    if ".." in folder.split("/"):
        raise ValueError(f"{folder!r} leads upwards; name the folder itself.")
    return folder.rstrip("/") or ("/" if folder.startswith("/") else "")
