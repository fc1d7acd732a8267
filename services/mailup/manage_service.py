"""MailupManage: lists and groups (specification §1.4)."""

from __future__ import annotations

from services.mailup.keyed_operations import NAMESPACE, OPTIONS, keyed_operation_to_come
from services.mailup.keyed_results import Shape, describe_outcome
from services.mailup.list_operations import GROUPS, LISTS, get_groups, get_lists
from services.mailup.logins import LOGINS
from services.soap.declarations import BOOLEAN, INT, STRING, Service

MANAGE_SERVICE = Service(
    name="MailupManage",
    namespace=NAMESPACE,
    paths=("/MailupManage.asmx",),
    operations=(
        *LOGINS,
        get_lists,
        keyed_operation_to_come("GetIdUser", accessKey=STRING),
        keyed_operation_to_come("GetListsUser", Shape("GetListsUserResult", LISTS), accessKey=STRING, idUser=INT),
        get_groups,
        keyed_operation_to_come(
            "CreateGroup",
            # The original spells this root so.
            Shape("CreateGroupsResult", GROUPS),
            accessKey=STRING,
            listID=INT,
            groupName=STRING,
            groupNotes=STRING,
        ),
        keyed_operation_to_come("UpdateGroup", accessKey=STRING, groupID=INT, options=OPTIONS),
        keyed_operation_to_come("DeleteGroup", accessKey=STRING, listID=INT, groupID=INT, deleteUsers=BOOLEAN),
        keyed_operation_to_come(
            "CreateList",
            accessKey=STRING,
            name=STRING,
            defaultSettings=STRING,
            copyTemplate=BOOLEAN,
            options=OPTIONS,
        ),
        keyed_operation_to_come("UpdateList", accessKey=STRING, listID=INT, options=OPTIONS),
        keyed_operation_to_come("DeleteList", accessKey=STRING, listID=INT),
    ),
    documentation="MailUp WebService for managing lists and groups.",
    describe_outcome=describe_outcome,
)
