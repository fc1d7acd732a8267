"""Making, changing and deleting groups (specification §1.4, no. 8 to 10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from audience.accounts import Account
from audience.errors import AlreadyExists, InvalidName, UnknownGroup
from audience.group_changes import change_group, remove_group, remove_group_and_members
from audience.history import Cause
from audience.lists import add_group, find_group
from services.mailup.keyed_operations import (
    OPTIONS,
    change,
    find_own_list,
    key_holder,
    keyed_operation,
    option_pairs,
)
from services.mailup.keyed_results import INVALID_OPTION, Failure, Shape
from services.mailup.list_results import GROUPS, describe_groups
from services.soap.declarations import BOOLEAN, INT, STRING, Call

_OPTIONS = {"groupname": "name", "name": "name", "groupnotes": "notes", "notes": "notes"}


# The original spells this root so.
@keyed_operation(
    "CreateGroup",
    Shape("CreateGroupsResult", GROUPS),
    accessKey=STRING,
    listID=INT,
    groupName=STRING,
    groupNotes=STRING,
)
def create_group(call: Call, account: Account, number: int, name: str | None, notes: str | None) -> str:
    """Make a group, or return the one of this name as it is."""

    def create(connection: Connection) -> str:
        mailing = find_own_list(connection, account, number)
        return describe_groups(mailing, [add_group(connection, mailing, name or "", notes or "")])

    return change(call, create)


@keyed_operation("UpdateGroup", Shape("UpdateGroupResult", GROUPS), accessKey=STRING, groupID=INT, options=OPTIONS)
def update_group(call: Call, account: Account, number: int, options: Iterable[Any] | None) -> str:
    """Change name and notes of a group."""
    wanted = {key.lower(): (key, value) for key, value in option_pairs(options) if key.lower() in _OPTIONS}

    def update(connection: Connection) -> str:
        mailing, group = find_group(connection, account.id, number)
        for known, (key, value) in wanted.items():
            try:
                group = change_group(connection, mailing, group, **{_OPTIONS[known]: value})
            except (InvalidName, AlreadyExists) as error:
                raise Failure(INVALID_OPTION, f"{key}: {error}") from None
        return describe_groups(mailing, [group])

    return change(call, update)


@keyed_operation("DeleteGroup", accessKey=STRING, listID=INT, groupID=INT, deleteUsers=BOOLEAN)
def delete_group(call: Call, account: Account, list_number: int, number: int, deletes_users: bool) -> str:
    """Delete a group, with its members when the caller says so."""
    cause = Cause("soap", actor=key_holder(call).user_name)

    def delete(connection: Connection) -> None:
        mailing = find_own_list(connection, account, list_number)
        found, group = find_group(connection, account.id, number)
        if found.id != mailing.id:
            raise UnknownGroup(f"There is no group {number} in list {list_number}.")
        if deletes_users:
            remove_group_and_members(connection, mailing, group, cause)
        else:
            remove_group(connection, group, cause)

    change(call, delete)
    return ""
