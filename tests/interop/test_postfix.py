"""Sendings through a real mail server: refusals, greylisting, connections that break, and bounces by size."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mail_sinks import serve_mail
from mail_world import MailWorld, make_mail_world, options, wait_until
from postfix_server import require_postfix, run_postfix

from db.engine import Database
from delivery.queue import DeliveryState
from delivery.routes import make_route
from delivery.smtp import SmtpOptions

pytestmark = pytest.mark.usefixtures("postfix")


@pytest.fixture(scope="module")
def postfix() -> None:
    require_postfix()


@pytest.fixture
def world(sqlite_url: str) -> Iterator[MailWorld]:
    database = Database(sqlite_url)
    yield make_mail_world(database)
    database.close()


@contextmanager
def _policy() -> Iterator[int]:
    """Run a policy service (SMTPD_POLICY_README) that refuses `gone…` and puts `grey…` off the first time."""
    asked: Counter[str] = Counter()

    def decide(recipient: str) -> str:
        asked[recipient] += 1
        if recipient.startswith("gone"):
            return "550 5.1.1 No such user"
        return "450 4.7.1 Greylisted" if recipient.startswith("grey") and asked[recipient] == 1 else "DUNNO"

    def talk(link: socket.socket) -> None:
        with link, link.makefile("rw") as lines:
            recipient = ""
            for line in lines:
                if line.startswith("recipient="):
                    recipient = line.strip().removeprefix("recipient=")
                elif not line.strip():
                    lines.write(f"action={decide(recipient)}\n\n")
                    lines.flush()

    with _listen(talk) as port:
        yield port


@contextmanager
def _cutting_proxy(port: int, after: int) -> Iterator[int]:
    """Run a way to a server that ends the first connection when so many bytes have gone through."""
    first = threading.Event()

    def talk(link: socket.socket) -> None:
        left = 10**9 if first.is_set() else after
        first.set()
        with link, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_copy, args=(server, link, 10**9), daemon=True)
            back.start()
            _copy(link, server, left)
            server.shutdown(socket.SHUT_RDWR)
            link.shutdown(socket.SHUT_RDWR)

    with _listen(talk) as own:
        yield own


def _copy(source: socket.socket, target: socket.socket, left: int) -> None:
    try:
        while left > 0 and (block := source.recv(min(left, 65536))):
            target.sendall(block)
            left -= len(block)
    except OSError:
        return


@contextmanager
def _listen(talk: object) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(link,), daemon=True).start()  # type: ignore[arg-type]

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _relay(port: int) -> dict[str, SmtpOptions]:
    return {"smtp": SmtpOptions(relay=("127.0.0.1", port), hello_name="lists.example.com", connections=2)}


def test_a_sending_goes_through(world: MailWorld) -> None:
    addresses = world.add_people(40)
    with serve_mail() as sink, run_postfix(relay_to=sink.port) as port:
        sent = world.send(world.add_message("Grüße [campo1]"))
        with world.mail_role(None, **_relay(port)):
            row = world.wait_for_state(sent, "completed")
            wait_until(lambda: len(sink.received) == 40, "Postfix has not brought all of them")
    assert (row.sent, row.failed) == (40, 0)
    assert sink.recipients() == dict.fromkeys(addresses, 1)
    mail = email.message_from_bytes(sink.received[0][2], policy=email.policy.default)
    assert mail["Subject"].startswith("Grüße Name ")
    assert not mail.defects


def test_refused_greylisted_and_too_big(world: MailWorld) -> None:
    world.add_people(3, names={1: "gone@example.com", 2: "grey@example.com"})
    with serve_mail() as sink, _policy() as policy, run_postfix(relay_to=sink.port, policy=policy) as port:
        sent = world.send(world.add_message())
        with world.mail_role(None, **_relay(port)):
            wait_until(lambda: (world.state(sent).sent, world.state(sent).failed) == (1, 1), "nothing is sent")
            assert world.states(sent)[DeliveryState.WAITING] == 1
            world.make_due(sent)
            row = world.wait_for_state(sent, "completed")
            wait_until(lambda: len(sink.received) == 2, "Postfix has not brought all of them")
    assert (row.sent, row.failed) == (2, 1)
    assert set(sink.recipients()) == {"grey@example.com", "person3@example.com"}


def test_a_server_with_little_room(world: MailWorld) -> None:
    world.add_people(1)
    with (
        serve_mail() as sink,
        run_postfix(relay_to=sink.port, message_size_limit="400") as port,
        world.mail_role(None, **_relay(port)),
    ):
        row = world.wait_for_state(world.send(world.add_message()), "completed")
    assert (row.sent, row.failed) == (0, 1)
    assert sink.received == []


@pytest.mark.parametrize("after", [60, 700, 4_000], ids=["in-the-envelope", "in-the-content", "later"])
def test_a_connection_that_breaks(world: MailWorld, after: int) -> None:
    addresses = world.add_people(10)
    with serve_mail() as sink, run_postfix(relay_to=sink.port) as port:
        with _cutting_proxy(port, after) as proxy, world.mail_role(None, **_relay(proxy)):
            sent = world.send(world.add_message(html=f"<p>{'long ' * 400}</p>"), mode="at-least-once")
            wait_until(lambda: world.state(sent).sent >= 9, "nothing is sent")
            world.make_due(sent)
            row = world.wait_for_state(sent, "completed")
        wait_until(lambda: len(sink.recipients()) == 10, "somebody got nothing")
    assert (row.sent, row.failed) == (10, 0)
    counts: Counter[str] = sink.recipients()
    assert set(counts) == set(addresses)
    assert sum(counts.values()) <= 11


def test_the_relay_is_looked_at() -> None:
    with serve_mail() as sink, run_postfix(relay_to=sink.port) as port:
        route = make_route(options(port).smtp)
        assert route is not None
        lines = route.check()
    assert lines[0] == f"relay: 127.0.0.1:{port}"
    assert "pipelining" in lines[2]
