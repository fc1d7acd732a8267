"""Requests to addresses that customers chose: nothing inside is reached, and no receiver does harm."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from webhook_receivers import Received, Reply, misbehaving, receiving

from delivery.outgoing_http import (
    MAX_ANSWER,
    Answer,
    OutgoingClient,
    OutgoingRequest,
    RequestFailed,
    TargetRefused,
    is_public,
    resolve,
)

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)

# Hosts as they can stand in a URL; each of them leads inside, or nowhere.
INSIDE = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.01",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0",
    "0.0.0.0",
    "0x0",
    "10.0.0.1",
    "10.255.255.255",
    "0xa.0.0.1",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "169.254.0.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2001::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[100::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fec0::1]",
    "[ff02::1]",
    "[5f00::1]",
]

# Tricks with the parts of a URL around a public name or address.
TRICKS = [
    "http://example.com@127.0.0.1/",
    "http://user:pass@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\x00.example.com/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1\r\nHost: example.com/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:25/",
    "ftp://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:22:80/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http:// /",
    "http://./",
    "http://",
    "",
]


@pytest.fixture
def client() -> OutgoingClient:
    """Lets requests go to the loopback's IPv4 addresses, where the test's receivers are."""
    return OutgoingClient(LOOPBACK)


@pytest.fixture(scope="module")
def strict() -> OutgoingClient:
    """As a server has it that allows nothing."""
    return OutgoingClient()


@pytest.mark.parametrize("host", INSIDE)
def test_no_host_leads_inside(strict: OutgoingClient, host: str) -> None:
    with pytest.raises(RequestFailed):
        strict.send(OutgoingRequest("GET", f"http://{host}/"))


@pytest.mark.parametrize("url", TRICKS)
def test_no_trick_leads_inside(strict: OutgoingClient, url: str) -> None:
    with pytest.raises(RequestFailed):
        strict.send(OutgoingRequest("GET", url))


def test_nothing_arrives_at_a_port_of_this_machine(strict: OutgoingClient) -> None:
    with receiving() as receiver:
        port = receiver.url.split(":")[2].partition("/")[0]
        for host in INSIDE:
            with pytest.raises(RequestFailed):
                strict.send(OutgoingRequest("POST", f"http://{host}:{port}/", body=b"x"))
        assert receiver.requests == []


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_one_private_address_among_public_ones_is_enough() -> None:
    client = OutgoingClient(resolver=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.1"):
        client.send(OutgoingRequest("GET", "http://example.com/"))


def test_a_name_that_answers_otherwise_a_moment_later_gains_nothing() -> None:
    # The address of the second answer has a receiver, the one of the first has none: had the name been looked up
    # again, the request would have arrived.
    answers = iter([["127.0.0.2"], ["127.0.0.1"]])
    allowed = (ipaddress.ip_network("127.0.0.2/32"),)
    client = OutgoingClient(allowed, resolver=lambda _host, _port: next(answers))
    with receiving() as receiver:
        with pytest.raises(RequestFailed, match="not accepted"):
            client.send(OutgoingRequest("GET", receiver.url.replace("127.0.0.1", "rebound.example.com")))
        with pytest.raises(TargetRefused):
            client.send(OutgoingRequest("GET", receiver.url.replace("127.0.0.1", "rebound.example.com")))
        assert receiver.requests == []


def test_the_other_addresses_are_tried_when_one_is_dead() -> None:
    client = OutgoingClient(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.2", "127.0.0.1"])
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "hook.example.com")
        assert client.send(OutgoingRequest("GET", url)) == Answer(200, "1")
        assert receiver.requests[0].headers["host"] == url.split("/")[2]


@pytest.mark.parametrize("failing", [OSError, UnicodeError])
def test_a_name_without_addresses(failing: type[Exception]) -> None:
    def fail(_host: str, _port: int) -> Sequence[str]:
        raise failing

    with pytest.raises(RequestFailed, match="no address"):
        OutgoingClient(resolver=fail).send(OutgoingRequest("GET", "http://example.com/"))


def test_looking_a_name_up_ends_with_the_time_of_the_request() -> None:
    answered = threading.Event()

    def hang(_host: str, _port: int) -> Sequence[str]:
        answered.wait(60)
        return ["127.0.0.1"]

    client = OutgoingClient(LOOPBACK, resolver=hang, total_seconds=0.2)
    try:
        with pytest.raises(RequestFailed, match="not looked up in time"):
            client.send(OutgoingRequest("GET", "http://example.com/"))
        assert not answered.is_set()
    finally:
        answered.set()


@pytest.mark.parametrize("answer", [[], ["rubbish"]])
def test_a_resolver_that_answers_nonsense(answer: list[str]) -> None:
    client = OutgoingClient(resolver=lambda _host, _port: answer)
    with pytest.raises(RequestFailed, match="no address"):
        client.send(OutgoingRequest("GET", "http://example.com/"))


def test_the_machines_own_resolver_is_asked() -> None:
    assert "127.0.0.1" in resolve("localhost", 80)


def test_allowed_networks_are_allowed_in_every_spelling(client: OutgoingClient) -> None:
    with receiving() as receiver:
        for host in ("127.0.0.1", "0x7f.1", "2130706433"):
            assert client.send(OutgoingRequest("GET", receiver.url.replace("127.0.0.1", host))).is_success
        with pytest.raises(TargetRefused):
            client.send(OutgoingRequest("GET", receiver.url.replace("127.0.0.1", "[::1]")))
        assert len(receiver.requests) == 3


def test_what_a_request_says_of_itself(client: OutgoingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with receiving(lambda _request: (200, {"Set-Cookie": "a=b"}, b"1")) as receiver:
        for _ in range(2):
            client.send(OutgoingRequest("POST", receiver.url, {"Content-Type": "text/plain"}, b"body"))
    for request in receiver.requests:
        assert request.body == b"body"
        assert request.headers == {
            "host": receiver.url.split("/")[2],
            "user-agent": f"Listbridge/{version('listbridge')}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "connection": "close",
            "content-type": "text/plain",
            "content-length": "4",
        }


def redirecting(status: int, location: Callable[[Received], str]) -> Callable[[Received], Reply]:
    """Redirect all but what ends in /end."""

    def behave(request: Received) -> Reply:
        if request.target.endswith("/end"):
            return 200, {}, b"arrived"
        return status, {"Location": location(request)}, b"elsewhere"

    return behave


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_get_follows_redirects(client: OutgoingClient, status: int) -> None:
    with receiving(redirecting(status, lambda _: "/deeper/end")) as receiver:
        assert client.send(OutgoingRequest("GET", receiver.url)) == Answer(200, "arrived")
        assert [request.target for request in receiver.requests] == ["/hook", "/deeper/end"]


@pytest.mark.parametrize(("status", "followed"), [(301, 0), (302, 0), (303, 0), (307, 1), (308, 1)])
def test_post_follows_only_what_keeps_it_a_post(client: OutgoingClient, status: int, followed: int) -> None:
    with receiving(redirecting(status, lambda _: "end")) as receiver:
        answer = client.send(OutgoingRequest("POST", receiver.url, body=b"told"))
        assert answer.is_success == bool(followed)
        assert answer.status == (200 if followed else status)
        assert [(request.method, request.body) for request in receiver.requests] == [("POST", b"told")] * (followed + 1)


@pytest.mark.parametrize("hops", [3, 4])
def test_three_redirects_are_followed(client: OutgoingClient, hops: int) -> None:
    def location(request: Received) -> str:
        count = request.target.count("x") + 1
        return "/end" if count == hops else "/" + "x" * count

    with receiving(redirecting(302, location)) as receiver:
        request = OutgoingRequest("GET", receiver.url)
        if hops == 3:
            assert client.send(request).is_success
        else:
            with pytest.raises(RequestFailed, match="more than 3"):
                client.send(request)
            assert len(receiver.requests) == 4


def test_a_loop_of_redirects_ends(client: OutgoingClient) -> None:
    with receiving(redirecting(302, lambda request: request.target)) as receiver:
        with pytest.raises(RequestFailed, match="more than 3"):
            client.send(OutgoingRequest("GET", receiver.url))
        assert len(receiver.requests) == 4


@pytest.mark.parametrize("host", INSIDE[1:])
def test_no_redirect_leads_inside(host: str) -> None:
    only = OutgoingClient((ipaddress.ip_network("127.0.0.1/32"),), resolver=_first_hop_only)
    with receiving(redirecting(302, lambda _: f"http://{host}/")) as receiver, pytest.raises(RequestFailed):
        only.send(OutgoingRequest("GET", receiver.url.replace("127.0.0.1", "first.example.com")))


def _first_hop_only(host: str, port: int) -> Sequence[str]:
    """Have other spellings of the receiver's own address lead somewhere forbidden, as any other private address."""
    if host == "first.example.com":
        return ["127.0.0.1"]
    return ["127.0.0.2" if address == "127.0.0.1" else address for address in resolve(host, port)]


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "gopher://example.com/", "http://user@example.com/", "http://[::1", "http://", "https://"],
)
def test_redirects_to_what_is_no_target(client: OutgoingClient, location: str) -> None:
    with receiving(redirecting(302, lambda _: location)) as receiver, pytest.raises(RequestFailed, match="redirect"):
        client.send(OutgoingRequest("GET", receiver.url))


def test_a_redirect_without_a_location_is_an_answer(client: OutgoingClient) -> None:
    with receiving(lambda _request: (302, {}, b"?")) as receiver:
        assert client.send(OutgoingRequest("GET", receiver.url)).status == 302


def talk_after_request(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return talk


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "not HTTP"),
        (b"HTTP/1.1 200", "not HTTP"),
        (b"220 mail.example.com ESMTP\r\n\r\n", "not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 999999 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not HTTP"),
    ],
)
def test_answers_that_are_none(client: OutgoingClient, answer: bytes, told: str) -> None:
    with misbehaving(talk_after_request(answer)) as url, pytest.raises(RequestFailed, match=told):
        client.send(OutgoingRequest("GET", url))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\nzz", "cut"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\x1b[2J\x00\r\n\xff\xe2\x80", "[2J �"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"word " * 1000, ("word " * 100)),
    ],
)
def test_the_status_counts_and_the_beginning_is_kept(client: OutgoingClient, answer: bytes, text: str) -> None:
    with misbehaving(talk_after_request(answer)) as url:
        got = client.send(OutgoingRequest("GET", url))
    assert got.is_success
    assert got.text.startswith(text)
    assert len(got.text) <= 500
    assert got.text.isprintable()


def test_a_huge_answer_is_not_read(client: OutgoingClient) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while sent < 1 << 30:
            sent += connection.send(b"x" * 65536)

    with misbehaving(flood) as url:
        assert client.send(OutgoingRequest("GET", url)) == Answer(200, "x" * 500)
    # What was read, and what the buffers of two sockets hold.
    assert sent < MAX_ANSWER + (32 << 20)


def hang(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def drip(beginning: bytes) -> Callable[[socket.socket], None]:
    """Send one byte after the other, each long before a read times out."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(beginning)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    return talk


def promise(connection: socket.socket) -> None:
    """Announce an answer without end; there is always something to read."""
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@pytest.mark.parametrize("talk", [hang, promise, drip(b"HTTP/1.1 200 OK\r\nX: "), drip(b"")])
def test_who_never_answers_is_left(talk: Callable[[socket.socket], None]) -> None:
    client = OutgoingClient(LOOPBACK, total_seconds=0.5)
    begun = time.monotonic()
    with misbehaving(talk) as url, pytest.raises(RequestFailed, match="in time"):
        client.send(OutgoingRequest("GET", url))
    assert time.monotonic() - begun < 20


def test_who_drips_the_body_has_answered() -> None:
    client = OutgoingClient(LOOPBACK, total_seconds=0.5)
    with misbehaving(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")) as url:
        assert client.send(OutgoingRequest("GET", url)).status == 200


def test_who_reads_nothing_is_left() -> None:
    ended = threading.Event()

    def ignore(_connection: socket.socket) -> None:
        ended.wait(30)

    client = OutgoingClient(LOOPBACK, total_seconds=0.5)
    body = b"x" * (64 << 20)
    with misbehaving(ignore) as url:
        with pytest.raises(RequestFailed, match="in time"):
            client.send(OutgoingRequest("POST", url, body=body))
        ended.set()


def test_redirects_share_the_time() -> None:
    client = OutgoingClient(LOOPBACK, total_seconds=0.0)
    with receiving() as receiver, pytest.raises(RequestFailed, match="in time"):
        client.send(OutgoingRequest("GET", receiver.url))


def test_nobody_there(client: OutgoingClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RequestFailed, match="not accepted"):
        client.send(OutgoingRequest("GET", f"http://127.0.0.1:{port}/"))


def test_a_cut_connection(client: OutgoingClient) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with misbehaving(reset) as url, pytest.raises(RequestFailed, match="cut"):
        client.send(OutgoingRequest("GET", url))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hook.example.com that vouches for itself, and its key, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=hook.example.com", "-addext", "subjectAltName=DNS:hook.example.com"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OPENSSL_CONF": ""})
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


def test_certificates_are_checked_against_the_name(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def send(url: str, context: ssl.SSLContext | None) -> Answer:
        client = OutgoingClient(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.1"], ssl_context=context)
        return client.send(OutgoingRequest("GET", url))

    with receiving(ssl_context=server) as receiver:
        right = receiver.url.replace("127.0.0.1", "hook.example.com")
        assert send(right, trusting).is_success
        assert names == ["hook.example.com"]
        with pytest.raises(RequestFailed, match="certificate"):
            send(right, None)
        with pytest.raises(RequestFailed, match="certificate"):
            send(receiver.url.replace("127.0.0.1", "other.example.com"), trusting)
        assert len(receiver.requests) == 1


def test_tls_is_never_left_by_a_redirect(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    client = OutgoingClient(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.1"], ssl_context=trusting)
    with receiving() as plain, receiving(redirecting(307, lambda _: plain.url), server) as receiver:
        with pytest.raises(RequestFailed, match="from https to http"):
            client.send(OutgoingRequest("POST", receiver.url.replace("127.0.0.1", "hook.example.com"), body=b"x"))
        assert plain.requests == []


def test_a_server_without_tls(client: OutgoingClient) -> None:
    with receiving() as receiver, pytest.raises(RequestFailed, match="TLS"):
        client.send(OutgoingRequest("GET", receiver.url.replace("http:", "https:")))
