"""Certificates: made, read, loaded again, refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ftp_server.certificates import (
    LOOKED_AT_EVERY,
    CertificateFiles,
    Certificates,
    UnusableCertificate,
    make_certificate,
    own_certificate,
    read_certificate,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += LOOKED_AT_EVERY
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    files = own_certificate(tmp_path)
    make_certificate(files, "192.0.2.7")
    return files


def test_makes_a_certificate_once(files: CertificateFiles) -> None:
    before = files.stamp
    make_certificate(files)
    assert files.stamp == before
    assert [path.stat().st_mode & 0o777 for path in (files.certificate, files.key)] == [0o600, 0o600]
    assert read_certificate(files.certificate).not_valid_after_utc.year > 2030


def test_one_file_may_have_both(files: CertificateFiles, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    Certificates(CertificateFiles(both, both))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 1000, None])
@pytest.mark.parametrize("which", ["certificate", "key"])
def test_refuses_what_cannot_be_used(files: CertificateFiles, which: str, content: bytes | None) -> None:
    path: Path = getattr(files, which)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UnusableCertificate, match=r"ftp-certificate\.pem"):
        Certificates(files)


def test_refuses_the_key_of_another_certificate(files: CertificateFiles, tmp_path: Path) -> None:
    other = CertificateFiles(tmp_path / "other.pem", tmp_path / "other-key.pem")
    make_certificate(other)
    with pytest.raises(UnusableCertificate):
        Certificates(CertificateFiles(files.certificate, other.key))


def test_takes_a_new_certificate_and_keeps_the_old_one_from_a_broken_file(
    files: CertificateFiles, tmp_path: Path
) -> None:
    certificates = Certificates(files, Clock())
    first = certificates.contexts()
    assert certificates.contexts() is first
    with capture_logs() as logs:
        files.certificate.write_text("half of a cert")
        assert certificates.contexts() is first
        assert certificates.contexts() is first
        files.certificate.unlink()
        assert certificates.contexts() is first
        make_certificate(files)
        assert certificates.contexts() is not first
    assert [entry["event"] for entry in logs] == [
        "ftp_certificate_not_loaded",
        "ftp_certificate_not_loaded",
        "ftp_certificate_made",
        "ftp_certificate_loaded",
    ]


def test_does_not_look_all_the_time(files: CertificateFiles) -> None:
    certificates = Certificates(files, lambda: 0.0)
    first = certificates.contexts()
    os.utime(files.certificate, (1, 1))
    assert certificates.contexts() is first
