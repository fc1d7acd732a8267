"""Users who send through an account by SMTP credentials; partners name them in the files that send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import IntegrityError

from audience.errors import AlreadyExists, AudienceError, InvalidName
from audience.passwords import hash_password, verify_password
from db.tables import account, smtp_user

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class UnknownSmtpUser(AudienceError):
    """There is no SMTP user of that name."""


@dataclass(frozen=True, slots=True)
class SmtpUser:
    """A user, and the number of the account that it sends through."""

    name: str
    account_number: int
    created_at: datetime


def add_smtp_user(connection: Connection, account_id: int, name: str, password: str) -> None:
    """Add a user to an account.

    Raises:
        InvalidName: the name is empty, too long, or has other characters than letters, digits and `._@-`.
        AlreadyExists: an account has a user of this name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName("A name has 1 to 64 letters, digits and characters of ._@- and begins with one of the first.")
    values = {"account_id": account_id, "name": name, "password_hash": hash_password(password)}
    try:
        with connection.begin_nested():
            connection.execute(smtp_user.insert().values(**values, created_at=datetime.now(UTC)))
    except IntegrityError:
        raise AlreadyExists(f"There is an SMTP user {name} already.") from None


def set_smtp_password(connection: Connection, name: str, password: str) -> None:
    """Give a user a new password.

    Raises:
        UnknownSmtpUser: there is none of this name.
    """
    here = smtp_user.c.name == name
    if connection.execute(smtp_user.update().where(here).values(password_hash=hash_password(password))).rowcount == 0:
        raise _unknown(name)


def remove_smtp_user(connection: Connection, name: str) -> None:
    """Remove a user.

    Raises:
        UnknownSmtpUser: there is none of this name.
    """
    if connection.execute(smtp_user.delete().where(smtp_user.c.name == name)).rowcount == 0:
        raise _unknown(name)


def list_smtp_users(connection: Connection, account_id: int | None = None) -> list[SmtpUser]:
    """Return the users by name, of one account or of all."""
    query = _select().order_by(smtp_user.c.name)
    if account_id is not None:
        query = query.where(smtp_user.c.account_id == account_id)
    return [SmtpUser(*row) for row in connection.execute(query)]


def find_smtp_user(connection: Connection, account_id: int, name: str) -> SmtpUser:
    """Return a user of an account.

    Raises:
        UnknownSmtpUser: it has none of this name.
    """
    here = (smtp_user.c.account_id == account_id) & (smtp_user.c.name == name)
    row = connection.execute(_select().where(here)).one_or_none()
    if row is None:
        raise _unknown(name)
    return SmtpUser(*row)


def check_smtp_user(connection: Connection, account_id: int, name: str, password: str) -> bool:
    """Tell whether an account has a user of this name and password; takes tens of milliseconds on purpose."""
    here = (smtp_user.c.account_id == account_id) & (smtp_user.c.name == name)
    found = connection.execute(select(smtp_user.c.password_hash).where(here)).scalar_one_or_none()
    return verify_password(found, password)


def _select() -> Select[str, int, datetime]:
    query = select(smtp_user.c.name, account.c.number, smtp_user.c.created_at)
    return query.join_from(smtp_user, account, account.c.id == smtp_user.c.account_id)


def _unknown(name: str) -> UnknownSmtpUser:
    return UnknownSmtpUser(f"There is no SMTP user {name}.")
