"""What happened to messages after they were sent. Append-only, written in bulk; rows number in the millions."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, SmallInteger, String, Table, UniqueConstraint

from db.schema import metadata
from db.types import Identity64, UtcDateTime

# One sending of a message to a list.
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
    # Number of the message in the account.
    Column("message_number", Integer, nullable=False),
    Column("subject", String, nullable=False),
    # A JSON array of texts.
    Column("tags", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "number"),
)

# Kind 1 sent, 2 opened, 3 clicked, 4 not delivered.
mail_event = Table(
    "mail_event",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("sending_id", BigInteger, nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    # As it was then.
    Column("email", String, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
    # Address that was clicked, or code of the bounce.
    Column("details", String),
    Column("ip_address", String),
    Column("country", String),
    Column("user_agent", String),
    Index("ix_mail_event_recipient", "recipient_id", "sending_id"),
    Index("ix_mail_event_at", "account_id", "at"),
)

# Status 0 delivered, 1 queued, 2 error: one row for every change of a delivery's state.
sms_event = Table(
    "sms_event",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("sending_id", BigInteger, nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    Column("mobile", String, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
    Column("error_code", String),
    Index("ix_sms_event_at", "account_id", "at"),
    Index("ix_sms_event_recipient", "recipient_id"),
)
