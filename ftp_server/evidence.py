"""Looks for what a file or its marker says about completeness: manifest, trailer. Slow; not for the FTP loop."""

from __future__ import annotations

from pathlib import Path

from exchange.profiles import Profile
from ftp_server.arrival import Evidence
from jobs.completeness import LARGEST_MANIFEST, Manifest, fits, has_trailer, needs_no_trailer, parse_manifest


def find_evidence(profile: Profile, path: Path, beside: Path) -> Evidence:
    """Look at a file as its profile's rule asks.

    Args:
        profile: of its folder.
        path: where the file is now.
        beside: where it is, or will be, visible; its marker stands beside that.
    """
    if profile.completeness == "trailer":
        if has_trailer(path, profile):
            return Evidence.TRAILER_FITS
        return Evidence.NONE if needs_no_trailer(path, profile) else Evidence.TRAILER_MISSING
    if profile.completeness == "marker":
        return _compare(path, marker_path(profile, beside), beside.name)
    return Evidence.NONE


def marker_path(profile: Profile, visible: Path) -> Path:
    """Return where the marker of a file is expected."""
    return visible.with_name(visible.name + profile.marker_suffix)


def _compare(path: Path, marker: Path, name: str) -> Evidence:
    try:
        with marker.open("rb") as stream:
            text = stream.read(LARGEST_MANIFEST).decode("utf-8-sig", "replace")
    except (FileNotFoundError, IsADirectoryError):
        return Evidence.MARKER_MISSING
    manifest = parse_manifest(text, name)
    if manifest == Manifest():
        return Evidence.MARKER_EMPTY
    return Evidence.MANIFEST_FITS if fits(path, manifest) else Evidence.MANIFEST_DIFFERS
