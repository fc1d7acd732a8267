"""The gateway over HTTP with a real server, and the page that it answers to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sms_world import NOBODY, make_sms_world
from web_server import serve

from audience.events import SmsStatus
from db.engine import Database
from db.tables import delivery
from delivery.handovers import GatewayUnavailable, Handover, Outcome, OutgoingText
from delivery.http_gateway import HttpGateway, make_http_gateway, read_answer
from delivery.queue import DeliveryState
from delivery.sms_gateway import make_gateway
from jobs.storage import Storage


@dataclass
class Provider:
    """What a provider's server got, and what it answers."""

    port: int = 0
    status: int = 200
    body: bytes = b'{"id": 17}'
    cuts: bool = False
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@contextmanager
def run_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            provider.requests.append((self.path, dict(self.headers), json.loads(body)))
            if provider.cuts:
                self.close_connection = True
                return
            self.send_response(provider.status)
            self.send_header("Content-Length", str(len(provider.body)))
            self.end_headers()
            self.wfile.write(provider.body)

        def do_OPTIONS(self) -> None:
            self.send_response(provider.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with run_provider() as running:
        yield running


@pytest.fixture
def gateway(provider: Provider) -> Iterator[HttpGateway]:
    made = make_gateway(f"http://user%40x:p%3Ass@127.0.0.1:{provider.port}/send?key=1")
    assert isinstance(made, HttpGateway)
    yield made
    made.close()


TEXT = OutgoingText(
    reference="7",
    sender="Shop",
    number="+393331230001",
    parts=("Così ", "è"),
    unicode=False,
    callback="http://mail.example.com/sms-status/7-x",
)


def test_a_message(provider: Provider, gateway: HttpGateway) -> None:
    assert gateway.send([TEXT]) == [Handover(Outcome.ACCEPTED, "17")]
    [(path, headers, body)] = provider.requests
    assert path == "/send?key=1"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"user@x:p:ss"
    assert body == {
        "to": "+393331230001",
        "from": "Shop",
        "text": "Così è",
        "unicode": False,
        "parts": 2,
        "reference": "7",
        "callback": "http://mail.example.com/sms-status/7-x",
    }


def test_a_cut_connection_leaves_doubt(provider: Provider, gateway: HttpGateway) -> None:
    provider.cuts = True
    assert [handover.outcome for handover in gateway.send([TEXT, TEXT])] == [Outcome.UNKNOWN] * 2


def test_a_message_that_cannot_be_written_costs_no_other(provider: Provider, gateway: HttpGateway) -> None:
    odd = replace(TEXT, parts=("\ud800",))
    assert [handover.outcome for handover in gateway.send([TEXT, odd])] == [Outcome.ACCEPTED, Outcome.UNKNOWN]
    assert len(provider.requests) == 1


def test_a_provider_that_is_not_there() -> None:
    gateway = make_http_gateway("http://127.0.0.1:1/")
    with pytest.raises(GatewayUnavailable, match="not accepted"):
        gateway.send([TEXT])
    with pytest.raises(GatewayUnavailable, match="no answer"):
        gateway.check()
    gateway.close()


def test_the_check(provider: Provider, gateway: HttpGateway) -> None:
    assert gateway.check() == ["127.0.0.1 answers (HTTP 200); no message was sent."]
    provider.status = 401
    with pytest.raises(GatewayUnavailable, match="login"):
        gateway.check()
    assert provider.requests == []


@pytest.mark.parametrize(
    ("status", "body", "handover"),
    [
        (200, b'{"id": "a-1"}', Handover(Outcome.ACCEPTED, "a-1")),
        (202, b"", Handover(Outcome.ACCEPTED)),
        (200, b"[1]", Handover(Outcome.ACCEPTED)),
        (200, b'{"id": true}', Handover(Outcome.ACCEPTED)),
        (200, b"\xff", Handover(Outcome.ACCEPTED)),
        (200, b'{"id": "a\\u0000\\ud800\\r\\u009fb"}', Handover(Outcome.ACCEPTED, "ab")),
        (200, b'{"id": "' + b"x" * 300 + b'"}', Handover(Outcome.ACCEPTED, "x" * 200)),
        (200, b'{"id": "\\u0000"}', Handover(Outcome.ACCEPTED)),
        (200, b"[" * 100_000, Handover(Outcome.ACCEPTED)),
        *[(status, b"", Handover(Outcome.DEFERRED, code=f"HTTP {status}")) for status in (401, 403, 407, 408, 429)],
        (503, b"", Handover(Outcome.DEFERRED, code="HTTP 503")),
        (400, b"", Handover(Outcome.REFUSED, code="HTTP 400")),
        (500, b"", Handover(Outcome.UNKNOWN, code="HTTP 500")),
        (302, b"", Handover(Outcome.UNKNOWN, code="HTTP 302")),
    ],
)
def test_answers(status: int, body: bytes, handover: Handover) -> None:
    assert read_answer(status, body) == handover


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def test_the_page_for_receipts(tmp_path: Path, sqlite_url: str, provider: Provider, gateway: HttpGateway) -> None:
    database = Database(sqlite_url)
    world = make_sms_world(database)
    world.give(10)
    world.subscribe(*(f"+39333123000{place}" for place in range(4)))
    new = world.send(world.message())
    provider.body = b"{}"
    world.work(world.lane(gateway))
    tokens = {
        body["to"]: body["callback"].removeprefix("http://mail.example.com")
        for _path, _headers, body in provider.requests
    }
    first, second, third, fourth = (tokens[f"+39333123000{place}"] for place in range(4))
    storage = Storage(tmp_path / "data", reserve=0)
    storage.prepare()
    with serve(database, storage) as site:

        def tell(path: str, body: bytes, content_type: str) -> int:
            return site.request("POST", path, body, {"Content-Type": content_type}).status

        assert tell(first, b'{"status": "delivered"}', JSON) == 204
        assert tell(first, b'{"status": "failed", "code": "late"}', JSON) == 204
        assert tell(second, b"status=FAILED&code=absent%0d%0a", FORM) == 204
        assert tell(f"{third}?status=queued", b"", FORM) == 204
        for body, content_type in [(b"{", JSON), (b"[]", JSON), (b"", FORM), (b'{"status": 1}', JSON)]:
            assert tell(third, body, content_type) == 400
        for path in (first[:-1], f"{first}0", "/sms-status/1", "/sms-status/99999-0", "/sms-status/%C3%A9"):
            assert tell(path, b'{"status": "delivered"}', JSON) == 404
        assert site.request("GET", first).status == 405
        with database.write() as connection:
            on_its_way = delivery.update().where(delivery.c.address == "+393331230003")
            connection.execute(on_its_way.values(state=int(DeliveryState.ON_ITS_WAY)))
        assert tell(fourth, b'{"status": "delivered"}', JSON) == 503
    assert [event for event in world.events() if event[1] != SmsStatus.QUEUED] == [
        ("+393331230000", SmsStatus.DELIVERED, None),
        ("+393331230001", SmsStatus.ERROR, "absent"),
    ]
    assert world.states(new)["+393331230001"] == int(DeliveryState.FAILED)
    assert not world.lane(gateway).work(NOBODY)
    database.close()
