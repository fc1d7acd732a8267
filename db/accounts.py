"""Accounts (customers of the server), their logins and their number counters."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

account = Table(
    "account",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("state", String, nullable=False, default="active"),
    # 64 hexadecimal digits: signs the links in its mails and digests the addresses that must stay suppressed.
    Column("secret_key", String(64), nullable=False),
    # What its new lists begin with: settings by key, as in `mailing_list`.
    Column("list_defaults", JsonObject, nullable=False),
    # Address of whoever is told about files that were refused or did not come.
    Column("technical_contact", String),
    Column("created_at", UtcDateTime, nullable=False),
)

# Host names, in lower case and without a port, by which callers mean an account.
account_host = Table(
    "account_host",
    metadata,
    Column("host", String, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False, index=True),
)

# Who may call a service of an account; without a row the service is open to everybody who can log in.
service_access = Table(
    "service_access",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("service", String, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    # Whether only registered addresses may call.
    Column("restricted", Boolean, nullable=False),
)

address_rule = Table(
    "address_rule",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("service", String, primary_key=True),
    # CIDR, such as 192.0.2.7/32.
    Column("network", String, primary_key=True),
    Column("allowed", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

api_user = Table(
    "api_user",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Shown to callers; counts from 1 in the account.
    Column("number", Integer, nullable=False),
    Column("name", String, nullable=False, unique=True),
    Column("password_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("uq_api_user_number", "account_id", "number", unique=True),
)

ftp_user = Table(
    "ftp_user",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False, index=True),
    Column("name", String, nullable=False, unique=True),
    # None: logs in with public keys only.
    Column("password_hash", String),
    Column("active", Boolean, nullable=False, default=True),
    Column("may_read", Boolean, nullable=False, default=True),
    Column("may_write", Boolean, nullable=False, default=True),
    # Whether FTP without TLS is refused.
    Column("requires_tls", Boolean, nullable=False, default=False),
    # A JSON array of CIDR networks; an empty one allows every address.
    Column("networks", JSON, nullable=False, default=list),
    # Sessions at a time, bytes per second of all transfers together, and what the home may hold; None: no limit.
    Column("max_sessions", Integer),
    Column("bytes_per_second", BigInteger),
    Column("quota_bytes", BigInteger),
    Column("quota_files", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_login_at", UtcDateTime),
)

# Public keys that partners log in with over SSH.
ftp_key = Table(
    "ftp_key",
    metadata,
    Column("ftp_user_id", ForeignKey("ftp_user.id"), primary_key=True),
    # `SHA256:` and base64, as OpenSSH shows it.
    Column("fingerprint", String, primary_key=True),
    # In the form of an OpenSSH public key file.
    Column("public_key", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# Keys that API users get at login and work with for a while. Only a digest of each is kept, and a digest of the
# password hash it was issued under, so that a changed password ends it wherever it is changed.
access_key = Table(
    "access_key",
    metadata,
    Column("key_digest", String(64), primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("api_user_id", ForeignKey("api_user.id"), nullable=False),
    Column("password_digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Numbers shown to callers count from 1 in each account, separately for each kind of thing.
account_counter = Table(
    "account_counter",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("value", Integer, nullable=False),
)
