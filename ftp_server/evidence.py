"""Looks for what a file or its marker says about completeness: manifest, trailer. Slow; not for the FTP loop."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from exchange.encodings import recognise_encoding
from exchange.errors import FileRefused
from exchange.profiles import Profile
from ftp_server.arrival import Evidence

_TAIL = 64 * 1024
_LONGEST_TRAILER = 4096
_LARGEST_MANIFEST = 64 * 1024
_CLAIM = re.compile(r"(size|sha256)\b\s*[=:]?\s*(\S*)")
_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})\s+\*?(.+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a marker says about its file; None where it says nothing."""

    size: int | None = None
    sha256: str | None = None
    readable: bool = True
    """False when it tries to say a size or SHA-256 and none can be read."""


def parse_manifest(text: str, name: str) -> Manifest:
    """Read lines `size=N`, `sha256=HEX` and those of sha256sum (`HEX  name`) for the file of this name.

    Lines of other kinds, such as a date, say nothing.
    """
    size: int | None = None
    sha256: str | None = None
    for line in text.lower().splitlines():
        if checksum := _CHECKSUM_LINE.fullmatch(line.strip()):
            sha256 = checksum[1] if Path(checksum[2]).name == name.lower() else sha256
        elif claim := _CLAIM.match(line.strip()):
            kind, value = claim.groups()
            if kind == "size" and value.isascii() and value.isdigit():
                size = int(value)
            elif kind == "sha256" and re.fullmatch("[0-9a-f]{64}", value):
                sha256 = value
            else:
                return Manifest(readable=False)
    return Manifest(size, sha256)


def find_evidence(profile: Profile, path: Path, beside: Path) -> Evidence:
    """Look at a file as its profile's rule asks.

    Args:
        profile: of its folder.
        path: where the file is now.
        beside: where it is, or will be, visible; its marker stands beside that.
    """
    if profile.completeness == "trailer":
        return Evidence.TRAILER_FITS if has_trailer(path, profile) else Evidence.TRAILER_MISSING
    if profile.completeness == "marker":
        return _compare(path, marker_path(profile, beside), beside.name)
    return Evidence.NONE


def marker_path(profile: Profile, visible: Path) -> Path:
    """Return where the marker of a file is expected."""
    return visible.with_name(visible.name + profile.marker_suffix)


def _compare(path: Path, marker: Path, name: str) -> Evidence:
    try:
        with marker.open("rb") as stream:
            text = stream.read(_LARGEST_MANIFEST).decode("utf-8-sig", "replace")
    except (FileNotFoundError, IsADirectoryError):
        return Evidence.MARKER_MISSING
    manifest = parse_manifest(text, name)
    if manifest == Manifest():
        return Evidence.MARKER_EMPTY
    return Evidence.MANIFEST_FITS if _fits(path, manifest) else Evidence.MANIFEST_DIFFERS


def _fits(path: Path, manifest: Manifest) -> bool:
    if not manifest.readable or manifest.size not in (None, path.stat().st_size):
        return False
    return manifest.sha256 in (None, hash_file(path)[1])


def hash_file(path: Path) -> tuple[int, str]:
    """Return size in bytes and SHA-256 in hexadecimal of a file's content."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest


def has_trailer(path: Path, profile: Profile) -> bool:
    """Tell whether the last line that is not blank is the trailer of the profile, as a whole."""
    with path.open("rb") as stream:
        try:
            line = _last_line(stream, profile.encoding)
        except FileRefused:
            return False
    return len(line) <= _LONGEST_TRAILER and re.fullmatch(profile.trailer, line) is not None


def _last_line(stream: BinaryIO, declared: str) -> str:
    encoding = recognise_encoding(stream, declared)
    size = stream.seek(0, 2)
    start = max(len(encoding.mark), size - _TAIL)
    # Whole UTF-16 units: marks are two bytes long, so an even distance from the start keeps them.
    stream.seek(start - (start - len(encoding.mark)) % 2)
    lines = stream.read().decode(encoding.codec, "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
