"""Where settings come from, and what is said about those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from listbridge.errors import SettingsError
from listbridge.settings import Address, PortRange, Settings, known_variables, load_settings, parse_address


@pytest.fixture(autouse=True)
def clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file and no variable but those that a test makes."""
    for name in list(os.environ):
        if name.startswith("LISTBRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir == tmp_path / "var"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/listbridge.db"
    assert settings.http == Address("127.0.0.1", 8080)
    assert settings.ftp == Address("127.0.0.1", 2121)
    assert settings.sftp == Address("127.0.0.1", 2222)
    assert settings.ftp_passive_ports == PortRange(50000, 50099)


def test_the_stronger_place_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "listbridge.toml").write_text('http = "127.0.0.1:1001"\nftp = "127.0.0.1:1002"\nworkers = 3\n')
    monkeypatch.setenv("LISTBRIDGE_HTTP", "127.0.0.1:2001")
    monkeypatch.setenv("LISTBRIDGE_FTP", "127.0.0.1:2002")
    settings = load_settings(http="127.0.0.1:3001", ftp=None)
    assert (settings.http.port, settings.ftp.port, settings.workers) == (3001, 2002, 3)


def test_sftp_can_be_switched_off_for_a_process_and_those_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_SFTP", "")
    settings = load_settings()
    assert settings.sftp is None
    assert settings.to_environment()["LISTBRIDGE_SFTP"] == ""


def test_the_config_file_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "listbridge.toml").write_text("workers = 3\n")
    (tmp_path / "other.toml").write_text("workers = 4\n")
    monkeypatch.setenv("LISTBRIDGE_CONFIG", str(tmp_path / "other.toml"))
    assert load_settings().workers == 4


@pytest.mark.parametrize("url", ["smpp://u:p@host:2775", "SMPPS://u:p@host", "https://u:p@[::1]/send?a={b}", ""])
def test_gateways(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_SMS_GATEWAY", url)
    monkeypatch.setenv("LISTBRIDGE_BOUNCE_IMAP", "imaps://u%40example.com:p@host/INBOX")
    assert load_settings().sms_gateway == url


def test_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://user:secret@db.example.com/listbridge\n")
    monkeypatch.setenv("LISTBRIDGE_DATABASE_URL_FILE", str(secret))
    settings = load_settings()
    assert settings.database_url == "postgresql+psycopg://user:secret@db.example.com/listbridge"
    assert "user:secret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("server.example.com:65535", Address("server.example.com", 65535)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::]:21", Address("::", 21)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("address", "reachable"),
    [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")],
)
def test_an_address_that_means_everywhere_is_reached_on_the_loopback(address: str, reachable: str) -> None:
    assert str(parse_address(address).reachable) == reachable


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LISTBRIDGE_HTTP", "8080", "http: '8080' is not HOST:PORT"),
        ("LISTBRIDGE_HTTP", ":8080", "http: ':8080' is not HOST:PORT"),
        ("LISTBRIDGE_HTTP", "::1:8080", "http: '::1:8080' is not HOST:PORT"),
        ("LISTBRIDGE_HTTP", "localhost:0", "http: '0' is not a port number"),
        ("LISTBRIDGE_FTP", "localhost:65536", "ftp: '65536' is not a port number"),
        ("LISTBRIDGE_FTP", "localhost:ftp", "ftp: 'ftp' is not a port number"),
        ("LISTBRIDGE_FTP_PASSIVE_PORTS", "200-100", "ftp_passive_ports: '200-100' is not FIRST-LAST"),
        ("LISTBRIDGE_FTP_PASSIVE_PORTS", "a-b", "ftp_passive_ports: 'a' is not a port number"),
        ("LISTBRIDGE_WORKERS", "0", "workers: Input should be greater than or equal to 1"),
        ("LISTBRIDGE_LOG_FORMAT", "xml", "log_format: Input should be 'auto', 'json' or 'text'"),
        ("LISTBRIDGE_DATABASE_URL", "mysql://user:secret@host/x", "database_url must begin with sqlite:///"),
        ("LISTBRIDGE_DATABASE_URL", "postgresql://user:secret@host/x", "postgresql+psycopg://"),
        ("LISTBRIDGE_DATABASE_URL", "secret", "database_url must begin with sqlite:///"),
        ("LISTBRIDGE_DATABASE_URL_FILE", "/nowhere", "LISTBRIDGE_DATABASE_URL_FILE: the file /nowhere cannot be read"),
        (
            "LISTBRIDGE_SMS_GATEWAY",
            "gopher://u:secret@host",
            "sms_gateway must begin with smpp:// or smpps:// or https",
        ),
        ("LISTBRIDGE_SMS_GATEWAY", "smpp://u:secret@:2775", "sms_gateway must begin with smpp://"),
        ("LISTBRIDGE_SMS_GATEWAY", "https:secret", "sms_gateway must begin with smpp://"),
        ("LISTBRIDGE_SMS_GATEWAY", "https://u:secret@host:99999", "sms_gateway must begin with smpp://"),
        ("LISTBRIDGE_SMS_GATEWAY", "https://[secret", "sms_gateway must begin with smpp://"),
        ("LISTBRIDGE_BOUNCE_IMAP", "pop3://u:secret@host", "bounce_imap must begin with imaps:// or imap:// and name"),
        ("LISTBRIDGE_BOUNCE_IMAP", "imaps:///secret", "bounce_imap must begin with imaps://"),
        ("LISTBRIDGE_CONFIG", "/nowhere", "LISTBRIDGE_CONFIG: there is no file /nowhere"),
        ("LISTBRIDGE_DATADIR", "x", "LISTBRIDGE_DATADIR is not known. The nearest known one is LISTBRIDGE_DATA_DIR"),
        ("listbridge_datadir", "x", "listbridge_datadir is not known. The nearest known one is LISTBRIDGE_DATA_DIR"),
        ("LISTBRIDGE_HTTP_FILE", "x", "LISTBRIDGE_HTTP_FILE is not known. The nearest known one is"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("worker = 2", "The setting worker is not known. The nearest known one is workers."),
        ("zzzzzz = 2", "The setting zzzzzz is not known. Known are data_dir, database_url"),
        ("[http]\nhost = 'x'", "http: "),
        ("workers = ", "listbridge.toml is not TOML"),
    ],
)
def test_a_bad_file_is_refused(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "listbridge.toml").write_text(content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_secret_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTBRIDGE_DATABASE_URL", "sqlite:///x")
    monkeypatch.setenv("LISTBRIDGE_DATABASE_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(SettingsError, match="both set"):
        load_settings()


def test_settings_pass_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "listbridge.toml").write_text(
        'http = "[::1]:81"\nftp_passive_ports = "6000-6001"\n'
        'ftp_masquerade_address = "192.0.2.1"\ntrust_forwarded = true\n'
    )
    before = load_settings(workers=2)
    for name, value in before.to_environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "listbridge.toml").write_text("broken = 1")
    assert load_settings() == before


def test_every_setting_has_a_variable() -> None:
    assert {f"LISTBRIDGE_{name.upper()}" for name in Settings.model_fields} <= set(known_variables())
