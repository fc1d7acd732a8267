"""Signatures: other programs verify them, nobody can change what is signed, and each account gets the right key."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered_mail import ADA, render

from audience.accounts import add_account
from db.engine import Database
from delivery.dkim import (
    Algorithm,
    DkimSigner,
    InvalidKey,
    StoredKey,
    UnknownKey,
    add_signer,
    dns_record,
    find_key,
    find_signer,
    list_keys,
    make_key,
    remove_key,
)
from delivery.messages import MessageFile


@cache
def signer(algorithm: Algorithm, domain: str = "example.com", selector: str = "s1") -> DkimSigner:
    return DkimSigner(domain, selector, algorithm, make_key(algorithm))


def read_record(line: str) -> bytes:
    return "".join(re.findall(r'"([^"]*)"', line)).encode()


def verify(raw: bytes, key: DkimSigner) -> bool:
    def look_up(name: bytes, timeout: int = 5) -> bytes:
        assert name == f"{key.selector}._domainkey.{key.domain}.".encode()
        return read_record(dns_record(key))

    return bool(dkim.verify(raw, dnsfunc=look_up))


def read_tags(raw: bytes) -> dict[str, str]:
    field = raw.partition(b"\r\n\r\n")[0].decode().partition("DKIM-Signature:")[2]
    field = re.split(r"\r\n(?![ ])", field)[0]
    return {name: re.sub(r"\s", "", value) for name, value in re.findall(r"\s*(\w+)=([^;]*);?", field)}


def verify_ed25519(raw: bytes, key: DkimSigner) -> None:
    """Verify as RFC 8463 says; the verifier above knows RSA only without a further library."""
    head, _, body = raw.partition(b"\r\n\r\n")
    tags = read_tags(raw)
    assert base64.b64decode(tags["bh"]) == hashlib.sha256(body.rstrip(b"\r\n") + b"\r\n").digest()
    fields = {
        name.lower(): b"%b:%b\r\n" % (name.lower(), b" ".join(value.split()))
        for name, _, value in (field.partition(b":") for field in re.split(rb"\r\n(?! )", head))
    }
    names = tags["h"].lower().encode().split(b":")
    signed = b"".join(fields.pop(name, b"") for name in names)
    own = fields[b"dkim-signature"].rstrip(b"\r\n")
    own = own[: own.rindex(b"b=") + 2]
    public = ed25519.Ed25519PublicKey.from_public_bytes(key.write_public_key())
    public.verify(base64.b64decode(tags["b"]), hashlib.sha256(signed + own).digest())


@pytest.mark.parametrize(
    ("html", "text", "changes"),
    [
        ("<p>[nome] è</p>", "", {}),
        ("", "x", {}),
        ("", "x\n\n\n\n", {}),
        ("", "\n\n.\n..\n  two  blanks \t\n", {}),
        ("<p>x</p>", "y", {"listed": {"to_name": "field:1, field:2", "reply_to": "r@example.com"}}),
        ("<p>x</p>", "y", {"bulk": False}),
        ("<p>x</p>", "y", {"subject": "è" * 200}),
        ("<p>x</p>", "y", {"subject": "long " * 50, "files": (MessageFile("attachment", "a", "a/b", b"x" * 9999),)}),
    ],
)
def test_other_programs_verify(html: str, text: str, changes: dict[str, Any]) -> None:
    rsa, ed = signer("rsa"), signer("ed25519")
    assert verify(render(html, text=text, dkim=rsa, **changes).raw, rsa)
    verify_ed25519(render(html, text=text, dkim=ed, **changes).raw, ed)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_whatever_the_values_are(value: str) -> None:
    key = signer("rsa")
    person = ADA._replace(fields={"1": value})
    assert verify(render("<p>[nome]</p>", person, text="[nome]", subject="[nome]", dkim=key).raw, key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: News", b"Subject: Nudes"),
        (b"From: Shop", b"From: Bank"),
        (b"From: Shop", b"From: Bank <bank@example.net>\r\nFrom: Shop"),
        (b"To: <ada@", b"To: <bob@"),
        (b"List-Unsubscribe: <https", b"List-Unsubscribe: <http"),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
        (b"Content-Type: text/plain", b"Content-Type: text/html"),
        (b"\r\n\r\nDear", b"\r\n\r\nHi"),
        (b"d=example.com", b"d=example.net"),
    ],
)
def test_what_is_signed_cannot_be_changed(old: bytes, new: bytes) -> None:
    key = signer("rsa")
    raw = render(text="Dear x", dkim=key).raw
    assert raw.count(old) == 1
    try:
        is_valid = verify(raw.replace(old, new), key)
    except AssertionError:
        is_valid = False
    assert not is_valid


def test_what_is_signed() -> None:
    tags = read_tags(render(text="x", dkim=signer("ed25519"), listed={"reply_to": "r@example.com"}).raw)
    assert tags["h"].split(":") == [
        "message-id",
        "date",
        "from",
        "to",
        "reply-to",
        "subject",
        "mime-version",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "feedback-id",
        "content-type",
        "from",
    ]
    assert (tags["v"], tags["a"], tags["c"], tags["d"], tags["s"]) == (
        "1",
        "ed25519-sha256",
        "relaxed/simple",
        "example.com",
        "s1",
    )


def test_example_of_rfc_8463() -> None:
    # Appendix A.1 and A.2: the key pair.
    secret = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key = DkimSigner("football.example.com", "brisbane", "ed25519", private.private_bytes(*form).decode())
    expected = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert dns_record(key) == f'brisbane._domainkey.football.example.com. IN TXT "{expected}"'


def test_record_of_a_long_key_is_in_strings_that_dns_takes() -> None:
    line = dns_record(signer("rsa"))
    strings = re.findall(r'"([^"]*)"', line)
    assert len(strings) == 2
    assert max(map(len, strings)) <= 255
    assert read_record(line).startswith(b"v=DKIM1; k=rsa; p=MIIBIjANBgkqhki")


def test_secret_is_not_shown() -> None:
    key = signer("rsa")
    assert repr(key) == "DkimSigner('example.com', 's1', 'rsa')"


@pytest.mark.parametrize(
    ("domain", "selector", "algorithm"),
    [
        ("", "s", "ed25519"),
        ("example", "s", "ed25519"),
        ("example.com", "", "ed25519"),
        ("example.com; d=x", "s", "ed25519"),
        ("example.com", "s\r\nx", "ed25519"),
        ("example.com", "s", "rsa"),
        ("-.example.com", "s", "ed25519"),
        ("x" * 250 + ".com", "s", "ed25519"),
    ],
)
def test_refused_names(domain: str, selector: str, algorithm: Algorithm) -> None:
    with pytest.raises(InvalidKey):
        DkimSigner(domain, selector, algorithm, make_key("ed25519"))


def test_refused_keys() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked = serialization.BestAvailableEncryption(b"x")
    keys = [
        "",
        "no key",
        other.private_bytes(*form, serialization.NoEncryption()).decode(),
        ed25519.Ed25519PrivateKey.generate().private_bytes(*form, locked).decode(),
    ]
    for pem in keys:
        for algorithm in ("rsa", "ed25519"):
            with pytest.raises(InvalidKey):
                DkimSigner("example.com", "s", algorithm, pem)


@pytest.fixture
def accounts(database: Database) -> Iterator[tuple[Database, int, int]]:
    with database.write() as connection:
        first, second = (add_account(connection, number, password="x") for number in (1, 2))
    yield database, first.id, second.id


def test_which_key_signs(accounts: tuple[Database, int, int]) -> None:
    database, first, second = accounts
    stored = [
        (None, "example.com", "all"),
        (first, "example.com", "old"),
        (first, "example.com", "new"),
        (None, "news.example.com", "deep"),
        (second, "example.net", "s"),
    ]
    with database.write() as connection:
        for account_id, domain, selector in stored:
            add_signer(connection, account_id, DkimSigner(domain, selector, "ed25519", make_key("ed25519")))
    cases = [
        (first, "example.com", "new"),
        (second, "example.com", "all"),
        (first, "news.example.com", "new"),
        (second, "news.example.com", "deep"),
        (second, "a.b.news.example.com", "deep"),
        (second, "NEWS.example.com", "deep"),
        (second, "shop.example.net", "s"),
        (first, "example.net", None),
        (first, "notexample.com", None),
        (first, "com", None),
        (first, "", None),
    ]
    for account_id, domain, expected in cases:
        with database.read() as connection:
            found = find_signer(connection, account_id, domain)
        assert (found.selector if found else None) == expected, (account_id, domain)


def test_keys_are_stored_listed_and_removed(accounts: tuple[Database, int, int]) -> None:
    database, first, _ = accounts
    key = DkimSigner("BÜCHER.example.", "S1", "rsa", make_key("rsa"))
    with database.write() as connection:
        add_signer(connection, first, key)
        with pytest.raises(InvalidKey):
            add_signer(connection, None, signer("ed25519", "bücher.example"))
        (listed,) = list_keys(connection)
        assert listed[:3] == ("xn--bcher-kva.example", "s1", "rsa")
        assert isinstance(listed, StoredKey) and listed.account_number is not None
        again = find_key(connection, "bücher.example", "s1")
        assert dns_record(again) == dns_record(key)
        with pytest.raises(UnknownKey):
            find_key(connection, "bücher.example", "s2")
        remove_key(connection, "bücher.example", "s1")
        with pytest.raises(UnknownKey):
            remove_key(connection, "bücher.example", "s1")
        assert list_keys(connection) == []
