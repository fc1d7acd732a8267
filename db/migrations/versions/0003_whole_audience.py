"""Who may call, settings of lists, the whole history, suppressed addresses, mails to send, and webhooks."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from db.types import Identity64, JsonObject, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EMPTY_OBJECT = "{}"
_KEYS = ("email", "mobile", "external_key")
_NEW_TABLES = (
    "notification",
    "webhook",
    "outbox",
    "message_template",
    "suppression",
    "address_rule",
    "service_access",
    "account_host",
)


def upgrade() -> None:
    _extend_accounts()
    _extend_lists()
    _never_give_ids_again()
    _extend_history()
    _create_access()
    _create_audience()
    _create_outbox()
    _create_notifications()


def _extend_accounts() -> None:
    _add_filled("account", sa.Column("secret_key", sa.String(length=64), nullable=False, server_default=""))
    _add_filled("account", sa.Column("list_defaults", JsonObject, nullable=False, server_default=_EMPTY_OBJECT))
    _add_filled("api_user", sa.Column("number", sa.Integer(), nullable=False, server_default="0"))
    connection = op.get_bind()
    for account_id in connection.execute(sa.text("SELECT id FROM account")).scalars().all():
        values = {"id": account_id, "key": secrets.token_hex(32)}
        connection.execute(sa.text("UPDATE account SET secret_key = :key WHERE id = :id"), values)
    counted = (
        "SELECT COUNT(*) FROM api_user other WHERE other.account_id = api_user.account_id AND other.id <= api_user.id"
    )
    op.execute(f"UPDATE api_user SET number = ({counted})")
    op.create_index("uq_api_user_number", "api_user", ["account_id", "number"], unique=True)
    op.drop_index(op.f("ix_api_user_account_id"), table_name="api_user")
    op.execute(
        "INSERT INTO account_counter (account_id, kind, value)"
        " SELECT account_id, 'user', COUNT(*) FROM api_user GROUP BY account_id"
    )


def _extend_lists() -> None:
    op.add_column("mailing_list", sa.Column("external_id", sa.String(), nullable=True))
    _add_filled("mailing_list", sa.Column("settings", JsonObject, nullable=False, server_default=_EMPTY_OBJECT))
    op.add_column("mailing_list", sa.Column("deleted_at", UtcDateTime(), nullable=True))
    op.create_index("ix_mailing_list_external_id", "mailing_list", ["account_id", "external_id"])
    _add_filled("list_group", sa.Column("notes", sa.String(), nullable=False, server_default=""))


def _never_give_ids_again() -> None:
    """Have SQLite count the ids of people and groups on, as PostgreSQL does; it writes the tables anew for that."""
    if op.get_context().dialect.name != "sqlite":
        return
    for key in _KEYS:
        op.drop_index(f"uq_recipient_{key}", table_name="recipient")
    for table in ("recipient", "list_group"):
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    for key in _KEYS:
        present = sa.text(f"{key} IS NOT NULL")
        op.create_index(f"uq_recipient_{key}", "recipient", [key, "account_id"], unique=True, sqlite_where=present)


def _extend_history() -> None:
    with op.batch_alter_table("history") as history:
        history.add_column(sa.Column("kind", sa.SmallInteger(), nullable=False, server_default="1"))
        history.add_column(sa.Column("actor", sa.String(), nullable=True))
        history.add_column(sa.Column("details", JsonObject, nullable=True))
        for name, kind in (
            ("list_id", sa.BigInteger()),
            ("channel", sa.SmallInteger()),
            ("new_status", sa.SmallInteger()),
        ):
            history.alter_column(name, existing_type=kind, nullable=True)
    _drop_default("history", "kind")
    present = sa.text("import_id IS NOT NULL")
    op.create_index("ix_history_import_id", "history", ["import_id"], sqlite_where=present, postgresql_where=present)


def _add_filled(table: str, column: sa.Column[object]) -> None:
    """Add a column whose default only fills the rows that are there."""
    op.add_column(table, column)
    _drop_default(table, column.name)


def _drop_default(table: str, column: str) -> None:
    # SQLite could only do so by writing the table anew.
    if op.get_context().dialect.name == "postgresql":
        op.alter_column(table, column, server_default=None)


def _create_access() -> None:
    op.create_table(
        "account_host",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_host_account_id")),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_account_host")),
    )
    op.create_index(op.f("ix_account_host_account_id"), "account_host", ["account_id"], unique=False)
    op.create_table(
        "service_access",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_service_access_account_id")),
        sa.PrimaryKeyConstraint("account_id", "service", name=op.f("pk_service_access")),
    )
    op.create_table(
        "address_rule",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("network", sa.String(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_address_rule_account_id")),
        sa.PrimaryKeyConstraint("account_id", "service", "network", name=op.f("pk_address_rule")),
    )


def _create_audience() -> None:
    op.create_table(
        "suppression",
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_suppression_account_id")),
        sa.PrimaryKeyConstraint("account_id", "digest", name=op.f("pk_suppression")),
    )
    op.create_table(
        "message_template",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("notes", sa.String(), nullable=False),
        sa.Column("html", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_message_template_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_message_template_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_template")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_message_template_account_id_number")),
    )
    op.create_index(op.f("ix_message_template_list_id"), "message_template", ["list_id"], unique=False)


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("list_id", Identity64, nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("list_ids", sa.JSON(), nullable=True),
        sa.Column("message_number", sa.Integer(), nullable=True),
        sa.Column("sender_email", sa.String(), nullable=True),
        sa.Column("sender_name", sa.String(), nullable=True),
        sa.Column("import_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_outbox_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_outbox_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_import_id", "outbox", ["import_id"], unique=False)
    waiting = sa.text("state = 'waiting'")
    columns = ["recipient_id", "list_id", "kind"]
    op.create_index("uq_outbox_waiting", "outbox", columns, unique=True, sqlite_where=waiting, postgresql_where=waiting)


def _create_notifications() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("list_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_webhook_account_id")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_webhook_list_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_webhook_account_id_number")),
    )
    op.create_index(op.f("ix_webhook_list_id"), "webhook", ["list_id"], unique=False)
    op.create_table(
        "notification",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("webhook_id", Identity64, nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("content", JsonObject, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("answer_status", sa.Integer(), nullable=True),
        sa.Column("answer_text", sa.String(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notification_account_id")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_notification_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index("ix_notification_due", "notification", ["state", "due_at"], unique=False)
    op.create_index("ix_notification_order", "notification", ["webhook_id", "recipient_id", "id"], unique=False)


def downgrade() -> None:
    for table in _NEW_TABLES:
        op.drop_table(table)
    op.drop_index("ix_history_import_id", table_name="history")
    # What it cannot say is taken out, or it would look like changes of a status.
    op.execute("DELETE FROM history WHERE kind <> 1 OR new_status IS NULL OR channel IS NULL OR list_id IS NULL")
    with op.batch_alter_table("history") as history:
        for name, kind in (
            ("list_id", sa.BigInteger()),
            ("channel", sa.SmallInteger()),
            ("new_status", sa.SmallInteger()),
        ):
            history.alter_column(name, existing_type=kind, nullable=False)
        for name in ("details", "actor", "kind"):
            history.drop_column(name)
    op.drop_column("list_group", "notes")
    op.drop_index("ix_mailing_list_external_id", table_name="mailing_list")
    for name in ("deleted_at", "settings", "external_id"):
        op.drop_column("mailing_list", name)
    op.create_index(op.f("ix_api_user_account_id"), "api_user", ["account_id"], unique=False)
    op.drop_index("uq_api_user_number", table_name="api_user")
    op.drop_column("api_user", "number")
    for name in ("list_defaults", "secret_key"):
        op.drop_column("account", name)
    op.execute("DELETE FROM account_counter WHERE kind = 'user'")
