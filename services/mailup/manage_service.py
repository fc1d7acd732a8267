"""MailupManage: lists and groups (specification §1.4)."""

from __future__ import annotations

from services.mailup.group_operations import create_group, delete_group, update_group
from services.mailup.keyed_operations import NAMESPACE
from services.mailup.keyed_results import describe_outcome
from services.mailup.list_management import create_list, delete_list, update_list
from services.mailup.list_operations import get_groups, get_lists, get_lists_of_user
from services.mailup.logins import LOGINS
from services.mailup.user_operations import get_user_id
from services.soap.declarations import Service

MANAGE_SERVICE = Service(
    name="MailupManage",
    namespace=NAMESPACE,
    paths=("/MailupManage.asmx",),
    operations=(
        *LOGINS,
        get_lists,
        get_user_id,
        get_lists_of_user,
        get_groups,
        create_group,
        update_group,
        delete_group,
        create_list,
        update_list,
        delete_list,
    ),
    documentation="MailUp WebService for managing lists and groups.",
    describe_outcome=describe_outcome,
)
