"""Webhooks, and the notifications that are to be delivered to them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

webhook = Table(
    "webhook",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("url", String, nullable=False),
    # `subscribe`, `unsubscribe`, `profile`, `delete`, `pending` or `import`.
    Column("event", String, nullable=False),
    # A JSON array of `api`, `console`, `recipient`.
    Column("sources", JSON, nullable=False),
    # `GET` or `POST`.
    Column("method", String, nullable=False),
    # `form`, `rc4` or `json`.
    Column("format", String, nullable=False),
    # Key of the RC4 cipher or of the signature.
    Column("secret", String),
    # Pairs of a parameter's name and what it stands for, as a JSON array of arrays of two texts.
    Column("parameters", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "number"),
)

# Written in the same transaction as the change it tells of, with all that may have to be told, as it was then.
notification = Table(
    "notification",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("webhook_id", ForeignKey("webhook.id"), nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    Column("event", String, nullable=False),
    Column("source", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("content", JsonObject, nullable=False),
    # `waiting`, `delivered` or `failed`.
    Column("state", String, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    # HTTP status of the last answer, None when there was none, and its beginning or what went wrong.
    Column("answer_status", Integer),
    Column("answer_text", String),
    Column("finished_at", UtcDateTime),
    Index("ix_notification_due", "state", "due_at"),
    Index("ix_notification_order", "webhook_id", "recipient_id", "id"),
)
