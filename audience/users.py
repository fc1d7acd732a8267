"""The users of an account, as callers see them: each has a name and a number that counts from 1 in its account."""

from __future__ import annotations

from sqlalchemy import Connection, select

from db.tables import api_user


def find_user_number(connection: Connection, account_id: int, name: str) -> int | None:
    """Return the number of an account's user by his name; None when the account has no such user."""
    query = select(api_user.c.number).where(api_user.c.account_id == account_id, api_user.c.name == name)
    number = connection.execute(query).scalar_one_or_none()
    return int(number) if number is not None else None


def has_user(connection: Connection, account_id: int, number: int) -> bool:
    """Tell whether an account has a user with this number."""
    query = select(api_user.c.id).where(api_user.c.account_id == account_id, api_user.c.number == number)
    return connection.execute(query).one_or_none() is not None
