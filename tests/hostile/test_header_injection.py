"""Header injection: whatever is in a subject, a name or a value, the header has the fields it should and no more."""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered_mail import ADA, Rendered, render

from delivery.sendings import Sender

FIELDS = [
    "Message-ID",
    "Date",
    "From",
    "To",
    "Reply-To",
    "Subject",
    "MIME-Version",
    "X-Abuse",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-ID",
    "Feedback-ID",
    "Precedence",
    "Content-Type",
]
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
NASTY = [
    "x\r\nBcc: victim@example.net",
    "x\nBcc: victim@example.net",
    "x\rBcc: victim@example.net",
    "x\r\n\r\n<script>",
    "\r\n",
    "\r\n\r\n.\r\nMAIL FROM:<x>",
    "x\0y",
    "x\u2028Bcc: y\u2029z",
    "x\x85Bcc: y",
    "x\x0bBcc: y\x0c",
    "x\x1b[2J",
    "=?utf-8?q?x=0D=0ABcc:_y?=",
    "=?utf-8?b?DQpCY2M6IHg=?=",
    '"><script>',
    '" <evil@example.net>, "',
    "x>, <evil@example.net",
    "a" * 998,
    "word " * 400,
    "é" * 998,
    "🎉" * 300,
    "\u202eevil\u202c",
    "שלום\r\n עולם",
    "\ud800\udfff",
    "\t\t",
    "",
    "a\\",
    '\\"',
    "(comment",
    "[nome]",
    "%0d%0aBcc: x",
    "\\r\\nBcc: x",
    "x\r\n Bcc: folded",
    "xn--a\r\n",
]
TEXT = st.text(st.characters(), max_size=120) | st.sampled_from(NASTY)


def expected(text: str) -> str:
    return CONTROLS.sub(" ", text).strip()


def send(value: str, name: str) -> Rendered:
    return render(
        "<p>[nome]</p>",
        ADA._replace(fields={"1": value}),
        subject="[nome]",
        listed={"to_name": "field:1", "abuse_header": name or "x", "reply_to": "r@example.com"},
        sender=Sender(name=name),
        list_name=name,
    )


def check_header(value: str, name: str) -> None:
    rendered = send(value, name)
    head = rendered.raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    # Each line begins a field that is expected, or goes on with one.
    begun = [line.partition(b":")[0].decode() for line in head.split(b"\r\n")[:-1] if not line.startswith(b" ")]
    assert begun == FIELDS
    assert all(line.strip() for line in head.split(b"\r\n")[:-1])
    assert max(map(len, head.split(b"\r\n"))) <= 250
    assert not [byte for byte in head.replace(b"\r\n", b"") if byte < 32 or byte > 126]
    mail = BytesHeaderParser().parsebytes(head)
    assert mail.keys() == FIELDS
    value = value or "friend"
    assert decode(mail["Subject"]) == expected(value)
    assert decode(mail["X-Abuse"]) == expected(name or "x")
    assert rendered.mail.keys() == FIELDS
    for field, address in (("From", "shop@example.com"), ("To", "ada@example.org"), ("Reply-To", "r@example.com")):
        assert [found.addr_spec for found in rendered.mail[field].addresses] == [address]
    assert rendered.mail["Bcc"] is None


def decode(value: str) -> str:
    return str(make_header(decode_header(re.sub(r"\r\n(?= )", "", value)))).strip()


@pytest.mark.parametrize("value", NASTY)
def test_known_tricks(value: str) -> None:
    check_header(value, value)


@settings(max_examples=50, deadline=None)
@given(TEXT, TEXT)
def test_anything(value: str, name: str) -> None:
    check_header(value, name)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_values_arrive_in_the_parts(value: str) -> None:
    rendered = render("<p>[nome]|</p>", ADA._replace(fields={"1": value}), text="[nome]|")
    plain = re.sub("\r\n?", "\n", (value or "friend").encode(errors="replace").decode())
    assert rendered.text == f"{plain}|"
