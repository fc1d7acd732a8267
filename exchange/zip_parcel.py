"""Files that arrive packed: the one member of a ZIP archive, with the known tricks of archives refused."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO

from exchange.errors import FileRefused

SIZE_MOST = 1 << 30
"""Most bytes of an unpacked member; a security limit."""

RATIO_MOST = 200
"""Most bytes one packed byte may become, once the member is larger than `RATIO_FROM`; a security limit."""

RATIO_FROM = 10 << 20

DIRECTORY_MOST = 1 << 20
"""Most bytes of the archive's directory, which is read into memory at once; a security limit."""

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
NESTED = (
    *_SIGNATURES,
    b"\x1f\x8b",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    *(b"BZh%d1AY&SY" % level for level in range(1, 10)),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_BUFFER_SIZE = 1 << 16
_UNSAFE_NAME = re.compile(r"[\x00-\x1f]|^/|^[A-Za-z]:|(^|/)\.\.(/|$)")


def open_member(stream: BinaryIO, file_name: str) -> BinaryIO:
    """Return the stream itself, rewound, or the only file of the ZIP archive that it holds.

    An archive is unpacked once for a check, so that damage anywhere is known before any row is imported.
    What is returned can be rewound, and closing it closes `stream`; so does a refusal.

    Args:
        stream: seekable; an archive is known by its first bytes.
        file_name: only to see that something named as an archive is one.

    Raises:
        FileRefused: `zip-damaged`, `zip-encrypted`, `zip-members`, `zip-path`, `zip-bomb` or `zip-nested`.
    """
    try:
        return _open_content(stream, file_name)
    except FileRefused:
        stream.close()
        raise


class _Archive(io.RawIOBase):
    """An archive whose directory cannot be larger than the limit."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_MOST:
            raise FileRefused("zip-members", "The ZIP archive has far more than one member.")
        return self._stream.read(size)


class _Member(io.RawIOBase):
    """The bytes of one member, closed together with the archive."""

    def __init__(self, member: IO[bytes], stream: BinaryIO) -> None:
        self._member = member
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._member.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        block = self._member.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._member.close()
        self._stream.close()
        super().close()


def _open_content(stream: BinaryIO, file_name: str) -> BinaryIO:
    stream.seek(0)
    signature = stream.read(4)
    stream.seek(0)
    if signature in _SIGNATURES:
        return io.BufferedReader(_Member(_find_member(stream), stream), _BUFFER_SIZE)
    if file_name.lower().endswith(".zip"):
        raise FileRefused("zip-damaged", "The file is named .zip but is no ZIP archive.")
    return stream


@contextmanager
def noticing_damage(text: str = "The ZIP archive is damaged.") -> Iterator[None]:
    """Refuse the file, with this text, when what is read in a `with` block turns out to be damaged.

    Raises:
        FileRefused: `zip-damaged`.
    """
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError) as error:
        raise FileRefused("zip-damaged", text) from error


def open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    """Read the directory of an archive; the names in it are known to lead nowhere else.

    Some programs of Windows separate folders by backslashes, although APPNOTE 4.4.17.1 wants slashes.

    Raises:
        FileRefused: `zip-members` or `zip-path`.
        zipfile.BadZipFile: it is damaged; see `noticing_damage`.
    """
    archive = zipfile.ZipFile(_Archive(stream))
    for info in archive.infolist():
        if _UNSAFE_NAME.search(info.orig_filename.replace("\\", "/")):
            raise FileRefused("zip-path", "The ZIP archive has a member whose name leads out of its folder.")
        info.filename = info.filename.replace("\\", "/")
    return archive


def _find_member(stream: BinaryIO) -> IO[bytes]:
    with noticing_damage():
        archive = open_archive(stream)
        chosen = _choose_member(archive)
        member = archive.open(chosen)
        begin = member.read(_BUFFER_SIZE)
        while member.read(_BUFFER_SIZE):
            pass
        if member.tell() != chosen.file_size:
            raise zipfile.BadZipFile("the member is shorter than its directory entry says")
        member.seek(0)
    if begin.startswith(NESTED):
        raise FileRefused("zip-nested", "The ZIP archive holds another archive.")
    return member


def _choose_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not is_ignored(info)]
    if len(members) != 1:
        raise FileRefused("zip-members", f"The ZIP archive must hold one file; it holds {len(members)}.")
    check_member(archive, members[0])
    return members[0]


def check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse a member that cannot or must not be unpacked.

    Raises:
        FileRefused: `zip-encrypted`, `zip-damaged` or `zip-bomb`.
        zipfile.BadZipFile: it is damaged; see `noticing_damage`.
    """
    if member.flag_bits & _ENCRYPTED:
        raise FileRefused("zip-encrypted", "The ZIP archive is encrypted.")
    if member.header_offset < 0 or member.header_offset + member.compress_size > archive.start_dir:
        raise zipfile.BadZipFile("the member does not lie before the directory")
    if member.compress_type not in _METHODS:
        raise FileRefused("zip-damaged", "The ZIP archive is packed with a method other than deflate.")
    ratio = member.file_size / max(1, member.compress_size)
    if member.file_size > SIZE_MOST or (member.file_size > RATIO_FROM and ratio > RATIO_MOST):
        raise FileRefused("zip-bomb", "The ZIP archive would unpack to far too many bytes.")


def is_ignored(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a folder, or something that a program added for itself."""
    path = PurePosixPath(info.filename)
    return info.is_dir() or "__MACOSX" in path.parts or path.name == ".DS_Store"
