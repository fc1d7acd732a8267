"""Signed links: what is written is read back, and nothing else is."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import SUBSCRIBE
from audience.subscriptions import Cause, change_state, parse_address
from db.engine import Database
from db.migration import migrate
from db.tables import account, recipient
from delivery.links import CONFIRM_PERIOD, ExpiredLink, Link, LinkKind, read_token, write_token
from delivery.tokens import InvalidLink

ALPHABET = string.ascii_letters + string.digits + "-_"
ISSUED = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
IDS = st.integers(min_value=1, max_value=2**62)


@dataclass(frozen=True)
class Holder:
    """Somebody who gets links."""

    account_number: int
    secret_key: str
    recipient_id: int
    email: str

    def token(self, kind: LinkKind = "unsubscribe", list_ids: tuple[int, ...] = (5, 3)) -> str:
        return write_token(
            self.secret_key,
            kind,
            account_number=self.account_number,
            recipient_id=self.recipient_id,
            email=self.email,
            list_ids=list_ids,
            issued_at=ISSUED,
        )


@dataclass(frozen=True)
class Office:
    """A database with two readers in one account, and one in another."""

    database: Database
    ada: Holder
    bob: Holder
    stranger: Holder

    def read(self, token: str, kind: LinkKind = "unsubscribe", now: datetime = ISSUED) -> Link:
        with self.database.read_once() as connection:
            return read_token(connection, token, kind, now=now)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    database = _open(tmp_path_factory.mktemp("links"))
    yield Office(
        database,
        _add_holder(database, 1, "ada@example.com"),
        _add_holder(database, 1, "bob@example.com"),
        _add_holder(database, 2, "ada@example.com"),
    )
    database.close()


def _open(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    with database.write() as connection:
        for number in (1, 2):
            add_list(connection, add_account(connection, number, password="secret").id, "News")
    return database


def _add_holder(database: Database, number: int, email: str) -> Holder:
    with database.write() as connection:
        row = connection.execute(account.select().where(account.c.number == number)).one()
        mailing = add_list(connection, row.id, "More")
        address = parse_address(mailing, email=email)
        change = change_state(connection, mailing, address, SUBSCRIBE, Cause("test"))
        return Holder(number, row.secret_key, change.recipient_id, email)


@pytest.mark.parametrize("kind", ["confirm", "unsubscribe"])
def test_what_is_written_is_read(office: Office, kind: LinkKind) -> None:
    link = office.read(office.ada.token(kind), kind)
    assert (link.kind, link.recipient_id, link.email) == (kind, office.ada.recipient_id, "ada@example.com")
    assert (link.list_ids, link.issued_at) == ((5, 3), ISSUED)


@given(list_ids=st.lists(IDS, max_size=30, unique=True).map(tuple))
@settings(deadline=None)
def test_any_lists_come_back_in_order(office: Office, list_ids: tuple[int, ...]) -> None:
    assert office.read(office.ada.token(list_ids=list_ids)).list_ids == list_ids


@given(
    account_number=st.integers(min_value=1, max_value=2**31 - 1),
    recipient_id=IDS,
    list_ids=st.lists(st.integers(min_value=1, max_value=2**31 - 1), max_size=20),
)
def test_tokens_are_short_and_safe_in_urls(account_number: int, recipient_id: int, list_ids: list[int]) -> None:
    token = write_token(
        "key",
        "confirm",
        account_number=account_number,
        recipient_id=recipient_id,
        email="x" * 300 + "@example.com",
        list_ids=list_ids,
    )
    assert len(token) < 200
    assert set(token) <= set(ALPHABET)


def test_an_ordinary_token_fits_on_a_line(office: Office) -> None:
    assert len(office.ada.token()) < 60


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_changed_character_is_refused(office: Office, data: st.DataObject) -> None:
    token = office.ada.token()
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8") | st.sampled_from(ALPHABET))
    assume(other != token[place])
    with pytest.raises(InvalidLink):
        office.read(token[:place] + other + token[place + 1 :])


def test_every_single_change_of_the_last_characters_is_refused(office: Office) -> None:
    token = office.ada.token()
    for place in (-1, -2, 0):
        for other in set(ALPHABET) - {token[place]}:
            changed = [*token]
            changed[place] = other
            with pytest.raises(InvalidLink):
                office.read("".join(changed))


@given(token=st.text() | st.text(ALPHABET, max_size=100) | st.binary(max_size=80).map(lambda data: data.hex()))
@settings(deadline=None, max_examples=300)
def test_whatever_was_not_written_is_refused(office: Office, token: str) -> None:
    for kind in ("confirm", "unsubscribe"):
        with pytest.raises(InvalidLink):
            office.read(token, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["cut", "longer", "padded", "dot", "empty", "huge", "quoted", "space"])
def test_broken_tokens_are_refused(office: Office, change: str) -> None:
    token = office.ada.token()
    broken = {
        "cut": token[:-1],
        "longer": token + "A",
        "padded": token + "=",
        "dot": token + ".",
        "empty": "",
        "huge": token * 1000,
        "quoted": f"{token}'--",
        "space": f" {token}",
    }
    with pytest.raises(InvalidLink):
        office.read(broken[change])


def test_signatures_fit_nothing_else(office: Office) -> None:
    """A signature is of one account, recipient, address, kind and choice of lists."""
    ada, bob, stranger = office.ada, office.bob, office.stranger
    own = ada.token()
    others = [bob.token(), stranger.token(), ada.token("confirm"), ada.token(list_ids=(5,)), ada.token(list_ids=(3, 5))]
    for other in others:
        # The signature is the last 16 bytes; cutting at a multiple of 4 characters keeps the bytes whole.
        for place in range(4, min(len(own), len(other)), 4):
            for mixed in (own[:place] + other[place:], other[:place] + own[place:]):
                if mixed not in (own, *others):
                    with pytest.raises(InvalidLink):
                        office.read(mixed)


def test_the_other_kind_is_refused(office: Office) -> None:
    with pytest.raises(InvalidLink):
        office.read(office.ada.token("confirm"), "unsubscribe")
    with pytest.raises(InvalidLink):
        office.read(office.ada.token("unsubscribe"), "confirm")


def test_a_key_of_another_account_is_refused(office: Office) -> None:
    forged = Holder(1, office.stranger.secret_key, office.ada.recipient_id, office.ada.email)
    with pytest.raises(InvalidLink):
        office.read(forged.token())


def test_a_recipient_of_another_account_is_refused(office: Office) -> None:
    forged = Holder(2, office.stranger.secret_key, office.ada.recipient_id, office.ada.email)
    with pytest.raises(InvalidLink):
        office.read(forged.token())


def test_numbers_that_no_database_holds_are_refused(database: Database) -> None:
    with database.read_once() as connection:
        for account_number, recipient_id in ((2**31, 1), (1, 2**63), (2**200, 2**200), (0, 0)):
            token = Holder(account_number, "key", recipient_id, "ada@example.com").token()
            with pytest.raises(InvalidLink):
                read_token(connection, token, "unsubscribe")


def test_an_id_given_to_somebody_else(tmp_path: Path) -> None:
    database = _open(tmp_path)
    ada = _add_holder(database, 1, "ada@example.com")
    token = ada.token()
    with database.write() as connection:
        connection.execute(recipient.delete())
    bob = _add_holder(database, 1, "bob@example.com")
    with database.write() as connection:
        # As a database would do that gives ids again.
        given = recipient.update().where(recipient.c.id == bob.recipient_id)
        connection.execute(given.values(id=ada.recipient_id))
    with database.read_once() as connection, pytest.raises(InvalidLink):
        read_token(connection, token, "unsubscribe")
    with database.write() as connection:
        connection.execute(recipient.update().values(email=None, mobile="+393331234567"))
        with pytest.raises(InvalidLink):
            read_token(connection, token, "unsubscribe")
    database.close()


def test_confirming_ends_and_unsubscribing_does_not(office: Office) -> None:
    last = ISSUED + CONFIRM_PERIOD - timedelta(seconds=1)
    assert timedelta(days=30) == CONFIRM_PERIOD
    assert office.read(office.ada.token("confirm"), "confirm", last).issued_at == ISSUED
    with pytest.raises(ExpiredLink) as expired:
        office.read(office.ada.token("confirm"), "confirm", ISSUED + CONFIRM_PERIOD)
    assert expired.value.link.recipient_id == office.ada.recipient_id
    assert office.read(office.ada.token(), now=ISSUED + timedelta(days=365 * 50)).issued_at == ISSUED
