"""FTP under TLS: explicit and implicit, with foreign clients, certificates that change, and data that is cut."""

from __future__ import annotations

import ftplib
import io
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from ftp_doors import DEADLINE, PASSWORD, USER, Office, close_quietly, open_temporary_office, reset, store, wait_until
from structlog.testing import capture_logs

from ftp_server.certificates import CertificateFiles, make_certificate

CONTENT = b"Email;Name\r\n" + b"".join(b"%d@example.com;Somebody\r\n" % number for number in range(20_000))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    implicit = ("127.0.0.1", free_port())
    with open_temporary_office(
        tmp_path_factory.mktemp("ftps"), implicit=implicit, connections_per_minute=5000
    ) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list(quiet_seconds=0.2)


def context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a client's context that takes any certificate, with a newest TLS version or any."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if version is not None:
        made.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
        made.maximum_version = version
    return made


def secure_client(office: Office, version: ssl.TLSVersion | None = None, *, protect: bool = True) -> ftplib.FTP_TLS:
    client = ftplib.FTP_TLS(context=context(version), encoding="utf-8")
    client.connect(*office.address, timeout=DEADLINE)
    client.login(USER, PASSWORD)
    if protect:
        client.prot_p()
    return client


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("version", VERSIONS)
def test_python_moves_files_both_ways(office: Office, version: ssl.TLSVersion) -> None:
    with secure_client(office, version) as client:
        assert client.sock.version() == version.name.replace("_", ".")  # type: ignore[union-attr]
        assert store(client, office.path("whole.csv"), CONTENT).startswith("226 ")
        assert store(client, office.path("empty.txt"), b"").startswith("226 ")
        fetched = io.BytesIO()
        client.retrbinary(f"RETR {office.path('whole.csv')}", fetched.write)
        assert fetched.getvalue() == CONTENT
        assert client.nlst(office.path()) == [office.path("empty.txt"), office.path("whole.csv")] or client.nlst()
    wait_until(lambda: ("whole.csv", CONTENT) in office.imports())


def test_protection_level_is_the_clients_choice(office: Office) -> None:
    with secure_client(office, protect=False) as client:
        assert store(client, office.path("clear.csv"), CONTENT).startswith("226 ")
        client.prot_p()
        assert store(client, office.path("private.csv"), CONTENT).startswith("226 ")
        client.prot_c()
        client.retrlines("LIST", lambda _line: None)
        assert client.sendcmd("PBSZ 0").startswith("200 ")
        with pytest.raises(ftplib.error_perm, match="521"):
            client.sendcmd("PROT S")
    wait_until(lambda: {name for name, _content in office.imports()} == {"clear.csv", "private.csv"})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(office: Office, version: ssl.TLSVersion) -> None:
    old = context(version)
    old.set_ciphers("ALL:@SECLEVEL=0")
    client = ftplib.FTP_TLS(context=old)
    client.connect(*office.address, timeout=DEADLINE)
    with pytest.raises((ssl.SSLError, OSError, EOFError)):
        client.auth()
    client.close()


def test_features_are_listed(office: Office) -> None:
    with office.client() as client:
        features = client.sendcmd("FEAT")
    for feature in ("AUTH TLS", "PBSZ", "PROT", "UTF8", "MDTM", "MFMT", "MLST type", "SIZE", "REST STREAM", "XSHA256"):
        assert f"\n {feature}" in features


# The end of the data


def secure_data(office: Office, name: str, client: ftplib.FTP_TLS, content: bytes) -> ssl.SSLSocket:
    data = client.transfercmd(f"STOR {office.path(name)}")
    assert isinstance(data, ssl.SSLSocket)
    data.sendall(content)
    return data


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cut", [0, 1, 16_384, 100_000])
def test_an_end_without_the_closing_message_is_a_cut(office: Office, version: ssl.TLSVersion, cut: int) -> None:
    with secure_client(office, version) as client:
        data = secure_data(office, "cut.csv", client, CONTENT[:cut])
        socket.socket(fileno=data.detach()).close()
        with pytest.raises(ftplib.Error, match=r"426 .*closing message of TLS"):
            client.voidresp()
    assert office.incomplete() == {"cut.csv": CONTENT[:cut]}
    assert office.imports() == []


def test_a_reset_under_tls_is_a_cut(office: Office) -> None:
    with secure_client(office) as client:
        data = secure_data(office, "reset.csv", client, CONTENT[:5000])
        reset(data)
        with pytest.raises(ftplib.Error, match="426 "):
            client.voidresp()
    assert office.imports() == []


def test_a_handshake_that_never_comes_is_a_cut(office: Office) -> None:
    with secure_client(office) as client:
        data, _size = ftplib.FTP.ntransfercmd(client, f"STOR {office.path('bare.csv')}")
        data.sendall(b"not the beginning of TLS at all, and long enough")
        with pytest.raises(ftplib.Error, match=r"426 "):
            client.voidresp()
        data.close()
        data, _size = ftplib.FTP.ntransfercmd(client, f"STOR {office.path('nothing.csv')}")
        data.close()
        with pytest.raises(ftplib.Error, match=r"426 "):
            client.voidresp()
    assert office.imports() == []


def test_a_handshake_that_fails_is_told_to_who_fetches(office: Office) -> None:
    with secure_client(office) as client:
        store(client, office.path("there.txt"), CONTENT)
        data, _size = ftplib.FTP.ntransfercmd(client, f"RETR {office.path('there.txt')}")
        data.sendall(b"not the beginning of TLS at all, and long enough")
        with pytest.raises(ftplib.Error, match=r"522 "):
            client.voidresp()
        data.close()


def test_a_lost_control_connection_is_a_cut(office: Office) -> None:
    client = secure_client(office)
    data = secure_data(office, "lost.csv", client, CONTENT[:7000])
    wait_until(lambda: office.received() >= 7000)
    close_quietly(client)
    wait_until(lambda: office.incomplete())
    data.close()
    assert office.imports() == []


def test_who_fetches_and_hangs_up_harms_nobody(office: Office) -> None:
    with secure_client(office) as client:
        store(client, office.path("long.txt"), CONTENT * 20)
        data = client.transfercmd(f"RETR {office.path('long.txt')}")
        assert data.recv(100)
        reset(data)
        with pytest.raises(ftplib.Error, match="426 "):
            client.voidresp()
        assert client.pwd() == "/"


# Foreign programs


def run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


CURL = ("curl", "--silent", "--show-error", "--insecure", "--user", f"{USER}:{PASSWORD}")


@pytest.mark.parametrize("options", [("--ssl-reqd",), ("--ssl-reqd", "--tls-max", "1.2"), ("--ftp-ssl-control",), ()])
def test_curl(office: Office, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "in.csv").write_bytes(CONTENT)
    url = f"ftp://{office.address[0]}:{office.address[1]}/{office.path('curl.csv')}"
    run(*CURL, *options, "--upload-file", str(tmp_path / "in.csv"), url)
    run(*CURL, *options, "--output", str(tmp_path / "out.csv"), url)
    assert (tmp_path / "out.csv").read_bytes() == CONTENT
    wait_until(lambda: office.imports() == [("curl.csv", CONTENT)])


def test_curl_with_implicit_tls(office: Office, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(CONTENT)
    assert office.options.implicit is not None
    url = f"ftps://127.0.0.1:{office.options.implicit[1]}/{office.path('implicit.csv')}"
    run(*CURL, "--upload-file", str(tmp_path / "in.csv"), url)
    run(*CURL, "--output", str(tmp_path / "out.csv"), url)
    assert (tmp_path / "out.csv").read_bytes() == CONTENT
    wait_until(lambda: office.imports() == [("implicit.csv", CONTENT)])


def test_lftp(office: Office, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(CONTENT)
    host, port = office.address
    script = (
        f"set net:max-retries 1; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:verify-certificate no; "
        f"open -u {USER},'{PASSWORD}' ftp://{host}:{port}; cd {office.path()}; "
        f"put {tmp_path}/in.csv -o lftp.csv; get lftp.csv -o {tmp_path}/out.csv; "
        f"put {tmp_path}/in.csv -o lftp.tmp; mv lftp.tmp renamed.csv; bye"
    )
    run("lftp", "-c", script)
    assert (tmp_path / "out.csv").read_bytes() == CONTENT
    wait_until(lambda: sorted(office.imports()) == [("lftp.csv", CONTENT), ("renamed.csv", CONTENT)])


# Certificates


def shown_by(office: Office) -> bytes:
    """Return the certificate that a new session is shown."""
    with secure_client(office) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert(binary_form=True)
        assert shown is not None
        return shown


def test_the_servers_own_certificate_is_made_once_and_kept_to_itself(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path) as office:
        files = sorted(office.storage.root.glob("ftp-certificate*.pem"))
        assert [(path.name, path.stat().st_mode & 0o777) for path in files] == [
            ("ftp-certificate-key.pem", 0o600),
            ("ftp-certificate.pem", 0o600),
        ]
        before = shown_by(office)
        office.halt()
        office.start()
        assert shown_by(office) == before


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "door.pem", tmp_path / "door-key.pem")
    make_certificate(files)
    with open_temporary_office(tmp_path / "office", certificate=files) as office, capture_logs() as logs:
        first = shown_by(office)
        with secure_client(office) as old:
            files.certificate.write_text("no certificate")
            wait_until(lambda: shown_by(office) == first and _has_logged(logs, "ftp_certificate_not_loaded"))
            files.certificate.unlink()
            make_certificate(files)
            wait_until(lambda: shown_by(office) != first)
            assert old.pwd() == "/"


def _has_logged(logs: Sequence[Mapping[str, object]], event: str) -> bool:
    time.sleep(0.1)
    return any(entry["event"] == event for entry in logs)
