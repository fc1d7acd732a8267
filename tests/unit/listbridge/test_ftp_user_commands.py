"""`listbridge ftp-user`: adding, showing, changing and removing users and their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from command_results import Run

ACCESS = ("--write-only", "--allow", "192.0.2.0/24", "--allow", "2001:db8::1", "--require-tls")
OPTIONS = (*ACCESS, "--max-sessions", "2", "--rate", "5000", "--quota-mb", "3", "--quota-files", "4")
GIVEN = {
    "may_read": False,
    "may_write": True,
    "networks": ["192.0.2.0/24", "2001:db8::1/128"],
    "requires_tls": True,
    "max_sessions": 2,
    "bytes_per_second": 5000,
    "quota_bytes": 3 * 1024 * 1024,
    "quota_files": 4,
}


def show(run: Run, name: str) -> dict[str, Any]:
    shown = run("ftp-user", "show", name, "--json")
    assert shown.code == 0, shown.err
    values: dict[str, Any] = json.loads(shown.out)
    return values


def write_key(path: Path, algorithm: str = "ssh-ed25519", **options: Any) -> str:
    """Write a public key with a comment; return its fingerprint."""
    key = asyncssh.generate_private_key(algorithm, comment="somebody@example.com", **options)
    path.write_bytes(key.export_public_key())
    return key.get_fingerprint()


def test_adds_a_user_with_everything(customer: Run) -> None:
    assert customer("ftp-user", "add", "p8", "--account", "7", "--password", "x", *OPTIONS).code == 0
    shown = show(customer, "p8")
    assert {name: shown[name] for name in GIVEN} == GIVEN
    assert (shown["account"], shown["active"], shown["has_password"], shown["last_login_at"]) == (7, True, True, None)
    assert "192.0.2.0/24, 2001:db8::1/128" in customer("ftp-user", "show", "p8").out


def test_changes_what_is_named_and_nothing_else(customer: Run) -> None:
    before = show(customer, "p7")
    assert customer("ftp-user", "set", "p7").code == 0
    assert show(customer, "p7") == before
    assert customer("ftp-user", "set", "p7", "--disable", *OPTIONS).code == 0
    shown = show(customer, "p7")
    assert {name: shown[name] for name in GIVEN} == GIVEN
    assert not shown["active"]
    back = "--enable --read-write --allow-all --no-require-tls --max-sessions 0 --rate 0 --quota-mb 0 --quota-files 0"
    assert customer("ftp-user", "set", "p7", *back.split()).code == 0
    assert show(customer, "p7") == before


def test_keys(customer: Run, tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    fingerprint = write_key(file)
    assert customer("ftp-user", "add", "p8", "--account", "7", "--no-password", "--key", str(file)).code == 0
    shown = show(customer, "p8")
    assert (shown["has_password"], shown["keys"]) == (False, [fingerprint])
    assert "exists already" not in customer("ftp-user", "key", "add", "p7", str(file)).err
    assert "has the key" in customer("ftp-user", "key", "add", "p7", str(file)).err
    listed = customer("ftp-user", "key", "list", "p7", "--json").out
    assert [(key["fingerprint"], key["kind"]) for key in json.loads(listed)] == [(fingerprint, "ssh-ed25519")]
    assert "somebody" not in listed
    assert customer("ftp-user", "key", "remove", "p7", fingerprint).code == 0
    assert "has no keys" in customer("ftp-user", "key", "list", "p7").out
    assert "has no key" in customer("ftp-user", "key", "remove", "p7", fingerprint).err


def test_keys_that_are_none_or_weak(customer: Run, tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    assert "cannot be read" in customer("ftp-user", "key", "add", "p7", str(file)).err
    for content in (b"", b"nonsense", b"ssh-ed25519 AAAA", b"\xff\x00"):
        file.write_bytes(content)
        assert "not a public key" in customer("ftp-user", "key", "add", "p7", str(file)).err
    write_key(file, "ssh-rsa", key_size=1024)
    assert "too weak" in customer("ftp-user", "key", "add", "p7", str(file)).err
    write_key(file, "ssh-rsa", key_size=2048)
    assert customer("ftp-user", "key", "add", "p7", str(file)).code == 0


def test_lists_passwords_and_removes(customer: Run) -> None:
    rows = json.loads(customer("ftp-user", "list", "--account", "7", "--json").out)
    assert [(row["name"], row["account"], row["keys"]) for row in rows] == [("p7", 7, 0)]
    assert customer("ftp-user", "password", "p7", "--password", "new").out == "New password for FTP user p7.\n"
    assert customer("ftp-user", "password", "p7", "--no-password").code == 0
    assert not show(customer, "p7")["has_password"]
    assert customer("ftp-user", "remove", "p7").out == "FTP user p7 removed.\n"
    assert "There are no FTP users." in customer("ftp-user", "list").out
    for command in ("show", "remove", "set"):
        assert "There is no FTP user p7." in customer("ftp-user", command, "p7").err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--read-only", "--write-only"], "Give one of"),
        (["--allow", "192.0.2.1/24"], "not an IP address or a network"),
        (["--rate", "100"], "at least 1,024"),
        (["--max-sessions", "-1"], "max-sessions"),
        (["--no-password"], "needs a public key"),
    ],
)
def test_refuses_what_cannot_be(customer: Run, options: list[str], text: str) -> None:
    result = customer("ftp-user", "add", "p8", "--account", "7", "--password", "x", *options)
    assert result.code != 0
    assert text in result.err


def test_doctor_looks_at_the_certificate(customer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftp_server.certificates import make_certificate, own_certificate

    assert "note   certificate: made when" in customer("doctor").out
    make_certificate(own_certificate(tmp_path / "var"))
    assert "ok     certificate: valid from" in customer("doctor").out
    monkeypatch.setenv("LISTBRIDGE_FTP_CERTIFICATE", str(tmp_path / "absent.pem"))
    broken = customer("doctor")
    assert "wrong  certificate" in broken.out
    assert broken.code == 1
    monkeypatch.delenv("LISTBRIDGE_FTP_CERTIFICATE")
    monkeypatch.setenv("LISTBRIDGE_FTP_CERTIFICATE_KEY", str(tmp_path / "absent.pem"))
    assert "needs ftp_certificate" in customer("doctor").err
