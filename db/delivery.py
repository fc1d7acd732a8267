"""Mails that are to go out."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, text

from db.schema import metadata
from db.types import Identity64, UtcDateTime

# A mail asked for in the same transaction as the change that it is about. Those of an import wait until it has ended.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Whose sender, texts and colours it has.
    Column("list_id", ForeignKey("mailing_list.id"), nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    # `confirmation`, `welcome`, `goodbye`, or `unsubscribe-notice` (to the list's staff).
    Column("kind", String, nullable=False),
    # Of a confirmation: ids of the lists that one answer confirms.
    Column("list_ids", JSON(none_as_null=True)),
    # The account's message to use instead of the list's own.
    Column("message_number", Integer),
    # Instead of the list's own sender.
    Column("sender_email", String),
    Column("sender_name", String),
    Column("import_id", BigInteger),
    # `waiting`, `sending`, `sent`, `failed` (nobody tries again), or `cancelled` (was not wanted any more).
    Column("state", String, nullable=False),
    # Of the tries to send it; after a failed one it waits until `due_at`.
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_at", UtcDateTime),
    Column("code", String),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("sent_at", UtcDateTime),
    Index("ix_outbox_import_id", "import_id"),
    Index("ix_outbox_state", "state", "id"),
)
# A mail to the people who run an account, about its files. Whoever asks twice for one key gets one.
notice = Table(
    "notice",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("key", String, nullable=False, unique=True),
    # What it tells of; see `audience.notices.NoticeKind`.
    Column("kind", String, nullable=False),
    Column("address", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("text", String, nullable=False),
    # `waiting`, `sending`, `sent`, or `failed` (nobody tries again).
    Column("state", String, nullable=False),
    # Of the tries to send it; after a failed one it waits until `due_at`.
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_at", UtcDateTime),
    Column("code", String),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("sent_at", UtcDateTime),
    Index("ix_notice_state", "state", "id"),
)

# Nobody gets the same mail twice because he was asked for twice before it went out.
_waiting = text("state = 'waiting'")
Index(
    "uq_outbox_waiting",
    outbox.c.recipient_id,
    outbox.c.list_id,
    outbox.c.kind,
    unique=True,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
