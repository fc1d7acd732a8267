"""What FTP users may do: reading and writing, TLS, addresses, sessions, speed and quotas."""

from __future__ import annotations

import ftplib
import hashlib
import io
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from ftp_doors import DEADLINE, PASSWORD, Office, begin, open_temporary_office, store, wait_until
from structlog.testing import capture_logs

from audience.ftp_users import (
    FtpRights,
    add_ftp_user,
    last_login_of,
    load_ftp_user,
    remove_ftp_user,
    set_ftp_password,
    set_rights,
)
from db.tables import ftp_user

KIB = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("rules")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list()


def add_user(office: Office, name: str, **rights: Any) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with office.database.write() as connection:
        add_ftp_user(connection, office.account().id, name, password=None, rights=FtpRights(**rights))
        connection.execute(ftp_user.update().where(ftp_user.c.name == name).values(password_hash=cheap))


def log_in(office: Office, name: str, client: ftplib.FTP | None = None) -> ftplib.FTP:
    client = client or ftplib.FTP()
    client.connect(*office.address, timeout=DEADLINE)
    try:
        client.login(name, PASSWORD)
    except ftplib.Error:
        client.close()
        raise
    return client


def secure() -> ftplib.FTP_TLS:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return ftplib.FTP_TLS(context=context)


WRITES = ("STOR {0}/a", "APPE {0}/a", "STOU", "DELE {0}/a", "RNFR {0}/a", "MKD b", "RMD b", "MFMT 20260101000000 {0}/a")


@pytest.mark.parametrize("command", WRITES)
def test_a_reader_changes_nothing(office: Office, command: str) -> None:
    name = f"reader{office.list_number}"
    add_user(office, name, may_write=False)
    (office.folder / "a").write_bytes(b"there")
    with log_in(office, name) as client:
        with pytest.raises(ftplib.error_perm, match="550 You may not store"):
            client.voidcmd(command.format(f"/{office.path()}"))
        fetched = io.BytesIO()
        client.retrbinary(f"RETR {office.path('a')}", fetched.write)
        assert fetched.getvalue() == b"there"
        assert "a" in dict(client.mlsd(office.path(), ["perm"]))
        assert not set(dict(client.mlsd(office.path(), ["perm"]))["a"]["perm"]) & set("adfw")


def test_a_writer_reads_nothing(office: Office) -> None:
    add_user(office, f"writer{office.list_number}", may_read=False)
    with log_in(office, f"writer{office.list_number}") as client:
        assert store(client, office.path("a.txt"), b"there").startswith("226 ")
        assert client.nlst(office.path())
        for command in ("RETR", "XSHA256"):
            with pytest.raises(ftplib.error_perm, match="550 You may not read"):
                client.voidcmd(f"{command} {office.path('a.txt')}")


def test_who_needs_tls_is_told_before_the_password(office: Office) -> None:
    add_user(office, "private", requires_tls=True)
    with ftplib.FTP() as client:
        client.connect(*office.address, timeout=DEADLINE)
        with pytest.raises(ftplib.error_perm, match=r"530 .*TLS"):
            client.sendcmd("USER private")
        with pytest.raises(ftplib.error_perm, match="503 "):
            client.sendcmd(f"PASS {PASSWORD}")
    with log_in(office, "private", secure()) as client:
        assert client.pwd() == "/"


def test_who_needs_tls_needs_it_for_data(office: Office) -> None:
    add_user(office, "careful", requires_tls=True)
    with log_in(office, "careful", secure()) as client:
        with pytest.raises(ftplib.error_perm, match="521"):
            client.nlst()
        assert_no_way_back(client)
        assert client.nlst() == ["export", "import"]


def assert_no_way_back(client: ftplib.FTP) -> None:
    """Open a protected data connection, and see that it does not become one in the open."""
    assert isinstance(client, ftplib.FTP_TLS)
    client.prot_p()
    client.makepasv()
    for command in ("PROT C", "prot c"):
        with pytest.raises(ftplib.error_perm, match="521"):
            client.sendcmd(command)


@pytest.mark.parametrize(("options", "code"), [({"require_tls": True}, "530"), ({"require_protection": True}, "521")])
def test_tls_can_be_demanded_of_everybody(tmp_path: Any, options: dict[str, bool], code: str) -> None:
    with open_temporary_office(tmp_path, **options) as office:
        add_user(office, "p2")
        with pytest.raises(ftplib.error_perm, match=code), log_in(office, "p2") as client:
            client.nlst()
        client = secure()
        with log_in(office, "p2", client):
            client.prot_p()
            if code == "521":
                assert_no_way_back(client)
            assert client.nlst() == ["export", "import"]


@pytest.mark.parametrize(
    ("networks", "allowed"),
    [(("127.0.0.1",), True), (("192.0.2.0/24", "127.0.0.0/8"), True), (("192.0.2.0/24",), False), (("::1",), False)],
)
def test_only_from_allowed_networks(office: Office, networks: tuple[str, ...], allowed: bool) -> None:
    name = f"here{office.list_number}"
    add_user(office, name, networks=networks)
    if allowed:
        log_in(office, name).quit()
    else:
        with pytest.raises(ftplib.error_perm, match=r"530 Authentication failed\."):
            log_in(office, name)


def test_sessions_of_a_user_are_limited_and_free_again(office: Office) -> None:
    add_user(office, "twice", max_sessions=2)
    first, second = log_in(office, "twice"), log_in(office, "twice")
    with pytest.raises(ftplib.error_perm, match="530 Too many sessions"):
        log_in(office, "twice")
    first.quit()
    wait_until(lambda: _can_log_in(office, "twice"))
    second.sendcmd("REIN")
    third, fourth = log_in(office, "twice"), log_in(office, "twice")
    for client in (second, third, fourth):
        client.close()


def _can_log_in(office: Office, name: str) -> bool:
    try:
        log_in(office, name).quit()
    except ftplib.error_perm:
        return False
    return True


@pytest.mark.parametrize("encrypted", [False, True])
def test_speed_is_limited_for_all_transfers_of_a_user_together(office: Office, encrypted: bool) -> None:
    name = f"slow{office.list_number}"
    add_user(office, name, bytes_per_second=200 * KIB)
    content = bytes(150 * KIB)
    clients = [secure() if encrypted else ftplib.FTP() for _session in range(2)]
    with log_in(office, name, clients[0]) as client, log_in(office, name, clients[1]) as other:
        for each in clients:
            if isinstance(each, ftplib.FTP_TLS):
                each.prot_p()
        began = time.monotonic()
        store(client, office.path("up.txt"), content)
        fetched = io.BytesIO()
        other.retrbinary(f"RETR {office.path('up.txt')}", fetched.write)
        assert time.monotonic() - began > 0.8
        assert fetched.getvalue() == content


def test_a_user_who_is_changed_or_removed_is_sent_away(office: Office) -> None:
    names = ("changed", "removed", "renewed", "stays")
    for name in names:
        add_user(office, name)
    clients = {name: log_in(office, name) for name in names}
    with office.database.write() as connection:
        set_rights(connection, "changed", FtpRights(active=False))
        remove_ftp_user(connection, "removed")
        set_ftp_password(connection, "renewed", None)
    for name in names[:3]:
        assert clients[name].getmultiline().startswith("421 ")
        with pytest.raises(ftplib.error_perm, match=r"530 Authentication failed\."):
            log_in(office, name)
    assert clients["stays"].pwd() == "/"
    for client in clients.values():
        client.close()


def test_the_last_login_is_kept_and_sessions_are_logged(office: Office) -> None:
    add_user(office, "noted")
    with capture_logs() as logs:
        with log_in(office, "noted") as client:
            store(client, office.path("a.txt"), b"12345")
            client.retrbinary(f"RETR {office.path('a.txt')}", lambda _block: None)
        ended = wait_until(lambda: [entry for entry in logs if entry["event"] == "session_ended"])[0]
    shown = {name: ended[name] for name in ("user", "door", "bytes_in", "bytes_out", "files_in", "files_out")}
    assert shown == {"user": "noted", "door": "ftp", "bytes_in": 5, "bytes_out": 5, "files_in": 1, "files_out": 1}
    assert "127.0.0.1" not in str(logs)

    def last_login() -> Any:
        with office.database.read() as connection:
            return last_login_of(connection, load_ftp_user(connection, "noted").id)

    wait_until(last_login)


# Quotas


@pytest.fixture
def small(tmp_path: Any) -> Iterator[Office]:
    with open_temporary_office(tmp_path) as office:
        add_user(office, "small", quota_bytes=1000 * KIB, quota_files=3)
        yield office


def test_an_upload_beyond_the_quota_leaves_nothing(small: Office) -> None:
    with log_in(small, "small") as client:
        client.sendcmd(f"ALLO {1001 * KIB}")
        with pytest.raises(ftplib.error_perm, match="552 "):
            store(client, small.path("announced.csv"), b"x")
        with pytest.raises((ftplib.error_perm, OSError), match=r"552 |reset|Broken"):
            store(client, small.path("large.csv"), bytes(2000 * KIB))
        # The reply may still be unread, and QUIT would take it for its own.
        client.close()
    with log_in(small, "small") as client:
        wait_until(small.is_idle)
        assert (small.visible(), small.incomplete()) == (set(), {})
        assert store(client, small.path("fits.txt"), bytes(1000 * KIB)).startswith("226 ")
        with pytest.raises(ftplib.error_perm, match="552 "):
            store(client, small.path("more.txt"), b"x")
        client.delete(small.path("fits.txt"))
        assert store(client, small.path("more.txt"), b"x").startswith("226 ")
    assert {name for name, _content in small.imports()} <= {"fits.txt", "more.txt"}


def test_files_are_limited_and_uploads_under_way_count(small: Office) -> None:
    with log_in(small, "small") as client, log_in(small, "small") as other:
        store(client, small.path("1.txt"), b"1")
        store(client, small.path("2.txt"), b"2")
        data = begin(client, small.path("3.txt"), bytes(600 * KIB))
        wait_until(lambda: small.received() == 600 * KIB)
        with pytest.raises(ftplib.error_perm, match=r"552 .*3 files"):
            store(other, small.path("4.txt"), b"4")
        data.close()
        assert client.voidresp().startswith("226 ")
        client.delete(small.path("1.txt"))
        assert store(other, small.path("4.txt"), b"4").startswith("226 ")


# Commands


def test_sums_and_times(office: Office) -> None:
    content = b"0123456789" * 1000
    name = office.path("a file 7")
    add_user(office, f"sums{office.list_number}")
    with log_in(office, f"sums{office.list_number}") as client:
        store(client, name, content)
        table = {
            f'"{name}"': content,
            f'"{name}" 10': content[10:],
            f'"/{name}" 10 25': content[10:25],
            f'"{name}" 0 99999': content,
            f'"{name}" 99999': b"",
        }
        for argument, part in table.items():
            digest = hashlib.sha256(part).hexdigest().upper()
            assert client.sendcmd(f"XSHA256 {argument}") == f"250 {digest}", argument
        for argument, code in {"nothing.csv": "550", "../../x": "550", '"" 1': "550", office.path(): "550"}.items():
            with pytest.raises(ftplib.error_perm, match=code):
                client.sendcmd(f"XSHA256 {argument}")
        assert client.sendcmd(f"MFMT 20260203040506 {name}").startswith("213 Modify=20260203040506;")
        assert client.sendcmd(f"MDTM {name}") == "213 20260203040506"
        for argument in (f"2026 {name}", f"20261340000000 {name}", f"-0260203040506 {name}"):
            with pytest.raises(ftplib.error_perm, match="501"):
                client.sendcmd(f"MFMT {argument}")
        with pytest.raises(ftplib.error_perm, match="550"):
            client.sendcmd("MFMT 20260203040506 export")


def test_setting_the_time_disturbs_no_verdict(office: Office) -> None:
    with office.client() as client:
        store(client, office.path("timed.csv"), b"a;b\r\n")
        client.sendcmd(f"MFMT 20200101000000 {office.path('timed.csv')}")
        wait_until(lambda: office.imports() == [("timed.csv", b"a;b\r\n")])
