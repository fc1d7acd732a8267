"""Making, changing and deleting lists by MailupManage (specification §1.4, no. 11 to 13; §8, no. 19)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from audience.accounts import Account
from audience.list_changes import store_changes
from audience.lists import MailingList
from audience.templates import copy_templates
from jobs.feeds import close_list, open_list
from services.mailup.csv_columns import COLUMN_NAMES
from services.mailup.keyed_operations import OPTIONS, change, find_own_list, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, Failure
from services.mailup.list_options import read_list_options
from services.mailup.list_results import describe_list
from services.mailup.results import element
from services.soap.declarations import BOOLEAN, INT, STRING, Call

DEFAULT = "default"
"""In place of the number of a list whose settings a new one gets: those of the account."""


@keyed_operation(
    "CreateList", accessKey=STRING, name=STRING, defaultSettings=STRING, copyTemplate=BOOLEAN, options=OPTIONS
)
def create_list(
    call: Call,
    account: Account,
    name: str | None,
    model_text: str | None,
    copies_templates: bool,
    options: Iterable[Any] | None,
) -> str:
    """Make a list with its import folder, with settings and templates of the account or of another list."""
    wanted = read_list_options(options)

    def create(connection: Connection) -> MailingList:
        model = _find_model(connection, account, (model_text or DEFAULT).strip())
        values = wanted.check(connection, account.id)
        storage = call.resources.storage
        mailing = open_list(connection, storage, account, name or "", COLUMN_NAMES, like=model)
        store_changes(connection, mailing, values)
        if copies_templates:
            copy_templates(connection, model, mailing)
        return mailing

    mailing = change(call, create)
    return element("list", describe_list(mailing) + element("listGUID", mailing.guid))


@keyed_operation("UpdateList", accessKey=STRING, listID=INT, options=OPTIONS)
def update_list(call: Call, account: Account, number: int, options: Iterable[Any] | None) -> str:
    """Change settings of a list."""
    wanted = read_list_options(options)

    def update(connection: Connection) -> None:
        mailing = find_own_list(connection, account, number)
        store_changes(connection, mailing, wanted.check(connection, account.id))

    change(call, update)
    return ""


@keyed_operation("DeleteList", accessKey=STRING, listID=INT)
def delete_list(call: Call, account: Account, number: int) -> str:
    """Delete a list."""
    change(call, lambda connection: close_list(connection, find_own_list(connection, account, number)))
    return ""


def _find_model(connection: Connection, account: Account, text: str) -> MailingList | None:
    if text.lower() in ("", DEFAULT):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Failure(INVALID_PARAMETER, f"defaultSettings is {DEFAULT} or the number of a list.")
    return find_own_list(connection, account, int(text))
