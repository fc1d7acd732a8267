"""Parcels through sessions with servers that take them, refuse them, or break off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mail_sinks import MailSink, serve_mail

from delivery.parcels import NOT_WRITTEN, Outcome, Parcel
from delivery.routes import RelayRoute
from delivery.smtp import RouteDown, SmtpOptions

CONTENT = b"Subject: Hello\r\n\r\n.a line with a dot\r\n..two\r\nthe end\r\n"


@pytest.fixture(params=[True, False], ids=["pipelining", "one-by-one"])
def sink(request: pytest.FixtureRequest) -> Iterator[MailSink]:
    with serve_mail(pipelining=request.param) as running:
        yield running


@pytest.fixture
def route(sink: MailSink) -> Iterator[RelayRoute]:
    made = RelayRoute(SmtpOptions(hello_name="client.example.com"), "127.0.0.1", sink.port)
    yield made
    made.close()


def _parcel(recipient: str, content: bytes = CONTENT) -> Parcel:
    return Parcel("sender@example.com", recipient, content)


def test_a_parcel_arrives_byte_for_byte(sink: MailSink, route: RelayRoute) -> None:
    assert route.send(_parcel("anna@example.com")) == Outcome("sent", 250, "2.0.0 kept")
    assert sink.received == [("sender@example.com", "anna@example.com", CONTENT)]
    assert sink.commands[0] == b"ehlo client.example.com"


@pytest.mark.parametrize(
    "content", [b".\r\n", b"..\r\n.\r\n.", b"x", b"", b"\r\n.\r\n.\r\nRCPT TO:<x@example.com>\r\n"]
)
def test_no_content_ends_early(sink: MailSink, route: RelayRoute, content: bytes) -> None:
    assert route.send(_parcel("anna@example.com", content)).kind == "sent"
    assert route.send(_parcel("ben@example.com")).kind == "sent"
    kept = content if content.endswith(b"\r\n") else content + b"\r\n"
    assert [row[2] for row in sink.received] == [kept, CONTENT]


@pytest.mark.parametrize(
    ("recipient", "outcome"),
    [
        ("refused@example.com", Outcome("refused", 550, "5.1.1 No such user here")),
        ("later1@example.com", Outcome("deferred", 450, "4.2.0 Greylisted, try again")),
        ("big@example.com", Outcome("refused", 552, "5.3.4 Too big")),
    ],
)
def test_an_answer_is_told_and_the_connection_goes_on(
    sink: MailSink, route: RelayRoute, recipient: str, outcome: Outcome
) -> None:
    assert route.send(_parcel(recipient)) == outcome
    assert outcome.name == f"{outcome.code} {outcome.text.split()[0]}"
    assert route.send(_parcel("anna@example.com")).kind == "sent"
    assert sink.connections == 1
    assert sink.recipients() == {"anna@example.com": 1}


def test_a_sender_that_is_not_wanted(sink: MailSink, route: RelayRoute) -> None:
    outcome = route.send(Parcel("unwanted@example.com", "anna@example.com", CONTENT))
    assert outcome == Outcome("refused", 550, "Not from you", about_sender=True)
    assert sink.received == []


def test_greylisting_ends_with_success(sink: MailSink, route: RelayRoute) -> None:
    kinds = [route.send(_parcel("later2@example.com")).kind for _ in range(3)]
    assert kinds == ["deferred", "deferred", "sent"]


def test_a_connection_that_ends_in_the_content_is_no_delivery(sink: MailSink, route: RelayRoute) -> None:
    content = CONTENT + b"x" * 76 + b"\r\n"
    with pytest.raises(RouteDown):
        # More than the buffers of a connection hold, so that the end cannot be on its way when it breaks.
        route.send(_parcel("cut@example.com", content + (b"y" * 76 + b"\r\n") * 200_000))
    assert sink.received == []


def test_a_connection_that_ends_after_the_content_leaves_a_doubt(sink: MailSink, route: RelayRoute) -> None:
    assert route.send(_parcel("lost@example.com")).kind == "unknown"
    assert sink.recipients() == {"lost@example.com": 1}
    assert route.send(_parcel("anna@example.com")).kind == "sent"
    assert sink.connections == 2


def test_a_server_that_closes(sink: MailSink, route: RelayRoute) -> None:
    with pytest.raises(RouteDown, match=r"421 4\.3\.2 Closing"):
        route.send(_parcel("closing@example.com"))
    assert route.send(_parcel("anna@example.com")).kind == "sent"


def test_a_connection_closed_meanwhile_is_replaced(sink: MailSink, route: RelayRoute) -> None:
    assert route.send(_parcel("lost@example.com")).kind == "unknown"
    assert route.send(_parcel("anna@example.com")).kind == "sent"


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n\n.\r\n", b"a\n.\nMAIL FROM:<x>\r\n", b"\0\r\n"])
def test_line_ends_that_servers_read_differently_are_not_sent(
    sink: MailSink, route: RelayRoute, content: bytes
) -> None:
    assert route.send(_parcel("anna@example.com", content)) == NOT_WRITTEN
    assert sink.received == []


@pytest.mark.parametrize("address", ["a@example.com>\r\nDATA", "a b@example.com", "<a@example.com", "a\0@example.com"])
def test_addresses_that_would_be_commands_are_not_sent(sink: MailSink, route: RelayRoute, address: str) -> None:
    assert route.send(_parcel(address)) == NOT_WRITTEN
    assert route.send(Parcel(address, "anna@example.com", CONTENT)) == NOT_WRITTEN
    assert sink.received == []


def test_international_addresses(sink: MailSink, route: RelayRoute) -> None:
    assert route.send(_parcel("änna@example.com")).kind == "sent"
    assert any(b"SMTPUTF8" in command for command in sink.commands if command.startswith(b"MAIL"))


def test_nobody_there() -> None:
    with serve_mail() as sink:
        port = sink.port
    with pytest.raises(RouteDown, match=str(port)):
        RelayRoute(SmtpOptions(), "127.0.0.1", port).send(_parcel("anna@example.com"))


def test_many_in_one_session(sink: MailSink, route: RelayRoute) -> None:
    recipients = [f"p{n}@example.com" for n in range(20)]
    recipients[3:3] = ["refused@example.com", "later9@example.com", "big@example.com", "bad\n@example.com"]
    outcomes = list(route.bring(_parcel(recipient) for recipient in recipients))
    assert [outcome.kind for outcome in outcomes[3:7]] == ["refused", "deferred", "refused", "refused"]
    assert sorted(sink.recipients()) == sorted(recipients[:3] + recipients[7:])
    assert [outcome.kind for outcome in outcomes].count("sent") == 20
    assert sink.connections == 1


@pytest.mark.parametrize("breaks", ["cut@example.com", "lost@example.com", "closing@example.com"])
def test_nobody_is_told_of_after_a_break(sink: MailSink, route: RelayRoute, breaks: str) -> None:
    asked: list[str] = []

    def parcels() -> Iterator[Parcel]:
        for recipient in ("anna@example.com", breaks, "ben@example.com", "carl@example.com"):
            asked.append(recipient)
            yield _parcel(recipient)

    outcomes = []
    with pytest.raises(RouteDown):
        for outcome in route.bring(parcels()):
            outcomes.append(outcome.kind)
    assert outcomes == (["sent"] if breaks.startswith("closing") else ["sent", "unknown"])
    assert "ben@example.com" not in sink.recipients()
    assert "carl@example.com" not in asked


def test_what_is_left_off_in_the_middle_is_not_delivered(sink: MailSink, route: RelayRoute) -> None:
    outcomes = route.bring(_parcel(f"p{n}@example.com") for n in range(9))
    assert [next(outcomes).kind, next(outcomes).kind] == ["sent", "sent"]
    outcomes.close()  # type: ignore[attr-defined]
    assert route.send(_parcel("anna@example.com")).kind == "sent"
    assert sink.recipients() == {"p0@example.com": 1, "p1@example.com": 1, "anna@example.com": 1}
