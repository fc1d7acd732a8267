"""Mails straight to the servers of a domain, which a real name server names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from mail_sinks import serve_mail

from delivery.mail_servers import LookUpFailed, MailServers, NoMailServers
from delivery.parcels import Parcel
from delivery.routes import DirectRoute
from delivery.smtp import RouteDown, SmtpOptions

ZONE = {
    ("two.example", "MX"): ["20 second.example.", "10 first.example."],
    ("none.example", "MX"): ["0 ."],
    ("plain.example", "A"): ["127.0.0.1"],
    ("bare.example", "TXT"): ["x"],
    ("here.example", "MX"): ["10 localhost."],
    ("away.example", "MX"): ["10 127.0.0.2.", "20 localhost."],
    ("xn--bcher-kva.example", "MX"): ["10 localhost."],
}


@contextmanager
def _name_server(zone: Mapping[tuple[str, str], list[str]]) -> Iterator[tuple[MailServers, list[str]]]:
    """Run a name server that knows a few names; gives what asks it, and what it was asked."""
    asked: list[str] = []
    names = {name for name, _ in zone}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                try:
                    data, peer = server.recvfrom(4096)
                except OSError:
                    return
                if not data:
                    return
                query = dns.message.from_wire(data)
                question = query.question[0]
                name, kind = str(question.name).rstrip(".").lower(), question.rdtype.name
                asked.append(f"{name} {kind}")
                reply = dns.message.make_response(query)
                if name == "broken.example":
                    reply.set_rcode(dns.rcode.SERVFAIL)
                elif name not in names:
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                elif (name, kind) in zone:
                    reply.answer.append(dns.rrset.from_text(question.name, 300, "IN", kind, *zone[name, kind]))
                server.sendto(reply.to_wire(), peer)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = server.getsockname()[1]
        yield MailServers(resolver), asked
        server.sendto(b"", server.getsockname())
        thread.join()


def test_the_servers_of_a_domain_in_their_order() -> None:
    with _name_server(ZONE) as (servers, asked):
        assert servers.find("two.example") == ("first.example", "second.example")
        assert servers.find("two.example") == ("first.example", "second.example")
        assert asked == ["two.example MX"]
        assert servers.find("plain.example") == ("plain.example",)


@pytest.mark.parametrize(
    ("domain", "problem"),
    [
        ("unknown.example", "does not exist"),
        ("none.example", "takes no mail"),
        ("bare.example", "has no mail server"),
    ],
)
def test_domains_that_take_no_mail(domain: str, problem: str) -> None:
    with _name_server(ZONE) as (servers, _):
        with pytest.raises(NoMailServers, match=problem):
            servers.find(domain)
        outcome = DirectRoute(SmtpOptions(relay="mx"), servers).send(Parcel("", f"a@{domain}", b"x\r\n"))
    assert (outcome.kind, outcome.name) == ("refused", "550 5.1.2")


def test_a_name_server_that_does_not_know_now() -> None:
    with _name_server(ZONE) as (servers, _):
        with pytest.raises(LookUpFailed):
            servers.find("broken.example")
        outcome = DirectRoute(SmtpOptions(relay="mx"), servers).send(Parcel("", "a@broken.example", b"x\r\n"))
    assert (outcome.kind, outcome.name) == ("deferred", "451 4.4.3")


@pytest.mark.parametrize("address", ["a@here.example", "a@away.example", "a@bücher.example"])
def test_a_mail_goes_to_the_first_server_that_answers(address: str) -> None:
    with _name_server(ZONE) as (servers, _), serve_mail() as sink:
        route = DirectRoute(SmtpOptions(relay="mx", hello_name="c.example"), servers, sink.port)
        assert route.send(Parcel("b@example.com", address, b"x\r\n")).kind == "sent"
        assert route.send(Parcel("b@example.com", address, b"x\r\n")).kind == "sent"
        route.close()
    assert sink.recipients() == {address: 2}
    assert sink.connections == 1


def test_no_server_answers() -> None:
    with _name_server(ZONE) as (servers, _):
        with serve_mail() as sink:
            port = sink.port
        with pytest.raises(RouteDown, match="localhost"):
            DirectRoute(SmtpOptions(relay="mx"), servers, port).send(Parcel("", "a@here.example", b"x\r\n"))
