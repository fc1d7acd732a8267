"""Lists that belong to something in another system, by its id there (specification §1.3, no. 35 to 40).

Each operation has a form that always says its code, and a deprecated one that says it on failure only.
"""

from __future__ import annotations

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList, lists_by_external_id
from jobs.feeds import close_list, open_list
from services.mailup.csv_columns import COLUMN_NAMES
from services.mailup.keyed_operations import change, find_own_list, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, UNKNOWN_LIST, Failure, Shape
from services.mailup.list_results import IDENTITIES, describe_identities
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call, Operation


def _create(call: Call, account: Account, name: str | None, auto_id: str | None) -> str:
    """Make a list with the account's default settings and its import folder."""

    def create(connection: Connection) -> MailingList:
        storage = call.resources.storage
        return open_list(connection, storage, account, name or "", COLUMN_NAMES, external_id=auto_id)

    return describe_identities([change(call, create)])


def _delete(call: Call, account: Account, number: int, auto_id: str | None) -> str:
    """Delete the list of this number or, when it is no number of a list, all lists of this id."""

    def delete(connection: Connection) -> list[MailingList]:
        lists = _choose_lists(connection, account, number, auto_id)
        for mailing in lists:
            close_list(connection, mailing)
        return lists

    deleted = "".join(element("List", Id=mailing.number) for mailing in change(call, delete))
    return element("Lists", deleted)


def _choose_lists(connection: Connection, account: Account, number: int, auto_id: str | None) -> list[MailingList]:
    if number > 0:
        return [find_own_list(connection, account, number)]
    if not (auto_id or "").strip():
        raise Failure(INVALID_PARAMETER, "Either listId or autoId is needed.")
    lists = lists_by_external_id(connection, account.id, auto_id)
    if not lists:
        raise Failure(UNKNOWN_LIST, "There is no list with this autoId.")
    return lists


def _identify(call: Call, account: Account, auto_id: str | None) -> str:
    """Return the lists of this id."""
    with call.resources.database.read_once() as connection:
        return describe_identities(lists_by_external_id(connection, account.id, auto_id))


def _deprecated(name: str) -> Shape:
    return Shape(name, codes_success=False, names_error=True)


_BY_NAME = {"accessKey": STRING, "name": STRING, "autoId": STRING}
_BY_NUMBER = {"accessKey": STRING, "listId": INT, "autoId": STRING}
_BY_ID = {"accessKey": STRING, "autoId": STRING}

LIST_IDENTITIES: tuple[Operation, ...] = (
    keyed_operation("CreateList_st", Shape("CreateList_st", IDENTITIES), **_BY_NAME)(_create),
    keyed_operation("DeleteList_st", Shape("DeleteList_st", IDENTITIES), **_BY_NUMBER)(_delete),
    keyed_operation("GetListIdentity_st", Shape("GetListIdentity_st", IDENTITIES), **_BY_ID)(_identify),
    keyed_operation("CreateList", _deprecated("CreateList"), **_BY_NAME)(_create),
    keyed_operation("DeleteList", _deprecated("DeleteList"), **_BY_NUMBER)(_delete),
    keyed_operation("GetListIdentity", _deprecated("GetListIdentity"), **_BY_ID)(_identify),
)
