"""What comes back by mail, and how often a recipient could not be reached."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, String, Table

from db.schema import metadata
from db.types import Identity64, UtcDateTime

# Mails that came in, kept before their sender is told so, and read afterwards.
inbound_mail = Table(
    "inbound_mail",
    metadata,
    Column("id", Identity64, primary_key=True),
    # `smtp`, `lmtp` or `imap`.
    Column("source", String, nullable=False),
    # Of the content and its envelope, hexadecimal: a mail that is handed over twice is kept once.
    Column("digest", String(64), nullable=False, unique=True),
    # Of the envelope; empty for a report.
    Column("sender", String, nullable=False),
    # A JSON array of addresses.
    Column("recipients", JSON, nullable=False),
    # None once it was read and is not needed any more.
    Column("content", LargeBinary),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    # What it was: `hard`, `soft`, `complaint`, `unsubscribe`, `automatic`, `unknown`.
    Column("outcome", String),
    Column("error_text", String),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Index("ix_inbound_mail_state", "state", "id"),
)

# Soft bounces in a row; a row goes when its recipient is reached again.
soft_bounce = Table(
    "soft_bounce",
    metadata,
    Column("recipient_id", BigInteger, primary_key=True, autoincrement=False),
    Column("account_id", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    # Counts once.
    Column("last_sending_id", BigInteger),
    # How often its recipient was already taken out for a time.
    Column("pauses", Integer, nullable=False),
)
