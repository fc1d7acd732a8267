"""Who asked to be forgotten, recognised when somebody wants to add him again, though his address is kept nowhere.

An address is kept as a digest that is keyed with the account's secret, so that nobody can find it out by trying
addresses without that secret. On PostgreSQL, erasures and whatever adds addresses keep out of each other's way by
`lock_suppressions`; on SQLite writers come one after the other anyway.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

from sqlalchemy import Connection, bindparam, delete, exists, func, select

from audience.status_rules import Channel
from db.functions import insert_into
from db.tables import account, suppression

_KINDS = {Channel.EMAIL: b"email:", Channel.SMS: b"mobile:"}
_DIGESTS_A_QUERY = 10_000
"""SQLite takes 32,766 parameters, PostgreSQL 65,535."""

_LOCK = {
    exclusive: select(lock(func.hashtextextended(bindparam("lock"), 0)))
    for exclusive, lock in ((True, func.pg_advisory_xact_lock), (False, func.pg_advisory_xact_lock_shared))
}
# Pages ask before each address that they add, so the statements are made once. Without suppressions, which is the
# rule, the first one answers alone.
_HAS_SUPPRESSIONS = select(exists().where(suppression.c.account_id == bindparam("account_id")))
_SECRET_KEY = select(account.c.secret_key).where(
    account.c.id == bindparam("account_id"), exists().where(suppression.c.account_id == bindparam("account_id"))
)
_IS_SUPPRESSED = select(
    exists().where(suppression.c.account_id == bindparam("account_id"), suppression.c.digest == bindparam("digest"))
)


def digest_address(secret_key: str, channel: Channel, address: str) -> str:
    """Return what is kept of an address: HMAC-SHA256 of `email:` or `mobile:` and the address, in hexadecimal.

    Args:
        secret_key: of the account, in hexadecimal.
        channel: whether it is an e-mail address or a mobile number.
        address: normalised.
    """
    return hmac.digest(bytes.fromhex(secret_key), _KINDS[channel] + address.encode(), "sha256").hex()


def has_suppressions(connection: Connection, account_id: int) -> bool:
    """Return whether anybody has ever been forgotten in an account."""
    return bool(connection.execute(_HAS_SUPPRESSIONS, {"account_id": account_id}).scalar_one())


def is_suppressed(connection: Connection, account_id: int, channel: Channel, address: str) -> bool:
    """Return whether a normalised address must not be added to an account."""
    secret_key = connection.execute(_SECRET_KEY, {"account_id": account_id}).scalar_one_or_none()
    if secret_key is None:
        return False
    digest = digest_address(secret_key, channel, address)
    return bool(connection.execute(_IS_SUPPRESSED, {"account_id": account_id, "digest": digest}).scalar_one())


def suppressed_among(connection: Connection, account_id: int, digests: Iterable[str]) -> set[str]:
    """Return those of some digests, made by `digest_address`, whose addresses must not be added to an account."""
    query = select(suppression.c.digest).where(
        suppression.c.account_id == account_id, suppression.c.digest.in_(bindparam("digests", expanding=True))
    )
    found: set[str] = set()
    remaining = iter(digests)
    while some := list(islice(remaining, _DIGESTS_A_QUERY)):
        found.update(connection.execute(query, {"digests": some}).scalars())
    return found


def find_suppressed(
    connection: Connection, account_id: int, addresses: Iterable[tuple[Channel, str]]
) -> set[tuple[Channel, str]]:
    """Return those of some normalised addresses that must not be added to an account."""
    secret_key = connection.execute(_SECRET_KEY, {"account_id": account_id}).scalar_one_or_none()
    if secret_key is None:
        return set()
    by_digest = {digest_address(secret_key, *address): address for address in addresses}
    return {by_digest[digest] for digest in suppressed_among(connection, account_id, by_digest)}


def add_suppressions(connection: Connection, account_id: int, digests: Iterable[str]) -> None:
    """Keep addresses out of an account from now on; those that are kept out already stay so."""
    now = datetime.now(UTC)
    rows = [{"account_id": account_id, "digest": digest, "at": now} for digest in digests]
    if rows:
        connection.execute(insert_into(connection, suppression).on_conflict_do_nothing(), rows)


def remove_suppression(connection: Connection, account_id: int, digest: str) -> bool:
    """Let an address be added again; False when nothing kept it out."""
    here = (suppression.c.account_id == account_id) & (suppression.c.digest == digest)
    return connection.execute(delete(suppression).where(here)).rowcount == 1


def lock_suppressions(connection: Connection, account_id: int, *, exclusive: bool) -> None:
    """Wait until nobody erases people of an account, or adds any, until the end of this transaction.

    Without it, a transaction that has looked for suppressions could add an address that another one is erasing at
    the same moment. Take it before any row is locked.

    Args:
        connection: in a writing transaction.
        account_id: which account.
        exclusive: an erasure keeps everybody out; those who add addresses do not keep each other out.
    """
    if connection.dialect.name != "postgresql":
        return
    connection.execute(_LOCK[exclusive], {"lock": f"suppression:{account_id}"})
