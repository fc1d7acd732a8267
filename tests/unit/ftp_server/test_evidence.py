"""Manifests and trailers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from exchange.profiles import Mode, Profile
from ftp_server.arrival import Evidence
from ftp_server.evidence import find_evidence
from jobs.completeness import Manifest, has_trailer, parse_manifest

CONTENT = b"email\nann@example.com\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("text", "manifest"),
    [
        ("", Manifest()),
        ("done 2026-11-21\n", Manifest()),
        ("size=22", Manifest(size=22)),
        ("SIZE: 22\r\n", Manifest(size=22)),
        (f"sha256={SHA256}", Manifest(sha256=SHA256)),
        (f"sha256={SHA256.upper()}\nsize=22\n", Manifest(22, SHA256)),
        (f"{SHA256}  a.csv\n", Manifest(sha256=SHA256)),
        (f"{SHA256} *./A.csv\n", Manifest(sha256=SHA256)),
        (f"{SHA256}  b.csv\n", Manifest()),
        ("size=", Manifest(readable=False)),
        ("size=many", Manifest(readable=False)),
        ("sha256=abc", Manifest(readable=False)),
    ],
)
def test_reads_manifests(text: str, manifest: Manifest) -> None:
    assert parse_manifest(text, "a.csv") == manifest


@pytest.mark.parametrize(
    ("marker", "evidence"),
    [
        (None, Evidence.MARKER_MISSING),
        (b"", Evidence.MARKER_EMPTY),
        (b"\xff\xfe", Evidence.MARKER_EMPTY),
        (b"size=22", Evidence.MANIFEST_FITS),
        (b"\xef\xbb\xbfsize=22", Evidence.MANIFEST_FITS),
        (b"size=23", Evidence.MANIFEST_DIFFERS),
        (b"size=x", Evidence.MANIFEST_DIFFERS),
        (f"{SHA256}  a.csv".encode(), Evidence.MANIFEST_FITS),
        (b"sha256=" + b"0" * 64, Evidence.MANIFEST_DIFFERS),
        (b"size=22\nsha256=" + b"0" * 64, Evidence.MANIFEST_DIFFERS),
    ],
)
def test_compares_files_with_their_markers(tmp_path: Path, marker: bytes | None, evidence: Evidence) -> None:
    hidden, visible = tmp_path / "hidden", tmp_path / "a.csv"
    hidden.write_bytes(CONTENT)
    if marker is not None:
        (tmp_path / "a.csv.done").write_bytes(marker)
    assert find_evidence(Profile(completeness="marker"), hidden, visible) is evidence
    assert find_evidence(Profile(), hidden, visible) is Evidence.NONE


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"email\na@example.com\n#END 1\n", True),
        (b"email\r\na@example.com\r\n#END;1\r\n\r\n  \r\n", True),
        (b"TRAILER 1", True),
        (b"email\na@example.com\n", False),
        (b"email\n#END 1\na@example.com\n", False),
        (b"#END", False),
        (b"#END 1 and more words", False),
        (b"", False),
        (b"\n" * 100_000 + b"#END 1\n", True),
        (b"x" * 200_000 + b"\n#END 1\n", True),
        (b"x" * 200_000, False),
        ("email\n#END 1\n".encode("utf-16"), True),
        ("ä\n".encode("utf-16") * 70_001 + "#END 1\n".encode("utf-16-le"), True),
        ("email\n#END 1\n".encode("utf-16")[:-1], False),
    ],
)
def test_finds_trailers(tmp_path: Path, content: bytes, found: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    profile = Profile(completeness="trailer")
    assert has_trailer(path, profile) is found
    expected = Evidence.TRAILER_FITS if found else Evidence.TRAILER_MISSING
    assert find_evidence(profile, path, path) is expected


@pytest.mark.parametrize(("mode", "evidence"), [("incremental", Evidence.NONE), ("full", Evidence.TRAILER_MISSING)])
def test_refused_rows_come_back_without_a_trailer(tmp_path: Path, mode: Mode, evidence: Evidence) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"error_line;error_code;error_text;email\n2;email;x;a@example.com\n")
    assert find_evidence(Profile(completeness="trailer", mode=mode), path, path) is evidence


def test_no_trailer_takes_forever(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"email\n" + b"a" * 4000 + b"!")
    assert not has_trailer(path, Profile(completeness="trailer", trailer="(a*)*"))
