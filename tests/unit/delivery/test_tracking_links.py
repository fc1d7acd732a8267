"""Links of sendings: what is written is read back, and nothing that was changed, moved or made by others."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tracked_sending import send_message

from db.engine import Database
from db.tables import account
from delivery.links import read_token
from delivery.tokens import InvalidLink
from delivery.tracking_links import LinkChecker, LinkSigner, TrackedKind, TrackedLink, read_tracked_link

ALPHABET = string.ascii_letters + string.digits + "-_"
KEY, OTHER_KEY = "a" * 64, "b" * 64
IDS = st.integers(min_value=1, max_value=2**63 - 1)
SIGNER = LinkSigner(KEY, 1234, "https://mail.example.com/")
LINKS = SIGNER.of_recipient(77, 1_234_567, "ada@example.com")
OPEN = LINKS.open_url().removeprefix("https://mail.example.com/o/").removesuffix(".gif")
CLICK = LINKS.click_url(0).removeprefix("https://mail.example.com/c/").removesuffix("/0")
URL = "https://example.com/?name=Ada Löve&x=[1]#é"
TARGET = urlsplit(LINKS.click_url(5, URL)).path.removeprefix("/c/")


def _read(token: str, kind: TrackedKind, key: str = KEY) -> TrackedLink:
    link = read_tracked_link(token)
    LinkChecker(key).check(link, kind)
    return link


def test_links_have_their_forms() -> None:
    assert LINKS.open_url() == f"https://mail.example.com/o/{OPEN}.gif"
    assert LINKS.click_url(12) == f"https://mail.example.com/c/{CLICK}/12"
    assert LINKS.web_version_url().startswith("https://mail.example.com/v/")
    assert LINKS.unsubscribe_url((5,), datetime.now(UTC)).startswith("https://mail.example.com/unsubscribe/")
    assert parse_qs(urlsplit(LINKS.click_url(5, URL)).query) == {"u": [URL]}
    assert len(LINKS.open_url()) < 76
    assert set(OPEN + CLICK + TARGET) <= set(ALPHABET)


@given(number=st.integers(1, 2**31 - 1), sending_id=IDS, recipient_id=IDS)
def test_what_is_written_is_read(number: int, sending_id: int, recipient_id: int) -> None:
    links = LinkSigner(KEY, number, "").of_recipient(sending_id, recipient_id, "ada@example.com")
    opened = _read(links.open_url().removeprefix("/o/").removesuffix(".gif"), "open")
    clicked = _read(links.click_url(3).removeprefix("/c/").removesuffix("/3"), "click")
    for link in (opened, clicked):
        assert (link.account_number, link.sending_id, link.recipient_id) == (number, sending_id, recipient_id)


@given(url=st.text())
def test_any_address_is_carried(url: str) -> None:
    parts = urlsplit(LINKS.click_url(0, url))
    (carried,) = parse_qs(parts.query, keep_blank_values=True)["u"]
    LinkChecker(KEY).check_target(read_tracked_link(parts.path.removeprefix("/c/")), carried)
    assert carried == url


@given(data=st.data(), url=st.text())
def test_another_address_is_refused(data: st.DataObject, url: str) -> None:
    assume(url != URL)
    with pytest.raises(InvalidLink):
        LinkChecker(KEY).check_target(read_tracked_link(TARGET), url)


@pytest.mark.parametrize("token", [OPEN, CLICK, TARGET])
@settings(deadline=None)
@given(data=st.data())
def test_any_changed_character_is_refused(token: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET) | st.characters())
    assume(other != token[place])
    changed = token[:place] + other + token[place + 1 :]
    for kind in ("open", "click"):
        with pytest.raises(InvalidLink):
            _read(changed, kind)
    with pytest.raises(InvalidLink):
        LinkChecker(KEY).check_target(read_tracked_link(changed), URL)


@given(token=st.text() | st.text(ALPHABET, max_size=100))
def test_whatever_was_not_written_is_refused(token: str) -> None:
    for kind in ("open", "click"):
        with pytest.raises(InvalidLink):
            _read(token, kind)


@pytest.mark.parametrize(
    ("token", "kind"),
    [(OPEN, "click"), (CLICK, "open"), (TARGET, "open"), (TARGET, "click"), ("", "open"), (OPEN * 200, "open")],
)
def test_the_other_kind_is_refused(token: str, kind: TrackedKind) -> None:
    with pytest.raises(InvalidLink):
        _read(token, kind)


@pytest.mark.parametrize("token", [OPEN, CLICK])
def test_a_link_without_address_is_none_for_an_address(token: str) -> None:
    for url in ("", URL, "https://evil.example.com"):
        with pytest.raises(InvalidLink):
            LinkChecker(KEY).check_target(read_tracked_link(token), url)


def test_another_key_is_refused() -> None:
    with pytest.raises(InvalidLink):
        _read(OPEN, "open", OTHER_KEY)
    with pytest.raises(InvalidLink):
        LinkChecker(OTHER_KEY).check_target(read_tracked_link(TARGET), URL)


@pytest.mark.parametrize("numbers", [(2**31, 1, 1), (1, 2**63, 1), (1, 1, 2**63)])
def test_numbers_that_no_database_holds_are_refused(numbers: tuple[int, int, int]) -> None:
    token = LinkSigner(KEY, numbers[0], "").of_recipient(*numbers[1:], "").open_url()[3:-4]
    with pytest.raises(InvalidLink):
        _read(token, "open")


def test_personal_links_know_their_sending(database: Database) -> None:
    sent = send_message(database)
    links, now = sent.links(1), datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
    leave = links.unsubscribe_url((sent.mailing.id, 99), now).removeprefix("/unsubscribe/")
    view = links.web_version_url().removeprefix("/v/")
    with database.read() as connection:
        left = read_token(connection, leave, "unsubscribe")
        viewed = read_token(connection, view, "view")
        assert (left.sending_id, left.list_ids, left.issued_at) == (sent.sending.id, (sent.mailing.id, 99), now)
        assert (viewed.sending_id, viewed.list_ids) == (sent.sending.id, ())
        assert left.recipient_id == viewed.recipient_id == sent.recipient_ids[1]
        for token, kind in ((leave, "view"), (leave, "confirm"), (view, "unsubscribe"), (view, "confirm")):
            with pytest.raises(InvalidLink):
                read_token(connection, token, kind)  # type: ignore[arg-type]
        for place in range(len(leave)):
            with pytest.raises(InvalidLink):
                read_token(
                    connection,
                    leave[:place] + ("A" if leave[place] != "A" else "B") + leave[place + 1 :],
                    "unsubscribe",
                )


def test_a_new_key_ends_all_links(database: Database) -> None:
    sent = send_message(database)
    token = sent.links().web_version_url().removeprefix("/v/")
    with database.write() as connection:
        connection.execute(account.update().values(secret_key=OTHER_KEY))
        assert connection.execute(select(account.c.secret_key)).scalar_one() == OTHER_KEY
        with pytest.raises(InvalidLink):
            read_token(connection, token, "view")
