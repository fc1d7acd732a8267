"""Feeds, arrived files, imports, exports and what became of each run."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

# A folder of an account that files are dropped into, and the profile that says how they are read.
feed = Table(
    "feed",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), nullable=True),
    Column("folder", String, nullable=False),
    # `import`, or what files dropped there send: `parcel` or `sms`.
    Column("kind", String, nullable=False, default="import"),
    Column("profile", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "folder"),
)

# Files that were expected by a time of day and did not come: each is told of once.
missing_file = Table(
    "missing_file",
    metadata,
    Column("feed_id", ForeignKey("feed.id"), primary_key=True),
    Column("due_at", UtcDateTime, primary_key=True),
    Column("noted_at", UtcDateTime, nullable=False),
)

# An uploaded file, judged: complete files have an import, incomplete ones say why they were put aside.
arrival = Table(
    "arrival",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("feed_id", ForeignKey("feed.id"), nullable=False),
    Column("key", String(32), nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    # `ftp`, `ftps`, `sftp`, `scp`, `scan` (found in its folder) or `remote` (fetched).
    Column("door", String),
    Column("complete", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

import_run = Table(
    "import_run",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("list_id", ForeignKey("mailing_list.id"), nullable=True),
    Column("feed_id", ForeignKey("feed.id"), nullable=True),
    Column("arrival_id", ForeignKey("arrival.id"), nullable=True),
    Column("source", String, nullable=False),
    Column("file_name", String, nullable=False),
    Column("spool_name", String, nullable=False),
    Column("profile", JsonObject, nullable=False),
    Column("dry_run", Boolean, nullable=False, default=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64)),
    Column("state", String, nullable=False),
    Column("rows_done", BigInteger, nullable=False, default=0),
    Column("counters", JsonObject, nullable=False),
    Column("error_code", String),
    Column("error_text", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    # Of an import in the queue: when it may begin.
    Column("not_before", UtcDateTime),
    # Imports of an account with one bundle name are done in the order of their places, see `jobs.bundles`.
    Column("bundle", String),
    Column("bundle_place", Integer),
    # Bytes of the file that have been read.
    Column("bytes_done", BigInteger, nullable=False, default=0),
    Column("cancel_requested_at", UtcDateTime),
    UniqueConstraint("account_id", "number"),
    Index("ix_import_run_state", "state", "id"),
    Index("ix_import_run_feed_sha256", "feed_id", "sha256"),
)

# Whom an import has met, while it goes on: to know who is missing from its file, and who comes twice.
import_seen = Table(
    "import_seen",
    metadata,
    Column("import_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("recipient_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("import_id", "list_id", "recipient_id"),
    sqlite_with_rowid=False,
)

import_error = Table(
    "import_error",
    metadata,
    Column("import_id", ForeignKey("import_run.id"), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("code", String, nullable=False),
    Column("text", String, nullable=False),
    # The record as it stood in the file, byte for byte.
    Column("raw", LargeBinary, nullable=False),
    PrimaryKeyConstraint("import_id", "line", "code"),
)

export = Table(
    "export",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("type", String, nullable=False),
    Column("settings", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

export_run = Table(
    "export_run",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("export_id", ForeignKey("export.id"), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("scheduled", Boolean, nullable=False),
    Column("state", String, nullable=False),
    # Of an incremental export: what its rows are about, from the first instant (inclusive) to the second.
    Column("covers_since", UtcDateTime),
    Column("covers_until", UtcDateTime),
    # Rows so far while it runs, and in all afterwards.
    Column("rows", BigInteger),
    Column("file_name", String),
    # A JSON array of the names of all files of the run, manifest included; paths relative to the home.
    Column("files", JSON(none_as_null=True)),
    Column("error_text", String),
    Column("cancel_requested_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    UniqueConstraint("export_id", "due_at"),
    Index("ix_export_run_state", "state", "id"),
)
