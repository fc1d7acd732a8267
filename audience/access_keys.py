"""Access keys: a user logs in once with a password and then calls with a key, in every process of the server.

A key lives in the database alone, and there only as its SHA-256 digest: it is random and long, so a slow hash would
add nothing. It ends an hour after the login however much it is used, at logout, and when the user's password changes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select

from audience.accounts import Account, Login
from db.tables import access_key, account, api_user

KEY_LIFETIME = timedelta(minutes=60)
KEY_LENGTH = 64
_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(f"[A-Za-z0-9]{{{KEY_LENGTH}}}")

# Asked before every call, so made once: making it takes longer than asking it.
_FIND = (
    select(account.c.id, account.c.number, account.c.name, account.c.time_zone, account.c.state)
    .add_columns(api_user.c.number, api_user.c.name, api_user.c.password_hash, access_key.c.password_digest)
    .join_from(access_key, api_user, api_user.c.id == access_key.c.api_user_id)
    .join(account, account.c.id == access_key.c.account_id)
    .where(access_key.c.key_digest == bindparam("key_digest"), access_key.c.expires_at > bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The user who logged in for a key."""

    account: Account
    """In whatever state."""
    user_number: int
    """In his account."""
    user_name: str


def issue_key(connection: Connection, login: Login, now: datetime) -> str:
    """Return a new key for a user whose password was right, and remove the keys of all users that have expired.

    Args:
        connection: writes.
        login: as it was when the password was checked.
        now: the key's life begins then.
    """
    connection.execute(access_key.delete().where(access_key.c.expires_at <= now))
    key = "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))
    values = {
        "key_digest": _digest(key),
        "account_id": login.account.id,
        "api_user_id": login.user_id,
        "password_digest": _digest(login.password_hash),
        "created_at": now,
        "expires_at": now + KEY_LIFETIME,
    }
    connection.execute(access_key.insert().values(**values))
    return key


def find_key_holder(connection: Connection, key: str, now: datetime) -> KeyHolder | None:
    """Return whose key it is; None when the key has ended or never was."""
    if not _KEY.fullmatch(key):
        return None
    row = connection.execute(_FIND, {"key_digest": _digest(key), "now": now}).one_or_none()
    if row is None or _digest(row.password_hash) != row.password_digest:
        return None
    return KeyHolder(Account(*row[:5]), row[5], row[6])


def revoke_key(connection: Connection, key: str) -> None:
    """End a key."""
    connection.execute(access_key.delete().where(access_key.c.key_digest == _digest(key)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
