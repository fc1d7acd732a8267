"""Every table under one name, for code that reads across subjects and for migrations."""

from __future__ import annotations

from db.accounts import (
    access_key,
    account,
    account_counter,
    account_host,
    address_rule,
    api_user,
    ftp_user,
    service_access,
)
from db.audience import (
    field,
    group_member,
    history,
    list_group,
    mailing_list,
    message_template,
    recipient,
    subscription,
    suppression,
)
from db.delivery import outbox
from db.exchange import arrival, export, export_run, feed, import_error, import_run
from db.notifications import notification, webhook
from db.operations import heartbeat
from db.schema import metadata

__all__ = [
    "access_key",
    "account",
    "account_counter",
    "account_host",
    "address_rule",
    "api_user",
    "arrival",
    "export",
    "export_run",
    "feed",
    "field",
    "ftp_user",
    "group_member",
    "heartbeat",
    "history",
    "import_error",
    "import_run",
    "list_group",
    "mailing_list",
    "message_template",
    "metadata",
    "notification",
    "outbox",
    "recipient",
    "service_access",
    "subscription",
    "suppression",
    "webhook",
]
