"""Lists, groups and fields, as the services with an access key show them (specification §1.3, no. 6, 7, 33, 34)."""

from __future__ import annotations

from audience.accounts import Account
from audience.errors import UnknownList
from audience.lists import Group, MailingList, fields_of, find_list, groups_of, lists_of
from services.mailup.keyed_operations import keyed_operation
from services.mailup.keyed_results import UNKNOWN_LIST, Failure, Shape, text_element
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call

LISTS = element("lists")
GROUPS = element("list", element("groups"))
FIELDS = element("Fields")


@keyed_operation("GetLists", Shape("GetListsResult", LISTS), accessKey=STRING)
def get_lists(call: Call, account: Account) -> str:
    """Return the account's lists."""
    with call.resources.database.read_once() as connection:
        lists = lists_of(connection, account.id)
    return element("lists", "".join(element("list", _describe_list(mailing)) for mailing in lists))


@keyed_operation("GetGroups", Shape("GetGroupsResult", GROUPS), accessKey=STRING, listID=INT)
def get_groups(call: Call, account: Account, number: int) -> str:
    """Return a list's groups."""
    with call.resources.database.read() as connection:
        try:
            mailing = find_list(connection, account.id, number)
        except UnknownList:
            raise Failure(UNKNOWN_LIST, f"There is no list {number}.") from None
        groups = groups_of(connection, [mailing.id])
    return element("list", _describe_list(mailing) + element("groups", "".join(map(_describe_group, groups))))


@keyed_operation("GetFields", Shape("GetFields", codes_success=False, names_error=True), accessKey=STRING)
def get_fields(call: Call, account: Account) -> str:
    """Return the account's personal data fields, in the deprecated form."""
    return element("Fields", "".join(element("Field", Name=name, Id=number) for number, name in _read(call, account)))


@keyed_operation("GetFields_st", Shape("GetFields_st", FIELDS, names_error=True), accessKey=STRING)
def get_fields_st(call: Call, account: Account) -> str:
    """Return the account's personal data fields."""
    return element("Fields", "".join(element("Field", Id=number, Name=name) for number, name in _read(call, account)))


def _read(call: Call, account: Account) -> list[tuple[int, str]]:
    with call.resources.database.read_once() as connection:
        return list(fields_of(connection, account.id).items())


def _describe_list(mailing: MailingList) -> str:
    return element("listID", str(mailing.number)) + text_element("listName", mailing.name)


def _describe_group(group: Group) -> str:
    # Groups have no notes yet.
    content = element("groupID", str(group.number)) + text_element("groupName", group.name) + element("groupNotes")
    return element("group", content)
