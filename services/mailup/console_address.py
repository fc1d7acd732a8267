"""The address of an account's console, as callers give it beside their user name (specification §0, nl_url)."""

from __future__ import annotations

from sqlalchemy import Connection

from audience.accounts import Account, find_account_by_host


def read_host(url: str) -> str:
    """Return the host in an address, which comes with or without scheme, user, port and path."""
    address = url.strip().rpartition("://")[2]
    authority = address.replace("\\", "/").partition("/")[0].partition("?")[0].partition("#")[0]
    return authority.rpartition("@")[2]


def is_of_another_account(connection: Connection, url: str, account: Account) -> bool:
    """Tell whether an address has a host name that is registered for another account than this one.

    A name that is registered for nobody is anybody's: of an old program only the host name is changed.
    """
    owner = find_account_by_host(connection, read_host(url))
    return owner is not None and owner.id != account.id
