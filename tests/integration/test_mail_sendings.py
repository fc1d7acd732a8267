"""Sendings from the row in the database to a real socket of a mail server, and back."""

from __future__ import annotations

import email
import email.policy
import threading
from datetime import UTC, datetime, timedelta

import pytest
from mail_sinks import serve_mail
from mail_world import MailWorld, make_mail_world, options, wait_until
from sqlalchemy import select

from audience.events import MailEventKind
from audience.status_rules import Channel
from db.engine import Database
from db.leases import name_owner
from db.tables import account, recipient, sending, sending_link, sending_stop
from delivery import preparation
from delivery.compiling import CompiledMessage
from delivery.domain_gate import DomainGate, DomainLimit
from delivery.lanes import CompiledMessages, MailLane
from delivery.queue import (
    DeliveryState,
    Results,
    active_sendings,
    add_delivery,
    claim_batch,
    record_results,
)
from delivery.routes import make_route
from delivery.sendings import Target, add_sending


@pytest.fixture
def world(database: Database) -> MailWorld:
    return make_mail_world(database)


def test_everybody_gets_one_mail(world: MailWorld) -> None:
    addresses = world.add_people(60)
    with serve_mail() as sink, world.mail_role(sink):
        sent = world.send(world.add_message("Hello [campo1]"))
        row = world.wait_for_state(sent, "completed", "failed")
    assert (row.state, row.total, row.sent, row.failed, row.skipped) == ("completed", 60, 60, 0, 0)
    assert sink.recipients() == dict.fromkeys(addresses, 1)
    assert world.events(sent) == sorted((address, int(MailEventKind.SENT)) for address in addresses)
    assert world.states(sent) == {DeliveryState.SENT: 60}
    content = next(content for _, recipient, content in sink.received if recipient == "person7@example.com")
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["Subject"] == "Hello Name 7"
    assert mail["From"] == "The News <news@example.com>"
    assert "Hello Name 7" in mail.get_body(("html",)).get_content()  # type: ignore[union-attr]


def test_whoever_unsubscribes_while_others_are_written_to_gets_nothing(world: MailWorld) -> None:
    addresses = world.add_people(300)
    with serve_mail() as sink:
        sent = world.send(world.add_message())
        with world.mail_role(sink):
            wait_until(lambda: len(sink.received) > 5, "nothing is sent")
            world.unsubscribe(addresses[-1])
            acknowledged = set(sink.recipients())
            row = world.wait_for_state(sent, "completed")
    late = addresses[-1] not in acknowledged and addresses[-1] in sink.recipients()
    assert not late or row.skipped == 0
    assert row.sent + row.skipped == 300
    assert all(count == 1 for count in sink.recipients().values())


def test_whoever_has_unsubscribed_before_his_turn_gets_nothing(world: MailWorld) -> None:
    addresses = world.add_people(3)
    with serve_mail() as sink:
        sent = world.send(world.add_message())
        with world.mail_role(None):
            world.wait_for_state(sent, "sending")
        world.unsubscribe(addresses[1])
        with world.mail_role(sink):
            row = world.wait_for_state(sent, "completed")
    assert (row.sent, row.skipped) == (2, 1)
    assert set(sink.recipients()) == {addresses[0], addresses[2]}


def test_refusals_and_delays(world: MailWorld) -> None:
    names = {1: "refused1@example.com", 2: "later1@example.com", 3: "big@example.com"}
    world.add_people(5, names=names)
    with serve_mail() as sink:
        sent = world.send(world.add_message())
        with world.mail_role(sink):
            wait_until(lambda: world.state(sent).sent == 2, "nothing is sent")
            wait_until(lambda: world.state(sent).failed == 2, "refusals are not noted")
            assert world.states(sent)[DeliveryState.WAITING] == 1
            world.make_due(sent)
            row = world.wait_for_state(sent, "completed")
    assert (row.sent, row.failed) == (3, 2)
    assert sink.tries["later1@example.com"] == 2
    assert ("refused1@example.com", int(MailEventKind.BOUNCED)) in world.events(sent)


@pytest.mark.parametrize(
    ("mode", "counts", "times"),
    [("at-most-once", {"unknown": 1, "sent": 2}, 1), ("at-least-once", {"unknown": 0, "sent": 2}, 2)],
)
def test_a_connection_that_breaks_after_the_content(
    world: MailWorld, mode: str, counts: dict[str, int], times: int
) -> None:
    world.add_people(3, names={1: "lost@example.com"})
    with serve_mail() as sink:
        sent = world.send(world.add_message(), mode=mode)
        with world.mail_role(sink):
            wait_until(lambda: world.state(sent).sent == 2, "nothing is sent")
            if mode == "at-least-once":
                wait_until(lambda: world.states(sent).get(DeliveryState.WAITING) == 1, "it does not wait")
                world.make_due(sent)
                wait_until(lambda: sink.recipients()["lost@example.com"] == times, "it is not repeated")
            else:
                world.wait_for_state(sent, "completed")
    assert sink.recipients()["lost@example.com"] == times
    row = world.state(sent)
    assert {name: getattr(row, name) for name in counts} == counts


def test_a_relay_that_is_away_costs_nothing(world: MailWorld) -> None:
    world.add_people(3)
    with serve_mail() as gone:
        pass
    sent = world.send(world.add_message())
    with world.mail_role(gone):
        world.wait_for_state(sent, "sending")
        wait_until(lambda: world.states(sent) == {DeliveryState.WAITING: 3}, "they do not wait")
    with serve_mail() as sink, world.mail_role(sink):
        row = world.wait_for_state(sent, "completed")
    assert (row.sent, row.failed) == (3, 0)


def test_sendings_of_an_account_go_one_after_the_other(world: MailWorld) -> None:
    world.add_people(20)
    with serve_mail() as sink:
        first, second = (world.send(world.add_message(f"Number {number}")) for number in (1, 2))
        with world.database.write() as connection:
            places = {first.id: 2, second.id: 1}
            for sending_id, place in places.items():
                connection.execute(sending.update().where(sending.c.id == sending_id).values(position=place))
        with world.mail_role(sink):
            world.wait_for_state(first, "completed")
            world.wait_for_state(second, "completed")
    assert world.state(second).finished_at <= world.state(first).finished_at


def test_single_messages_do_not_wait_for_others(world: MailWorld) -> None:
    addresses = world.add_people(2)
    bulk = world.send(world.add_message(), state="paused")
    message = world.add_message("Only you")
    with world.database.write() as connection:
        person = connection.execute(select(recipient.c.id).where(recipient.c.email == addresses[0])).scalar_one()
        sent = add_sending(
            connection,
            world.mailing,
            Channel.EMAIL,
            message,
            kind="single",
            state="sending",
            target=Target(to="queue"),
        )
        add_delivery(connection, sent, world.mailing, person, addresses[0])
    with serve_mail() as sink, world.mail_role(sink):
        row = world.wait_for_state(sent, "completed")
    assert (row.total, row.sent) == (1, 1)
    assert sink.recipients() == {addresses[0]: 1}
    assert world.state(bulk).state == "paused"


def test_nothing_goes_out_before_its_time_or_while_stopped(world: MailWorld) -> None:
    world.add_people(2)
    message = world.add_message()
    later = world.send(message, start_at=datetime.now(UTC) + timedelta(days=1))
    sent = world.send(message)
    with world.database.write() as connection:
        connection.execute(sending_stop.insert().values(account_id=world.account.id, channel=1, at=datetime.now(UTC)))
    other = make_mail_world(world.database, 8)
    other.add_people(1, names={1: "elsewhere@example.com"})
    with serve_mail() as sink:
        elsewhere = other.send(other.add_message())
        with world.mail_role(sink):
            other.wait_for_state(elsewhere, "completed")
            assert world.state(sent).state == "scheduled"
            with world.database.write() as connection:
                connection.execute(sending_stop.delete())
            world.wait_for_state(sent, "completed")
            assert world.state(later).state == "scheduled"


def test_without_a_relay_mails_wait(world: MailWorld) -> None:
    world.add_people(2)
    sent = world.send(world.add_message())
    with world.mail_role(None):
        row = world.wait_for_state(sent, "sending")
    assert row.total == 2
    assert world.states(sent) == {DeliveryState.WAITING: 2}


def test_a_pause_in_the_middle(world: MailWorld) -> None:
    world.add_people(400)

    def set_state(state: str) -> None:
        with world.database.write() as connection:
            connection.execute(sending.update().where(sending.c.id == sent.id).values(state=state))

    with serve_mail() as sink:
        sent = world.send(world.add_message())
        with world.mail_role(sink):
            wait_until(lambda: len(sink.received) > 10, "nothing is sent")
            set_state("paused")
            wait_until(lambda: DeliveryState.ON_ITS_WAY not in world.states(sent), "it goes on")
            before = len(sink.received)
            other = world.send(world.add_message(), kind="single", target=Target(to="queue"))
            world.wait_for_state(other, "completed")
            assert len(sink.received) == before
            set_state("sending")
            row = world.wait_for_state(sent, "completed")
    assert row.sent == 400
    assert all(count == 1 for count in sink.recipients().values())


def test_a_stop_gives_back_what_was_not_sent(world: MailWorld, database: Database) -> None:
    world.add_people(500)
    with serve_mail() as sink:
        sent = world.send(world.add_message())
        for _ in range(3):
            before = len(sink.received)
            with world.mail_role(sink):
                wait_until(lambda before=before: len(sink.received) > before + 20, "nothing is sent")  # type: ignore[misc]
            assert DeliveryState.ON_ITS_WAY not in world.states(sent)
        with world.mail_role(sink):
            row = world.wait_for_state(sent, "completed")
    assert (row.sent, row.unknown) == (500, 0)
    assert set(sink.recipients().values()) == {1}


def test_a_closed_account_sends_nothing(world: MailWorld) -> None:
    world.add_people(2)

    def set_state(state: str) -> None:
        with world.database.write() as connection:
            connection.execute(account.update().where(account.c.id == world.account.id).values(state=state))

    under_way, planned = world.send(world.add_message()), world.send(world.add_message())
    with world.mail_role(None):
        world.wait_for_state(under_way, "sending")
    set_state("suspended")
    other = make_mail_world(world.database, 8)
    other.add_people(1, names={1: "elsewhere@example.com"})
    with serve_mail() as sink, world.mail_role(sink):
        other.wait_for_state(other.send(other.add_message()), "completed")
        assert set(sink.recipients()) == {"elsewhere@example.com"}
        assert [world.state(one).state for one in (under_way, planned)] == ["sending", "scheduled"]
        set_state("active")
        world.wait_for_state(planned, "completed")
    assert world.state(under_way).sent == 2


def test_who_is_to_be_asked_later_holds_up_nobody_else(world: MailWorld) -> None:
    world.add_people(2, names={1: "later9@example.com"})
    with serve_mail() as sink, world.mail_role(sink):
        first = world.send(world.add_message())
        wait_until(lambda: world.state(first).sent == 1 and sink.tries["later9@example.com"], "nothing is sent")
        second = world.send(world.add_message())
        wait_until(lambda: world.state(second).sent == 1, "the second waits for the first")
    assert [world.state(one).state for one in (first, second)] == ["sending", "sending"]


def test_many_chunks(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "CHUNK", 7)
    world.add_people(50)
    sent = world.send(world.add_message())
    with world.mail_role(None):
        row = world.wait_for_state(sent, "sending")
    assert (row.total, world.states(sent)) == (50, {DeliveryState.WAITING: 50})


def test_an_unforeseen_error_leaves_nothing_on_its_way(world: MailWorld) -> None:
    world.add_people(5)
    sent = world.send(world.add_message())
    with world.mail_role(None):
        world.wait_for_state(sent, "sending")

    def fail(_sending_id: int) -> CompiledMessage:
        raise RuntimeError("nobody has thought of this")

    with serve_mail() as sink:
        route = make_route(options(sink.port).smtp)
        assert route is not None
        gate = DomainGate(DomainLimit(1, 0))
        lane = MailLane(world.database, route, gate, CompiledMessages(fail), name_owner(), "bulk")
        with pytest.raises(RuntimeError):
            lane.work(threading.Event())
        assert world.states(sent) == {DeliveryState.WAITING: 5}
        assert sink.received == []


def test_results_count_once(world: MailWorld) -> None:
    world.add_people(4)
    sent = world.send(world.add_message())
    with world.mail_role(None):
        world.wait_for_state(sent, "sending")
    owner = name_owner()
    with world.database.write() as connection:
        (of,) = active_sendings(connection, Channel.EMAIL, "bulk")
        rows = claim_batch(connection, owner, of, 10)
    results = Results(sent=[(row.id, row.recipient_id, row.address) for row in rows[:3]], returned=[rows[3].id])
    for claimant in ("somebody:1:2-else", owner, owner):
        with world.database.write() as connection:
            record_results(connection, of, results, claimant)
    assert world.state(sent).sent == 3
    assert len(world.events(sent)) == 3
    assert world.states(sent) == {DeliveryState.SENT: 3, DeliveryState.WAITING: 1}


def test_links_of_single_messages_are_known(world: MailWorld) -> None:
    addresses = world.add_people(1)
    message = world.add_message(track_links=True)
    with world.database.write() as connection:
        person = connection.execute(select(recipient.c.id).where(recipient.c.email == addresses[0])).scalar_one()
        sent = add_sending(
            connection, world.mailing, Channel.EMAIL, message, kind="single", state="sending", target=Target(to="queue")
        )
        add_delivery(connection, sent, world.mailing, person, addresses[0])
    with serve_mail() as sink, world.mail_role(sink):
        world.wait_for_state(sent, "completed")
    with world.database.read_once() as connection:
        urls = (
            connection.execute(select(sending_link.c.url).where(sending_link.c.sending_id == sent.id)).scalars().all()
        )
    assert urls == ["https://shop.example.com/a?b=1"]
