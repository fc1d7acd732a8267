"""The users of an account, as callers see them: each has a name and a number that counts from 1 in its account."""

from __future__ import annotations

import hmac

from sqlalchemy import Connection, select

from db.tables import account, api_user

# So that no other use of the account's key can give a hash that is valid here.
_PURPOSE = b"listbridge user 1\0"


def find_user_number(connection: Connection, account_id: int, name: str) -> int | None:
    """Return the number of an account's user by his name; None when the account has no such user."""
    query = select(api_user.c.number).where(api_user.c.account_id == account_id, api_user.c.name == name)
    number = connection.execute(query).scalar_one_or_none()
    return int(number) if number is not None else None


def has_user(connection: Connection, account_id: int, number: int) -> bool:
    """Tell whether an account has a user with this number."""
    query = select(api_user.c.id).where(api_user.c.account_id == account_id, api_user.c.number == number)
    return connection.execute(query).one_or_none() is not None


def hash_user(connection: Connection, account_id: int, number: int) -> str | None:
    """Return what a program shows to prove that it was told of a user; None when the account has no such user.

    It is an HMAC (RFC 2104) with SHA-256 of the user's number under the account's key, in hexadecimal, and stays the
    same when the password changes.
    """
    if not has_user(connection, account_id, number):
        return None
    key = connection.execute(select(account.c.secret_key).where(account.c.id == account_id)).scalar_one()
    return hmac.digest(key.encode(), _PURPOSE + str(number).encode(), "sha256").hex()
