"""What the import service tells about users, lists and groups, and how it makes groups (specification §1.2, §8)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from audience.accounts import Account
from audience.lists import Group, GroupRow, add_group, lists_with_groups
from audience.users import find_user_number, has_user
from db.engine import Database
from db.retry import retry_on_conflict
from services.mailup.import_operations import import_operation
from services.mailup.import_request import find_target, read_target
from services.mailup.results import Refusal, element, escape_value, write_result
from services.soap.declarations import INT, STRING, Call

FAILED_LISTS = -200
UNKNOWN_USER = -200
FAILED_GROUP = -300
NO_LIST = -301
NO_GROUP_NAME = -302


@import_operation("GetIdWsUser", UNKNOWN_USER)
def get_web_service_user(call: Call, account: Account) -> str:
    """Return the number of the account's web-service user."""
    return _describe_user(call.resources.database, account, f"a{account.number}")


@import_operation("GetIdUser", UNKNOWN_USER, userName=STRING)
def get_user(call: Call, account: Account, name: str | None) -> str:
    """Return the number of one of the account's users."""
    return _describe_user(call.resources.database, account, (name or "").strip())


def _describe_user(database: Database, account: Account, name: str) -> str:
    with database.read_once() as connection:
        number = find_user_number(connection, account.id, name)
    if number is None:
        raise Refusal(UNKNOWN_USER)
    return write_result(number, element("idUser", str(number)))


@import_operation("GetNlLists", FAILED_LISTS)
def get_lists(call: Call, account: Account) -> str:
    """Return the account's lists and their groups."""
    with call.resources.database.read_once() as connection:
        return _describe_lists(connection, account)


@import_operation("GetNlListsUser", FAILED_LISTS, userId=INT)
def get_lists_of_user(call: Call, account: Account, user: int) -> str:
    """Return the lists that one of the account's users sees, which are all of them."""
    with call.resources.database.read() as connection:
        if not has_user(connection, account.id, user):
            return write_result(0, element("Lists"))
        return _describe_lists(connection, account)


def _describe_lists(connection: Connection, account: Account) -> str:
    rows = lists_with_groups(connection, account.id)
    lists = groupby(rows, key=itemgetter(0, 1, 2))
    return write_result(0, element("Lists", "".join([_describe_list(mailing, groups) for mailing, groups in lists])))


def _describe_list(mailing: tuple[int, str, str], rows: Iterable[GroupRow]) -> str:
    number, guid, name = mailing
    # Groups are most of the answer, so their elements are not built up attribute by attribute.
    groups = "".join(
        [
            f'<Group idGroup="{group_number}" groupName="{escape_value(group_name)}"></Group>'
            for _, _, _, group_number, group_name in rows
            if group_name is not None
        ]
    )
    return element("List", element("Groups", groups), idList=number, listGUID=guid, listName=name)


@import_operation("CreateGroup", FAILED_GROUP, idList=INT, listGUID=STRING, newGroupName=STRING)
def create_group(call: Call, account: Account, list_id: int, list_guid: str | None, name: str | None) -> str:
    """Make a group, unless the list has one of this name; return its number either way.

    A name that no program could read, which `audience.lists.add_group` refuses, is an unrecognized error.
    """
    target = read_target(list_id, list_guid)
    if not list_id and not target.guid:
        raise Refusal(NO_LIST)

    def create() -> Group:
        with call.resources.database.write() as connection:
            mailing = find_target(connection, account.id, target)
            if not (name or "").strip():
                raise Refusal(NO_GROUP_NAME)
            return add_group(connection, mailing, name or "")

    try:
        group = retry_on_conflict(create)
    except IntegrityError:
        # Somebody else made the same group at the same moment; now it can be seen.
        group = retry_on_conflict(create)
    return write_result(group.number)
