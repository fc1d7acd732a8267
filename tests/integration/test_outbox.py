"""Mails asked for: which are to go out, to whom, with which link; and which follow when somebody comes or goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.lists import MailingList, add_list, find_list
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Channel, Reason, State, Transition
from audience.subscriptions import Cause, Change, change_state, parse_address
from db.engine import Database
from db.tables import import_run, mailing_list, outbox, recipient, subscription
from delivery.links import LinkKind, read_token
from delivery.outbox import MailKind, QueuedMail, Sender, list_outbox, queue_follow_ups, queue_mail

URL = "https://mail.example.com"
ADA = "ada@example.com"


@dataclass(frozen=True)
class Office:
    """An account with three lists."""

    database: Database
    account: Account
    news: MailingList
    offers: MailingList
    events: MailingList

    def bring(self, transition: Transition, *lists: MailingList, email: str = ADA, mobile: str = "") -> int:
        with self.database.write() as connection:
            for mailing in lists or (self.news,):
                address = parse_address(mailing, email=email, mobile=mobile)
                change = change_state(connection, mailing, address, transition, Cause("test"))
        return change.recipient_id

    def queue(self, recipient_id: int, kind: MailKind, mailing: MailingList | None = None, **more: Any) -> None:
        with self.database.write() as connection:
            queue_mail(connection, mailing or self.news, recipient_id, kind, **more)

    def configure(self, mailing: MailingList, **values: Any) -> MailingList:
        with self.database.write() as connection:
            connection.execute(mailing_list.update().where(mailing_list.c.id == mailing.id).values(**values))
            return mailing if "deleted_at" in values else find_list(connection, mailing.account_id, mailing.number)

    def due(self, **options: Any) -> list[QueuedMail]:
        with self.database.read() as connection:
            return list_outbox(connection, public_url=URL, **options)

    def waiting(self, *columns: Any) -> list[Any]:
        """What is stored of all mails, whether they are to go out or not."""
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(outbox.c.id))]

    def read_link(self, mail: QueuedMail, kind: LinkKind) -> tuple[int, tuple[int, ...]]:
        assert mail.link is not None
        start, _, token = mail.link.rpartition("/")
        assert start == f"{URL}/{kind}"
        with self.database.read_once() as connection:
            link = read_token(connection, token, kind)
        assert datetime.now(UTC) - link.issued_at < timedelta(minutes=5)
        return link.recipient_id, link.list_ids

    def add_import(self, state: str) -> int:
        values = {
            "account_id": self.account.id,
            "number": 1,
            "source": "soap",
            "file_name": "x",
            "spool_name": "x",
            "profile": {},
            "size": 0,
            "state": state,
            "counters": {},
            "created_at": datetime.now(UTC),
        }
        with self.database.write() as connection:
            return int(connection.execute(import_run.insert().values(**values).returning(import_run.c.id)).scalar_one())

    def update(self, table: Any, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(table.update().values(**values))


def open_office(database: Database, number: int = 1) -> Office:
    with database.write() as connection:
        account = add_account(connection, number, password="secret")
        return Office(database, account, *(add_list(connection, account.id, name) for name in ("A", "B", "C")))


@pytest.fixture
def office(database: Database) -> Office:
    return open_office(database)


def kinds(mails: Iterable[QueuedMail]) -> list[str]:
    return [mail.kind for mail in mails]


def test_each_kind_of_mail(office: Office) -> None:
    office.configure(office.news, settings={"unsubscribe_notice": "staff@example.com"})
    ada = office.bring(REQUEST_CONFIRMATION)
    sender = Sender("shop@example.com", "The shop")
    office.queue(ada, "confirmation", list_ids=[office.news.id], message_number=7, sender=sender)
    office.bring(SUBSCRIBE, office.offers, office.events)
    office.queue(ada, "welcome", office.offers)
    office.bring(UNSUBSCRIBE, office.events)
    office.queue(ada, "goodbye", office.events)
    office.queue(ada, "unsubscribe-notice")
    confirmation, welcome, goodbye, notice = office.due()
    assert kinds(office.due()) == ["confirmation", "welcome", "goodbye", "unsubscribe-notice"]
    assert (confirmation.address, confirmation.message_number, confirmation.sender) == (ADA, 7, sender)
    assert (confirmation.account_number, confirmation.list_number) == (1, office.news.number)
    assert office.read_link(confirmation, "confirm") == (ada, (office.news.id,))
    assert office.read_link(welcome, "unsubscribe") == (ada, (office.offers.id,))
    assert (goodbye.address, goodbye.link, goodbye.sender) == (ADA, None, Sender())
    assert (notice.address, notice.about, notice.link) == ("staff@example.com", ADA, None)
    office.update(outbox, state="sent", sent_at=datetime.now(UTC))
    assert office.due() == []


def test_limits_and_accounts(office: Office) -> None:
    other = open_office(office.database, 2)
    for place in (office, other, office):
        place.queue(place.bring(SUBSCRIBE, email=f"{len(office.due())}@example.com"), "welcome")
    assert [mail.account_number for mail in office.due()] == [1, 2, 1]
    assert [mail.account_number for mail in office.due(limit=2)] == [1, 2]
    assert [mail.account_number for mail in office.due(account_id=other.account.id)] == [2]


ENDED = ("completed", "failed", "skipped", "cancelled")


@pytest.mark.parametrize("state", ["prepared", "queued", "running", *ENDED])
def test_mails_of_an_import_wait_for_its_end(office: Office, state: str) -> None:
    office.queue(office.bring(REQUEST_CONFIRMATION), "confirmation")
    office.update(outbox, import_id=office.add_import(state))
    assert kinds(office.due()) == (["confirmation"] if state in ENDED else [])


@pytest.mark.parametrize("state", ["queued", "running", *ENDED])
def test_a_page_takes_over_the_mail_of_an_import(office: Office, state: str) -> None:
    """It does not wait for the import's end, it says what the page wants, and undoing the import cannot delete it."""
    sender = Sender("shop@example.com", "The shop")
    ada = office.bring(REQUEST_CONFIRMATION, office.news, office.offers)
    office.queue(ada, "confirmation", list_ids=[office.news.id], message_number=3)
    office.update(outbox, import_id=office.add_import(state))
    office.queue(ada, "confirmation", list_ids=[office.offers.id], message_number=4, sender=sender)
    (mail,) = office.due()
    assert (mail.message_number, mail.sender) == (4, sender)
    assert office.read_link(mail, "confirm")[1] == (office.news.id, office.offers.id)
    assert office.waiting(outbox.c.import_id) == [(None,)]


def test_a_page_takes_over_a_mail_that_names_no_lists(office: Office) -> None:
    ada = office.bring(REQUEST_CONFIRMATION)
    office.queue(ada, "confirmation")
    office.update(outbox, import_id=office.add_import("running"))
    office.queue(ada, "confirmation")
    assert kinds(office.due()) == ["confirmation"]
    assert office.waiting(outbox.c.import_id, outbox.c.list_ids) == [(None, None)]


def test_a_page_keeps_what_was_said_when_it_asked_first(office: Office) -> None:
    ada = office.bring(REQUEST_CONFIRMATION)
    for number in (3, 4):
        office.queue(ada, "confirmation", list_ids=[office.news.id], message_number=number)
    assert [mail.message_number for mail in office.due()] == [3]


def test_a_mail_that_went_out_is_not_taken_over(office: Office) -> None:
    ada = office.bring(REQUEST_CONFIRMATION)
    office.queue(ada, "confirmation")
    import_id = office.add_import("completed")
    office.update(outbox, import_id=import_id, state="sent")
    office.queue(ada, "confirmation")
    assert office.waiting(outbox.c.state, outbox.c.import_id) == [("sent", import_id), ("waiting", None)]


def test_confirmations_of_those_who_are_pending(office: Office) -> None:
    """In any of the lists that the mail names, or else in its own."""
    ada = office.bring(REQUEST_CONFIRMATION, office.offers, office.events)
    bob = office.bring(REQUEST_CONFIRMATION, office.news, email="bob@example.com")
    office.queue(ada, "confirmation", list_ids=[office.news.id, office.offers.id, office.events.id])
    office.queue(bob, "confirmation")
    first, second = office.due()
    assert office.read_link(first, "confirm")[1] == (office.news.id, office.offers.id, office.events.id)
    assert office.read_link(second, "confirm") == (bob, (office.news.id,))
    office.bring(SUBSCRIBE, office.offers)
    assert [mail.about for mail in office.due()] == [ADA, "bob@example.com"]
    office.bring(SUBSCRIBE, office.events)
    assert [mail.about for mail in office.due()] == ["bob@example.com"]
    office.bring(SUBSCRIBE, office.news, email="bob@example.com")
    assert office.due() == []


def test_a_confirmation_shows_the_pages_of_the_list_it_is_of(office: Office) -> None:
    ada = office.bring(REQUEST_CONFIRMATION, office.news, office.offers, office.events)
    lists = [office.news.id, office.offers.id, office.events.id]
    office.queue(ada, "confirmation", office.events, list_ids=lists)
    office.queue(ada, "confirmation", office.offers, list_ids=[office.news.id])
    links = [office.read_link(mail, "confirm")[1] for mail in office.due()]
    assert links == [(office.events.id, office.news.id, office.offers.id), (office.news.id,)]


def test_a_confirmation_that_waits_confirms_what_is_asked_for_later(office: Office) -> None:
    ada = office.bring(REQUEST_CONFIRMATION, office.news, office.offers)
    for mailing in (office.news, office.offers, office.news):
        office.queue(ada, "confirmation", list_ids=[mailing.id])
    (mail,) = office.due()
    assert office.read_link(mail, "confirm")[1] == (office.news.id, office.offers.id)


def test_a_pending_mobile_number_is_not_confirmed_by_mail(office: Office) -> None:
    office.queue(office.bring(REQUEST_CONFIRMATION, email="", mobile="+393331234567"), "confirmation")
    office.update(recipient, email=ADA)
    assert office.due() == []


def test_mails_that_can_reach_nobody(office: Office) -> None:
    ada = office.bring(SUBSCRIBE, office.news, office.offers)
    office.queue(ada, "unsubscribe-notice")
    office.queue(ada, "welcome", office.offers)
    assert kinds(office.due()) == ["welcome"]
    office.configure(office.news, settings={"unsubscribe_notice": ""})
    office.configure(office.offers, deleted_at=datetime.now(UTC))
    assert office.due() == []
    office.bring(UNSUBSCRIBE)
    office.queue(ada, "goodbye")
    assert kinds(office.due()) == ["goodbye"]
    office.update(recipient, email=None)
    assert office.due() == []


ALL_MAILS = {"welcome_mail": True, "goodbye_mail": True, "unsubscribe_notice": "staff@example.com"}


@pytest.mark.parametrize(
    ("settings", "before", "after", "followed_by"),
    [
        (ALL_MAILS, State.PENDING, State.SUBSCRIBED, ["welcome"]),
        (ALL_MAILS, State.NONE, State.SUBSCRIBED, ["welcome"]),
        (ALL_MAILS, State.NONE, State.PENDING, []),
        (ALL_MAILS, State.SUBSCRIBED, State.SUBSCRIBED, []),
        (ALL_MAILS, State.SUBSCRIBED, State.UNSUBSCRIBED, ["goodbye", "unsubscribe-notice"]),
        (ALL_MAILS, State.UNSUBSCRIBED, State.UNSUBSCRIBED, []),
        (ALL_MAILS, State.SUBSCRIBED, State.BLOCKED, []),
        ({"unsubscribe_notice": "staff@example.com"}, State.SUBSCRIBED, State.UNSUBSCRIBED, ["unsubscribe-notice"]),
        ({"goodbye_mail": True}, State.PENDING, State.UNSUBSCRIBED, ["goodbye"]),
        ({}, State.PENDING, State.SUBSCRIBED, []),
        ({}, State.SUBSCRIBED, State.UNSUBSCRIBED, []),
    ],
)
def test_mails_that_follow(
    office: Office, settings: dict[str, Any], before: State, after: State, followed_by: list[str]
) -> None:
    ada = office.bring(SUBSCRIBE)
    mailing = office.configure(office.news, settings=settings)
    with office.database.write() as connection:
        for _ in range(2):
            queue_follow_ups(connection, mailing, Change(ada, before, after))
    assert [kind for (kind,) in office.waiting(outbox.c.kind)] == followed_by


STILL_TRUE: list[tuple[State, int | None, list[str]]] = [
    (State.SUBSCRIBED, None, ["welcome"]),
    (State.PENDING, None, []),
    (State.UNSUBSCRIBED, None, ["goodbye"]),
    *[(State.UNSUBSCRIBED, reason, [] if reason in (8, 16, 1024) else ["goodbye"]) for reason in Reason],
]


def test_mails_that_are_still_true(office: Office) -> None:
    """A welcome for who is there, a goodbye for who has gone and may be written to; the staff hears of everything."""
    office.configure(office.news, settings=ALL_MAILS)
    ada = office.bring(SUBSCRIBE)
    for kind in ("welcome", "goodbye", "unsubscribe-notice"):
        office.queue(ada, kind)  # type: ignore[arg-type]
    for status, reason, due in STILL_TRUE:
        office.update(subscription, status=status, reason_type=reason)
        assert kinds(office.due()) == [*due, "unsubscribe-notice"], (status, reason)
    with office.database.write() as connection:
        connection.execute(subscription.delete())
    assert kinds(office.due()) == ["unsubscribe-notice"]


def test_another_list_or_channel_makes_no_mail_true(office: Office) -> None:
    ada = office.bring(SUBSCRIBE, office.offers)
    office.queue(ada, "welcome")
    assert office.due() == []
    office.bring(SUBSCRIBE, office.news)
    assert kinds(office.due()) == ["welcome"]
    office.update(subscription, channel=Channel.SMS)
    assert office.due() == []


def test_who_comes_back_is_welcome_and_not_seen_off(office: Office) -> None:
    mailing = office.configure(office.news, settings=ALL_MAILS)
    for transition, due in ((SUBSCRIBE, "welcome"), (UNSUBSCRIBE, "goodbye")) * 2:
        with office.database.write() as connection:
            address = parse_address(mailing, email=ADA)
            change = change_state(connection, mailing, address, transition, Cause("test"))
            queue_follow_ups(connection, mailing, change)
        assert [kind for kind in kinds(office.due()) if kind != "unsubscribe-notice"] == [due]
