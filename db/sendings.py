"""Sendings, and the queue of what each recipient is to get. Rows of the queue number in the millions."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

# One sending of a message to people of a list; its row is the promise, whatever process does it.
sending = Table(
    "sending",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    # Shown to callers; counts from 1 in the account.
    Column("number", Integer, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    # 1 e-mail, 2 SMS.
    Column("channel", SmallInteger, nullable=False),
    # None: what is sent stands in the queue's rows.
    Column("message_id", BigInteger),
    # Number of the message in the account; 0: none.
    Column("message_number", Integer, nullable=False),
    Column("subject", String, nullable=False),
    # A JSON array of texts.
    Column("tags", JSON, nullable=False),
    Column("notes", String, nullable=False, default=""),
    # `bulk`, or `single`: goes before all bulk sendings, and does not wait for them.
    Column("kind", String, nullable=False, default="bulk"),
    # See `delivery.sendings.SendingState`.
    Column("state", String, nullable=False, default="completed"),
    # `at-most-once` or `at-least-once`: what becomes of mails that were on their way when a process died.
    Column("mode", String, nullable=False, default="at-most-once"),
    # Order in the account's queue of this channel.
    Column("position", Integer, nullable=False, default=0),
    # None: as soon as it is its turn.
    Column("start_at", UtcDateTime),
    # Who gets it, see `delivery.sendings.Target`.
    Column("target", JsonObject),
    # Instead of the list's own.
    Column("sender_email", String),
    Column("sender_name", String),
    Column("reply_to", String),
    # Who is told of its end.
    Column("notify_email", String),
    # In the queue, and what has become of them: how many are left is the difference.
    Column("total", Integer, nullable=False, default=0),
    Column("sent", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("skipped", Integer, nullable=False, default=0),
    # On their way when a process died, and not repeated.
    Column("unknown", Integer, nullable=False, default=0),
    # Reports and exports leave out what happened in it.
    Column("statistics_hidden", Boolean, nullable=False, default=False),
    Column("error_text", String),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("account_id", "number"),
    Index("ix_sending_state", "state", "account_id"),
    Index("ix_sending_message", "message_id"),
)

# What one recipient is to get. Rows stay for a while after they are done: answers of gateways name them.
delivery = Table(
    "delivery",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("sending_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    # 0, or more where one recipient gets several of one sending.
    Column("copy", SmallInteger, nullable=False, default=0),
    # E-mail address or mobile number.
    Column("address", String, nullable=False),
    # Of an e-mail address, ASCII, lower case; of a number empty.
    Column("domain", String, nullable=False),
    # 0 waiting, 1 on its way, 2 sent, 3 failed, 4 skipped, 5 unknown, 6 cancelled; see `delivery.queue`.
    Column("state", SmallInteger, nullable=False, default=0),
    Column("due_at", UtcDateTime, nullable=False),
    Column("attempts", SmallInteger, nullable=False, default=0),
    # What the last server or gateway said, such as `550 5.1.1`.
    Column("code", String),
    # Who has it on its way.
    Column("owner", String),
    # What this recipient's message is filled with, beside his own data: values by name.
    Column("values", JsonObject),
    # Instead of the message's text.
    Column("text", String),
    # Of an SMS: the gateway's name for it, and how many parts it had.
    Column("remote_id", String),
    Column("parts", SmallInteger),
    Column("sent_at", UtcDateTime),
    UniqueConstraint("sending_id", "recipient_id", "copy"),
)
_waiting, _on_its_way, _named = text("state = 0"), text("state = 1"), text("remote_id IS NOT NULL")
Index(
    "ix_delivery_waiting",
    delivery.c.sending_id,
    delivery.c.due_at,
    delivery.c.id,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index("ix_delivery_owner", delivery.c.owner, sqlite_where=_on_its_way, postgresql_where=_on_its_way)
Index("ix_delivery_remote_id", delivery.c.remote_id, sqlite_where=_named, postgresql_where=_named)

# The addresses that a sending's links lead to, in the order of the message.
sending_link = Table(
    "sending_link",
    metadata,
    Column("sending_id", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    # May have merge tags.
    Column("url", String, nullable=False),
    PrimaryKeyConstraint("sending_id", "place"),
)

# Accounts that send nothing by a channel until somebody starts it again.
sending_stop = Table(
    "sending_stop",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("channel", SmallInteger, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

# How gently the servers of a domain are treated, where it is not as the settings say for all.
domain_limit = Table(
    "domain_limit",
    metadata,
    Column("domain", String, primary_key=True),
    Column("connections", Integer),
    Column("per_minute", Integer),
)

# Credits for text messages, in thousandths: of an account (list 0), or given to one list.
sms_credit = Table(
    "sms_credit",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("list_id", BigInteger, primary_key=True, autoincrement=False),
    Column("thousandths", BigInteger, nullable=False),
)

# How often something happened to a message in a list on a day of the account's time zone.
daily_total = Table(
    "daily_total",
    metadata,
    Column("account_id", BigInteger, nullable=False),
    # ISO 8601, such as 2026-11-22.
    Column("day", String(10), nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("message_number", Integer, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("opened", Integer, nullable=False),
    Column("clicked", Integer, nullable=False),
    Column("bounced", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "day", "list_id", "channel", "message_number"),
)
