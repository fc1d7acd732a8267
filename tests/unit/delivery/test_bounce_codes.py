"""What servers mean by their codes and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.status_rules import Reason
from delivery.bounce_codes import (
    ABANDONED,
    BLOCKED,
    INVALID_SYNTAX,
    MISCONFIGURED,
    NO_SUCH_ADDRESS,
    NO_SUCH_DOMAIN,
    SOFT,
    SPAM_CONTENT,
    BounceClass,
    classify_answer,
    find_code,
    find_status,
    name_code,
)

ANSWERS: list[tuple[int, str, BounceClass]] = [
    (550, "5.1.1 <ada@example.net>: Recipient address rejected: User unknown", NO_SUCH_ADDRESS),
    (550, "No such user here", NO_SUCH_ADDRESS),
    (550, "Requested action not taken: mailbox unavailable", NO_SUCH_ADDRESS),
    (550, "5.5.0 Requested action not taken: mailbox unavailable", NO_SUCH_ADDRESS),
    (550, "Unrouteable address", NO_SUCH_ADDRESS),
    (553, "5.3.0 <ada@example.net>... Addressee unknown", NO_SUCH_ADDRESS),
    (551, "User not local", NO_SUCH_ADDRESS),
    (550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)", NO_SUCH_ADDRESS),
    (553, "5.1.3 Bad recipient", INVALID_SYNTAX),
    (501, "Malformed address", INVALID_SYNTAX),
    (550, "5.1.2 No such host", NO_SUCH_DOMAIN),
    (550, "5.4.4 No route", NO_SUCH_DOMAIN),
    (556, "", NO_SUCH_DOMAIN),
    (556, "5.1.10 Null MX", NO_SUCH_DOMAIN),
    (550, "Domain gone.example does not exist", NO_SUCH_DOMAIN),
    (550, "5.2.1 The account is disabled", ABANDONED),
    (550, "This mailbox has been closed", ABANDONED),
    (550, "5.1.6 Moved", ABANDONED),
    (554, "5.7.1 Client host [192.0.2.1] blocked using dnsbl.example.org", BLOCKED),
    (550, "5.7.26 unauthenticated mail is not accepted", BLOCKED),
    (550, "5.1.1 Your address 192.0.2.1 is on a blacklist", BLOCKED),
    (550, "5.7.999 anything at all", BLOCKED),
    (550, "Administrative prohibition", BLOCKED),
    (554, "5.7.1 Relay access denied", MISCONFIGURED),
    (550, "relay not permitted", MISCONFIGURED),
    (550, "5.1.8 Sender domain", MISCONFIGURED),
    (554, "5.4.6 Too many hops", MISCONFIGURED),
    (550, "Message rejected as spam", SPAM_CONTENT),
    (554, "5.6.0 Content rejected", SPAM_CONTENT),
    (552, "5.2.2 Mailbox full", SOFT),
    (550, "5.1.1 whatever", NO_SUCH_ADDRESS),
    (552, "", SOFT),
    (450, "5.1.1 user unknown", SOFT),
    (550, "4.1.1 user unknown", SOFT),
    (450, "4.2.1 receiving mail at a rate", SOFT),
    (550, "5.2.1 receiving mail at a rate that prevents more", SOFT),
    (421, "4.7.0 blocked, try again later", SOFT),
    (550, "5.0.0", SOFT),
    (550, "", SOFT),
    (0, "", SOFT),
    (250, "OK", SOFT),
]


@pytest.mark.parametrize(("code", "text", "expected"), ANSWERS)
def test_answers(code: int, text: str, expected: BounceClass) -> None:
    assert classify_answer(code, text) == expected


def test_each_reason_has_its_digits() -> None:
    """Mailup specification, section 6.4."""
    table = [NO_SUCH_ADDRESS, INVALID_SYNTAX, NO_SUCH_DOMAIN, ABANDONED, BLOCKED, SPAM_CONTENT, MISCONFIGURED]
    codes = [f"{found.reason.value}{found.subtype}" for found in table]
    assert codes == ["80", "81", "82", "83", "2561", "2562", "2563"]
    assert [found.kind for found in table] == ["hard"] * 4 + ["soft"] * 3
    assert [found.is_block for found in (BLOCKED, SOFT, NO_SUCH_ADDRESS)] == [True, False, False]
    assert SOFT.reason == Reason.SOFT_BOUNCES


def test_codes_are_found_in_prose() -> None:
    text = "host mx.example.net[192.0.2.250] said: 550-5.1.1 no\n 550 5.1.1 such"
    assert (find_code(text), find_status(text)) == (550, "5.1.1")
    assert find_status("5.0.0 then 5.2.2") == "5.2.2"
    assert (find_code("at 10.2.3.4 in 2026, 220 ready"), find_status("192.5.1.1.9 version 5.1.1.2")) == (0, "")
    assert [name_code(550, "5.1.1"), name_code(0, "5.1.1"), name_code(550, ""), name_code(0, "")] == [
        "550 5.1.1",
        "5.1.1",
        "550",
        "",
    ]


@given(st.integers(-5, 1000), st.text(max_size=300))
def test_every_answer_has_a_class(code: int, text: str) -> None:
    found = classify_answer(code, text)
    assert found.kind == ("hard" if found.reason == Reason.HARD_BOUNCE else "soft")


def test_a_temporary_answer_is_never_hard() -> None:
    for _code, text, _expected in ANSWERS:
        assert classify_answer(451, text) == SOFT


def test_long_answers_are_quick() -> None:
    for text in ("a" * 1_000_000, "user " * 200_000, "5.1.1" * 200_000, "mailbox " + "x" * 1_000_000):
        classify_answer(550, text)
