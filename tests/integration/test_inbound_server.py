"""Takes mails through real sockets, by SMTP and by LMTP, and refuses what is not its own."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from bounce_world import DOMAIN, UNKNOWN_USER, BounceWorld, make_bounce_world, status_report
from sqlalchemy import select

from audience.status_rules import State
from db.engine import Database
from db.migration import migrate
from db.tables import inbound_mail
from delivery.bounces import MAX_READ
from delivery.inbound_server import InboundOptions, InboundServer

REPORT = status_report(UNKNOWN_USER)
BOUNCES = f"bounces@{DOMAIN}"
ANYWHERE = ("127.0.0.1", 0)


@contextmanager
def _serving(database: Database, **options: int) -> Iterator[InboundServer]:
    chosen = InboundOptions(smtp=ANYWHERE, lmtp=ANYWHERE, domain=DOMAIN, hello_name="mx.example.com", **options)
    server = InboundServer(chosen, database)
    server.start()
    yield server
    server.stop()


def _connect(server: InboundServer, *, lmtp: bool = False) -> smtplib.SMTP:
    if lmtp:
        return smtplib.LMTP("127.0.0.1", server.ports["lmtp"], timeout=30)
    return smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=30)


def _kept(database: Database) -> list[tuple[str, str, list[str], bytes]]:
    columns = (inbound_mail.c.source, inbound_mail.c.sender, inbound_mail.c.recipients, inbound_mail.c.content)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(inbound_mail.c.id))]


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BounceWorld, InboundServer]]:
    folder = tmp_path_factory.mktemp("inbound")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    with _serving(database, max_size=100_000) as server:
        yield make_bounce_world(database), server
    database.close()


@pytest.fixture
def world(open_world: tuple[BounceWorld, InboundServer]) -> BounceWorld:
    with open_world[0].database.write() as connection:
        connection.execute(inbound_mail.delete())
    return open_world[0]


@pytest.fixture
def server(open_world: tuple[BounceWorld, InboundServer]) -> InboundServer:
    return open_world[1]


@pytest.mark.parametrize("lmtp", [False, True])
def test_a_report_comes_in_and_is_read(database: Database, lmtp: bool) -> None:
    world = make_bounce_world(database)
    about = world.send(world.bring())
    with _serving(database) as server, _connect(server, lmtp=lmtp) as client:
        client.sendmail("", [world.return_path(about).upper()], REPORT)
        assert _kept(database) == [("lmtp" if lmtp else "smtp", "", [world.return_path(about).upper()], REPORT)]
        # Brought once more, it is kept once.
        client.sendmail("", [world.return_path(about).upper()], REPORT)
    assert len(_kept(database)) == 1
    assert world.read()
    assert world.state() == State.BLOCKED


def test_nothing_is_taken_for_others(world: BounceWorld, server: InboundServer) -> None:
    about = world.send(world.bring("bob@example.net"))
    path = world.return_path(about)
    others = [
        "ada@example.net",
        f"ada@{DOMAIN}",
        path.replace(DOMAIN, "elsewhere.example"),
        path.replace("+b0", "+b1"),
        f"bounces@{DOMAIN}.example.net",
        f"bounces%example.net@{DOMAIN}",
        f"@{DOMAIN}:ada@example.net",
        f'"ada@example.net"@{DOMAIN}',
        "bounces",
        "root",
    ]
    own = [
        path,
        world.unsubscribe_address(about),
        BOUNCES,
        f"FBL@{DOMAIN.upper()}",
        f"postmaster@{DOMAIN}",
        "postmaster",
    ]
    with _connect(server) as client:
        client.ehlo()
        for number, address in enumerate(others):
            client.rset()
            assert client.mail("mallory@example.org")[0] == 250
            code, text = client.rcpt(address)
            assert code in (550, 553, 501), (number, address)
            assert code != 550 or text.startswith(b"5.1.1")
            assert client.docmd("DATA")[0] == 503
        client.rset()
        client.mail("ada@example.net")
        assert [client.rcpt(address)[0] for address in own] == [250] * len(own)
        assert client.data(b"x")[0] == 250
    assert [mail[2] for mail in _kept(world.database)] == [own]


def test_each_recipient_of_lmtp_has_an_answer(world: BounceWorld, server: InboundServer) -> None:
    with socket.create_connection(("127.0.0.1", server.ports["lmtp"]), 30) as link:
        lines = link.makefile("rb")

        def ask(text: bytes, answers: int = 1) -> list[bytes]:
            link.sendall(text)
            return [lines.readline() for _ in range(answers)]

        lines.readline()
        assert ask(b"EHLO x\r\n")[0].startswith(b"500")
        link.sendall(b"LHLO x\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        envelope = (
            f"MAIL FROM:<>\r\nRCPT TO:<{BOUNCES}>\r\nRCPT TO:<ada@example.net>\r\nRCPT TO:<fbl@{DOMAIN}>\r\nDATA\r\n"
        )
        codes = [line[:3] for line in ask(envelope.encode(), 5)]
        assert codes == [b"250", b"250", b"550", b"250", b"354"]
        assert [line[:3] for line in ask(b"Subject: x\r\n\r\nx\r\n.\r\n", 2)] == [b"250", b"250"]
        # Too much has as many.
        ask(envelope.encode(), 5)
        assert [line[:3] for line in ask(b"x\r\n" * 100_000 + b".\r\n", 2)] == [b"552", b"552"]
        assert ask(b"DATA\r\n")[0].startswith(b"503")
    assert len(_kept(world.database)) == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"a\n.\nMAIL FROM:<x@example.com>\n", b"a\n.\nMAIL FROM:<x@example.com>\n\r\n"),
        (b"a\n.\r\nb", b"a\n.\r\nb\r\n"),
        (b"a\r.\rb", b"a\r.\rb\r\n"),
        (b"a\r\n.\nb", b"a\r\n\nb\r\n"),
        (b"a\r\n.\rb", b"a\r\n\rb\r\n"),
        (b"a\r\n..\r\nb", b"a\r\n.\r\nb\r\n"),
        (b"\x00\xff\r\nb", b"\x00\xff\r\nb\r\n"),
        (b"x" * 20_000, b"x" * 20_000 + b"\r\n"),
    ],
)
def test_only_a_dot_between_line_ends_is_the_end(
    world: BounceWorld, server: InboundServer, sent: bytes, kept: bytes
) -> None:
    """SMTP smuggling: a dot with other line ends would let a mail contain another one (CVE-2023-51764 and its like)."""
    envelope = f"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{BOUNCES}>\r\nDATA\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 30) as link:
        # Everything at once: commands may be pipelined (RFC 2920).
        link.sendall(envelope + sent + b"\r\n.\r\nQUIT\r\n")
        answers = link.makefile("rb").read()
    assert answers.count(b"\r\n250 2.0.0 Kept") == 1
    assert answers.splitlines()[-1].startswith(b"221")
    assert [mail[3] for mail in _kept(world.database)] == [kept]


def test_too_much_is_refused(world: BounceWorld, server: InboundServer) -> None:
    with _connect(server) as client:
        client.ehlo()
        assert client.docmd("MAIL", "FROM:<> SIZE=100001")[0] == 552
        client.mail("")
        client.rcpt(BOUNCES)
        assert client.data(b"x\r\n" * 40_000)[0] == 552
        client.mail("")
        assert [client.rcpt(BOUNCES)[0] for _ in range(102)] == [250] * 100 + [452] * 2
    assert _kept(world.database) == []


def test_odd_envelopes(world: BounceWorld, server: InboundServer) -> None:
    senders = ["<a\0b@example.com>", "<é@example.com>", "<" + "a" * 400 + "@example.com>", "<>", '<"a b"@example.com>']
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 30) as link:
        lines = link.makefile("rb")
        lines.readline()
        link.sendall(b"EHLO x\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        for number, sender in enumerate(senders):
            text = f"RSET\r\nMAIL FROM:{sender}\r\nRCPT TO:<{BOUNCES}>\r\n"
            link.sendall(text.encode())
            answers = [lines.readline()[:3] for _ in range(3)]
            assert answers[1] in (b"250", b"501", b"553", b"500")
            if answers[2] == b"250":
                link.sendall(f"DATA\r\n{number}\r\n.\r\n".encode())
                assert [lines.readline()[:3] for _ in range(2)] == [b"354", b"250"]
        link.sendall(b"\xff\xfe\r\nBDAT 3\r\nXYZZY\r\nQUIT\r\n")
        assert [lines.readline()[:1] for _ in range(4)] == [b"5", b"5", b"5", b"2"]
    assert all("\0" not in mail[1] and len(mail[1]) <= 320 for mail in _kept(world.database))


def test_a_database_that_is_away_is_said(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    world = make_bounce_world(database)
    path = world.return_path(world.send(world.bring()))
    with _serving(database) as server, _connect(server) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(path)[0] == 250
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE inbound_mail RENAME TO gone")
            connection.exec_driver_sql("ALTER TABLE account RENAME TO gone_too")
        assert client.data(REPORT)[0] == 451
        client.mail("")
        assert client.rcpt(path)[0] == 451
        assert client.rcpt(BOUNCES)[0] == 250
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO inbound_mail")
        assert client.data(REPORT)[0] == 250
    assert len(_kept(database)) == 1
    database.close()


def test_no_more_is_kept_than_is_read(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with _serving(database) as server, _connect(server) as client:
        for end in ("a", "a", "b"):
            client.sendmail("", [BOUNCES], ("x" * 998 + "\r\n") * (MAX_READ // 1000 + 1) + end)
    assert [len(mail[3]) for mail in _kept(database)] == [MAX_READ] * 2
    database.close()


@pytest.mark.parametrize("lmtp", [False, True])
def test_much_at_once_is_told_to_come_again(sqlite_url: str, lmtp: bool) -> None:
    database = Database(sqlite_url)
    mail = (b"x" * 998 + b"\r\n") * 300
    with _serving(database, receiving=500_000, max_size=400_000) as server:
        first, second = _connect(server, lmtp=lmtp), _connect(server, lmtp=lmtp)
        for client in (first, second):
            client.ehlo_or_helo_if_needed()
            client.mail("")
            client.rcpt(BOUNCES)
            assert client.docmd("DATA")[0] == 354
        first.send(mail)
        # What the first one sent may still be on its way.
        for _ in range(100):
            second.send(mail + b".\r\n")
            code, text = second.getreply()
            if code == 452:
                break
            second.mail("")
            second.rcpt(BOUNCES)
            second.docmd("DATA")
        assert (code, text[:5]) == (452, b"4.3.1")
        first.send(b"\r\n.\r\n")
        assert first.getreply()[0] == 250
        # There is room again, in the same session too.
        second.sendmail("", [BOUNCES], mail)
        for client in (first, second):
            client.quit()
    database.close()


def test_a_line_without_an_end_ends_the_session(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with _serving(database) as server:
        client = _connect(server)
        client.ehlo()
        client.mail("")
        client.rcpt(BOUNCES)
        assert client.docmd("DATA")[0] == 354
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            for _ in range(1_000):
                client.send(b"x" * 100_000)
        with _connect(server) as other:
            other.sendmail("", [BOUNCES], REPORT)
    assert len(_kept(database)) == 1
    database.close()


def test_too_many_connections_are_told_to_wait(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with _serving(database, connections_per_address=2) as server:
        first, second = _connect(server), _connect(server)
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            _connect(server)
        assert refused.value.smtp_code == 421
        first.quit()
        deadline = 100
        while deadline:
            with suppress(smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected):
                _connect(server).quit()
                break
            deadline -= 1
        assert deadline
        second.quit()
    database.close()


@pytest.mark.parametrize("lmtp", [False, True])
def test_a_stop_ends_connections(sqlite_url: str, lmtp: bool) -> None:
    database = Database(sqlite_url)
    with _serving(database) as server:
        idle, busy = _connect(server, lmtp=lmtp), _connect(server, lmtp=lmtp)
        busy.ehlo_or_helo_if_needed()
        busy.mail("")
        busy.rcpt(BOUNCES)
        assert busy.docmd("DATA")[0] == 354
        busy.send(b"half of a mail\r\n")
    for client in (idle, busy):
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.getreply()
    assert _kept(database) == []
    database.close()


def test_an_address_in_use_is_told(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = InboundOptions(
            smtp=None, lmtp=("127.0.0.1", taken.getsockname()[1]), domain=DOMAIN, hello_name="mx.example.com"
        )
        with pytest.raises(OSError, match="in use"):
            InboundServer(options, database).start()
    database.close()
