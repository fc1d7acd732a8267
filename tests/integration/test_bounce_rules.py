"""What becomes of people whose mails came back, who complained or wrote that they leave."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from bounce_world import ADA, MAILBOX_FULL, UNKNOWN_USER, complaint, make_bounce_world, status_report
from sqlalchemy import func, select

from audience.erasure import erase_recipient
from audience.events import MailEventKind
from audience.history import Cause
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Channel, Reason, State
from audience.subscriptions import Address
from audience.webhooks import WebhookSettings, add_webhook
from db.engine import Database
from db.leases import name_owner
from db.tables import inbound_mail, mail_event, notification, outbox, recipient, soft_bounce
from delivery.bounce_codes import (
    BLOCKED,
    MISCONFIGURED,
    NO_SUCH_ADDRESS,
    SOFT,
    SPAM_CONTENT,
    BounceClass,
    classify_answer,
)
from delivery.bounce_rules import record_bounce
from delivery.inbound import MAILS, UNVERIFIED, read_next_mail
from delivery.inbound_mails import count_mails, find_mail, keep_mail, list_mails
from delivery.return_paths import ReturnPath

NEVER = threading.Event()


def test_a_hard_bounce_ends_all_lists(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    with database.write() as connection:
        hook = WebhookSettings(name="Hook", url="https://hooks.example.com/", event="unsubscribe")
        add_webhook(connection, world.news, hook)
    mail_id = world.receive(status_report(UNKNOWN_USER), world.return_path(about))
    assert world.reasons(ada) == [(world.news.id, 8, 0), (world.offers.id, 8, 0)]
    assert world.state() == world.state(world.offers) == State.BLOCKED
    assert world.causes(ada) == [("bounce", world.news.id, 8, 0), ("bounce", world.offers.id, 8, 0)]
    assert world.bounces(about) == ["550 5.1.1"]
    mail = world.mail(mail_id)
    assert (mail.state, mail.outcome, mail.error_text, mail.content) == ("completed", "hard", None, None)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(notification)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(outbox)).scalar_one() == 0


def test_the_same_news_twice_is_told_once(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    for diagnostic in (UNKNOWN_USER, UNKNOWN_USER + " again", MAILBOX_FULL):
        world.receive(status_report(diagnostic), world.return_path(about))
    assert world.bounces(about) == ["550 5.1.1"]
    assert len(world.causes(ada)) == 2


def test_a_hard_bounce_after_a_soft_one_of_the_same_sending_counts(database: Database) -> None:
    world = make_bounce_world(database)
    about = world.send(world.bring())
    world.receive(status_report(MAILBOX_FULL), world.return_path(about))
    assert world.state() == State.SUBSCRIBED
    world.receive(status_report(UNKNOWN_USER), world.return_path(about))
    assert world.state() == State.BLOCKED


def test_who_had_left_keeps_his_reason(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    world.move(UNSUBSCRIBE, world.news, reason=Reason.LINK)
    world.receive(status_report(UNKNOWN_USER), world.return_path(about))
    assert world.reasons(ada) == [(world.news.id, 2, None), (world.offers.id, 8, 0)]


def test_who_complained_never_comes_back_even_if_he_had_left(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    world.move(UNSUBSCRIBE, world.news, reason=Reason.LINK)
    # The provider has a mailbox for all, so the signed address stands in what it returns.
    world.receive(complaint(f"Return-Path: <{world.return_path(about)}>\r\n"), "fbl@bounces.example.com")
    assert world.reasons(ada) == [(world.news.id, 16, None), (world.offers.id, 16, None)]
    assert world.bounces(about) == []


def test_a_complaint_may_name_the_list_unsubscribe_header_only(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    address = world.unsubscribe_address(world.send(ada))
    world.receive(complaint(f"List-Unsubscribe: <mailto:{address}>\r\n"), "fbl@bounces.example.com")
    assert world.state(world.offers) == State.BLOCKED


def test_a_wish_to_opt_out_ends_the_list_of_the_sending(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    returned = f"Return-Path: <{world.return_path(about)}>\r\n"
    mail_id = world.receive(complaint(returned, kind="opt-out"), "fbl@bounces.example.com")
    assert world.reasons(ada) == [(world.news.id, 64, None)]
    assert world.mail(mail_id).outcome == "unsubscribe"


@pytest.mark.parametrize("kind", ["hard", "complaint"])
def test_a_report_without_a_signed_address_changes_nothing(database: Database, kind: str) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    world.send(ada)
    content = status_report(UNKNOWN_USER) if kind == "hard" else complaint(f"To: {ADA}\r\n")
    mail_id = world.receive(content, "bounces@bounces.example.com")
    mail = world.mail(mail_id)
    assert (mail.outcome, mail.error_text, mail.content) == (kind, UNVERIFIED, content)
    assert world.state() == State.SUBSCRIBED


def test_a_return_path_of_another_account_touches_nobody_here(database: Database) -> None:
    world, other = make_bounce_world(database), make_bounce_world(database, 2345)
    about = world.send(world.bring())
    # Its numbers are ours, and its signature is the other account's own.
    foreign = other.return_path(ReturnPath(other.account.id, about.sending_id, about.recipient_id))
    world.receive(status_report(UNKNOWN_USER), foreign)
    assert world.state() == State.SUBSCRIBED
    assert world.bounces(about) == []


def test_soft_bounces_take_out_for_a_time_then_for_good(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()

    def bounce(times: int) -> None:
        for number in range(times):
            about = world.send(ada)
            world.receive(status_report(f"{MAILBOX_FULL} {number} {about}"), world.return_path(about))

    bounce(2)
    assert world.state() == State.SUBSCRIBED
    bounce(1)
    assert world.reasons(ada) == [(world.news.id, 512, 1), (world.offers.id, 512, 1)]
    bounce(4)
    world.move(SUBSCRIBE, world.news)
    bounce(2)
    assert world.reasons(ada)[0] == (world.news.id, 512, 2)


def test_whoever_is_seen_to_read_begins_anew(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    for _ in range(4):
        about = world.send(ada)
        world.receive(status_report(f"{MAILBOX_FULL} {about}"), world.return_path(about))
        world.happen(about, MailEventKind.OPENED)
    assert world.state() == State.SUBSCRIBED
    with database.read() as connection:
        assert connection.execute(select(soft_bounce.c["count"])).scalar_one() == 1


@pytest.mark.parametrize(
    "bounce", [BLOCKED, SPAM_CONTENT, MISCONFIGURED, classify_answer(553, "5.6.7 The server takes no such addresses.")]
)
def test_a_refusal_of_the_sender_costs_no_recipient(database: Database, bounce: BounceClass) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    for about in [world.send(ada) for _ in range(3)]:
        with database.write() as connection:
            assert not record_bounce(connection, about, bounce, soft_bounce_limit=1)
    assert world.state() == State.SUBSCRIBED


def test_a_report_of_a_block_is_an_event_only(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    sent = [world.send(ada) for _ in range(4)]
    for about in sent:
        listed = f"smtp; 550 5.7.1 blocked using zen.example.net {about.sending_id}"
        world.receive(status_report(listed), world.return_path(about))
    assert [world.bounces(about) for about in sent] == [["550 5.7.1"]] * 4
    assert world.state() == State.SUBSCRIBED


def test_a_sending_counts_once(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    with database.write() as connection:
        for bounce in (BLOCKED, SOFT, BLOCKED, SOFT):
            assert not record_bounce(connection, about, bounce, soft_bounce_limit=2)
    assert world.state() == State.SUBSCRIBED


def test_who_has_another_address_by_now_is_left_alone(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)
    with database.write() as connection:
        connection.execute(recipient.update().values(email="ada@elsewhere.example"))
    world.receive(status_report(UNKNOWN_USER), world.return_path(about))
    assert world.state(email="ada@elsewhere.example") == State.SUBSCRIBED
    assert world.bounces(about) == ["550 5.1.1"]
    with database.read() as connection:
        email = select(mail_event.c.email).where(mail_event.c.kind == MailEventKind.BOUNCED)
        assert connection.execute(email).scalar_one() == ADA


def test_whoever_was_forgotten_stays_so(database: Database) -> None:
    world = make_bounce_world(database)
    about = world.send(world.bring())
    with database.write() as connection:
        erase_recipient(connection, world.account.id, Address(Channel.EMAIL, ADA), Cause("test"))
    for content, address in (
        (status_report(UNKNOWN_USER), world.return_path(about)),
        (b"Subject: bye\r\n\r\n", world.unsubscribe_address(about)),
        (complaint(f"Return-Path: <{world.return_path(about)}>\r\n"), "fbl@bounces.example.com"),
    ):
        world.receive(content, address)
    assert world.bounces(about) == []


def test_a_mail_unsubscribes_from_its_list(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    address = world.unsubscribe_address(world.send(ada), world.offers)
    first = world.receive(b"From: ada@example.net\r\nSubject: unsubscribe\r\n\r\n", address.upper())
    assert world.reasons(ada) == [(world.offers.id, 64, None)]
    assert world.causes(ada) == [("mail", world.offers.id, 64, None)]
    assert world.mail(first).outcome == "unsubscribe"
    # Once more changes nothing.
    world.receive(b"Subject: unsubscribe me\r\n\r\n", address)
    assert len(world.causes(ada)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: Out of office\r\n\r\nback on Monday\r\n",
        b"From: ada@example.net\r\nSubject: unsubscribe\r\nAuto-Submitted: auto-replied\r\n\r\n",
        status_report(UNKNOWN_USER),
    ],
)
def test_machines_do_not_unsubscribe(database: Database, content: bytes) -> None:
    world = make_bounce_world(database)
    address = world.unsubscribe_address(world.send(world.bring()))
    assert world.mail(world.receive(content, address)).outcome == "automatic"
    assert world.state() == State.SUBSCRIBED


def test_what_nobody_understands_is_kept_for_a_while(database: Database) -> None:
    world = make_bounce_world(database)
    about = world.send(world.bring())
    mail_id = world.receive(b"Subject: Hello\r\n\r\nHow are you?", world.return_path(about))
    assert world.mail(mail_id).content is not None
    delayed = world.receive(status_report(MAILBOX_FULL, action="delayed"), world.return_path(about))
    assert (world.mail(delayed).outcome, world.mail(delayed).content) == ("automatic", None)
    with database.read() as connection:
        assert count_mails(connection) == {"automatic": 1, "unknown": 1}
        assert [mail.id for mail in list_mails(connection)] == [delayed, mail_id]
        assert [mail.id for mail in list_mails(connection, outcome="unknown")] == [mail_id]
        assert find_mail(connection, mail_id).size == 30  # type: ignore[union-attr]
        assert find_mail(connection, 0) is None


def test_a_mail_that_crashes_its_readers_is_set_aside(database: Database) -> None:
    world = make_bounce_world(database)
    with database.write() as connection:
        keep_mail(connection, "smtp", "", ["bounces@bounces.example.com"], b"x")
    for number in range(3):
        with database.write() as connection:
            # A process that is gone has it.
            assert MAILS.claim(connection, f"elsewhere:{number}:1-x") is not None
            connection.execute(inbound_mail.update().values(lease_until=None, lease_owner=None))
            connection.execute(inbound_mail.update().values(state="waiting"))
    assert world.read()
    with database.read() as connection:
        mail = connection.execute(select(inbound_mail)).one()
    assert (mail.state, mail.content) == ("failed", b"x")
    assert not world.read()


def test_a_stop_begins_nothing(database: Database) -> None:
    world = make_bounce_world(database)
    with database.write() as connection:
        keep_mail(connection, "imap", "", [], b"x")
    stop = threading.Event()
    stop.set()
    assert not read_next_mail(database, name_owner(), stop)
    assert world.read()
    assert not world.read()


def test_many_readers_do_each_mail_once(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    sent = [world.send(ada) for _ in range(12)]
    with database.write() as connection:
        for about in sent:
            for number in range(2):
                content = status_report(f"{UNKNOWN_USER} {number}")
                keep_mail(connection, "smtp", "", [world.return_path(about)], content)

    def work(_number: int) -> None:
        owner = name_owner()
        while read_next_mail(database, owner, NEVER):
            pass

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert [world.bounces(about) for about in sent] == [["550 5.1.1"]] * 12
    assert world.causes(ada) == [("bounce", world.news.id, 8, 0), ("bounce", world.offers.id, 8, 0)]


def test_bounces_and_pages_meet_on_one_person(database: Database) -> None:
    world = make_bounce_world(database)
    ada = world.bring()
    about = world.send(ada)

    def bounce(_number: int) -> None:
        with database.write() as connection:
            record_bounce(connection, about, NO_SUCH_ADDRESS, soft_bounce_limit=5)

    def subscribe(_number: int) -> None:
        world.move(UNSUBSCRIBE, world.news, reason=Reason.LINK)

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(work, number) for number in range(10) for work in (bounce, subscribe)]
        for one in done:
            one.result()
    assert world.state(world.offers) == State.BLOCKED
    assert len([row for row in world.causes(ada) if row[1] == world.offers.id]) == 1
