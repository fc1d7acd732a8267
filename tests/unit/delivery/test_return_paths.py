"""Addresses that only this server writes."""

from __future__ import annotations

import pytest
from bounce_world import DOMAIN, make_bounce_world
from hypothesis import given
from hypothesis import strategies as st

from db.engine import Database
from delivery.return_paths import (
    MAX_LOCAL_PART,
    ReturnPath,
    UnsubscribeAddress,
    read_return_path,
    read_unsubscribe_address,
    write_return_path,
    write_unsubscribe_address,
)

NUMBERS = (2**31 - 1, 2**32 - 1, 2**40 - 1)
KEY = "0f" * 32


def test_both_come_back(database: Database) -> None:
    world = make_bounce_world(database)
    about = ReturnPath(world.account.id, 77, 123_456_789)
    path, leave = world.return_path(about), world.unsubscribe_address(about)
    with database.read() as connection:
        for spelling in (path, path.upper(), path.replace(DOMAIN, "elsewhere.example")):
            assert read_return_path(connection, spelling) == about
        assert read_unsubscribe_address(connection, leave.upper()) == UnsubscribeAddress(*about, world.news.id)
        assert read_unsubscribe_address(connection, leave).about == about  # type: ignore[union-attr]
        assert read_return_path(connection, leave) is None
        assert read_unsubscribe_address(connection, path) is None


def test_the_largest_fit_into_a_local_part() -> None:
    for address in (
        write_return_path(KEY, *NUMBERS, DOMAIN),
        write_unsubscribe_address(KEY, *NUMBERS, 2**32 - 1, DOMAIN),
    ):
        assert len(address.partition("@")[0]) <= MAX_LOCAL_PART
    with pytest.raises(OverflowError):
        write_return_path(KEY, 1, 2**32, 1, DOMAIN)


def test_what_others_write_is_nobodys(database: Database) -> None:
    world = make_bounce_world(database)
    other = make_bounce_world(database, 2345)
    about = ReturnPath(world.account.id, 1, 2)
    path = world.return_path(about)
    local_part = path.partition("@")[0]
    # Signed by another account's key, by another kind, changed by one digit, cut, grown, spaced, of no account.
    foreign = [
        write_return_path(other.secret_key, world.account.number, 1, 2, DOMAIN),
        path.replace("+b", "+u"),
        f"{local_part[:-1]}{'0' if local_part[-1] != '0' else '1'}@{DOMAIN}",
        f"{local_part[:-2]}@{DOMAIN}",
        f"{local_part}00@{DOMAIN}",
        f"{local_part[:10]} {local_part[10:]}@{DOMAIN}",
        write_return_path(KEY, 9, 1, 2, DOMAIN),
        write_return_path(KEY, 2**32 - 1, 1, 2, DOMAIN),
        "bounces@example.com",
        "",
        "@",
        "bounces+b" + "é" * 40 + "@x",
    ]
    with database.read() as connection:
        assert [read_return_path(connection, address) for address in foreign] == [None] * len(foreign)


@given(st.text(max_size=80), st.binary(max_size=40))
def test_nothing_makes_the_reader_fail(text: str, data: bytes) -> None:
    class _NoConnection:
        def execute(self, *_arguments: object) -> _NoConnection:
            return self

        def one_or_none(self) -> None:
            return None

    for address in (text, f"bounces+b{text}@x", f"bounces+b{data.hex()}@x"):
        assert read_return_path(_NoConnection(), address) is None  # type: ignore[arg-type]
