"""Reads a corpus of reports, and whatever else may be sent."""

from __future__ import annotations

import csv
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.bounces import MAX_READ, Report, read_report

CORPUS = Path(__file__).parents[2] / "corpus" / "bounces"
EXPECTED = {
    row["file"]: row for row in csv.DictReader((CORPUS / "expected.csv").read_text(encoding="utf-8").splitlines())
}
TOKEN = "bounces+b0000000c00000159000012d687bd4f824d78920db857f3@bounces.example.com"


def _read(name: str) -> Report:
    return read_report((CORPUS / f"{name}.eml").read_bytes())


def _class_of(report: Report) -> tuple[str, str, str]:
    reason, subtype = report.reason, report.subtype
    return (
        report.kind,
        str(reason.value) if reason is not None else "",
        str(subtype) if subtype is not None else "",
    )


def test_every_mail_of_the_corpus_is_expected() -> None:
    assert {path.stem for path in CORPUS.glob("*.eml")} == set(EXPECTED)
    assert len(EXPECTED) >= 60


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_corpus(name: str) -> None:
    row = EXPECTED[name]
    assert _class_of(_read(name)) == (row["kind"], row["reason"], row["subtype"])


@pytest.mark.parametrize(
    ("name", "recipients", "code"),
    [
        ("postfix-user-unknown", ("ada@example.net",), "550 5.1.1"),
        ("qmail-no-mailbox", ("ada@example.net",), "5.1.1"),
        ("exim-text-no-such-user", ("ada@example.net",), "550"),
        ("sendmail-quota", ("ada@example.net",), "552 5.2.2"),
        ("arf-abuse", ("ada@example.net",), ""),
        ("two-recipients-both-unknown", ("a@example.net", "b@example.net"), "550 5.1.1"),
        ("receipt-over-quota", ("ada@example.net",), ""),
    ],
)
def test_whom_and_why(name: str, recipients: tuple[str, ...], code: str) -> None:
    report = _read(name)
    assert (report.recipients, report.code) == (recipients, code)
    if name in ("postfix-user-unknown", "exim-text-no-such-user", "arf-abuse"):
        assert (report.original_message_id, report.return_path) == ("<20261101.117@news.example.com>", TOKEN)


def test_a_return_path_may_be_broken_by_an_encoding() -> None:
    broken = f"Subject: x\r\n\r\nReturn-Path: <{TOKEN[:20]}=\r\n{TOKEN[20:]}>\r\n".encode()
    assert read_report(broken).return_path == TOKEN


def _bomb(parts: int) -> bytes:
    return b'Content-Type: multipart/report; boundary="b"\r\n\r\n' + b"--b\r\nX: y\r\n\r\nz\r\n" * parts + b"--b--\r\n"


def _nest(depth: int) -> bytes:
    levels = (
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(depth)
    )
    return b"".join(levels) + b"\r\nend\r\n"


_STATUS_PART = b'Content-Type: multipart/report; boundary="b"\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n'
HOSTILE = {
    "nothing": b"",
    "parts": _bomb(10_000),
    "nesting": _nest(1_000),
    "mails in mails": b"Content-Type: message/rfc822\r\n\r\n" * 1_000,
    "headers without end": b"".join(b"X-%d: %s\r\n" % (number, b"y" * 100) for number in range(200_000)),
    "one long header": b"Subject: " + b"out of " * 3_000_000,
    "one long line": b"From: MAILER-DAEMON@x\r\nSubject: failure notice\r\n\r\n" + b"a" * 20_000_000,
    "lines for patterns": b"From: MAILER-DAEMON@x\r\nSubject: failure notice\r\n\r\n"
    + b"A message that you sent could not be delivered\r\n"
    + (b"a" * 900 + b"\r\n") * 10_000,
    "charset": b'From: MAILER-DAEMON@x\r\nContent-Type: text/plain; charset="no-such"\r\n\r\n550 5.1.1 \xff\xfe\x00',
    "header charset": b"Subject: =?no-such?b?!!!?= \xff\xfe\r\nFrom: \xe9\r\n\r\nx",
    "status of many": _STATUS_PART
    + b"\r\n"
    + b"Final-Recipient: rfc822; a@x\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n" * 100_000,
    "status encoded": _STATUS_PART
    + b"Content-Transfer-Encoding: base64\r\n\r\nQWN0aW9uOiBmYWlsZWQNClN0YXR1czogNS4xLjENCg==\r\n--b--",
    "NULs": b"\0" * 100_000,
    "carriage returns": b"From: MAILER-DAEMON@x\r\r\r" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mails_are_bounded(name: str) -> None:
    begun = monotonic()
    report = read_report(HOSTILE[name])
    # Generous: what is not bounded takes hours.
    assert monotonic() - begun < 30
    assert len(report.recipients) <= 100
    if name == "status of many":
        assert report.kind == "hard"


def test_no_more_is_read_than_said() -> None:
    late = b"Subject: x\r\n\r\n" + b"y\r\n" * (MAX_READ // 3) + TOKEN.encode()
    assert read_report(late).return_path == ""


_PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"--b",
        b"--b--",
        b"Content-Type: multipart/report; boundary=b\r\n",
        b"Content-Type: message/delivery-status\r\n",
        b"Content-Type: message/feedback-report\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Action: failed\r\n",
        b"Status: 5.1.1\r\n",
        b"Final-Recipient: rfc822; a@example.com\r\n",
        b"From: MAILER-DAEMON@example.com\r\n",
        b"From: \r\n",
        b"Subject: failure notice\r\n",
        b"550 5.1.1 user unknown",
        b"\x00\xff",
        b"=?utf-8?q?",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES | st.binary(max_size=20), max_size=40).map(b"".join))
def test_nothing_makes_the_reader_fail(content: bytes) -> None:
    report = read_report(content)
    assert report.kind in ("hard", "soft", "complaint", "unsubscribe", "automatic", "unknown")
    assert (report.bounce is not None) == (report.kind in ("hard", "soft"))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(EXPECTED)), st.integers(0, 4000), st.binary(max_size=8))
def test_damage_never_makes_a_hard_bounce_of_something_else(name: str, place: int, damage: bytes) -> None:
    content = (CORPUS / f"{name}.eml").read_bytes()
    damaged = content[:place] + damage + content[place + len(damage) :]
    report = read_report(damaged)
    if EXPECTED[name]["kind"] == "unknown" and "report" not in name:
        assert report.kind != "hard"
