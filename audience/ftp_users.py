"""The users of the file doors: who they are, what they may do, and the public keys they log in with.

A user belongs to one account and sees its home; the same users work over FTP, FTPS, SFTP and SCP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.exc import IntegrityError

from audience.accounts import Account, UnknownUser, select_accounts
from audience.errors import AlreadyExists, AudienceError, InvalidName, InvalidSetting
from audience.passwords import hash_password
from audience.service_access import InvalidNetwork, parse_network
from db.tables import account, ftp_key, ftp_user

MAX_NAME = 64
_LEAST = {"max_sessions": 1, "bytes_per_second": 1024, "quota_bytes": 1, "quota_files": 1}


class UnknownKey(AudienceError):
    """The user has no public key of that fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FtpRights:
    """What a user may do, and from where. None stands for no limit."""

    active: bool = True
    may_read: bool = True
    may_write: bool = True
    requires_tls: bool = False
    """Whether FTP without TLS is refused."""
    networks: tuple[str, ...] = ()
    """In CIDR notation (RFC 4632); none allows every address."""
    max_sessions: int | None = None
    bytes_per_second: int | None = None
    """Of all transfers of the user together, in both directions."""
    quota_bytes: int | None = None
    """What the home may hold."""
    quota_files: int | None = None


@dataclass(frozen=True, slots=True)
class FtpUser:
    """A user, with what is needed to let somebody in."""

    id: int
    name: str
    account: Account
    password_hash: str | None
    """None: logs in with public keys only."""
    rights: FtpRights
    public_keys: tuple[str, ...]
    """In the form of OpenSSH public key files."""


@dataclass(frozen=True, slots=True)
class FtpKey:
    """A public key of a user."""

    fingerprint: str
    """`SHA256:` and base64, as OpenSSH shows it."""
    public_key: str
    created_at: datetime


def add_ftp_user(
    connection: Connection,
    account_id: int,
    name: str,
    *,
    password: str | None,
    rights: FtpRights = FtpRights(),
) -> None:
    """Add a user, who sees the home of the account and nothing else.

    Args:
        connection: of a writing transaction.
        account_id: internal id of the account.
        name: to log in with.
        password: None for a user who logs in with public keys only.
        rights: what the user may do.

    Raises:
        AlreadyExists: the name is taken, in whichever account.
        InvalidName: the name is empty, longer than 64 characters or has other than printable ASCII without spaces.
        InvalidSetting: a right has a value that it cannot have.
    """
    if not (0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable() and " " not in name):
        raise InvalidName("An FTP user name has 1 to 64 printable ASCII characters and no space.")
    values = {"account_id": account_id, "name": name, "password_hash": _hash(password), **_columns(rights)}
    try:
        connection.execute(ftp_user.insert().values(**values, created_at=datetime.now(UTC)))
    except IntegrityError:
        raise AlreadyExists(f"FTP user {name} exists already.") from None


def find_ftp_user(connection: Connection, name: str) -> FtpUser | None:
    """Return the user of this name; None when there is none, after the same questions to the database."""
    row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    keys = keys_of_users(connection, [row.user_id if row is not None else 0])
    return _load(row, keys) if row is not None else None


def ftp_users_by_id(connection: Connection, ids: Collection[int]) -> dict[int, FtpUser]:
    """Return those of some users that there still are, by id."""
    rows = connection.execute(_users().where(ftp_user.c.id.in_(ids))).all()
    keys = keys_of_users(connection, ids)
    return {row.user_id: _load(row, keys) for row in rows}


def list_ftp_users(connection: Connection, account_id: int | None = None) -> list[tuple[FtpUser, datetime | None]]:
    """Return the users of an account, or of all, by name, each with the time of the last login."""
    query = _users().add_columns(ftp_user.c.last_login_at).order_by(ftp_user.c.name)
    if account_id is not None:
        query = query.where(ftp_user.c.account_id == account_id)
    rows = connection.execute(query).all()
    keys = keys_of_users(connection, [row.user_id for row in rows])
    return [(_load(row, keys), row.last_login_at) for row in rows]


def last_login_of(connection: Connection, user_id: int) -> datetime | None:
    """Return when a user, who must exist, last logged in."""
    at: datetime | None = connection.execute(
        select(ftp_user.c.last_login_at).where(ftp_user.c.id == user_id)
    ).scalar_one()
    return at


def load_ftp_user(connection: Connection, name: str) -> FtpUser:
    """Return the user of this name.

    Raises:
        UnknownUser: there is none.
    """
    user = find_ftp_user(connection, name)
    if user is None:
        raise UnknownUser(f"There is no FTP user {name}.")
    return user


def set_rights(connection: Connection, name: str, rights: FtpRights) -> None:
    """Change what a user may do; running sessions end within seconds.

    Raises:
        UnknownUser: there is none of that name.
        InvalidSetting: a right has a value that it cannot have.
    """
    _change(connection, name, _columns(rights))


def set_ftp_password(connection: Connection, name: str, password: str | None) -> None:
    """Give a user a new password, or none.

    Raises:
        UnknownUser: there is none of that name.
    """
    _change(connection, name, {"password_hash": _hash(password)})


def remove_ftp_user(connection: Connection, name: str) -> None:
    """Remove a user with the public keys; the home stays.

    Raises:
        UnknownUser: there is none of that name.
    """
    user = load_ftp_user(connection, name)
    connection.execute(ftp_key.delete().where(ftp_key.c.ftp_user_id == user.id))
    connection.execute(ftp_user.delete().where(ftp_user.c.id == user.id))


def note_logins(connection: Connection, logins: Mapping[int, datetime]) -> None:
    """Keep when users last logged in.

    Args:
        connection: of a writing transaction.
        logins: instants by the users' ids.
    """
    change = ftp_user.update().where(ftp_user.c.id == bindparam("user_id")).values(last_login_at=bindparam("at"))
    connection.execute(change, [{"user_id": user_id, "at": at} for user_id, at in sorted(logins.items())])


def add_key(connection: Connection, name: str, public_key: str, fingerprint: str) -> None:
    """Let a user log in with a public key.

    Raises:
        UnknownUser: there is none of that name.
        AlreadyExists: the user has the key already.
    """
    user = load_ftp_user(connection, name)
    values = {"ftp_user_id": user.id, "fingerprint": fingerprint, "public_key": public_key}
    try:
        connection.execute(ftp_key.insert().values(**values, created_at=datetime.now(UTC)))
    except IntegrityError:
        raise AlreadyExists(f"FTP user {name} has the key {fingerprint} already.") from None


def remove_key(connection: Connection, name: str, fingerprint: str) -> None:
    """Take a public key from a user.

    Raises:
        UnknownUser: there is none of that name.
        UnknownKey: the user has no such key.
    """
    user = load_ftp_user(connection, name)
    deletion = ftp_key.delete().where(ftp_key.c.ftp_user_id == user.id, ftp_key.c.fingerprint == fingerprint)
    if not connection.execute(deletion).rowcount:
        raise UnknownKey(f"FTP user {name} has no key {fingerprint}.")


def keys_of(connection: Connection, name: str) -> list[FtpKey]:
    """Return the public keys of a user, the oldest first.

    Raises:
        UnknownUser: there is none of that name.
    """
    user = load_ftp_user(connection, name)
    return keys_of_users(connection, [user.id]).get(user.id, [])


def keys_of_users(connection: Connection, ids: Collection[int]) -> dict[int, list[FtpKey]]:
    """Return the public keys of users by the users' ids, the oldest first."""
    query = select(ftp_key).where(ftp_key.c.ftp_user_id.in_(ids)).order_by(ftp_key.c.created_at, ftp_key.c.fingerprint)
    keys: dict[int, list[FtpKey]] = {}
    for row in connection.execute(query):
        keys.setdefault(row.ftp_user_id, []).append(FtpKey(row.fingerprint, row.public_key, row.created_at))
    return keys


def _users() -> Select[*tuple[Any, ...]]:
    rights = [ftp_user.c[field.name] for field in fields(FtpRights)]
    return (
        select_accounts()
        .add_columns(ftp_user.c.id.label("user_id"), ftp_user.c.name, ftp_user.c.password_hash, *rights)
        .join_from(account, ftp_user, ftp_user.c.account_id == account.c.id)
    )


# Asked at every login, so made once.
_BY_NAME = _users().where(ftp_user.c.name == bindparam("name"))


def _load(row: Row[*tuple[Any, ...]], keys: Mapping[int, Sequence[FtpKey]]) -> FtpUser:
    owner, (user_id, name, password_hash) = Account(*row[:5]), row[5:8]
    values = dict(zip((field.name for field in fields(FtpRights)), row[8:], strict=False))
    rights = FtpRights(**{**values, "networks": tuple(values["networks"])})
    public_keys = tuple(key.public_key for key in keys.get(user_id, ()))
    return FtpUser(user_id, name, owner, password_hash, rights, public_keys)


def _change(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    if not connection.execute(ftp_user.update().where(ftp_user.c.name == name).values(**values)).rowcount:
        raise UnknownUser(f"There is no FTP user {name}.")


def _columns(rights: FtpRights) -> dict[str, Any]:
    for limit, least in _LEAST.items():
        value = getattr(rights, limit)
        if value is not None and value < least:
            raise InvalidSetting(limit, f"must be at least {least:,}, or absent for no limit.")
    return {**asdict(rights), "networks": [_parse_network(network) for network in rights.networks]}


def _parse_network(network: str) -> str:
    try:
        return parse_network(network)
    except InvalidNetwork as error:
        raise InvalidSetting("networks", str(error)) from None


def _hash(password: str | None) -> str | None:
    return hash_password(password) if password is not None else None
