"""Fetches mails from a mailbox of a real server, Dovecot, when it is installed."""

from __future__ import annotations

import mailbox
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
from bounce_world import UNKNOWN_USER, make_bounce_world, status_report
from partner_servers import make_certificate
from sqlalchemy import func, select

from audience.status_rules import State
from db.engine import Database
from db.tables import inbound_mail
from delivery import mailbox as fetching
from delivery.mailbox import MailboxError, fetch_mailbox

NEVER = threading.Event()
DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
needs_dovecot = pytest.mark.skipif(
    not Path(DOVECOT).exists() or os.getuid() != 0, reason="Dovecot is not installed, or the tests do not run as root."
)
CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
passdb {{
  driver = static
  args = password=pass%%word
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {secure}
    ssl = yes
  }}
}}
service stats {{
  chroot =
}}
service anvil {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


@dataclass(frozen=True)
class Mailboxes:
    """A server with one user's mailbox."""

    folder: Path
    plain: int
    secure: int
    authority: Path

    def put(self, content: bytes, folder: str = "") -> None:
        box = mailbox.Maildir(self.folder / "mail", create=False)
        chosen = box.get_folder(folder) if folder else box
        key = chosen.add(content.replace(b"\r\n", b"\n"))
        for path in (self.folder / "mail").rglob(f"{key}*"):
            shutil.chown(path, "mail", "mail")

    def url(self, scheme: str = "imap", *, password: str = "pass%25word", path: str = "") -> str:
        port = self.secure if scheme == "imaps" else self.plain
        return f"{scheme}://ada%40example.net:{password}@localhost:{port}{path}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def _serve(folder: Path) -> Iterator[Mailboxes]:
    folder.chmod(0o755)
    certificate = make_certificate(folder / "tls")
    box = mailbox.Maildir(folder / "mail")
    box.add_folder("Bounced mails")
    for path in (folder / "mail", *(folder / "mail").rglob("*")):
        shutil.chown(path, "mail", "mail")
    found = Mailboxes(folder, _free_port(), _free_port(), certificate.authority)
    settings = folder / "dovecot.conf"
    settings.write_text(
        CONFIGURATION.format(folder=folder, certificate=certificate.file, plain=found.plain, secure=found.secure)
    )
    process = subprocess.Popen([DOVECOT, "-F", "-c", str(settings)], stderr=subprocess.PIPE)
    try:
        _wait(found.plain)
        yield found
    finally:
        process.terminate()
        process.communicate()


def _wait(port: int) -> None:
    deadline = monotonic() + 30
    while monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        sleep(0.05)
    raise AssertionError("The server does not listen.")


@pytest.fixture(scope="module")
def server() -> Iterator[Mailboxes]:
    # Where another user comes, too, and whose path is short enough for sockets.
    with tempfile.TemporaryDirectory(prefix="listbridge-dovecot-") as folder, _serve(Path(folder)) as found:
        yield found


@pytest.fixture
def empty(server: Mailboxes) -> Mailboxes:
    for part in ("cur", "new"):
        for path in (server.folder / "mail").rglob(f"{part}/*"):
            path.unlink()
    return server


def _count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(inbound_mail)).scalar_one()


@needs_dovecot
@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_what_nobody_has_seen_is_fetched_once(
    database: Database, empty: Mailboxes, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(empty.authority))
    monkeypatch.setattr(fetching, "BATCH", 3)
    world = make_bounce_world(database)
    about = world.send(world.bring())
    path = world.return_path(about)
    empty.put(f"Delivered-To: {path}\r\n".encode() + status_report(UNKNOWN_USER))
    for number in range(7):
        empty.put(b"Subject: %d\r\n\r\nHello\r\n" % number)
    assert fetch_mailbox(database, empty.url(scheme), NEVER) == 8
    assert fetch_mailbox(database, empty.url(scheme), NEVER) == 0
    assert _count(database) == 8
    while world.read():
        pass
    assert world.state() == State.BLOCKED


@needs_dovecot
def test_a_fetch_that_was_cut_off_is_repeated_without_doubles(
    sqlite_url: str, empty: Mailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(empty.authority))
    database = Database(sqlite_url)
    empty.put(b"Subject: one\r\n\r\nx\r\n")
    fetch_mailbox(database, empty.url(), NEVER)
    # As when the process dies between the two: it is kept, and not marked.
    for path in (empty.folder / "mail" / "cur").iterdir():
        path.rename(path.with_name(path.name.partition(":")[0] + ":2,"))
    assert fetch_mailbox(database, empty.url(), NEVER) == 0
    assert _count(database) == 1
    database.close()


@needs_dovecot
def test_folders_and_stops(sqlite_url: str, empty: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(empty.authority))
    database = Database(sqlite_url)
    empty.put(b"Subject: here\r\n\r\nx\r\n", "Bounced mails")
    stop = threading.Event()
    stop.set()
    assert fetch_mailbox(database, empty.url(path="/Bounced%20mails"), stop) == 0
    assert fetch_mailbox(database, empty.url(), NEVER) == 0
    assert fetch_mailbox(database, empty.url(path="/Bounced%20mails"), NEVER) == 1
    database.close()


@needs_dovecot
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"password": "wrong"}, "does not let"),
        ({"path": "/Nowhere"}, "no such folder"),
        ({"path": '/"%20x'}, "no such folder"),
    ],
)
def test_refusals_tell_no_secret(
    sqlite_url: str, empty: Mailboxes, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], problem: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(empty.authority))
    database = Database(sqlite_url)
    with pytest.raises(MailboxError, match=problem) as error:
        fetch_mailbox(database, empty.url(**changes), NEVER)
    assert "word" not in str(error.value)
    database.close()


@needs_dovecot
@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_a_certificate_must_be_known(sqlite_url: str, empty: Mailboxes, scheme: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(MailboxError, match="cannot be read: SSLCertVerificationError"):
        fetch_mailbox(database, empty.url(scheme), NEVER)
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "imaps://",
        "imaps://host",
        "http://u:p@host",
        "imaps://u:p@host:99999",
        "imaps://u:p@host/%00",
        "imaps://u:p@host/%C3%A9",
        "imaps://u:p@[host",
    ],
)
def test_urls_that_name_no_mailbox(sqlite_url: str, url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(MailboxError, match="A mailbox is imaps"):
        fetch_mailbox(database, url, NEVER)
    database.close()


def test_nobody_listens(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(MailboxError, match="cannot be read: ConnectionRefusedError"):
        fetch_mailbox(database, f"imap://u:p@127.0.0.1:{_free_port()}", NEVER)
    database.close()
