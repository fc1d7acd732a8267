"""Bodies that come too slowly or not at all are cut, half a body never acts, and nobody else is harmed."""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from web_server import Site, serve, serve_with_granian

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from services.http.application import HttpOptions

SECONDS = 1.0
FORM = "application/x-www-form-urlencoded"
SUBSCRIBE = "/frontend/xmlSubscribe.aspx"
UNSUBSCRIBE = "/frontend/xmlUnsubscribe.aspx"
CHECK = "/frontend/xmlChkSubscriber.aspx"
SOAP = "/Services/WSMailUpImport.asmx"
HEAD = f"POST {SUBSCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
ANNOUNCED = (HEAD + "Content-Length: 50000\r\n\r\n").encode()
CHUNKED = (HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode()
CONTINUED = (HEAD + "Expect: 100-continue\r\nContent-Length: 50000\r\n\r\n").encode()
CROWD = 20
"""More than a process has threads for requests."""

Place = tuple[Site, Database]


@pytest.fixture(scope="module", params=["granian", "werkzeug"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("slow")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    with ExitStack() as running:
        if request.param == "granian":
            environment = {"TEST_BODY_SECONDS": str(SECONDS)}
            site = running.enter_context(serve_with_granian(database, storage, environment=environment))[0]
        else:
            site = running.enter_context(serve(database, storage, HttpOptions(body_seconds=SECONDS)))
        yield site, database
    database.close()


@pytest.fixture
def site(place: Place) -> Site:
    return place[0]


@contextmanager
def _connect(site: Site, sent: bytes, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection((site.host, site.port), timeout=60, source_address=(source, 0)) as connection:
        connection.sendall(sent)
        yield connection


def _read_status(connection: socket.socket) -> int:
    """Return the status of the final answer, 0 if the connection was closed without one."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
    except (ConnectionError, http.client.BadStatusLine):
        return 0
    return answer.status


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _subscribe(site: Site, email: str) -> str:
    return site.post_form(SUBSCRIBE, {"Email": email, "List": 1, "Confirm": 0}).text


def _is_subscribed(site: Site, email: str) -> bool:
    return site.get(CHECK, Email=email, List=1).text == "2"


@pytest.mark.parametrize(
    "sent",
    [ANNOUNCED + b"E", CHUNKED + _chunk(b"E"), CHUNKED + b"5\r\nE", ANNOUNCED, CHUNKED, CONTINUED, CONTINUED + b"E"],
    ids=["announced", "chunked", "in-a-chunk", "nothing-announced", "nothing-chunked", "continued", "continued-one"],
)
def test_silence(site: Site, sent: bytes) -> None:
    with _connect(site, sent) as connection:
        assert _read_status(connection) == 408


@pytest.mark.parametrize("path", [SOAP, f"{SOAP}/GetNlLists", UNSUBSCRIBE])
def test_silence_at_every_door(site: Site, path: str) -> None:
    kind = "text/xml" if path == SOAP else FORM
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 9\r\n\r\n<"
    with _connect(site, head.encode()) as connection:
        assert _read_status(connection) == 408


@pytest.mark.parametrize(
    ("sent", "drop"),
    [(ANNOUNCED, b"x"), (CHUNKED, _chunk(b"x")), (CONTINUED, b"x")],
    ids=["announced", "chunked", "continued"],
)
def test_dripping(site: Site, sent: bytes, drop: bytes) -> None:
    with _connect(site, sent) as connection:
        if sent is CONTINUED:
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
        while not select.select([connection], [], [], 0.1)[0]:
            connection.sendall(drop)
        assert _read_status(connection) in (408, 0)
    assert site.get("/healthz").status == 200


def test_a_request_being_worked_on_is_unharmed(place: Place) -> None:
    site, database = place
    with ThreadPoolExecutor(1) as threads:
        with database.write():
            # It waits for the database now, its body long read.
            worked_on = threads.submit(_subscribe, site, "worked-on@example.com")
            for _ in range(50):
                assert site.get("/healthz").status == 200
            for sent in (ANNOUNCED + b"E", CHUNKED + _chunk(b"E")):
                with _connect(site, sent) as connection:
                    assert _read_status(connection) == 408
            assert not worked_on.done()
        assert worked_on.result() == "0"
    assert _is_subscribed(site, "worked-on@example.com")


def test_a_request_that_could_be_the_slow_one_is_unharmed(place: Place) -> None:
    site, database = place
    with ThreadPoolExecutor(1) as threads, _connect(site, ANNOUNCED + b"E") as slow:
        with database.write():
            worked_on = threads.submit(_subscribe, site, "doubtful@example.com")
            # One that comes from another address, and later, shows when the first would have been cut.
            with _connect(site, ANNOUNCED + b"E", source="127.0.0.2") as later:
                assert _read_status(later) == 408
            assert not worked_on.done()
        assert worked_on.result() == "0"
        assert _read_status(slow) == 408


def _upload(site: Site) -> int:
    def send() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x=" + b"y" * (16 * 1024)
            time.sleep(0.1)

    return site.request("POST", SUBSCRIBE, send(), {"Content-Type": FORM}).status


def test_uploads_and_idle_connections_are_unharmed(site: Site) -> None:
    idle = http.client.HTTPConnection(site.host, site.port, timeout=60)
    with ThreadPoolExecutor(2) as threads:
        uploads = [threads.submit(_upload, site) for _ in range(2)]
        idle.request("GET", "/healthz")
        assert idle.getresponse().read() == b"ok"
        used = idle.sock
        with _connect(site, ANNOUNCED + b"E") as connection:
            assert _read_status(connection) == 408
        idle.request("GET", "/healthz")
        assert idle.getresponse().read() == b"ok"
        assert [upload.result() for upload in uploads] == [200, 200]
    # Werkzeug's server closes after each answer.
    assert idle.sock is used or used is None
    idle.close()


def test_a_crowd(site: Site) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(_connect(site, ANNOUNCED + b"E")) for _ in range(CROWD)]
        assert _subscribe(site, "beside@example.com") == "0"
        statuses = [_read_status(connection) for connection in crowd]
        # One that still waits for a thread may be closed unheard.
        assert set(statuses) <= {408, 0}
        assert statuses.count(408) > CROWD // 2
    with ThreadPoolExecutor(CROWD) as threads:
        names = (f"after{number}@example.com" for number in range(CROWD))
        assert set(threads.map(partial(_subscribe, site), names)) == {"0"}


@pytest.mark.parametrize("cut", [1, 20, 30])
def test_half_a_form_does_nothing(site: Site, cut: int) -> None:
    email = "whole@example.com"
    _subscribe(site, email)
    form = f"Email={email}&List=1&x={'y' * 99}".encode()
    head = f"POST {UNSUBSCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
    with _connect(site, f"{head}Content-Length: {len(form)}\r\n\r\n".encode() + form[:-cut]) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert _read_status(connection) in (400, 408)
    assert _is_subscribed(site, email)


def test_half_a_form_that_is_cut_does_nothing(site: Site) -> None:
    email = "cut@example.com"
    _subscribe(site, email)
    head = (
        f"POST {UNSUBSCRIBE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with _connect(site, head.encode() + _chunk(f"Email={email}&List=1".encode())) as connection:
        assert _read_status(connection) == 408
    assert _is_subscribed(site, email)


@pytest.mark.parametrize("encoding", ["gzip", "identity, br", "x"])
@pytest.mark.parametrize("path", [SUBSCRIBE, SOAP, f"{SOAP}/GetNlLists"])
def test_nothing_is_unpacked(site: Site, path: str, encoding: str) -> None:
    kind = "text/xml" if path == SOAP else FORM
    reply = site.request("POST", path, b"\x1f\x8b", {"Content-Type": kind, "Content-Encoding": encoding})
    assert reply.status == 415
    assert {name.lower(): value for name, value in reply.headers.items()}["accept-encoding"] == "identity"


def test_identity_is_no_encoding(site: Site) -> None:
    headers = {"Content-Type": FORM, "Content-Encoding": "Identity"}
    body = b"Email=plain%40example.com&List=1&Confirm=0"
    assert site.request("POST", SUBSCRIBE, body, headers).text == "0"
