"""Proofs that sender addresses belong to those who send with them: asked for by a mail with a link, and kept."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, select

from audience.accounts import Account, find_account
from audience.addresses import normalise_email
from audience.errors import UnknownAccount
from audience.notices import add_notice
from db.functions import insert_into
from db.tables import account, sender_address
from delivery.errors import SenderNotVerified
from delivery.tokens import SIGNATURE_BYTES, InvalidLink, begin_signature, decode, digest_of, encode

PROOF_PERIOD = timedelta(days=30)
"""How long the link of a mail that asks can be used."""
PROOF_PATH = "/verify-sender/"
"""Of the page that the link leads to; the token follows."""

# So that no other use of the account's key can give a signature that is valid here.
_PURPOSE = b"listbridge sender 1\0"
_MAX_ACCOUNT = 2**31 - 1
_TEXT = """\
Somebody wants to send messages with {email} as their sender, through account {number} on this server.

If that is you, open this page and press its button:
{link}

If it is not, do nothing: without it the address cannot be used. The link works for {days} days.
"""


@dataclass(frozen=True, slots=True)
class SenderAddress:
    """An address whose owner was asked for a proof."""

    email: str
    asked_at: datetime
    verified_at: datetime | None


def ask_sender(connection: Connection, owner: Account, email: str, public_url: str) -> str:
    """Ask the owner of an address for a proof, by a mail with a link; return the address as it is kept.

    Args:
        connection: in a writing transaction.
        owner: who wants to send with it.
        email: of the sender.
        public_url: under which readers of mails reach this server.

    Raises:
        InvalidAddress: it is not an e-mail address.
    """
    email = normalise_email(email)
    now = datetime.now(UTC)
    insert = insert_into(connection, sender_address).values(account_id=owner.id, email=email, asked_at=now)
    keys = [sender_address.c.account_id, sender_address.c.email]
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"asked_at": now}))
    link = f"{public_url}{PROOF_PATH}{_write_token(connection, owner, email, now)}"
    add_notice(
        connection,
        owner.id,
        key=f"sender:{owner.id}:{email}:{now.isoformat()}",
        kind="sender",
        subject="Please confirm this sender address",
        text=_TEXT.format(email=email, number=owner.number, link=link, days=PROOF_PERIOD.days),
        address=email,
    )
    return email


def read_proof(connection: Connection, token: str) -> tuple[Account, str]:
    """Return the account and the address that a link is about.

    Raises:
        InvalidLink: it is not valid, too old, or the address was removed.
    """
    content, signature = decode(token)
    number, issued_at, email = _read_content(content)
    try:
        owner = find_account(connection, number)
    except UnknownAccount:
        raise InvalidLink("The link is not valid.") from None
    if not hmac.compare_digest(signature, _sign(connection, owner, content)):
        raise InvalidLink("The link is not valid.")
    asked = connection.execute(select(sender_address.c.email).where(_is_sender(owner.id, email))).one_or_none()
    if asked is None or datetime.now(UTC) >= issued_at + PROOF_PERIOD:
        raise InvalidLink("The link has ended.")
    return owner, email


def verify_sender(connection: Connection, account_id: int, email: str) -> str:
    """Take an address as proved; return it as it is kept.

    Raises:
        InvalidAddress: it is not an e-mail address.
    """
    email = normalise_email(email)
    now = datetime.now(UTC)
    insert = insert_into(connection, sender_address).values(
        account_id=account_id, email=email, asked_at=now, verified_at=now
    )
    keys = [sender_address.c.account_id, sender_address.c.email]
    unproved = sender_address.c.verified_at.is_(None)
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"verified_at": now}, where=unproved))
    return email


def remove_sender(connection: Connection, account_id: int, email: str) -> None:
    """Forget an address and its proof.

    Raises:
        InvalidAddress: it is not an e-mail address.
        SenderNotVerified: its owner was never asked.
    """
    removed = connection.execute(sender_address.delete().where(_is_sender(account_id, normalise_email(email))))
    if removed.rowcount == 0:
        raise SenderNotVerified("There is no such sender address in this account.")


def senders_of(connection: Connection, account_id: int) -> list[SenderAddress]:
    """Return the addresses of an account, in the order of the alphabet."""
    columns = (sender_address.c.email, sender_address.c.asked_at, sender_address.c.verified_at)
    query = select(*columns).where(sender_address.c.account_id == account_id).order_by(sender_address.c.email)
    return [SenderAddress(*row) for row in connection.execute(query)]


def is_verified(connection: Connection, account_id: int, email: str) -> bool:
    """Tell whether the owner of an address, normalised, has given a proof for an account."""
    proved = _is_sender(account_id, email) & sender_address.c.verified_at.is_not(None)
    return connection.execute(select(sender_address.c.email).where(proved)).one_or_none() is not None


def _is_sender(account_id: int, email: str) -> ColumnElement[bool]:
    return (sender_address.c.account_id == account_id) & (sender_address.c.email == email)


def _write_token(connection: Connection, owner: Account, email: str, issued_at: datetime) -> str:
    content = f"{owner.number} {int(issued_at.timestamp())} {email}".encode()
    return encode(content + _sign(connection, owner, content))


def _sign(connection: Connection, owner: Account, content: bytes) -> bytes:
    key = connection.execute(select(account.c.secret_key).where(account.c.id == owner.id)).scalar_one()
    return digest_of(begin_signature(key, _PURPOSE), content)[:SIGNATURE_BYTES]


def _read_content(content: bytes) -> tuple[int, datetime, str]:
    try:
        number, issued, email = content.decode().split(" ")
        if not (number.isdecimal() and issued.isdecimal() and int(number) <= _MAX_ACCOUNT):
            raise InvalidLink("The link is incomplete.")
        return int(number), datetime.fromtimestamp(int(issued), UTC), email
    except (ValueError, OverflowError, OSError):
        raise InvalidLink("The link is not valid.") from None
