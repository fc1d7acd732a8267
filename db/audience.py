"""Lists, groups, fields, recipients, subscriptions and their history."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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

mailing_list = Table(
    "mailing_list",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("guid", String(36), nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("default_prefix", String, nullable=False, default="+39"),
    # Of the system that made the list, for lists that belong together there.
    Column("external_id", String),
    # By key; see `audience.list_settings`. Keys that are absent have their defaults.
    Column("settings", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Nobody finds a deleted list; housekeeping removes what is in it. Its number is not given out again.
    Column("deleted_at", UtcDateTime),
    UniqueConstraint("account_id", "number"),
    Index("ix_mailing_list_external_id", "account_id", "external_id"),
)

list_group = Table(
    "list_group",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("notes", String, nullable=False),
    UniqueConstraint("account_id", "number"),
    UniqueConstraint("list_id", "name"),
    # Never again the id of a group that is gone: its history names it.
    sqlite_autoincrement=True,
)

# Layouts for new messages; those without a list are the account's defaults.
message_template = Table(
    "message_template",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), index=True),
    Column("number", Integer, nullable=False),
    Column("subject", String, nullable=False),
    Column("notes", String, nullable=False),
    Column("html", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "number"),
)

field = Table(
    "field",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    # What a message says where a recipient has no value.
    Column("default_value", String, nullable=False, default=""),
)

# The four tables below take millions of rows. They carry no foreign keys among themselves: the bulk merge
# writes all of them in one transaction, and `listbridge doctor` counts orphans.
recipient = Table(
    "recipient",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("email", String),
    Column("mobile", String),
    Column("external_key", String),
    Column("fields", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # Never again the id of somebody who is gone: links, notifications and history name it.
    sqlite_autoincrement=True,
)
# The key comes first: with the account in front, a planner without statistics may take any of the three indexes
# for a look-up by e-mail address, and read the whole account each time.
for _key in ("email", "mobile", "external_key"):
    _present = text(f"{_key} IS NOT NULL")
    Index(
        f"uq_recipient_{_key}",
        recipient.c[_key],
        recipient.c.account_id,
        unique=True,
        sqlite_where=_present,
        postgresql_where=_present,
    )

subscription = Table(
    "subscription",
    metadata,
    Column("recipient_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("subscribed_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("unsubscribed_at", UtcDateTime),
    Column("reason_type", SmallInteger),
    Column("reason_subtype", SmallInteger),
    Column("message_id", BigInteger),
    Column("source", String, nullable=False),
    PrimaryKeyConstraint("recipient_id", "list_id", "channel"),
    sqlite_with_rowid=False,
)
_gone = text("unsubscribed_at IS NOT NULL")
Index(
    "ix_subscription_unsubscribed",
    subscription.c.list_id,
    subscription.c.changed_at,
    sqlite_where=_gone,
    postgresql_where=_gone,
)

group_member = Table(
    "group_member",
    metadata,
    Column("recipient_id", BigInteger, nullable=False),
    Column("group_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("recipient_id", "group_id"),
    sqlite_with_rowid=False,
)

# Append-only: one row for every change of a subscription's status (kind 1; with channel and new status), of personal
# data (kind 2), of groups (kind 3), and for the erasure of a person (kind 4). See `audience.history` for the details.
history = Table(
    "history",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    Column("list_id", BigInteger),
    Column("kind", SmallInteger, nullable=False),
    Column("channel", SmallInteger),
    Column("at", UtcDateTime, nullable=False),
    Column("old_status", SmallInteger),
    Column("new_status", SmallInteger),
    Column("reason_type", SmallInteger),
    Column("reason_subtype", SmallInteger),
    Column("source", String, nullable=False),
    # Who: a user's name, or the address of the machine that called.
    Column("actor", String),
    Column("details", JsonObject),
    Column("import_id", BigInteger),
    Index("ix_history_recipient_id", "recipient_id"),
)
_imported = text("import_id IS NOT NULL")
Index("ix_history_import_id", history.c.import_id, sqlite_where=_imported, postgresql_where=_imported)

# Who asked to be forgotten: a digest of his address, keyed with the account's secret, by which he is recognised
# when somebody wants to add him again.
suppression = Table(
    "suppression",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
