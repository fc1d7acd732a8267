"""Which mails the pages ask for, who is written into the history, and what a mobile number beside an address does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from page_shop import Shop, run_shop, run_sqlite_shop
from sqlalchemy import select

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import SUBSCRIBE, Channel, State
from audience.subscriptions import Address, Cause, change_state, state_in_list
from audience.webhooks import Event, WebhookSettings, add_webhook
from db.engine import Database
from db.tables import history, notification, outbox, recipient
from jobs.storage import Storage
from services.http.options import HttpOptions

ADA: dict[str, Any] = {"Email": "ada@example.com"}


@pytest.fixture(scope="module")
def only_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with run_sqlite_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def shop(only_shop: Shop) -> Shop:
    """The shop of this module without recipients, mails and settings."""
    only_shop.clear()
    return only_shop


@pytest.fixture
def own_shop(database: Database, storage: Storage) -> Iterator[Shop]:
    """A shop of this test alone, on SQLite and on PostgreSQL."""
    with run_shop(database, storage) as shop:
        yield shop


def _actors(shop: Shop) -> list[str | None]:
    with shop.database.read() as connection:
        return list(connection.execute(select(history.c.actor).order_by(history.c.id)).scalars())


def test_a_confirmation_for_whoever_is_pending(own_shop: Shop) -> None:
    shop = own_shop
    shop.configure(shop.news, welcome_mail=True)
    assert shop.call("xmlSubscribe", **ADA, List=1) == "0"
    confirmation = ("confirmation", shop.news.id, [shop.news.id])
    assert shop.mails() == [confirmation]
    assert shop.call("xmlSubscribe", **ADA, List=1) == "0"
    assert shop.mails() == [confirmation], "the first one waits still"
    with shop.database.write() as connection:
        connection.execute(outbox.update().values(state="sent"))
    assert shop.call("xmlSubscribe", **ADA, List=1, Confirm=1) == "0"
    assert shop.mails() == [confirmation] * 2
    assert shop.call("xmlSubscribe", **ADA, List=1, Confirm=0) == "0"
    assert shop.mails() == [*[confirmation] * 2, ("welcome", shop.news.id, None)]
    for confirm in (0, 1):
        assert shop.call("xmlSubscribe", **ADA, List=1, Confirm=confirm) == "3"
    assert len(shop.mails()) == 3


@pytest.mark.parametrize("welcome", [True, False])
def test_a_welcome_only_if_the_list_has_one(shop: Shop, welcome: bool) -> None:
    shop.configure(shop.news, welcome_mail=welcome)
    assert shop.call("xmlSubscribe", **ADA, List=1, Confirm=0) == "0"
    assert shop.mails() == ([("welcome", shop.news.id, None)] if welcome else [])


def test_no_mail_by_mobile_number_alone_nor_when_refused(shop: Shop) -> None:
    shop.configure(shop.news, welcome_mail=True, goodbye_mail=True, unsubscribe_notice="staff@example.com")
    for confirm in (1, 0):
        assert shop.call("xmlSubscribe", Sms="+393401234567", List=1, Confirm=confirm) == "0"
    assert shop.call("xmlUnsubscribe", Sms="+393401234567", List=1) == "0"
    shop.bring(State.BLOCKED)
    assert shop.call("xmlSubscribe", **ADA, List=1) == "1"
    assert shop.call("xmlUnsubscribe", **ADA, List=1) == "3"
    assert shop.mails() == []


def test_a_goodbye_and_a_notice_once(own_shop: Shop) -> None:
    shop = own_shop
    shop.configure(shop.news, goodbye_mail=True, unsubscribe_notice="staff@example.com")
    shop.bring(State.SUBSCRIBED)
    assert shop.call("xmlUnsubscribe", **ADA, List=1, Confirm=1, Group=3) == "0"
    assert shop.call("xmlUnsubscribe", **ADA, List=1) == "3"
    assert shop.mails() == [("goodbye", shop.news.id, None), ("unsubscribe-notice", shop.news.id, None)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [("offers", ["offers"]), ("news", ["news"])]),
        ({"ConfirmListID": "1"}, [("news", ["news", "offers"])]),
        ({"ConfirmListID": "2"}, [("offers", ["news", "offers"])]),
        *(
            ({"ConfirmListID": none}, [("offers", ["offers"]), ("news", ["news"])])
            for none in ("", "0", "99", "x", "-1")
        ),
    ],
)
def test_whose_mail_confirms_several_lists(
    shop: Shop, parameters: dict[str, str], expected: list[tuple[str, list[str]]]
) -> None:
    assert shop.call("xmlSubscribe", **ADA, List="2,1", **parameters) == "0"
    ids = {"news": shop.news.id, "offers": shop.offers.id}
    assert shop.mails() == [("confirmation", ids[layout], [ids[name] for name in names]) for layout, names in expected]


def test_a_mail_that_waits_confirms_later_lists_too(own_shop: Shop) -> None:
    shop = own_shop
    assert shop.call("xmlSubscribe", **ADA, List="1") == "0"
    assert shop.call("xmlSubscribe", **ADA, List="1,2", ConfirmListID=1) == "0"
    assert shop.mails() == [("confirmation", shop.news.id, [shop.news.id, shop.offers.id])]
    assert shop.call("xmlSubscribe", **ADA, List="1") == "0"
    assert shop.mails() == [("confirmation", shop.news.id, [shop.news.id, shop.offers.id])]


def test_one_mail_confirms_only_what_is_pending(shop: Shop) -> None:
    shop.bring(State.SUBSCRIBED)
    assert shop.call("xmlSubscribe", **ADA, List="1,2", ConfirmListID=1) == "3"
    assert shop.mails() == [("confirmation", shop.news.id, [shop.offers.id])]


@pytest.mark.parametrize(
    ("email", "name", "stored"),
    [
        ("Shop@Example.com", "A shop", ("shop@example.com", "A shop")),
        ("", "A shop", (None, "A shop")),
        ("no address", "A shop", (None, "A shop")),
        ("shop@example.com", "x" * 201, ("shop@example.com", None)),
        ("", "", (None, None)),
    ],
)
def test_the_sender_of_a_confirmation(shop: Shop, email: str, name: str, stored: tuple[str | None, str | None]) -> None:
    assert shop.call("xmlSubscribe", **ADA, List=1, Dynsndmail=email, dynsndname=name) == "0"
    with shop.database.read() as connection:
        assert connection.execute(select(outbox.c.sender_email, outbox.c.sender_name)).one() == stored


@pytest.mark.parametrize(
    ("given", "actor"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 2001:DB8::1 ", "2001:db8::1"),
        ("", "127.0.0.1"),
        ("no address", "127.0.0.1"),
        ("203.0.113.9, 10.0.0.1", "127.0.0.1"),
    ],
)
def test_the_address_in_the_history(shop: Shop, given: str, actor: str) -> None:
    assert shop.call("xmlSubscribe", **ADA, List=1, Confirm=0, ipAddress=given) == "0"
    assert shop.call("xmlUnsubscribe", **ADA, List=1, ipAddress=given) == "0"
    assert _actors(shop) == [actor, "127.0.0.1"], "only subscribing tells who sat there"


def test_the_address_behind_a_proxy(tmp_path: Path) -> None:
    headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    with run_sqlite_shop(tmp_path, HttpOptions(trust_forwarded=True)) as shop:
        for page in ("xmlSubscribe", "xmlUnsubscribe"):
            assert shop.site.get(f"/frontend/{page}.aspx", headers, **ADA, List=1).text == "0"
        assert _actors(shop) == ["203.0.113.7"] * 2


class TestMobileNumberBesideAnAddress:
    def _state(self, shop: Shop, mobile: str = "+393401234567") -> State:
        with shop.database.read() as connection:
            return state_in_list(connection, shop.news, Address(Channel.SMS, mobile))

    @pytest.mark.parametrize("confirm", [0, 1])
    def test_one_person_with_both(self, shop: Shop, confirm: int) -> None:
        assert shop.call("xmlSubscribe", **ADA, Sms="340 1234567", List="1,2", Confirm=confirm) == "0"
        assert shop.count(recipient) == 1
        assert shop.mobile() == "+393401234567"
        assert self._state(shop) == State.SUBSCRIBED
        assert shop.state() == (State.PENDING if confirm else State.SUBSCRIBED)
        assert shop.call("Xmlchksubscriber", Sms="+393401234567", List=2) == "2"

    def test_an_old_number_is_replaced_and_remembered(self, own_shop: Shop) -> None:
        shop = own_shop
        for mobile in ("3401234567", "3407654321", "3407654321"):
            shop.call("xmlSubscribe", **ADA, Sms=mobile, List=1, Confirm=0)
        assert shop.mobile() == "+393407654321"
        with shop.database.read() as connection:
            details = connection.execute(
                select(history.c.details).where(history.c.kind == 2).order_by(history.c.id)
            ).scalars()
            assert list(details) == [
                {"before": {"mobile": None}, "after": {"mobile": "+393401234567"}},
                {"before": {"mobile": "+393401234567"}, "after": {"mobile": "+393407654321"}},
            ]

    def test_somebody_elses_number_stays_his(self, own_shop: Shop) -> None:
        shop = own_shop
        assert shop.call("xmlSubscribe", Email="bob@example.com", Sms="3401234567", List=1, Confirm=0) == "0"
        assert shop.call("xmlUnsubscribe", Sms="+393401234567", List=1) == "0"
        assert shop.call("xmlSubscribe", **ADA, Sms="3401234567", List=1, Confirm=0) == "0"
        assert shop.mobile() is None
        assert shop.mobile("bob@example.com") == "+393401234567"
        assert self._state(shop) == State.UNSUBSCRIBED

    def test_an_address_brings_no_number_back(self, own_shop: Shop) -> None:
        shop = own_shop
        both: dict[str, Any] = {**ADA, "Sms": "3401234567", "List": 1, "Confirm": 0}
        assert shop.call("xmlSubscribe", **both) == "0"
        assert shop.call("xmlUnsubscribe", Sms="+393401234567", List=1) == "0"
        assert shop.call("xmlSubscribe", **both) == "3"
        assert self._state(shop) == State.UNSUBSCRIBED
        assert shop.call("xmlSubscribe", Sms="3401234567", List=1, Confirm=0) == "0"
        assert self._state(shop) == State.SUBSCRIBED

    def test_a_new_person_is_told_at_once_with_the_number(self, own_shop: Shop) -> None:
        shop = own_shop
        events: tuple[Event, ...] = ("subscribe", "profile")
        with shop.database.write() as connection:
            for event in events:
                add_webhook(connection, shop.news, WebhookSettings(name=event, url="http://example.com/", event=event))
        data: dict[str, Any] = {"csvFldNames": "campo1", "csvFldValues": "Ada", "Confirm": 0}
        assert shop.call("xmlSubscribe", **ADA, Sms="3401234567", List=1, **data) == "0"
        assert shop.fields() == {"1": "Ada"}
        with shop.database.read() as connection:
            rows = connection.execute(select(notification).order_by(notification.c.id)).all()
        assert [(row.event, row.content["channel"], row.content["mobile"]) for row in rows] == [
            ("subscribe", Channel.EMAIL, "+393401234567"),
            ("subscribe", Channel.SMS, "+393401234567"),
        ]

    def test_an_impossible_number_is_told_and_nothing_done(self, shop: Shop) -> None:
        assert shop.call("xmlSubscribe", **ADA, Sms="12", List=1) == "2"
        assert shop.count(recipient) == 0

    def test_a_blocked_person_gets_none(self, shop: Shop) -> None:
        shop.bring(State.BLOCKED)
        assert shop.call("xmlSubscribe", **ADA, Sms="3401234567", List=1, Confirm=0) == "1"
        assert shop.mobile() is None

    def test_the_same_number_in_another_account_is_no_matter(self, own_shop: Shop) -> None:
        shop = own_shop
        with shop.database.write() as connection:
            other = add_list(connection, add_account(connection, 77, password="secret").id, "Elsewhere")
            change_state(connection, other, Address(Channel.SMS, "+393401234567"), SUBSCRIBE, Cause("test"))
        guid = shop.news.guid
        assert shop.call("xmlSubscribe", **ADA, Sms="3401234567", List=1, ListGuid=guid, Confirm=0) == "0"
        assert shop.mobile() == "+393401234567"

    def test_one_of_many_gets_a_number(self, own_shop: Shop) -> None:
        shop = own_shop

        def subscribe(number: int) -> str:
            return shop.call("xmlSubscribe", Email=f"p{number % 8}@example.com", Sms="3401234567", List=1, Confirm=0)

        with ThreadPoolExecutor(8) as threads:
            codes = list(threads.map(subscribe, range(16)))
        assert sorted(codes) == ["0"] * 8 + ["3"] * 8
        with shop.database.read() as connection:
            mobiles = connection.execute(select(recipient.c.mobile)).scalars().all()
        assert sorted(filter(None, mobiles)) == ["+393401234567"] and len(mobiles) == 8
        assert self._state(shop) == State.SUBSCRIBED

    @pytest.mark.postgresql
    def test_a_number_that_somebody_gets_at_the_same_moment(self, postgresql_url: str, storage: Storage) -> None:
        database = Database(postgresql_url)
        with run_shop(database, storage) as shop, ThreadPoolExecutor(1) as thread:
            with database.write() as connection:
                change_state(connection, shop.news, Address(Channel.SMS, "+393401234567"), SUBSCRIBE, Cause("test"))
                code = thread.submit(shop.call, "xmlSubscribe", **ADA, Sms="3401234567", List=1, Confirm=0)
                _wait_until_one_waits(database)
            assert code.result(60) == "0"
            assert (shop.state(), shop.mobile()) == (State.SUBSCRIBED, None)
        database.close()


def _wait_until_one_waits(database: Database) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")
