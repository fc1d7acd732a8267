"""Accounts (one per customer of the server), the host names that mean them and the users that log in to them."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.exc import IntegrityError

from audience.errors import AlreadyExists, AudienceError, InvalidName, UnknownAccount
from audience.numbers import take_number
from audience.passwords import hash_password
from db.tables import account, account_host, api_user

DEFAULT_TIME_ZONE = "Europe/Rome"
API_USER_PREFIXES = ("m", "a")
"""Each account gets one console user and one web-service user: these letters and its number."""

AccountState = Literal["active", "suspended", "inactive", "expired", "unsigned"]
"""All but the first keep every caller out; `unsigned` waits for a signature under its contract."""
ACCOUNT_STATES: tuple[AccountState, ...] = get_args(AccountState)

_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?(:[0-9]{{1,5}})?", re.ASCII)
_MAX_HOST = 253


class UnknownUser(AudienceError):
    """The account has no user of that name."""


class UnknownHost(AudienceError):
    """The account has no host of that name."""


@dataclass(frozen=True, slots=True)
class Account:
    """One customer of the server."""

    id: int
    number: int
    name: str
    time_zone: str
    state: str

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Login:
    """A user's account and password hash, for the door to check."""

    account: Account
    user_id: int
    password_hash: str


def add_account(
    connection: Connection, number: int, *, password: str, name: str = "", time_zone: str = DEFAULT_TIME_ZONE
) -> Account:
    """Add an account with its two API users, `m<number>` and `a<number>`, sharing one password.

    Raises:
        AlreadyExists: the number is taken.
        InvalidName: the number is not positive or the time zone is not in the IANA database.
    """
    if number < 1:
        raise InvalidName("The account number must be a positive whole number.")
    _check_time_zone(time_zone)
    now = datetime.now(UTC)
    values = {
        "number": number,
        "name": name or f"Account {number}",
        "time_zone": time_zone,
        "state": "active",
        "secret_key": secrets.token_hex(32),
        "list_defaults": {},
    }
    try:
        inserted = connection.execute(account.insert().values(**values, created_at=now).returning(account.c.id))
    except IntegrityError:
        raise AlreadyExists(f"Account {number} exists already.") from None
    account_id = int(inserted.scalar_one())
    password_hash = hash_password(password)
    users = [
        {
            "account_id": account_id,
            "number": take_number(connection, account_id, "user"),
            "name": f"{prefix}{number}",
            "password_hash": password_hash,
            "created_at": now,
        }
        for prefix in API_USER_PREFIXES
    ]
    connection.execute(api_user.insert(), users)
    return find_account(connection, number)


def _check_time_zone(time_zone: str) -> None:
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidName(f"{time_zone!r} is not a time zone of the IANA database.") from None


def find_account(connection: Connection, number: int) -> Account:
    """Return the account with this number.

    Raises:
        UnknownAccount: there is none.
    """
    row = connection.execute(select_accounts().where(account.c.number == number)).one_or_none()
    if row is None:
        raise UnknownAccount(f"There is no account {number}.")
    return Account(*row)


def load_account(connection: Connection, account_id: int) -> Account:
    """Return the account with this internal id, which must exist."""
    return Account(*connection.execute(select_accounts().where(account.c.id == account_id)).one())


def accounts_of_server(connection: Connection) -> list[Account]:
    """Return all accounts by number."""
    return [Account(*row) for row in connection.execute(select_accounts().order_by(account.c.number))]


def set_account_state(connection: Connection, account_id: int, state: AccountState) -> None:
    """Open an account to its callers, or close it; what waits or runs for it already goes on."""
    connection.execute(account.update().where(account.c.id == account_id).values(state=state))


def change_password(connection: Connection, account_id: int, password: str, user: str | None = None) -> list[str]:
    """Give one API user of an account, or all of them, a new password, which ends their access keys.

    Returns:
        The names of the users, sorted.

    Raises:
        UnknownUser: the account has none of that name.
    """
    change = api_user.update().where(api_user.c.account_id == account_id)
    if user is not None:
        change = change.where(api_user.c.name == user)
    changed = change.values(password_hash=hash_password(password)).returning(api_user.c.name)
    names = sorted(connection.execute(changed).scalars())
    if not names:
        raise UnknownUser(f"The account has no user {user}.")
    return names


def users_of(connection: Connection, account_id: int) -> list[str]:
    """Return the names of an account's API users, sorted."""
    query = select(api_user.c.name).where(api_user.c.account_id == account_id).order_by(api_user.c.name)
    return list(connection.execute(query).scalars())


def normalise_host(host: str) -> str:
    """Return a host name as it is stored: in lower case, without the dot at its end and without a port."""
    name = host.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def find_account_by_host(connection: Connection, host: str) -> Account | None:
    """Return the account that a host name, in any case and with or without a port, is registered for."""
    row = connection.execute(_BY_HOST, {"host": normalise_host(host)}).one_or_none()
    return Account(*row) if row is not None else None


def add_host(connection: Connection, account_id: int, host: str) -> str:
    """Register a host name, by which callers mean this account; return it as it is stored.

    Raises:
        AlreadyExists: the name is registered, for whichever account.
        InvalidName: it is not a host name.
    """
    name = normalise_host(host)
    if len(name) > _MAX_HOST or not _HOST.fullmatch(host.strip().lower()):
        raise InvalidName(f"{host!r} is not a host name.")
    try:
        connection.execute(account_host.insert().values(host=name, account_id=account_id))
    except IntegrityError:
        raise AlreadyExists(f"The host {name} is registered already.") from None
    return name


def remove_host(connection: Connection, account_id: int, host: str) -> str:
    """Forget a host name of an account; return it as it was stored.

    Raises:
        UnknownHost: the account has none of that name.
    """
    name = normalise_host(host)
    deletion = account_host.delete().where(account_host.c.host == name, account_host.c.account_id == account_id)
    if not connection.execute(deletion).rowcount:
        raise UnknownHost(f"The account has no host {name}.")
    return name


def hosts_of(connection: Connection, account_id: int) -> list[str]:
    """Return the host names registered for an account, sorted."""
    query = select(account_host.c.host).where(account_host.c.account_id == account_id).order_by(account_host.c.host)
    return list(connection.execute(query).scalars())


def find_api_login(connection: Connection, user: str) -> Login | None:
    """Return what is needed to check an API user's password; None when the user is unknown."""
    row = connection.execute(_API_LOGIN, {"user": user}).one_or_none()
    return Login(Account(*row[:5]), row[5], row[6]) if row is not None else None


def select_accounts() -> Select[*tuple[Any, ...]]:
    """Return the query for all accounts, whose first five columns make an `Account`."""
    return select(account.c.id, account.c.number, account.c.name, account.c.time_zone, account.c.state)


def select_active_ids() -> Select[int]:
    """Return the query for the ids of the accounts that are served."""
    return select(account.c.id).where(account.c.state == "active")


# Asked before every call, so made once: making them takes longer than asking them.
_API_LOGIN = (
    select_accounts()
    .add_columns(api_user.c.id, api_user.c.password_hash)
    .join_from(account, api_user, api_user.c.account_id == account.c.id)
    .where(api_user.c.name == bindparam("user"))
)
_BY_HOST = (
    select_accounts()
    .join_from(account, account_host, account_host.c.account_id == account.c.id)
    .where(account_host.c.host == bindparam("host"))
)
