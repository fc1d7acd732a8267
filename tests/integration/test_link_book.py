"""What is remembered of accounts and links: little, for a short while, and of each account its own."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from tracked_sending import LINKS, TrackedSending, send_message

from db.engine import Database
from db.tables import account, sending_link
from delivery.link_book import KEEP_SECONDS, LinkBook, RecentValues
from delivery.tokens import InvalidLink
from delivery.tracking_links import LinkSigner


class Clock:
    """Seconds that a test decides about."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _open_token(sent: TrackedSending, signer: LinkSigner | None = None) -> str:
    links = (signer or sent.signer).of_recipient(sent.sending.id, sent.recipient_ids[0], "")
    return links.open_url().removeprefix("/o/").removesuffix(".gif")


def test_the_database_is_asked_once(database: Database) -> None:
    sent = send_message(database)
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    book = LinkBook(database)
    for _ in range(5):
        account_id, link = book.read(_open_token(sent), "open")
        assert (account_id, link.sending_id) == (sent.account.id, sent.sending.id)
        assert book.find_url(account_id, link.sending_id, 0) == LINKS[0]
        assert book.find_url(account_id, link.sending_id, 77) is None
        with pytest.raises(InvalidLink):
            book.read(_open_token(sent, LinkSigner("0" * 64, 99, "")), "open")
    assert len(statements) == 4


def test_changes_are_seen_after_a_while(database: Database) -> None:
    sent = send_message(database)
    clock = Clock()
    book = LinkBook(database, clock)
    old, new = _open_token(sent), _open_token(sent, LinkSigner("e" * 64, sent.account.number, ""))
    assert book.read(old, "open")[0] == sent.account.id
    assert book.find_url(sent.account.id, sent.sending.id, 9) is None
    with database.write() as connection:
        connection.execute(account.update().values(secret_key="e" * 64))
        connection.execute(sending_link.insert().values(sending_id=sent.sending.id, place=9, url="https://example.com"))
    clock.now = KEEP_SECONDS + 1
    assert book.read(new, "open")[0] == sent.account.id
    assert book.find_url(sent.account.id, sent.sending.id, 9) == "https://example.com"
    with pytest.raises(InvalidLink):
        book.read(old, "open")


def test_links_are_of_one_account(database: Database) -> None:
    sent, other = send_message(database), send_message(database, 2)
    book = LinkBook(database)
    assert book.find_url(sent.account.id, sent.sending.id, 1) == LINKS[1]
    assert book.find_url(other.account.id, sent.sending.id, 1) is None
    assert book.find_url(sent.account.id, sent.sending.id, -1) is None
    assert book.find_url(sent.account.id, sent.sending.id, 2**40) is None


def test_only_so_many_values_are_kept() -> None:
    asked: list[int] = []

    def look_up(key: int) -> int:
        asked.append(key)
        return key * 10

    values = RecentValues(look_up, 2, Clock())
    assert [values.find(key) for key in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert asked == [1, 2, 3, 2]
