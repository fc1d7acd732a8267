"""Messages as they are written, before anybody gets them, and the files that belong to them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

message = Table(
    "message",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), nullable=False, index=True),
    # 1 e-mail, 2 SMS.
    Column("channel", SmallInteger, nullable=False),
    # Shown to callers; counts from 1 in the account, separately for each channel.
    Column("number", Integer, nullable=False),
    Column("subject", String, nullable=False),
    Column("notes", String, nullable=False),
    # Of an e-mail; empty when it has a text part only.
    Column("html", String, nullable=False),
    # Of an SMS, or the text part of an e-mail; empty: made from the HTML.
    Column("text", String, nullable=False),
    # See `delivery.messages.MessageSettings`. Keys that are absent have their defaults.
    Column("settings", JsonObject, nullable=False),
    # Number of the message that this one is a copy of.
    Column("cloned_from", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "channel", "number"),
)

# Attachments, and images that the HTML shows.
message_file = Table(
    "message_file",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("message_id", ForeignKey("message.id"), nullable=False),
    # `attachment`, or `image`: shown by the HTML where it names the file.
    Column("kind", String, nullable=False),
    # Of an image: as the HTML writes it.
    Column("name", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("message_id", "kind", "name"),
)

# Conditions on people, kept under a number, that sendings can be limited by.
recipient_filter = Table(
    "recipient_filter",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # None: for all lists.
    Column("list_id", ForeignKey("mailing_list.id")),
    Column("number", Integer, nullable=False),
    Column("name", String, nullable=False),
    # A JSON array of texts, see `audience.conditions`.
    Column("conditions", JSON, nullable=False),
    # `all` of the conditions hold, or `any`.
    Column("match", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "number"),
)

# Keys that mails are signed with (DKIM, RFC 6376).
dkim_key = Table(
    "dkim_key",
    metadata,
    Column("id", Identity64, primary_key=True),
    # None: for all accounts.
    Column("account_id", ForeignKey("account.id")),
    Column("domain", String, nullable=False),
    Column("selector", String, nullable=False),
    # `rsa` or `ed25519`.
    Column("algorithm", String, nullable=False),
    # PEM, PKCS #8.
    Column("private_key", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("domain", "selector"),
)

# Sender addresses whose owners have been asked for a proof, and those that gave it.
sender_address = Table(
    "sender_address",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("email", String, primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("verified_at", UtcDateTime),
)

# Who may send through an account by SMTP credentials: partners name them in the files that send.
smtp_user = Table(
    "smtp_user",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("name", String, nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# Files that send messages: each is one run, in a queue of its own.
sending_file = Table(
    "sending_file",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Shown to people; counts from 1 in the account.
    Column("number", Integer, nullable=False),
    # `parcel` (ZIP of a message and its recipients), `sms` (CSV of text messages) or `recipients` (CSV for a message).
    Column("kind", String, nullable=False),
    Column("feed_id", ForeignKey("feed.id")),
    Column("arrival_id", ForeignKey("arrival.id")),
    Column("file_name", String, nullable=False),
    # In the spool's imports directory; None: the file is still where the partner has put it.
    Column("spool_name", String),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64)),
    # What the caller wants done with it.
    Column("options", JsonObject, nullable=False),
    # The partner's own name for the run: the same one is refused a second time.
    Column("code", String),
    Column("sending_id", BigInteger),
    Column("import_id", BigInteger),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("counters", JsonObject, nullable=False),
    Column("error_code", String),
    Column("error_text", String),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("account_id", "number"),
    Index("uq_sending_file_code", "account_id", "kind", "code", unique=True),
    Index("ix_sending_file_state", "state", "id"),
)
