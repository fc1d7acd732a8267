"""Text messages from the queue to a real message centre, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from message_centre import MessageCentre, message_centre
from sms_world import NOBODY, SmsWorld, make_sms_world, wait_until

from audience.events import SmsStatus
from audience.list_changes import change_list
from audience.notices import set_contact, waiting_notices
from audience.status_rules import Channel
from db.engine import Database
from db.tables import delivery, sending
from delivery import sms_queue
from delivery.handovers import Handover, Outcome, OutgoingText, Receipt, ReceiptTaker
from delivery.queue import DeliveryState
from delivery.sending_changes import cancel
from delivery.sending_stops import start_channel, stop_channel
from delivery.sendings import SendingMode, find_sending
from delivery.smpp_gateway import SmppGateway, make_smpp_gateway
from delivery.sms_credits import account_credit, refund_cancelled
from delivery.sms_receipts import read_status_token, record_fate, write_status_token

NUMBERS = [f"+39333123{place:04d}" for place in range(25)]
SENT, FAILED, SKIPPED, UNKNOWN = (
    int(state) for state in (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SKIPPED, DeliveryState.UNKNOWN)
)


@pytest.fixture
def world(database: Database) -> SmsWorld:
    return make_sms_world(database)


@pytest.fixture(scope="module")
def shared_centre() -> Iterator[MessageCentre]:
    with message_centre() as running:
        yield running


@pytest.fixture
def centre(shared_centre: MessageCentre) -> MessageCentre:
    shared_centre.treat(throttle=0, refuse=0, dropAfter=None, receipts=None, early=False, hex=False, error="000")
    shared_centre.events.clear()
    return shared_centre


@pytest.fixture
def gateway(centre: MessageCentre) -> Iterator[SmppGateway]:
    made = make_smpp_gateway(centre.url)
    yield made
    made.close()


class Recorder:
    """A gateway that says what it is told to."""

    def __init__(self, *outcomes: Handover) -> None:
        self.outcomes = list(outcomes)
        self.texts: list[OutgoingText] = []
        self.take: ReceiptTaker | None = None

    def on_receipts(self, take: ReceiptTaker) -> None:
        self.take = take

    def connect(self) -> None:
        """Nothing to do."""

    def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
        self.texts += texts
        return [
            self.outcomes.pop(0) if self.outcomes else Handover(Outcome.ACCEPTED, f"id{len(self.texts)}-{place}")
            for place, _text in enumerate(texts)
        ]

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("early", [False, True])
def test_a_sending_with_receipts(world: SmsWorld, centre: MessageCentre, gateway: SmppGateway, early: bool) -> None:
    centre.treat(receipts="DELIVRD", hex=True, early=early)
    world.give(100)
    world.subscribe(*NUMBERS, name="Ada")
    world.subscribe("+393339999999")
    new = world.send(world.message("Ciao [nome] [campo1] [number]!"), sender="Shop")
    lane = world.lane(gateway)
    world.work(lane)
    row = world.row(new)
    assert (row.state, row.total, row.sent, row.failed) == ("completed", 26, 26, 0)
    texts = {line["to"]: line["text"] for line in centre.submitted}
    assert texts["393331230000"] == "Ciao Ada Ada 3331230000!"
    assert texts["393339999999"] == "Ciao amico amico 3339999999!"

    def delivered() -> int:
        lane.work(NOBODY)
        return sum(status == SmsStatus.DELIVERED for _mobile, status, _code in world.events())

    wait_until(lambda: delivered() == 26)
    assert sum(status == SmsStatus.QUEUED for _mobile, status, _code in world.events()) == 26
    with world.database.read() as connection:
        assert account_credit(connection, world.account.id) == 74


def test_who_has_left_gets_nothing_and_pays_nothing(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe("+393331230001", "+393331230002", "+393331230003")
    new = world.send(world.message())
    world.prepare()
    world.unsubscribe("+393331230002")
    gateway = Recorder()
    world.work(world.lane(gateway))
    assert [text.number for text in gateway.texts] == ["+393331230001", "+393331230003"]
    assert world.states(new)["+393331230002"] == SKIPPED
    assert credits_of(world) == 8


def test_without_credits_a_sending_waits_and_somebody_is_told(world: SmsWorld) -> None:
    world.give(5)
    world.subscribe(*NUMBERS[:4])
    with world.database.write() as connection:
        set_contact(connection, world.account.id, "staff@example.com")
    new = world.send(world.message("a" * 200))
    gateway = Recorder()
    lane = world.lane(gateway)
    world.work(lane)
    assert len(gateway.texts) == 2 and credits_of(world) == 1
    row = world.row(new)
    assert row.state == "paused" and "credits" in row.error_text
    with world.database.read() as connection:
        [notice] = waiting_notices(connection)
    assert notice.kind == "credits" and notice.address == "staff@example.com"
    world.give(10)
    with world.database.write() as connection:
        connection.execute(sending.update().values(state="sending"))
    world.work(lane)
    assert len(gateway.texts) == 4 and credits_of(world) == 6
    assert world.row(new).state == "completed"


def test_a_stopped_account_sends_nothing(world: SmsWorld) -> None:
    world.give(5)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message())
    world.prepare()
    gateway = Recorder()
    with world.database.write() as connection:
        stop_channel(connection, world.account.id, Channel.SMS)
    world.work(world.lane(gateway))
    assert gateway.texts == []
    with world.database.write() as connection:
        start_channel(connection, world.account.id, Channel.SMS)
    world.work(world.lane(gateway))
    assert world.row(new).sent == 1


@pytest.mark.parametrize(
    ("handover", "state", "left", "events"),
    [
        (Handover(Outcome.REFUSED, code="0x0b"), FAILED, 10, [(NUMBERS[0], SmsStatus.ERROR, "0x0b")]),
        (Handover(Outcome.UNKNOWN), UNKNOWN, 9, []),
        (Handover(Outcome.DEFERRED, code="0x58"), int(DeliveryState.WAITING), 9, []),
        (Handover(Outcome.ACCEPTED, "7"), SENT, 9, [(NUMBERS[0], SmsStatus.QUEUED, None)]),
    ],
)
def test_outcomes(
    world: SmsWorld, handover: Handover, state: int, left: int, events: list[tuple[str, int, str | None]]
) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message())
    world.work(world.lane(Recorder(handover)))
    assert world.states(new) == {NUMBERS[0]: state}
    assert (credits_of(world), world.events()) == (left, events)


def test_a_deferred_message_is_paid_once(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message())
    gateway = Recorder(Handover(Outcome.DEFERRED, code="0x58"))
    world.work(world.lane(gateway))
    with world.database.write() as connection:
        connection.execute(delivery.update().values(due_at=datetime.now(UTC)))
    world.work(world.lane(gateway))
    assert world.states(new) == {NUMBERS[0]: SENT}
    assert credits_of(world) == 9


def test_what_is_deferred_after_a_cancellation_is_not_sent_and_not_paid(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message())
    world.prepare()

    class Canceller(Recorder):
        def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
            with world.database.write() as connection:
                cancel(connection, find_sending(connection, world.account.id, new.number))
            return [Handover(Outcome.DEFERRED) for _text in texts]

    world.work(world.lane(Canceller()))
    assert world.states(new) == {NUMBERS[0]: int(DeliveryState.CANCELLED)}
    assert credits_of(world) == 10


def test_at_least_once_repeats_what_is_in_doubt(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message(), mode="at-least-once")
    world.work(world.lane(Recorder(Handover(Outcome.UNKNOWN))))
    assert world.states(new) == {NUMBERS[0]: int(DeliveryState.WAITING)}


def test_what_becomes_too_long_fails_and_is_not_paid(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0], name="x" * 200)
    new = world.send(world.message("[nome]" * 3))
    world.work(world.lane(Recorder()))
    assert world.states(new) == {NUMBERS[0]: FAILED} and credits_of(world) == 10
    assert world.events() == [(NUMBERS[0], SmsStatus.ERROR, "invalid")]


def test_the_list_has_a_sender_of_its_own(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0], "+12025550123")
    with world.database.write() as connection:
        change_list(connection, world.mailing, {"sms_sender": "+393330000000"})
    world.send(world.message(), sender="Shop")
    gateway = Recorder()
    world.work(world.lane(gateway))
    assert [text.sender for text in gateway.texts] == ["Shop", "+393330000000"]


def test_early_unknown_and_repeated_receipts(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:2])
    new = world.send(world.message())
    gateway = Recorder(Handover(Outcome.ACCEPTED, "00000A"), Handover(Outcome.ACCEPTED, "11"))
    lane = world.lane(gateway)
    assert gateway.take is not None
    failed = Receipt("11", SmsStatus.ERROR, "UNDELIV 1", NUMBERS[1])
    # 0xA is 10: a centre that writes ids in hexadecimal when it accepts, and in decimal in receipts.
    gateway.take([Receipt("10", SmsStatus.DELIVERED, None, NUMBERS[0]), Receipt("999", SmsStatus.DELIVERED), failed])
    world.work(lane)
    lane.work(NOBODY)
    gateway.take([failed, Receipt("11", SmsStatus.DELIVERED, None, NUMBERS[1]), Receipt("11", SmsStatus.QUEUED)])
    assert world.states(new) == {NUMBERS[0]: SENT, NUMBERS[1]: FAILED}
    assert sorted(world.events()[2:]) == [
        (NUMBERS[0], SmsStatus.DELIVERED, None),
        (NUMBERS[1], SmsStatus.ERROR, "UNDELIV 1"),
    ]
    row = world.row(new)
    assert (row.sent, row.failed) == (1, 1)


def test_the_token_of_a_message_tells_its_fate_once(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(NUMBERS[0])
    new = world.send(world.message())
    gateway = Recorder()
    lane = world.lane(gateway)
    world.work(lane)
    token = gateway.texts[0].callback.rpartition("/")[2]
    with world.database.write() as connection:
        found = read_status_token(connection, token)
        assert found is not None
        assert record_fate(connection, found, SmsStatus.ERROR, "absent")
        assert record_fate(connection, found, SmsStatus.DELIVERED, None)
        for wrong in ("", "1", "-", f"{found}-", f"{found + 1}{token[1:]}", f"{token}0", f"é{token}", "9" * 30 + "-0"):
            assert read_status_token(connection, wrong) is None
        assert write_status_token("00", found) != token
    assert world.states(new) == {NUMBERS[0]: FAILED}
    assert world.events()[1:] == [(NUMBERS[0], SmsStatus.ERROR, "absent")]


def test_an_unreachable_gateway_leaves_everything_in_the_queue(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:3])
    new = world.send(world.message())
    world.work(world.lane(make_smpp_gateway("smpp://a:b@127.0.0.1:1")))
    assert set(world.states(new).values()) == {int(DeliveryState.WAITING)}
    assert credits_of(world) == 10


class Broken(Recorder):
    """A gateway that fails, with the message perhaps sent, or that loses count."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def send(self, texts: Sequence[OutgoingText]) -> list[Handover]:
        if self.error is not None:
            raise self.error
        return []


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), None])
@pytest.mark.parametrize(("mode", "state"), [("at-most-once", UNKNOWN), ("at-least-once", int(DeliveryState.WAITING))])
def test_what_a_gateway_fails_at_is_in_doubt(
    world: SmsWorld, error: Exception | None, mode: SendingMode, state: int
) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:2])
    new = world.send(world.message(), mode=mode)
    world.work(world.lane(Broken(error)))
    assert list(world.states(new).values()) == [state] * 2
    assert credits_of(world) == 8


def test_what_cannot_be_judged_is_in_doubt(world: SmsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:2])
    new = world.send(world.message())
    monkeypatch.setattr(sms_queue, "RETRY_MINUTES", ())
    world.work(world.lane(Recorder(Handover(Outcome.DEFERRED))))
    assert world.states(new) == {NUMBERS[0]: UNKNOWN, NUMBERS[1]: SENT}


def test_a_result_that_the_database_refuses_costs_no_other(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:3])
    new = world.send(world.message())
    gateway = Recorder(Handover(Outcome.ACCEPTED, "1"), Handover(Outcome.ACCEPTED, "\ud800"))
    world.work(world.lane(gateway))
    assert set(world.states(new).values()) == {SENT}
    row = world.row(new)
    assert (row.state, row.sent, len(world.events())) == ("completed", 3, 3)


def test_a_sending_that_nothing_can_be_made_of_stops_no_other(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:2])
    broken, whole = world.send(world.message()), world.send(world.message())
    world.prepare()
    with world.database.write() as connection:
        # It comes first.
        lost = sending.update().where(sending.c.id == broken.id)
        connection.execute(lost.values(message_id=999_999, kind="single"))
    lane = world.lane(Recorder())
    world.work(lane)
    assert not lane.work(NOBODY)
    assert set(world.states(whole).values()) == {SENT}
    assert set(world.states(broken).values()) == {int(DeliveryState.WAITING)}
    assert credits_of(world) == 8


def test_what_was_paid_for_cancelled_rows_is_given_back_once(world: SmsWorld) -> None:
    world.give(10)
    world.subscribe(*NUMBERS[:3])
    new = world.send(world.message())
    world.work(world.lane(Recorder(Handover(Outcome.UNKNOWN), Handover(Outcome.UNKNOWN))))
    assert credits_of(world) == 7
    with world.database.write() as connection:
        in_doubt = delivery.update().where(delivery.c.state == UNKNOWN)
        connection.execute(in_doubt.values(state=int(DeliveryState.CANCELLED)))
        assert [refund_cancelled(connection, new.id) for _ in range(2)] == [2, 0]
    assert credits_of(world) == 9


def credits_of(world: SmsWorld) -> int:
    with world.database.read() as connection:
        return int(account_credit(connection, world.account.id))
