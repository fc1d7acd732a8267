"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.types import Identity64, JsonObject, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("number", name=op.f("uq_account_number")),
    )
    op.create_table(
        "group_member",
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", "group_id", name=op.f("pk_group_member")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "heartbeat",
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("role", "owner", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "history",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("old_status", sa.SmallInteger(), nullable=True),
        sa.Column("new_status", sa.SmallInteger(), nullable=False),
        sa.Column("reason_type", sa.SmallInteger(), nullable=True),
        sa.Column("reason_subtype", sa.SmallInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index("ix_history_recipient_id", "history", ["recipient_id"], unique=False)
    op.create_table(
        "recipient",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("mobile", sa.String(), nullable=True),
        sa.Column("external_key", sa.String(), nullable=True),
        sa.Column("fields", JsonObject, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient")),
    )
    op.create_index(
        "uq_recipient_email",
        "recipient",
        ["email", "account_id"],
        unique=True,
        sqlite_where=sa.text("email IS NOT NULL"),
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.create_index(
        "uq_recipient_external_key",
        "recipient",
        ["external_key", "account_id"],
        unique=True,
        sqlite_where=sa.text("external_key IS NOT NULL"),
        postgresql_where=sa.text("external_key IS NOT NULL"),
    )
    op.create_index(
        "uq_recipient_mobile",
        "recipient",
        ["mobile", "account_id"],
        unique=True,
        sqlite_where=sa.text("mobile IS NOT NULL"),
        postgresql_where=sa.text("mobile IS NOT NULL"),
    )
    op.create_table(
        "subscription",
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("subscribed_at", UtcDateTime(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("unsubscribed_at", UtcDateTime(), nullable=True),
        sa.Column("reason_type", sa.SmallInteger(), nullable=True),
        sa.Column("reason_subtype", sa.SmallInteger(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("recipient_id", "list_id", "channel", name=op.f("pk_subscription")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_subscription_unsubscribed",
        "subscription",
        ["list_id", "unsubscribed_at"],
        unique=False,
        sqlite_where=sa.text("unsubscribed_at IS NOT NULL"),
        postgresql_where=sa.text("unsubscribed_at IS NOT NULL"),
    )
    op.create_table(
        "account_counter",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_counter_account_id")),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_account_counter")),
    )
    op.create_table(
        "api_user",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_api_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_user")),
        sa.UniqueConstraint("name", name=op.f("uq_api_user_name")),
    )
    op.create_index(op.f("ix_api_user_account_id"), "api_user", ["account_id"], unique=False)
    op.create_table(
        "export",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("settings", JsonObject, nullable=False),
        sa.Column("at", sa.String(length=5), nullable=True),
        sa.Column("scheduled_since", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_export_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_table(
        "field",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_field_account_id")),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_field")),
    )
    op.create_table(
        "ftp_user",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ftp_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ftp_user")),
        sa.UniqueConstraint("name", name=op.f("uq_ftp_user_name")),
    )
    op.create_index(op.f("ix_ftp_user_account_id"), "ftp_user", ["account_id"], unique=False)
    op.create_table(
        "mailing_list",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("default_prefix", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_mailing_list_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailing_list")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_mailing_list_account_id_number")),
        sa.UniqueConstraint("guid", name=op.f("uq_mailing_list_guid")),
    )
    op.create_table(
        "export_run",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("export_id", Identity64, nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("file_name", sa.String(), nullable=True),
        sa.Column("error_text", sa.String(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_export_run_export_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_run")),
        sa.UniqueConstraint("export_id", "due_at", name=op.f("uq_export_run_export_id_due_at")),
    )
    op.create_index("ix_export_run_state", "export_run", ["state", "id"], unique=False)
    op.create_table(
        "feed",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=True),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("profile", JsonObject, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_feed_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_feed_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sa.UniqueConstraint("account_id", "folder", name=op.f("uq_feed_account_id_folder")),
    )
    op.create_table(
        "list_group",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_list_group_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_list_group_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_group")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_list_group_account_id_number")),
        sa.UniqueConstraint("list_id", "name", name=op.f("uq_list_group_list_id_name")),
    )
    op.create_table(
        "arrival",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("feed_id", Identity64, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_arrival_account_id")),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_arrival_feed_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrival")),
        sa.UniqueConstraint("key", name=op.f("uq_arrival_key")),
    )
    op.create_table(
        "import_run",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("list_id", Identity64, nullable=True),
        sa.Column("feed_id", Identity64, nullable=True),
        sa.Column("arrival_id", Identity64, nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("spool_name", sa.String(), nullable=False),
        sa.Column("profile", JsonObject, nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("counters", JsonObject, nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_text", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_import_run_account_id")),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrival.id"], name=op.f("fk_import_run_arrival_id")),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_import_run_feed_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_import_run_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_import_run_account_id_number")),
    )
    op.create_index("ix_import_run_feed_sha256", "import_run", ["feed_id", "sha256"], unique=False)
    op.create_index("ix_import_run_state", "import_run", ["state", "id"], unique=False)
    op.create_table(
        "import_error",
        sa.Column("import_id", Identity64, nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["import_run.id"], name=op.f("fk_import_error_import_id")),
        sa.PrimaryKeyConstraint("import_id", "line", "code", name=op.f("pk_import_error")),
    )


def downgrade() -> None:
    op.drop_table("import_error")
    op.drop_index("ix_import_run_state", table_name="import_run")
    op.drop_index("ix_import_run_feed_sha256", table_name="import_run")
    op.drop_table("import_run")
    op.drop_table("arrival")
    op.drop_table("list_group")
    op.drop_table("feed")
    op.drop_index("ix_export_run_state", table_name="export_run")
    op.drop_table("export_run")
    op.drop_table("mailing_list")
    op.drop_index(op.f("ix_ftp_user_account_id"), table_name="ftp_user")
    op.drop_table("ftp_user")
    op.drop_table("field")
    op.drop_table("export")
    op.drop_index(op.f("ix_api_user_account_id"), table_name="api_user")
    op.drop_table("api_user")
    op.drop_table("account_counter")
    op.drop_index(
        "ix_subscription_unsubscribed",
        table_name="subscription",
        sqlite_where=sa.text("unsubscribed_at IS NOT NULL"),
        postgresql_where=sa.text("unsubscribed_at IS NOT NULL"),
    )
    op.drop_table("subscription")
    op.drop_index(
        "uq_recipient_mobile",
        table_name="recipient",
        sqlite_where=sa.text("mobile IS NOT NULL"),
        postgresql_where=sa.text("mobile IS NOT NULL"),
    )
    op.drop_index(
        "uq_recipient_external_key",
        table_name="recipient",
        sqlite_where=sa.text("external_key IS NOT NULL"),
        postgresql_where=sa.text("external_key IS NOT NULL"),
    )
    op.drop_index(
        "uq_recipient_email",
        table_name="recipient",
        sqlite_where=sa.text("email IS NOT NULL"),
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.drop_table("recipient")
    op.drop_index("ix_history_recipient_id", table_name="history")
    op.drop_table("history")
    op.drop_table("heartbeat")
    op.drop_table("group_member")
    op.drop_table("account")
