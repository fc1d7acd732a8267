"""Messages, their sendings and the queue of what goes out, mails that come back, and totals of each day."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from db.types import Identity64, JsonObject, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NEW_TABLES = (
    "soft_bounce",
    "inbound_mail",
    "daily_total",
    "sms_credit",
    "domain_limit",
    "sending_stop",
    "sending_link",
    "delivery",
    "sending_file",
    "smtp_user",
    "sender_address",
    "dkim_key",
    "recipient_filter",
    "message_file",
    "message",
)
_FILLED: dict[str, tuple[tuple[str, sa.types.TypeEngine[Any], str], ...]] = {
    "feed": (("kind", sa.String(), "import"),),
    "field": (("default_value", sa.String(), ""),),
    "notice": (("attempts", sa.Integer(), "0"),),
    "outbox": (("attempts", sa.Integer(), "0"),),
    "sending": (
        ("notes", sa.String(), ""),
        ("kind", sa.String(), "bulk"),
        ("state", sa.String(), "completed"),
        ("mode", sa.String(), "at-most-once"),
        ("position", sa.Integer(), "0"),
        ("total", sa.Integer(), "0"),
        ("sent", sa.Integer(), "0"),
        ("failed", sa.Integer(), "0"),
        ("skipped", sa.Integer(), "0"),
        ("unknown", sa.Integer(), "0"),
        ("attempts", sa.Integer(), "0"),
    ),
}
"""New columns that have a value in every row, and the value of those that exist."""
_RUN: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("lease_owner", sa.String()),
    *((name, UtcDateTime()) for name in ("lease_until", "cancel_requested_at", "started_at", "finished_at")),
)
_EMPTY: dict[str, tuple[tuple[str, sa.types.TypeEngine[Any]], ...]] = {
    "notice": (("due_at", UtcDateTime()), ("code", sa.String()), *_RUN),
    "outbox": (("due_at", UtcDateTime()), ("code", sa.String()), *_RUN),
    "sending": (
        ("message_id", sa.BigInteger()),
        ("start_at", UtcDateTime()),
        ("target", JsonObject),
        ("sender_email", sa.String()),
        ("sender_name", sa.String()),
        ("reply_to", sa.String()),
        ("notify_email", sa.String()),
        ("error_text", sa.String()),
        *_RUN,
    ),
}


def upgrade() -> None:
    _create_messages()
    _create_queue()
    _create_inbound()
    _add_columns()
    op.create_index("ix_mail_event_sending", "mail_event", ["sending_id", "kind"], unique=False)
    op.create_index("ix_outbox_state", "outbox", ["state", "id"], unique=False)
    op.create_index("ix_sending_message", "sending", ["message_id"], unique=False)
    op.create_index("ix_sending_state", "sending", ["state", "account_id"], unique=False)


def _add_columns() -> None:
    for table, filled in _FILLED.items():
        for name, kind, value in filled:
            _add_filled(table, name, kind, value)
    _add_filled("sending", "statistics_hidden", sa.Boolean(), sa.false())
    for table, empty in _EMPTY.items():
        for name, empty_kind in empty:
            op.add_column(table, sa.Column(name, empty_kind, nullable=True))


def _add_filled(table: str, name: str, kind: sa.types.TypeEngine[Any], value: Any) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=value))
    if op.get_context().dialect.name == "postgresql":
        # SQLite could only do so by writing the table anew.
        op.alter_column(table, name, server_default=None)


def _create_messages() -> None:
    op.create_table(
        "message",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("notes", sa.String(), nullable=False),
        sa.Column("html", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("settings", JsonObject, nullable=False),
        sa.Column("cloned_from", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_message_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_message_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("account_id", "channel", "number", name=op.f("uq_message_account_id_channel_number")),
    )
    op.create_index(op.f("ix_message_list_id"), "message", ["list_id"], unique=False)
    op.create_table(
        "message_file",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("message_id", Identity64, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_message_file_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_file")),
        sa.UniqueConstraint("message_id", "kind", "name", name=op.f("uq_message_file_message_id_kind_name")),
    )
    op.create_table(
        "recipient_filter",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("match", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_recipient_filter_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_recipient_filter_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient_filter")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_recipient_filter_account_id_number")),
    )
    op.create_table(
        "dkim_key",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=True),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("selector", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("private_key", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_dkim_key_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint("domain", "selector", name=op.f("uq_dkim_key_domain_selector")),
    )
    op.create_table(
        "sender_address",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("verified_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sender_address_account_id")),
        sa.PrimaryKeyConstraint("account_id", "email", name=op.f("pk_sender_address")),
    )
    op.create_table(
        "smtp_user",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_smtp_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_user")),
        sa.UniqueConstraint("name", name=op.f("uq_smtp_user_name")),
    )
    op.create_table(
        "sending_file",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("feed_id", Identity64, nullable=True),
        sa.Column("arrival_id", Identity64, nullable=True),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("spool_name", sa.String(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("options", JsonObject, nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("sending_id", sa.BigInteger(), nullable=True),
        sa.Column("import_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("counters", JsonObject, nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_text", sa.String(), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sending_file_account_id")),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrival.id"], name=op.f("fk_sending_file_arrival_id")),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_sending_file_feed_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sending_file")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_sending_file_account_id_number")),
    )
    op.create_index("ix_sending_file_state", "sending_file", ["state", "id"], unique=False)
    op.create_index("uq_sending_file_code", "sending_file", ["account_id", "kind", "code"], unique=True)


def _create_queue() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("sending_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("copy", sa.SmallInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("values", JsonObject, nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("parts", sa.SmallInteger(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "sending_id", "recipient_id", "copy", name=op.f("uq_delivery_sending_id_recipient_id_copy")
        ),
    )
    op.create_index(
        "ix_delivery_owner",
        "delivery",
        ["owner"],
        unique=False,
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "ix_delivery_remote_id",
        "delivery",
        ["remote_id"],
        unique=False,
        sqlite_where=sa.text("remote_id IS NOT NULL"),
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_index(
        "ix_delivery_waiting",
        "delivery",
        ["sending_id", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "sending_link",
        sa.Column("sending_id", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sending_id", "place", name=op.f("pk_sending_link")),
    )
    op.create_table(
        "sending_stop",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sending_stop_account_id")),
        sa.PrimaryKeyConstraint("account_id", "channel", name=op.f("pk_sending_stop")),
    )
    op.create_table(
        "domain_limit",
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("connections", sa.Integer(), nullable=True),
        sa.Column("per_minute", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_domain_limit")),
    )
    op.create_table(
        "sms_credit",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thousandths", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sms_credit_account_id")),
        sa.PrimaryKeyConstraint("account_id", "list_id", name=op.f("pk_sms_credit")),
    )
    op.create_table(
        "daily_total",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("message_number", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("clicked", sa.Integer(), nullable=False),
        sa.Column("bounced", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "day", "list_id", "channel", "message_number", name=op.f("pk_daily_total")
        ),
    )


def _create_inbound() -> None:
    op.create_table(
        "inbound_mail",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("error_text", sa.String(), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_mail")),
        sa.UniqueConstraint("digest", name=op.f("uq_inbound_mail_digest")),
    )
    op.create_index("ix_inbound_mail_state", "inbound_mail", ["state", "id"], unique=False)
    op.create_table(
        "soft_bounce",
        sa.Column("recipient_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("last_sending_id", sa.BigInteger(), nullable=True),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", name=op.f("pk_soft_bounce")),
    )


def downgrade() -> None:
    for name, table in (
        ("ix_mail_event_sending", "mail_event"),
        ("ix_outbox_state", "outbox"),
        ("ix_sending_message", "sending"),
        ("ix_sending_state", "sending"),
    ):
        op.drop_index(name, table)
    for table in _NEW_TABLES:
        op.drop_table(table)
    op.execute("DELETE FROM feed WHERE kind <> 'import'")
    for table, empty in _EMPTY.items():
        for name, _kind in empty:
            op.drop_column(table, name)
    op.drop_column("sending", "statistics_hidden")
    for table, filled in _FILLED.items():
        for name, _filled_kind, _value in filled:
            op.drop_column(table, name)
