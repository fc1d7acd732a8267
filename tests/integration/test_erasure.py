"""Who asked to be forgotten is: nothing of him is found any more, and nobody can add him again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from audience.accounts import Account, add_account
from audience.erasure import (
    Erasure,
    digest_address,
    erase_recipient,
    has_suppressions,
    is_suppressed,
    lock_suppressions,
    readmit_address,
    suppressed_among,
)
from audience.errors import AddressForgotten, AudienceError, InvalidAddress, UnknownRecipient
from audience.events import (
    MailEvent,
    MailEventKind,
    SmsEvent,
    SmsStatus,
    append_mail_events,
    append_sms_events,
)
from audience.history import Cause, Subject, record_profile
from audience.lists import MailingList, add_group, add_list, find_list
from audience.recipients import describe_reason, find_recipients, read_address
from audience.selections import Selection
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Channel, Reason
from audience.subscriptions import Address, change_state, parse_address, update_profile
from audience.unsubscribed import select_unsubscribed
from audience.webhooks import WebhookSettings, add_webhook
from db.engine import Database
from db.tables import (
    account,
    group_member,
    history,
    import_error,
    import_run,
    metadata,
    notification,
    outbox,
    recipient,
    sending,
    subscription,
    suppression,
)
from delivery.outbox import queue_mail
from delivery.sendings import Target, add_sending

EMAIL = "anna.rossi@example.com"
MOBILE = "+393401234567"
PAGE = Cause("page", Reason.LINK, actor="192.0.2.7")
STAFF = Cause("command-line", actor="operator")
BY_EMAIL = Address(Channel.EMAIL, EMAIL)


@dataclass(frozen=True)
class World:
    """An account with two lists, one with a webhook, and a person about whom there is something in every table."""

    database: Database
    account: Account
    lists: list[MailingList]
    recipient_id: int

    def erase(self, address: Address = BY_EMAIL, account_id: int | None = None) -> Erasure:
        with self.database.write() as connection:
            return erase_recipient(connection, account_id or self.account.id, address, STAFF)

    def rows(self, table: Any) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))


def add_person(database: Database, mailings: list[MailingList], email: str, mobile: str) -> int:
    with database.write() as connection:
        group = add_group(connection, mailings[0], "Red")
        for mailing in mailings:
            address = parse_address(mailing, email=email)
            recipient_id = change_state(connection, mailing, address, SUBSCRIBE, PAGE).recipient_id
        connection.execute(update(recipient).where(recipient.c.id == recipient_id).values(mobile=mobile))
        by_mobile = Address(Channel.SMS, mobile)
        change_state(connection, mailings[0], by_mobile, SUBSCRIBE, Cause("soap", actor="m1"))
        change_state(connection, mailings[1], parse_address(mailings[1], email=email), UNSUBSCRIBE, PAGE)
        update_profile(
            connection, mailings[0], recipient_id, fields={1: email, 2: mobile}, groups=[group.number], cause=PAGE
        )
        queue_mail(connection, mailings[0], recipient_id, "welcome")
    return recipient_id


def add_events(world: World) -> None:
    """Add an opened e-mail and a delivered text message."""
    now, list_id = datetime.now(UTC), world.lists[0].id
    with world.database.write() as connection:
        sent = add_sending(connection, world.lists[0], Channel.EMAIL, None, message_number=1, state="completed")
        whom = (list_id, sent.id, world.recipient_id)
        opened = MailEvent(*whom, EMAIL, MailEventKind.OPENED, now, now, ip_address="192.0.2.7")
        append_mail_events(connection, world.account.id, [opened])
        append_sms_events(connection, world.account.id, [SmsEvent(*whom, MOBILE, SmsStatus.DELIVERED, now, now)])


def add_refused(database: Database, account_id: int, list_id: int, rows: list[bytes]) -> int:
    now = datetime.now(UTC)
    values = {"account_id": account_id, "list_id": list_id, "number": 1, "source": "ftp", "file_name": "daily.csv"}
    values |= {"spool_name": "x", "profile": {}, "size": 1, "state": "completed", "counters": {}, "created_at": now}
    with database.write() as connection:
        run_id = connection.execute(insert(import_run).values(**values).returning(import_run.c.id)).scalar_one()
        errors = [
            {"import_id": run_id, "line": line, "code": "email", "text": "Not well-formed.", "raw": raw}
            for line, raw in enumerate(rows)
        ]
        connection.execute(insert(import_error), errors)
    return int(run_id)


@pytest.fixture
def world(database: Database) -> World:
    with database.write() as connection:
        owner = add_account(connection, 1, password="secret")
        lists = [add_list(connection, owner.id, name) for name in ("One", "Two")]
        settings = {"url": "https://example.com/hook", "secret": "key", "format": "json"}
        for event in ("subscribe", "delete"):
            add_webhook(connection, lists[0], WebhookSettings(name=event, event=event, **settings))  # type: ignore[arg-type]
        lists = [find_list(connection, owner.id, mailing.number) for mailing in lists]
    return World(database, owner, lists, add_person(database, lists, EMAIL, MOBILE))


def all_text(world: World) -> Iterator[str]:
    """Everything that any table holds, except what is still to be told."""
    for table in metadata.sorted_tables:
        for row in world.rows(table):
            if table is notification and row.state == "waiting":
                continue
            yield f"{table.name}: {tuple(row)!r}"


def test_nothing_of_the_person_is_left_in_any_table(world: World) -> None:
    with world.database.write() as connection:
        connection.execute(update(notification).values(state="delivered", answer_text=f"Thanks, {EMAIL}"))
    add_events(world)
    add_refused(
        world.database,
        world.account.id,
        world.lists[0].id,
        [f"{EMAIL};x".encode(), EMAIL.upper().encode("utf-16"), b"x;0039 340-12 34 567;", b"x;y"],
    )
    erasure = world.erase()
    assert erasure == Erasure(world.recipient_id, ended=2, refused_rows=3)
    found = [row for row in all_text(world) if any(word in row for word in (EMAIL, "3401234567", "192.0.2.7"))]
    assert not [row for row in found if not row.startswith("account")]
    assert world.rows(group_member) == []
    assert [row.state for row in world.rows(outbox)] == []
    assert [row.raw for row in world.rows(import_error)] == [b"", b"", b"", b"x;y"]


def test_he_is_taken_out_of_the_targets_of_sendings(world: World) -> None:
    both = [
        (Channel.EMAIL, ("other@example.com", EMAIL)),
        (Channel.SMS, (MOBILE,)),
        (Channel.EMAIL, ("x@example.com",)),
    ]
    with world.database.write() as connection:
        for channel, addresses in both:
            target = Target(to="addresses", addresses=addresses, groups=(1,))
            add_sending(connection, world.lists[0], channel, None, state="completed", target=target)
        add_sending(connection, world.lists[0], Channel.EMAIL, None, state="draft")
    world.erase()
    targets = [Target.from_dict(row.target) for row in world.rows(sending) if row.target]
    assert [target.addresses for target in targets] == [("other@example.com",), (), ("x@example.com",), ()]
    assert targets[1] == Target(to="addresses", groups=(1,))


def test_subscriptions_end_for_the_reason_1024(world: World) -> None:
    before = {(row.list_id, row.channel): row for row in world.rows(subscription)}
    world.erase()
    after = world.rows(subscription)
    assert {(row.status, row.reason_type, row.source) for row in after} == {(3, 1024, "command-line")}
    left = next(row for row in after if row.list_id == world.lists[1].id)
    assert left.unsubscribed_at == before[left.list_id, left.channel].unsubscribed_at
    newest = world.rows(history)[-3:]
    assert sorted((row.kind, row.old_status or 0, row.new_status or 0, row.reason_type) for row in newest) == [
        (1, 1, 3, 1024),
        (1, 1, 3, 1024),
        (4, 0, 0, 1024),
    ]
    assert {row.actor for row in newest} == {"operator"}


def test_the_history_keeps_what_happened_and_which_user_did_it(world: World) -> None:
    before = world.rows(history)
    world.erase()
    after = world.rows(history)[: len(before)]
    assert [(row.kind, row.at, row.new_status) for row in after] == [
        (row.kind, row.at, row.new_status) for row in before
    ]
    assert {row.actor for row in after} == {None, "m1"}
    assert {row.details for row in after} == {None}


def test_those_who_must_forget_him_too_are_told(world: World) -> None:
    assert [row.event for row in world.rows(notification)] == ["subscribe"]
    world.erase()
    (told,) = world.rows(notification)
    assert (told.event, told.state, told.content["email"]) == ("delete", "waiting", EMAIL)
    assert told.content["reason_type"] == Reason.FORGOTTEN


@pytest.mark.parametrize(("seconds", "kept"), [(60, ["subscribe", "delete"]), (-60, ["delete"])])
def test_what_is_under_way_stays_in_front_without_its_content(world: World, seconds: int, kept: list[str]) -> None:
    with world.database.write() as connection:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        connection.execute(update(notification).values(lease_owner="x", lease_until=until, attempts=1))
    world.erase()
    rows = world.rows(notification)
    assert [row.event for row in rows] == kept
    assert [row.content == {} for row in rows] == [event != "delete" for event in kept]


@pytest.mark.parametrize("address", [BY_EMAIL, Address(Channel.SMS, MOBILE)])
def test_he_cannot_be_added_again_by_any_of_his_addresses(world: World, address: Address) -> None:
    world.erase(address)
    for channel, value in ((Channel.EMAIL, EMAIL), (Channel.SMS, MOBILE)):
        with world.database.read() as connection:
            assert is_suppressed(connection, world.account.id, channel, value)
        with pytest.raises(AudienceError), world.database.write() as connection:
            change_state(connection, world.lists[0], Address(channel, value), SUBSCRIBE, PAGE)
    assert len(world.rows(recipient)) == 1


def test_addresses_that_he_had_before_are_kept_out_too(world: World) -> None:
    earlier, given_on = "+393409999999", "+393408888888"
    with world.database.write() as connection:
        subject = Subject(world.account.id, world.recipient_id, world.lists[0].id)
        now = datetime.now(UTC)
        for number in (earlier, given_on):
            record_profile(connection, subject, {"mobile": number}, {"mobile": MOBILE}, PAGE, now)
        other = Address(Channel.SMS, given_on)
        change_state(connection, world.lists[0], other, SUBSCRIBE, PAGE)
    world.erase()
    with world.database.write() as connection:
        with pytest.raises(AddressForgotten):
            change_state(connection, world.lists[0], Address(Channel.SMS, earlier), SUBSCRIBE, PAGE)
        assert not is_suppressed(connection, world.account.id, Channel.SMS, given_on)


def test_he_can_come_back_if_he_asks_for_it(world: World) -> None:
    world.erase()
    with world.database.write() as connection:
        assert readmit_address(connection, world.account.id, BY_EMAIL)
        assert not readmit_address(connection, world.account.id, BY_EMAIL)
        change = change_state(connection, world.lists[0], BY_EMAIL, SUBSCRIBE, PAGE)
    assert change.recipient_id != world.recipient_id


def test_only_this_account_forgets_him(world: World) -> None:
    with world.database.write() as connection:
        other = add_account(connection, 2, password="secret")
        mailings = [add_list(connection, other.id, name) for name in ("One", "Two")]
    add_person(world.database, mailings, EMAIL, MOBILE)
    add_refused(world.database, other.id, mailings[0].id, [EMAIL.encode()])
    world.erase()
    with world.database.read() as connection:
        (facts,) = find_recipients(connection, BY_EMAIL)
        assert (facts.account, facts.fields) == (2, {"field 1": EMAIL, "field 2": MOBILE})
        assert not has_suppressions(connection, other.id)
        assert not is_suppressed(connection, other.id, Channel.EMAIL, EMAIL)
    assert [row.raw for row in world.rows(import_error)] == [EMAIL.encode()]
    with world.database.read() as connection:
        keys = list(connection.execute(select(account.c.secret_key).order_by(account.c.id)).scalars())
    digests = {digest_address(key, Channel.EMAIL, EMAIL) for key in keys}
    assert len(digests) == 2
    with world.database.read() as connection:
        assert suppressed_among(connection, world.account.id, digests) == {
            digest_address(keys[0], Channel.EMAIL, EMAIL)
        }


def test_the_digest_is_the_one_that_the_documentation_tells() -> None:
    # printf 'email:a@example.com' | openssl dgst -sha256 -mac HMAC -macopt hexkey:…
    expected = "d206f3eebd71ad7b9abd011191df26c823c444d4b8cb70e77c3021c098b75177"
    assert digest_address("00" * 32, Channel.EMAIL, "a@example.com") == expected
    assert digest_address("00" * 32, Channel.SMS, "a@example.com") != expected


def test_many_digests_are_looked_up_at_once(world: World) -> None:
    digests = [f"{number:064x}" for number in range(25_000)]
    with world.database.write() as connection:
        now = datetime.now(UTC)
        rows = [{"account_id": world.account.id, "digest": digest, "at": now} for digest in digests[::1000]]
        connection.execute(insert(suppression), rows)
        assert suppressed_among(connection, world.account.id, digests) == set(digests[::1000])
        assert suppressed_among(connection, world.account.id, []) == set()


def test_who_is_not_known_cannot_be_forgotten(world: World) -> None:
    with pytest.raises(UnknownRecipient):
        world.erase(Address(Channel.EMAIL, "nobody@example.com"))
    world.erase()
    with pytest.raises(UnknownRecipient):
        world.erase()


def test_an_export_has_no_row_for_who_was_forgotten(world: World) -> None:
    world.erase()
    with world.database.read() as connection:
        query = select_unsubscribed(Selection(account_id=world.account.id), ["email", "list"])
        assert connection.execute(query).all() == []


@pytest.mark.parametrize("text", ["anna", "340 1234567", "", "@", "+39", "a@b@c", "00"])
def test_an_address_that_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        read_address(text)


def test_an_address_is_read_as_people_write_it() -> None:
    assert read_address(" Anna.Rossi@Example.com ") == BY_EMAIL
    assert read_address("0039 340 123 45 67") == Address(Channel.SMS, MOBILE)


@pytest.mark.parametrize(
    ("reason", "described"),
    [
        ((None, None), (None, None)),
        ((2, 1), ("21", "link in a message")),
        ((8, None), ("8", "hard bounce")),
        ((1024, None), ("1024", "right to be forgotten")),
        ((7, 7), ("77", "unknown")),
    ],
)
def test_a_reason_has_a_code_and_words(reason: tuple[Any, Any], described: tuple[Any, Any]) -> None:
    assert describe_reason(*reason) == described


@pytest.mark.postgresql
def test_an_erasure_waits_for_those_who_add_addresses_and_they_for_it(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 1, password="secret").id, "One")
        change_state(connection, mailing, BY_EMAIL, SUBSCRIBE, PAGE)
    order: list[str] = []

    def erase() -> None:
        with database.write() as connection:
            erase_recipient(connection, mailing.account_id, BY_EMAIL, STAFF)
            order.append("erased")

    with database.write() as connection, database.write() as another:
        lock_suppressions(connection, mailing.account_id, exclusive=False)
        # Those who add do not wait for each other.
        lock_suppressions(another, mailing.account_id, exclusive=False)
        thread = threading.Thread(target=erase)
        thread.start()
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while not waits_for_lock(database):
            assert datetime.now(UTC) < deadline
        order.append("added")
    thread.join()
    assert order == ["added", "erased"]
    database.close()


def waits_for_lock(database: Database) -> bool:
    with database.read() as connection:
        query = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.exec_driver_sql(query).scalar_one())
