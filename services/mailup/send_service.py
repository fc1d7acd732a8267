"""MailupSend: messages, their sending, credits, and the making of lists (specification §1.3)."""

from __future__ import annotations

from services.mailup.keyed_operations import NAMESPACE
from services.mailup.keyed_results import describe_outcome
from services.mailup.list_identities import LIST_IDENTITIES
from services.mailup.list_operations import (
    get_fields,
    get_fields_st,
    get_groups,
    get_lists,
    get_lists_of_user,
    get_templates,
)
from services.mailup.logins import LOGINS
from services.mailup.message_operations import MESSAGES, clone_message
from services.mailup.queue_operations import QUEUE
from services.mailup.send_message_nl import send_message_nl
from services.mailup.sending_operations import SENDINGS
from services.mailup.sms_operations import TEXTS
from services.mailup.sms_queue_operations import SMS_QUEUE, get_credits, get_credits_of_lists
from services.mailup.user_operations import check_user_hash, get_user_access, get_user_id
from services.soap.declarations import Operation, Service

_USERS: tuple[Operation, ...] = (
    *LOGINS,
    get_user_id,
    get_lists_of_user,
    get_lists,
    get_groups,
    get_credits,
    get_credits_of_lists,
    get_user_access,
    check_user_hash,
)

_NEWSLETTERS: tuple[Operation, ...] = (
    get_templates,
    *MESSAGES,
    *SENDINGS,
)

_NEWSLETTER_QUEUES: tuple[Operation, ...] = (
    *QUEUE,
    send_message_nl,
    clone_message,
)

_LISTS: tuple[Operation, ...] = (get_fields, get_fields_st, *LIST_IDENTITIES)

SEND_SERVICE = Service(
    name="MailupSend",
    namespace=NAMESPACE,
    paths=("/MailupSend.asmx",),
    operations=(*_USERS, *_NEWSLETTERS, *_NEWSLETTER_QUEUES, *_LISTS, *TEXTS, *SMS_QUEUE),
    documentation="MailUp WebService for creating and sending messages.",
    describe_outcome=describe_outcome,
)
