"""Mails that are written one by one: their texts, and that nothing gets out of the place where it was put."""

from __future__ import annotations

import string
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audience.list_settings import LANGUAGES, ListSettings
from delivery.errors import InvalidMessage
from delivery.letters import Letter, write_html, write_letter
from delivery.mail_texts import TEXTS, write_text

HEADERS = ["Auto-Submitted", "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"]


def _read(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=SMTPUTF8)
    assert isinstance(mail, EmailMessage)
    return mail


@pytest.mark.parametrize("key", TEXTS)
def test_every_text_is_in_every_language(key: str) -> None:
    texts = TEXTS[key]
    assert tuple(texts) == LANGUAGES
    places = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts.values()]
    assert all(place == places[0] for place in places)
    assert places[0] <= {"address", "list"}


def test_an_unknown_language_is_english() -> None:
    assert write_text("tlh", "welcome_link") == "Unsubscribe"


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=200), st.text(max_size=120), st.text(max_size=500))
def test_nothing_becomes_a_header_or_a_part(subject: str, name: str, text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    letter = Letter(
        sender="a@example.com",
        sender_name=name,
        recipient="b@example.com",
        subject=subject,
        text=clean,
        html=f"<p>{clean}",
    )
    content = write_letter(letter, "mail.example.com")
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    mail = _read(content)
    assert mail.keys() == HEADERS
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["To"].addresses[0].addr_spec == "b@example.com"
    assert mail["From"].addresses[0].addr_spec == "a@example.com"


def test_international_addresses() -> None:
    letter = Letter(sender="ü@exämple.com", recipient="b@bücher.example", subject="x", text="è\n")
    mail = _read(write_letter(letter, "mail.example.com"))
    assert (mail["From"], mail["To"]) == ("ü@xn--exmple-cua.com", "b@xn--bcher-kva.example")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content() == "è\r\n"


@pytest.mark.parametrize("address", ["", "a", "a@b\r\nBcc: x@y.z", "a b@example.com"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InvalidMessage):
        write_letter(Letter(sender="a@example.com", recipient=address, subject="x", text="x"), "mail.example.com")


@pytest.mark.parametrize("color", ['"><script>', "red", "#12345", ""])
def test_colours_that_are_none(color: str) -> None:
    page = write_html(ListSettings(color=color), "en", "Title", ["<b>"], ["<i>"], ('https://x/"<', "<u>"), "<s>")
    assert ListSettings().color in page
    assert not any(tag in page for tag in ("<script", "<b>", "<i>", "<u>", "<s>"))
