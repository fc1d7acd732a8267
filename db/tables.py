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
from db.events import mail_event, sms_event
from db.exchange import arrival, export, export_run, feed, import_error, import_run, import_seen, missing_file
from db.inbound import inbound_mail, soft_bounce
from db.messages import (
    dkim_key,
    message,
    message_file,
    recipient_filter,
    sender_address,
    sending_file,
    smtp_user,
)
from db.notifications import notification, webhook
from db.operations import heartbeat
from db.remotes import remote_server, transfer, transfer_run, transferred_file
from db.schedules import schedule
from db.schema import metadata
from db.sendings import daily_total, delivery, domain_limit, sending, sending_link, sending_stop, sms_credit

__all__ = [
    "access_key",
    "account",
    "account_counter",
    "account_host",
    "address_rule",
    "api_user",
    "arrival",
    "daily_total",
    "delivery",
    "dkim_key",
    "domain_limit",
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
    "inbound_mail",
    "list_group",
    "mail_event",
    "mailing_list",
    "message",
    "message_file",
    "message_template",
    "metadata",
    "missing_file",
    "notice",
    "notification",
    "outbox",
    "recipient",
    "recipient_filter",
    "remote_server",
    "schedule",
    "sender_address",
    "sending",
    "sending_file",
    "sending_link",
    "sending_stop",
    "service_access",
    "sms_credit",
    "sms_event",
    "smtp_user",
    "soft_bounce",
    "subscription",
    "suppression",
    "transfer",
    "transfer_run",
    "transferred_file",
    "webhook",
]
