"""What a file or its marker says about completeness: manifests and trailers, for whichever door the file came by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from exchange.csv_reader import is_error_rows
from exchange.encodings import recognise_encoding
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.trailers import match_trailer

LARGEST_MANIFEST = 64 * 1024
_TAIL = 64 * 1024
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


def fits(path: Path, manifest: Manifest) -> bool:
    """Tell whether a file is what a manifest says."""
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
            return match_trailer(profile.trailer, _last_line(stream, profile.encoding)) is not None
        except FileRefused:
            return False


def needs_no_trailer(path: Path, profile: Profile) -> bool:
    """Tell whether a file is one of refused rows, which comes back without a trailer."""
    with path.open("rb") as stream:
        try:
            return is_error_rows(stream, profile)
        except FileRefused:
            return False


def _last_line(stream: BinaryIO, declared: str) -> str:
    encoding = recognise_encoding(stream, declared)
    size = stream.seek(0, 2)
    start = max(len(encoding.mark), size - _TAIL)
    # Whole UTF-16 units: marks are two bytes long, so an even distance from the start keeps them.
    stream.seek(start - (start - len(encoding.mark)) % 2)
    lines = stream.read().decode(encoding.codec, "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
