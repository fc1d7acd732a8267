"""Proofs of sender addresses: the mail that asks for one, the page that its link leads to, and what is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hosted_shop import dump_tables, heading
from sqlalchemy import select, update
from web_server import Reply, Site, serve

from audience.accounts import Account, add_account
from audience.errors import InvalidAddress
from db.engine import Database
from db.tables import notice, sender_address
from delivery.errors import SenderNotVerified
from delivery.sender_addresses import (
    PROOF_PERIOD,
    ask_sender,
    is_verified,
    read_proof,
    remove_sender,
    senders_of,
    verify_sender,
)
from delivery.tokens import InvalidLink
from jobs.storage import Storage
from services.hosted.rendering import HEADERS
from services.hosted.texts import TEXTS
from services.http.options import HttpOptions

SHOP = "shop@example.com"
TITLES = {key: texts["en"] for key, texts in TEXTS.items() if key.endswith("_title")}


@dataclass(frozen=True)
class Desk:
    """Two accounts, and the server that shows the pages."""

    database: Database
    accounts: list[Account]
    site: Site

    def ask(self, email: str = SHOP, place: int = 0) -> str:
        """Ask for a proof; return the path of the link in the mail."""
        with self.database.write() as connection:
            ask_sender(connection, self.accounts[place], email, self.site.url)
            text = connection.execute(select(notice.c.text).order_by(notice.c.id.desc())).scalars().first()
        found = re.search(rf"^{self.site.url}(/verify-sender/\S+)$", text or "", re.MULTILINE)
        assert found is not None, text
        return found[1]

    def press(self, path: str) -> Reply:
        return self.site.post_form(path, {})

    def is_verified(self, email: str = SHOP, place: int = 0) -> bool:
        with self.database.read() as connection:
            return is_verified(connection, self.accounts[place].id, email)


@pytest.fixture
def desk(database: Database, storage: Storage) -> Iterator[Desk]:
    with database.write() as connection:
        accounts = [add_account(connection, number, password="secret") for number in (1, 2)]
    with serve(database, storage) as site:
        yield Desk(database, accounts, site)


def test_the_button_of_the_page_gives_the_proof_and_opening_it_does_not(desk: Desk) -> None:
    path = desk.ask(" Shop@Example.com ")
    with desk.database.read() as connection:
        asked = connection.execute(select(notice.c.address, notice.c.kind, notice.c.state)).one()
    assert tuple(asked) == (SHOP, "sender", "waiting")
    before = dump_tables(desk.database)
    page = desk.site.get(path)
    assert (page.status, heading(page)) == (200, TITLES["verify_title"])
    assert '<form method="post">' in page.text and SHOP not in page.text and "s•••@example.com" in page.text
    assert HEADERS.items() <= page.headers.items()
    assert dump_tables(desk.database) == before and not desk.is_verified()
    for _ in range(2):
        answer = desk.press(path)
        assert (answer.status, heading(answer)) == (200, TITLES["verified_title"])
    assert desk.is_verified() and not desk.is_verified(place=1)
    assert not desk.is_verified("other@example.com")


def test_links_that_are_not_valid_or_not_any_more(desk: Desk) -> None:
    path = desk.ask()
    other = desk.ask("other@example.com", place=1)
    own, strange = path.rpartition("/")[2], other.rpartition("/")[2]
    tokens = [own[1:], own + "A", own[:-8] + strange[-8:], "x", "0", "%00", "%ff%fe", "A" * 8000, "MSAxIHg"]
    before = dump_tables(desk.database)
    for token in tokens:
        for reply in (desk.site.get(f"/verify-sender/{token}"), desk.press(f"/verify-sender/{token}")):
            assert (reply.status, heading(reply)) == (404, TITLES["invalid_title"])
    assert dump_tables(desk.database) == before
    with desk.database.write() as connection:
        remove_sender(connection, desk.accounts[0].id, SHOP)
    assert desk.press(path).status == 404
    assert not desk.is_verified()


def test_a_link_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    token = desk.ask().rpartition("/")[2]
    with desk.database.read() as connection:
        assert read_proof(connection, token) == (desk.accounts[0], SHOP)
        monkeypatch.setattr("delivery.sender_addresses.PROOF_PERIOD", timedelta(0))
        with pytest.raises(InvalidLink):
            read_proof(connection, token)
    assert timedelta(days=1) < PROOF_PERIOD


def test_addresses_are_kept_by_account(desk: Desk) -> None:
    account_id = desk.accounts[0].id
    desk.ask(place=1)
    with desk.database.write() as connection:
        assert verify_sender(connection, account_id, "Known@Example.com") == "known@example.com"
        first = senders_of(connection, account_id)
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        connection.execute(update(sender_address).values(verified_at=long_ago))
        verify_sender(connection, account_id, "known@example.com")
        assert [each.verified_at for each in senders_of(connection, account_id)] == [long_ago]
        assert [each.email for each in first] == ["known@example.com"]
        for wrong in (ask_sender, verify_sender, remove_sender):
            arguments = (desk.accounts[0], "nobody", "") if wrong is ask_sender else (account_id, "nobody")
            with pytest.raises(InvalidAddress):
                wrong(connection, *arguments)
        with pytest.raises(SenderNotVerified, match="no such sender"):
            remove_sender(connection, account_id, SHOP)


def test_asking_again_keeps_the_proof(desk: Desk) -> None:
    desk.press(desk.ask())
    second = desk.ask()
    assert desk.is_verified()
    assert heading(desk.site.get(second)) == TITLES["verify_title"]


def test_who_calls_too_often_is_told_to_wait(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with serve(database, storage, HttpOptions(form_rate_per_address=0.01)) as site:
        replies = [site.get("/verify-sender/x") for _ in range(60)]
    database.close()
    assert {reply.status for reply in replies} >= {429}
    assert "Retry-After" in next(reply for reply in replies if reply.status == 429).headers
