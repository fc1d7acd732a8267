"""Servers of partners, and what is fetched from them and brought to them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

remote_server = Table(
    "remote_server",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("name", String, nullable=False),
    # `ftp`, `ftps`, `ftps-implicit` or `sftp`.
    Column("protocol", String, nullable=False),
    Column("host", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("user_name", String, nullable=False),
    Column("password", String),
    # In OpenSSH's form, not encrypted.
    Column("private_key", String),
    # What the server must show: a host key as `SHA256:BASE64`, or a certificate as `sha256:HEX`.
    Column("fingerprint", String),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "name"),
)

transfer = Table(
    "transfer",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("remote_id", ForeignKey("remote_server.id"), nullable=False),
    # `fetch` into a feed, or `deliver` the files of an export.
    Column("direction", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("feed_id", ForeignKey("feed.id")),
    Column("export_id", ForeignKey("export.id")),
    # See `jobs.transfers.TransferSettings`.
    Column("settings", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

transfer_run = Table(
    "transfer_run",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("transfer_id", ForeignKey("transfer.id"), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("scheduled", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("files", Integer, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("error_text", String),
    Column("cancel_requested_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    UniqueConstraint("transfer_id", "due_at"),
    Index("ix_transfer_run_state", "state", "id"),
)

# A file that has been fetched or brought: it is not again. Of fetched ones the whole remote identity counts, with
# `:put-away:N` after `modified` once the file is not there any more, since another may be listed the same. Of brought
# ones `modified` is the id of the export run, since names can come again, with `:renaming` while the rename is due.
transferred_file = Table(
    "transferred_file",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("transfer_id", ForeignKey("transfer.id"), nullable=False),
    Column("run_id", ForeignKey("transfer_run.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", String, nullable=False),
    Column("sha256", String(64)),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("transfer_id", "name", "size", "modified"),
)
