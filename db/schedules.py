"""When exports and transfers run by themselves."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table, UniqueConstraint

from db.schema import metadata
from db.types import Identity64, JsonObject, UtcDateTime

schedule = Table(
    "schedule",
    metadata,
    Column("id", Identity64, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # `export` or `transfer`, and the id of what runs.
    Column("subject", String, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    # See `jobs.schedule_rules`.
    Column("rule", JsonObject, nullable=False),
    # Name in the IANA database, by whose clock the rule goes.
    Column("time_zone", String, nullable=False),
    # What becomes of due times that nobody was there for: `all`, `last` or `skip`.
    Column("missed", String, nullable=False),
    # Due times before this instant are not caught up.
    Column("since", UtcDateTime, nullable=False),
    # The newest due time that was dealt with.
    Column("last_due_at", UtcDateTime),
    Column("paused_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("subject", "subject_id"),
)
