"""Changes to lists: their settings, the account's defaults for new ones, and the end of a list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, literal, select

from audience.errors import InvalidSetting
from audience.list_settings import make_patch, normalise_prefix, parse_setting
from audience.lists import DEFAULT_PREFIX, MailingList, lock_list
from db.functions import merge_json
from db.tables import account, mailing_list, webhook
from db.types import JsonObject

PREFIX = "default_prefix"
"""Set like a setting, though lists have it in a column of its own."""


def check_changes(connection: Connection, account_id: int, changes: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of settings from their texts.

    Args:
        connection: reads.
        account_id: whose lists may be named.
        changes: text by setting: fields of `audience.list_settings.ListSettings`, or `default_prefix`. An empty text
            stands for the default.

    Raises:
        InvalidSetting: one of them cannot have this value, or there is no such setting.
    """
    values = {name: _parse(name, text) for name, text in changes.items()}
    offered = values.get("unsubscribe_lists")
    if offered:
        _check_lists(connection, account_id, offered)
    return values


def change_list(connection: Connection, mailing: MailingList, changes: Mapping[str, str]) -> None:
    """Change settings of a list, all of them or, if one is not valid, none.

    Args:
        connection: in a writing transaction.
        mailing: the list.
        changes: as for `check_changes`.

    Raises:
        InvalidSetting: one of them cannot have this value.
    """
    store_changes(connection, mailing, check_changes(connection, mailing.account_id, changes))


def store_changes(connection: Connection, mailing: MailingList, values: Mapping[str, Any]) -> None:
    """Store what `check_changes` returned."""
    settings = dict(values)
    columns = {PREFIX: settings.pop(PREFIX)} if PREFIX in settings else {}
    if settings:
        patch = literal(make_patch(settings), JsonObject)
        columns["settings"] = merge_json(mailing_list.c.settings, patch)
    if columns:
        connection.execute(mailing_list.update().where(mailing_list.c.id == mailing.id).values(**columns))


def change_defaults(connection: Connection, account_id: int, changes: Mapping[str, str]) -> None:
    """Change what new lists of an account begin with; lists that are there stay as they are.

    Args:
        connection: in a writing transaction.
        account_id: internal id.
        changes: as for `check_changes`.

    Raises:
        InvalidSetting: one of them cannot have this value.
    """
    settings = check_changes(connection, account_id, changes)
    prefix = {PREFIX: settings.pop(PREFIX)} if PREFIX in settings else {}
    patch = {**make_patch(settings), **prefix}
    merged = merge_json(account.c.list_defaults, literal(patch, JsonObject))
    connection.execute(account.update().where(account.c.id == account_id).values(list_defaults=merged))


def read_defaults(connection: Connection, account_id: int) -> dict[str, Any]:
    """Return what was set for new lists of an account, by setting."""
    query = select(account.c.list_defaults).where(account.c.id == account_id)
    return dict(connection.execute(query).scalar_one())


def delete_list(connection: Connection, mailing: MailingList) -> None:
    """Delete a list: from the end of the transaction on nobody finds it, and its webhooks are silent.

    What is in it housekeeping takes away later. See `jobs.feeds.close_list`, which looks after imports too.
    """
    lock_list(connection, mailing)
    here = mailing_list.c.id == mailing.id
    connection.execute(mailing_list.update().where(here).values(deleted_at=datetime.now(UTC)))
    connection.execute(webhook.update().where(webhook.c.list_id == mailing.id).values(active=False))


def _parse(name: str, text: str) -> Any:
    if name != PREFIX:
        return parse_setting(name, text)
    try:
        return normalise_prefix(text.strip() or DEFAULT_PREFIX)
    except ValueError as error:
        raise InvalidSetting(PREFIX, str(error)) from None


def _check_lists(connection: Connection, account_id: int, numbers: list[int]) -> None:
    query = select(mailing_list.c.number).where(
        mailing_list.c.account_id == account_id,
        mailing_list.c.number.in_(numbers),
        mailing_list.c.deleted_at.is_(None),
    )
    unknown = set(numbers) - set(connection.execute(query).scalars())
    if unknown:
        raise InvalidSetting("unsubscribe_lists", f"There is no list {min(unknown)}.")
