"""SMPP with a real message centre."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from message_centre import MessageCentre, message_centre

from audience.events import SmsStatus
from delivery.handovers import GatewayUnavailable, Outcome, OutgoingText, Receipt
from delivery.smpp_gateway import SmppGateway, make_smpp_gateway
from delivery.sms_gateway import make_gateway
from delivery.sms_text import split


@pytest.fixture
def centre() -> Iterator[MessageCentre]:
    with message_centre() as running:
        yield running


class Keeper:
    """Gets receipts."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.fails = 0

    def take(self, receipts: Sequence[Receipt]) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("The database is away.")
        self.receipts += receipts


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def gateway(centre: MessageCentre, keeper: Keeper) -> Iterator[SmppGateway]:
    made = make_gateway(centre.url)
    assert isinstance(made, SmppGateway)
    made.on_receipts(keeper.take)
    yield made
    made.close()


def write_text(
    text: str = "Ciao", *, number: str = "+393331234567", unicode: bool = False, sender: str = "Shop"
) -> OutgoingText:
    parts = split(text, unicode)
    return OutgoingText(reference="1", sender=sender, number=number, parts=parts, unicode=unicode)


def test_a_message_and_its_receipt(centre: MessageCentre, gateway: SmppGateway, keeper: Keeper) -> None:
    centre.treat(receipts="DELIVRD")
    [handover] = gateway.send([write_text("Così è {€}")])
    assert (handover.outcome, handover.remote_id) == (Outcome.ACCEPTED, "100")
    [seen] = centre.submitted
    assert (seen["text"], seen["to"], seen["from"], seen["ton"]) == ("Così è {€}", "393331234567", "Shop", 5)
    centre.wait_for(lambda _events: centre.named("acknowledged"))
    assert keeper.receipts == [Receipt("100", SmsStatus.DELIVERED, None, "+393331234567")]


@pytest.mark.parametrize(
    ("sender", "ton", "address"),
    [
        ("Shop 24", 5, "Shop 24"),
        ("+393330000000", 1, "393330000000"),
        ("00393330000000", 1, "393330000000"),
        ("", 0, ""),
    ],
)
def test_senders(centre: MessageCentre, gateway: SmppGateway, sender: str, ton: int, address: str) -> None:
    gateway.send([write_text(sender=sender)])
    assert (centre.submitted[0]["from"], centre.submitted[0]["ton"]) == (address, ton)


@pytest.mark.parametrize(("text", "unicode"), [("a[b" * 100, False), ("Привет 🙂 " * 20, True)])
def test_parts_belong_together(centre: MessageCentre, gateway: SmppGateway, text: str, unicode: bool) -> None:
    [handover] = gateway.send([write_text(text, unicode=unicode)])
    seen = centre.submitted
    assert handover.remote_id == str(99 + len(seen))
    assert len(seen) > 1 and "".join(part["text"] for part in seen) == text
    headers = [bytes.fromhex(part["udh"][0]) for part in seen]
    assert [header[-1] for header in headers] == list(range(1, len(seen) + 1))
    assert len({header[:-1] for header in headers}) == 1 and headers[0][-2] == len(seen)
    assert [part["registered"] for part in seen] == [0] * (len(seen) - 1) + [1]


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [("UNDELIV", "045", "UNDELIV 045"), ("EXPIRED", "000", "EXPIRED"), ("REJECTD", "A1F", "REJECTD A1F")],
)
def test_a_receipt_of_failure(
    centre: MessageCentre, gateway: SmppGateway, keeper: Keeper, state: str, error: str, code: str
) -> None:
    centre.treat(receipts=state, error=error)
    gateway.send([write_text()])
    centre.wait_for(lambda _events: keeper.receipts)
    assert keeper.receipts == [Receipt("100", SmsStatus.ERROR, code, "+393331234567")]


def test_a_receipt_that_is_not_kept_is_not_acknowledged(
    centre: MessageCentre, gateway: SmppGateway, keeper: Keeper
) -> None:
    keeper.fails = 1
    centre.treat(receipts="DELIVRD")
    gateway.send([write_text(), write_text()])
    centre.wait_for(lambda _events: len(centre.named("acknowledged")) == 2)
    assert {line["status"] for line in centre.named("acknowledged")} >= {0x64}


def test_a_wrong_password(centre: MessageCentre) -> None:
    gateway = make_smpp_gateway(centre.url.replace("s3cret", "guess"))
    with pytest.raises(GatewayUnavailable, match="refuses the login: 0x0e"):
        gateway.check()
    with pytest.raises(GatewayUnavailable, match="refuses"):
        gateway.send([write_text()])
    with pytest.raises(GatewayUnavailable, match="a moment ago"):
        gateway.send([write_text()])
    assert len(centre.named("bind")) == 2


def test_the_check(centre: MessageCentre, gateway: SmppGateway) -> None:
    assert gateway.check() == [f"Connected to 127.0.0.1:{centre.port} and logged in as a transceiver."]


def test_a_centre_that_is_not_there() -> None:
    gateway = make_smpp_gateway("smpp://a:b@127.0.0.1:1")
    with pytest.raises(GatewayUnavailable, match="not accepted"):
        gateway.connect()


def test_throttling_defers(centre: MessageCentre, gateway: SmppGateway) -> None:
    centre.treat(throttle=1)
    first, second = gateway.send([write_text(), write_text()])
    assert (first.outcome, first.code, second.outcome) == (
        Outcome.DEFERRED,
        "0x58 Throttling error (ESME has exceeded allowed message limits)",
        Outcome.ACCEPTED,
    )


def test_a_part_that_is_throttled_follows_the_others(centre: MessageCentre, gateway: SmppGateway) -> None:
    centre.treat(throttle=1)
    [handover] = gateway.send([write_text("a" * 300)])
    assert handover.outcome == Outcome.ACCEPTED
    assert [part["udh"][0][-2:] for part in centre.submitted] == ["01", "02", "01"]


def test_a_refusal_is_final(centre: MessageCentre, gateway: SmppGateway) -> None:
    centre.treat(refuse=0x0B)
    [handover] = gateway.send([write_text()])
    assert handover.outcome == Outcome.REFUSED and (handover.code or "").startswith("0x0b ")


def test_a_connection_that_breaks_leaves_doubt_and_is_made_again(centre: MessageCentre, gateway: SmppGateway) -> None:
    gateway.send([write_text()])
    centre.treat(dropAfter=3)
    outcomes = [handover.outcome for handover in gateway.send([write_text() for _ in range(5)])]
    assert outcomes[:2] == [Outcome.ACCEPTED] * 2 and outcomes[2] == Outcome.UNKNOWN
    assert set(outcomes[3:]) <= {Outcome.UNKNOWN, Outcome.DEFERRED}
    assert gateway.send([write_text()])[0].outcome == Outcome.ACCEPTED
    assert len(centre.named("bind")) == 2


@pytest.mark.parametrize("command", ["drop", "unbind", "garbage"])
def test_an_idle_connection_that_ends_is_made_again(centre: MessageCentre, gateway: SmppGateway, command: str) -> None:
    gateway.connect()
    link = gateway._link
    assert link is not None
    centre.treat(command=command)
    deadline = time.monotonic() + 30
    while link.is_open():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    gateway.connect()
    assert len(centre.named("bind")) == 2


def test_both_sides_ask_whether_the_other_is_there(centre: MessageCentre) -> None:
    gateway = make_smpp_gateway(f"{centre.url}?enquire=1")
    gateway.connect()
    centre.treat(command="enquire")
    centre.wait_for(lambda _events: centre.named("alive") and len(centre.named("enquire")) >= 2)
    assert len(centre.named("bind")) == 1
    gateway.close()


def test_what_is_no_receipt_is_acknowledged_and_what_is_strange_is_answered(
    centre: MessageCentre, gateway: SmppGateway, keeper: Keeper
) -> None:
    gateway.connect()
    centre.treat(command="message")
    centre.treat(command="strange")
    assert centre.wait_for(lambda _events: centre.named("acknowledged"))[0]["status"] == 0
    assert gateway.send([write_text()])[0].outcome == Outcome.ACCEPTED
    assert keeper.receipts == []


@pytest.mark.parametrize(
    "url",
    [
        "smpp://user@",
        "smpp://:x@host",
        "smpp://user:passwordtoolong@host",
        "smpp://userthatismuchtoolong:x@host",
        "smpp://user:x@host?window=0",
        "smpp://user:x@host?colour=red",
        "ftp://host",
        "https://",
    ],
)
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="sms_gateway") as error:
        make_gateway(url)
    assert "passwordtoolong" not in str(error.value)


def test_no_gateway() -> None:
    assert make_gateway("") is None
