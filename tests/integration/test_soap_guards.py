"""What keeps callers without a login from guessing passwords, and from filling threads and memory."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from test_soap_wire import HEADER, NAMESPACE, PATH, TEXT, envelope
from web_server import Site, serve

from audience.accounts import add_account
from db.engine import Database
from jobs.storage import Storage
from services.http.application import HttpOptions
from services.mailup.authentication import CHECK_PLACES, CHECKS, WAITING
from services.resources import LARGE_TEXTS
from services.throttle import MAX_FAILURES

LARGE = 2 << 20


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    with database.write() as connection:
        add_account(connection, 1, password="secret")
    yield database
    database.close()


@pytest.fixture
def site(database: Database, storage: Storage) -> Iterator[Site]:
    with serve(database, storage) as site:
        yield site


def _login(site: Site, password: str = "secret", user: str = "a1", address: str = "") -> str:
    header = HEADER.replace("secret", password).replace("a1", user)
    headers = {"Content-Type": TEXT, "X-Forwarded-For": address}
    reply = site.request("POST", PATH, envelope(header=header), headers)
    assert reply.status == 200
    return reply.text.split("ReturnCode&gt;")[1].split("&lt;")[0]


def test_wrong_passwords_lock_out(site: Site) -> None:
    assert _login(site) == "0"
    assert [_login(site, "wrong") for _ in range(MAX_FAILURES)] == ["-1002"] * MAX_FAILURES
    # Also the right one, which the server still remembers; and another address cannot be claimed.
    assert _login(site) == "-1002"
    assert _login(site, address="192.0.2.1") == "-1002"
    assert _login(site, user="m1") == "0"


def test_success_forgets_failures(site: Site) -> None:
    for _ in range(2):
        assert [_login(site, "wrong") for _ in range(MAX_FAILURES - 1)] == ["-1002"] * (MAX_FAILURES - 1)
        assert _login(site) == "0"


def test_unknown_users_are_not_counted(site: Site) -> None:
    assert {_login(site, user="a2") for _ in range(MAX_FAILURES + 1)} == {"-1001"}


def test_addresses_behind_a_trusted_proxy(database: Database, storage: Storage) -> None:
    with serve(database, storage, HttpOptions(trust_forwarded=True)) as site:
        for number in range(MAX_FAILURES):
            assert _login(site, "wrong", address=f"192.0.2.{number}, 198.51.100.1") == "-1002"
        assert _login(site, address="198.51.100.1") == "-1002"
        assert _login(site, address="198.51.100.2") == "0"
        assert _login(site) == "0"


def test_a_crowd_of_passwords(site: Site) -> None:
    with ExitStack() as crowd:
        for _ in range(CHECKS + WAITING):
            crowd.enter_context(CHECK_PLACES.take())
        assert _login(site, "wrong", user="m1") == "-1000"
        assert _login(site, user="m2") == "-1001"
    assert _login(site, user="m1") == "0"


def _begin_large(site: Site, password: str) -> socket.socket:
    """Send a call up to the middle of a large text."""
    body = envelope(header=HEADER.replace("secret", password)).partition(b"<GetNlLists")[0]
    body += f'<StartImportProcesses xmlns="{NAMESPACE}"><xmlDoc>'.encode() + b"x" * LARGE
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {2 * LARGE}\r\n\r\n"
    caller = socket.create_connection((site.host, site.port))
    caller.sendall(head.encode() + body)
    return caller


def _send_large(site: Site) -> bytes:
    with _begin_large(site, "secret") as caller:
        caller.sendall(b"</xmlDoc></StartImportProcesses></e:Body></e:Envelope>".ljust(LARGE))
        return caller.recv(65536)


def test_a_crowd_of_large_texts(site: Site) -> None:
    with ExitStack() as crowd:
        # Callers who are not let in take no places.
        strangers = [crowd.enter_context(_begin_large(site, "wrong")) for _ in range(2)]
        callers = [crowd.enter_context(_begin_large(site, "secret")) for _ in range(LARGE_TEXTS + 1)]
        (refused,) = select.select(callers, [], [], 60)[0]
        answer = refused.recv(65536).decode()
        assert answer.startswith("HTTP/1.1 503 ")
        assert "\r\nRetry-After: 10\r\n" in answer
        assert not select.select(strangers, [], [], 0)[0]
        assert _login(site) == "0"
    # The server may notice only after a moment that the crowd is gone.
    for _ in range(100):
        if _send_large(site).startswith(b"HTTP/1.1 200 "):
            return
        time.sleep(0.1)
    pytest.fail("the places of the crowd are not free again")


@pytest.mark.parametrize(("password", "code"), [("secret", "-101"), ("wrong", "-1002"), ("", "-1013")])
def test_large_texts_of_everybody_are_answered(site: Site, password: str, code: str) -> None:
    header = HEADER.replace("secret", password)
    body = f'<StartImportProcesses xmlns="{NAMESPACE}"><xmlDoc>{"x" * LARGE}</xmlDoc></StartImportProcesses>'
    reply = site.request("POST", PATH, envelope(body, header=header), {"Content-Type": TEXT})
    assert f"ReturnCode&gt;{code}&lt;" in reply.text


def test_wrong_password_with_a_large_text_counts_once(site: Site) -> None:
    body = f'<StartImportProcesses xmlns="{NAMESPACE}"><xmlDoc>{"x" * LARGE}</xmlDoc></StartImportProcesses>'
    content = envelope(body, header=HEADER.replace("secret", "wrong"))
    for _ in range(MAX_FAILURES - 1):
        assert "-1002" in site.request("POST", PATH, content, {"Content-Type": TEXT}).text
    assert _login(site) == "0"
