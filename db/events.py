"""What happened to messages after they were sent. Append-only, written in bulk; rows number in the millions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, SmallInteger, String, Table

from db.schema import metadata
from db.types import Identity64, UtcDateTime

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
    Index("ix_mail_event_sending", "sending_id", "kind"),
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
