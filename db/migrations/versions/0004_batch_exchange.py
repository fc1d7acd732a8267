"""Rights and keys of FTP users, schedules, partners' servers, events of messages, notices, and more of each run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.types import Identity64, JsonObject, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NEW_TABLES = (
    "transferred_file",
    "transfer_run",
    "transfer",
    "remote_server",
    "ftp_key",
    "schedule",
    "notice",
    "missing_file",
    "import_seen",
    "sms_event",
    "mail_event",
    "sending",
)
_NEW_COLUMNS: dict[str, tuple[str, ...]] = {
    "account": ("technical_contact",),
    "arrival": ("door",),
    "export_run": ("covers_since", "covers_until", "files", "cancel_requested_at"),
    "import_run": ("not_before", "bundle", "bundle_place", "bytes_done", "cancel_requested_at"),
}


def upgrade() -> None:
    _extend_ftp_users()
    _extend_runs()
    _keep_names_of_files()
    _index_unsubscriptions("changed_at")
    _create_events()
    _create_batch()
    _create_transfers()
    _move_schedules()


def _extend_ftp_users() -> None:
    with op.batch_alter_table("ftp_user") as users:
        users.alter_column("password_hash", existing_type=sa.String(), nullable=True)
        for name, default in (("active", True), ("may_read", True), ("may_write", True), ("requires_tls", False)):
            filled = sa.true() if default else sa.false()
            users.add_column(sa.Column(name, sa.Boolean(), nullable=False, server_default=filled))
        users.add_column(sa.Column("networks", sa.JSON(), nullable=False, server_default="[]"))
        for name in ("max_sessions", "quota_files"):
            users.add_column(sa.Column(name, sa.Integer(), nullable=True))
        for name in ("bytes_per_second", "quota_bytes"):
            users.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
        users.add_column(sa.Column("last_login_at", UtcDateTime(), nullable=True))
    with op.batch_alter_table("ftp_user") as users:
        for name in ("active", "may_read", "may_write", "requires_tls", "networks"):
            users.alter_column(name, server_default=None)


def _extend_runs() -> None:
    op.add_column("account", sa.Column("technical_contact", sa.String(), nullable=True))
    op.add_column("arrival", sa.Column("door", sa.String(), nullable=True))
    for name in ("covers_since", "covers_until", "cancel_requested_at"):
        op.add_column("export_run", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("export_run", sa.Column("files", sa.JSON(none_as_null=True), nullable=True))
    for name in ("not_before", "cancel_requested_at"):
        op.add_column("import_run", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("import_run", sa.Column("bundle", sa.String(), nullable=True))
    op.add_column("import_run", sa.Column("bundle_place", sa.Integer(), nullable=True))
    op.add_column("import_run", sa.Column("bytes_done", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_context().dialect.name == "postgresql":
        # SQLite could only do so by writing the table anew.
        op.alter_column("import_run", "bytes_done", server_default=None)


def _keep_names_of_files() -> None:
    """Have runs whose file has its name already go on by delivering it."""
    postgresql = op.get_context().dialect.name == "postgresql"
    array, folder = ("json_build_array", "'folder'") if postgresql else ("json_array", "'$.folder'")
    op.execute(
        f"UPDATE export_run SET files = {array}((SELECT COALESCE(e.settings ->> {folder}, 'export') FROM export e"
        " WHERE e.id = export_run.export_id) || '/' || file_name)"
        " WHERE state IN ('queued', 'running') AND file_name IS NOT NULL"
    )


def _index_unsubscriptions(instant: str) -> None:
    op.drop_index("ix_subscription_unsubscribed", "subscription")
    present = sa.text("unsubscribed_at IS NOT NULL")
    op.create_index(
        "ix_subscription_unsubscribed",
        "subscription",
        ["list_id", instant],
        unique=False,
        sqlite_where=present,
        postgresql_where=present,
    )


def _move_schedules() -> None:
    """Make a schedule of each export's time of day."""
    postgresql = op.get_context().dialect.name == "postgresql"
    make_rule = "jsonb_build_object" if postgresql else "json_object"
    period = "e.settings ->> 'period'" if postgresql else "e.settings ->> '$.period'"
    columns = "account_id, subject, subject_id, rule, time_zone, missed, since, last_due_at, created_at"
    op.execute(
        f"INSERT INTO schedule ({columns})"
        f" SELECT e.account_id, 'export', e.id, {make_rule}('kind', 'daily', 'at', e.at), a.time_zone,"
        f" CASE WHEN {period} = 'previous-day' THEN 'all' ELSE 'last' END, e.scheduled_since,"
        " (SELECT MAX(r.due_at) FROM export_run r WHERE r.export_id = e.id AND r.scheduled), e.created_at"
        " FROM export e JOIN account a ON a.id = e.account_id WHERE e.at IS NOT NULL"
    )
    # Not by writing the table anew, on SQLite: its runs refer to it.
    for name in ("at", "scheduled_since"):
        op.drop_column("export", name)


def _create_events() -> None:
    op.create_table(
        "sending",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.SmallInteger(), nullable=False),
        sa.Column("message_number", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sending")),
        sa.UniqueConstraint("account_id", "number", name=op.f("uq_sending_account_id_number")),
    )
    op.create_table(
        "mail_event",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("sending_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.Column("details", sa.String(), nullable=True),
        sa.Column("ip_address", sa.String(), nullable=True),
        sa.Column("country", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_event")),
    )
    op.create_index("ix_mail_event_at", "mail_event", ["account_id", "at"], unique=False)
    op.create_index("ix_mail_event_recipient", "mail_event", ["recipient_id", "sending_id"], unique=False)
    op.create_table(
        "sms_event",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("sending_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("mobile", sa.String(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sms_event")),
    )
    op.create_index("ix_sms_event_at", "sms_event", ["account_id", "at"], unique=False)
    op.create_index("ix_sms_event_recipient", "sms_event", ["recipient_id"], unique=False)


def _create_batch() -> None:
    op.create_table(
        "import_seen",
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "list_id", "recipient_id", name=op.f("pk_import_seen")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "missing_file",
        sa.Column("feed_id", Identity64, nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_missing_file_feed_id")),
        sa.PrimaryKeyConstraint("feed_id", "due_at", name=op.f("pk_missing_file")),
    )
    op.create_table(
        "notice",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("key", name=op.f("uq_notice_key")),
    )
    op.create_index("ix_notice_state", "notice", ["state", "id"], unique=False)
    op.create_table(
        "schedule",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("rule", JsonObject, nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("missed", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("last_due_at", UtcDateTime(), nullable=True),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_schedule_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("subject", "subject_id", name=op.f("uq_schedule_subject_subject_id")),
    )
    op.create_table(
        "ftp_key",
        sa.Column("ftp_user_id", Identity64, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["ftp_user_id"], ["ftp_user.id"], name=op.f("fk_ftp_key_ftp_user_id")),
        sa.PrimaryKeyConstraint("ftp_user_id", "fingerprint", name=op.f("pk_ftp_key")),
    )


def _create_transfers() -> None:
    op.create_table(
        "remote_server",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=True),
        sa.Column("private_key", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_remote_server_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_server")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_remote_server_account_id_name")),
    )
    op.create_table(
        "transfer",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("account_id", Identity64, nullable=False),
        sa.Column("remote_id", Identity64, nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("feed_id", Identity64, nullable=True),
        sa.Column("export_id", Identity64, nullable=True),
        sa.Column("settings", JsonObject, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_transfer_account_id")),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_transfer_export_id")),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_transfer_feed_id")),
        sa.ForeignKeyConstraint(["remote_id"], ["remote_server.id"], name=op.f("fk_transfer_remote_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
    )
    op.create_table(
        "transfer_run",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("transfer_id", Identity64, nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("error_text", sa.String(), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_transfer_run_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer_run")),
        sa.UniqueConstraint("transfer_id", "due_at", name=op.f("uq_transfer_run_transfer_id_due_at")),
    )
    op.create_index("ix_transfer_run_state", "transfer_run", ["state", "id"], unique=False)
    op.create_table(
        "transferred_file",
        sa.Column("id", Identity64, nullable=False),
        sa.Column("transfer_id", Identity64, nullable=False),
        sa.Column("run_id", Identity64, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["transfer_run.id"], name=op.f("fk_transferred_file_run_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_transferred_file_transfer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transferred_file")),
        sa.UniqueConstraint(
            "transfer_id", "name", "size", "modified", name=op.f("uq_transferred_file_transfer_id_name_size_modified")
        ),
    )


def downgrade() -> None:
    _index_unsubscriptions("unsubscribed_at")
    postgresql = op.get_context().dialect.name == "postgresql"
    op.add_column("export", sa.Column("at", sa.String(length=5), nullable=True))
    early: sa.Column[object] = sa.Column(
        "scheduled_since", UtcDateTime(), nullable=False, server_default="1970-01-01 00:00:00"
    )
    op.add_column("export", early)
    at, kind = ("s.rule ->> 'at'", "s.rule ->> 'kind'") if postgresql else ("s.rule ->> '$.at'", "s.rule ->> '$.kind'")
    of_export = "FROM schedule s WHERE s.subject = 'export' AND s.subject_id = export.id"
    op.execute(
        f"UPDATE export SET at = (SELECT {at} {of_export} AND {kind} = 'daily'),"
        f" scheduled_since = COALESCE((SELECT s.since {of_export}), created_at)"
    )
    if postgresql:
        op.alter_column("export", "scheduled_since", server_default=None)
    for table in _NEW_TABLES:
        op.drop_table(table)
    for table, names in _NEW_COLUMNS.items():
        for name in names:
            op.drop_column(table, name)
    # Without a password nobody logs in; a text that no hash is keeps it so.
    op.execute("UPDATE ftp_user SET password_hash = '' WHERE password_hash IS NULL")
    with op.batch_alter_table("ftp_user") as users:
        users.alter_column("password_hash", existing_type=sa.String(), nullable=False)
        for name in (
            "active",
            "may_read",
            "may_write",
            "requires_tls",
            "networks",
            "max_sessions",
            "quota_files",
            "bytes_per_second",
            "quota_bytes",
            "last_login_at",
        ):
            users.drop_column(name)
