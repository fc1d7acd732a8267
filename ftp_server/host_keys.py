"""The keys by which SSH clients know this server: made once, kept in the data directory, the same for ever after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncssh

from jobs.storage import Storage, publish

_KINDS = {"ed25519": ("ssh-ed25519", {}), "rsa": ("ssh-rsa", {"key_size": 3072})}


@dataclass(frozen=True, slots=True)
class HostKey:
    """One of the server's keys."""

    kind: str
    """`ed25519` or `rsa`."""
    key: asyncssh.SSHKey

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and base64, as OpenSSH shows it."""
        return self.key.get_fingerprint()


def key_folder(storage: Storage) -> Path:
    """Return where the keys are."""
    return storage.root / "ssh"


def make_host_keys(storage: Storage) -> list[HostKey]:
    """Return the server's keys; those that are not there yet are made.

    Raises:
        OSError: the data directory cannot be used.
        asyncssh.KeyImportError: a file of a key has something else in it.
    """
    folder = key_folder(storage)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for kind in _KINDS:
        if not _path(folder, kind).exists():
            _make(folder, kind)
    return read_host_keys(storage)


def read_host_keys(storage: Storage) -> list[HostKey]:
    """Return the server's keys, none before it was started for the first time.

    Raises:
        OSError: a key cannot be read.
        asyncssh.KeyImportError: a file of a key has something else in it.
    """
    paths = [(kind, _path(key_folder(storage), kind)) for kind in _KINDS]
    return [HostKey(kind, asyncssh.import_private_key(path.read_bytes())) for kind, path in paths if path.exists()]


def _path(folder: Path, kind: str) -> Path:
    return folder / f"host_{kind}"


def _make(folder: Path, kind: str) -> None:
    algorithm, options = _KINDS[kind]
    key = asyncssh.generate_private_key(algorithm, comment="listbridge", **options)
    unfinished = folder / f"host_{kind}.new"
    unfinished.unlink(missing_ok=True)
    # Readable by nobody else from its first byte on.
    unfinished.touch(mode=0o600, exist_ok=False)
    unfinished.write_bytes(key.export_private_key())
    publish(unfinished, _path(folder, kind))
