"""FTP users in the database: rights, passwords, keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from audience.accounts import UnknownUser, add_account
from audience.errors import AlreadyExists, InvalidName, InvalidSetting
from audience.ftp_users import (
    FtpRights,
    UnknownKey,
    add_ftp_user,
    add_key,
    find_ftp_user,
    ftp_users_by_id,
    keys_of,
    last_login_of,
    list_ftp_users,
    load_ftp_user,
    note_logins,
    remove_ftp_user,
    remove_key,
    set_ftp_password,
    set_rights,
)
from audience.passwords import verify_password
from db.engine import Database

RIGHTS = FtpRights(
    may_read=False,
    requires_tls=True,
    networks=("192.0.2.0/24", "2001:db8::/32"),
    max_sessions=3,
    bytes_per_second=2048,
    quota_bytes=10**12,
    quota_files=5,
)


@pytest.fixture
def account_id(database: Database) -> int:
    with database.write() as connection:
        return add_account(connection, 1, password="secret").id


def test_keeps_all_there_is_to_a_user(database: Database, account_id: int) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    with database.write() as connection:
        add_ftp_user(connection, account_id, "p1", password="secret", rights=RIGHTS)
        add_ftp_user(connection, account_id, "p0", password=None)
        add_key(connection, "p1", "ssh-ed25519 AAAA", "SHA256:a")
        user = load_ftp_user(connection, "p1")
        assert last_login_of(connection, user.id) is None
        note_logins(connection, {user.id: at, 10**6: at})
    assert (user.rights, user.public_keys, user.account.number) == (RIGHTS, ("ssh-ed25519 AAAA",), 1)
    assert verify_password(user.password_hash, "secret")
    with database.read() as connection:
        listed = list_ftp_users(connection, account_id)
        assert [(item.name, last) for item, last in listed] == [("p0", None), ("p1", at)]
        assert list_ftp_users(connection) == listed
        assert list_ftp_users(connection, account_id + 1) == []
        assert ftp_users_by_id(connection, {user.id, 10**6}) == {user.id: user}
        assert find_ftp_user(connection, "nobody") is None
        assert listed[0][0].password_hash is None


def test_changes_a_user(database: Database, account_id: int) -> None:
    with database.write() as connection:
        add_ftp_user(connection, account_id, "p1", password="secret", rights=RIGHTS)
        set_rights(connection, "p1", FtpRights())
        set_ftp_password(connection, "p1", None)
        add_key(connection, "p1", "ssh-ed25519 AAAA", "SHA256:a")
        add_key(connection, "p1", "ssh-ed25519 BBBB", "SHA256:b")
        remove_key(connection, "p1", "SHA256:a")
        user = load_ftp_user(connection, "p1")
        assert (user.rights, user.password_hash, user.public_keys) == (FtpRights(), None, ("ssh-ed25519 BBBB",))
        assert [key.fingerprint for key in keys_of(connection, "p1")] == ["SHA256:b"]
        remove_ftp_user(connection, "p1")
        assert find_ftp_user(connection, "p1") is None


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "à", "a\x00"])
def test_refuses_names(database: Database, account_id: int, name: str) -> None:
    with database.write() as connection, pytest.raises(InvalidName):
        add_ftp_user(connection, account_id, name, password="secret")


@pytest.mark.parametrize(
    ("right", "value"),
    [
        ("networks", ("192.0.2.1/24",)),
        ("networks", ("somewhere",)),
        ("max_sessions", 0),
        ("bytes_per_second", 1023),
        ("quota_bytes", -1),
        ("quota_files", 0),
    ],
)
def test_refuses_rights(database: Database, account_id: int, right: str, value: Any) -> None:
    with database.write() as connection:
        with pytest.raises(InvalidSetting, match=right):
            add_ftp_user(connection, account_id, "p1", password="secret", rights=FtpRights(**{right: value}))
        assert find_ftp_user(connection, "p1") is None


def test_refuses_a_name_or_key_that_is_taken(database: Database, account_id: int) -> None:
    with database.write() as connection:
        add_ftp_user(connection, account_id, "p1", password="secret")
        add_key(connection, "p1", "ssh-ed25519 AAAA", "SHA256:a")
    with database.write() as connection, pytest.raises(AlreadyExists):
        add_ftp_user(connection, account_id, "p1", password="secret")
    with database.write() as connection, pytest.raises(AlreadyExists):
        add_key(connection, "p1", "ssh-ed25519 AAAA", "SHA256:a")


def test_names_what_is_not_there(database: Database, account_id: int) -> None:
    with database.write() as connection:
        add_ftp_user(connection, account_id, "p1", password=None)
        with pytest.raises(UnknownKey):
            remove_key(connection, "p1", "SHA256:a")
        for call in (load_ftp_user, remove_ftp_user, keys_of):
            with pytest.raises(UnknownUser, match="no FTP user nobody"):
                call(connection, "nobody")
        with pytest.raises(UnknownUser):
            set_rights(connection, "nobody", FtpRights())
        with pytest.raises(UnknownUser):
            set_ftp_password(connection, "nobody", "secret")
