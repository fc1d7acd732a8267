"""Sets a customer up the way callers expect to find one: with the usual fields, and lists with their folders."""

from __future__ import annotations

from sqlalchemy import Connection

from audience.accounts import Account, add_account
from audience.lists import MailingList, set_field
from jobs.feeds import open_list
from jobs.storage import Storage
from services.mailup.csv_columns import COLUMN_NAMES, DEFAULT_FIELDS


def open_account(
    connection: Connection, storage: Storage, number: int, *, password: str, name: str, time_zone: str
) -> Account:
    """Add an account with its users, the usual personal data fields and a home.

    Raises:
        AlreadyExists: the number is taken.
        InvalidName: the number is not positive or the time zone is not known.
    """
    account = add_account(connection, number, password=password, name=name, time_zone=time_zone)
    for field_number, field_name in DEFAULT_FIELDS.items():
        set_field(connection, account.id, field_number, field_name)
    storage.prepare_home(number)
    return account


def open_customer_list(connection: Connection, storage: Storage, account: Account, name: str) -> MailingList:
    """Add a list with its import folder, whose files may have the column names that partners use.

    Raises:
        InvalidName: the name cannot be used.
    """
    return open_list(connection, storage, account, name, COLUMN_NAMES)
