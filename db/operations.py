"""What the running roles tell about themselves."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from db.schema import metadata
from db.types import UtcDateTime

# One row per role and process, renewed every few seconds; /readyz and `doctor` look at the newest.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("role", String, primary_key=True),
    Column("owner", String, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
