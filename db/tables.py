"""Every table under one name, for code that reads across subjects and for migrations."""

from __future__ import annotations

from db.accounts import (
    access_key,
    account,
    account_counter,
    account_host,
    address_rule,
    api_user,
    ftp_key,
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
from db.delivery import notice, outbox
from db.events import mail_event, sending, sms_event
from db.exchange import arrival, export, export_run, feed, import_error, import_run, import_seen, missing_file
from db.notifications import notification, webhook
from db.operations import heartbeat
from db.remotes import remote_server, transfer, transfer_run, transferred_file
from db.schedules import schedule
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
    "ftp_key",
    "ftp_user",
    "group_member",
    "heartbeat",
    "history",
    "import_error",
    "import_run",
    "import_seen",
    "list_group",
    "mail_event",
    "mailing_list",
    "message_template",
    "metadata",
    "missing_file",
    "notice",
    "notification",
    "outbox",
    "recipient",
    "remote_server",
    "schedule",
    "sending",
    "service_access",
    "sms_event",
    "subscription",
    "suppression",
    "transfer",
    "transfer_run",
    "transferred_file",
    "webhook",
]
