"""Up to which instant the changes in a database are complete, for those who want each change exactly once.

Every writer takes the date of a change from the clock inside the transaction that makes it. A change dated before the
start of the oldest transaction under way is therefore either visible or will never be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

CLOCK_MARGIN = timedelta(seconds=2)
"""By how much the clocks of the machines on one PostgreSQL may differ."""
READING = "listbridge reading"
"""The `application_name`, on PostgreSQL, of transactions that write nothing, however long they take."""

# The time of the statement, not of the scan: what begins during the scan is later.
_OLDEST = f"""
SELECT LEAST(statement_timestamp(), MIN(xact_start))
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
AND xact_start IS NOT NULL AND application_name <> '{READING}'
"""


def settled_until(connection: Connection) -> datetime:
    """Return an instant before which no change can be dated that is not visible to transactions that begin now.

    On PostgreSQL that is the start of the oldest transaction of the database that may write, less `CLOCK_MARGIN`; the
    server tells it of the transactions of the same user.

    Args:
        connection: on SQLite in a writing transaction, which has the write lock.
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    # Within a transaction the server repeats its first answer otherwise.
    connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
    oldest: datetime = connection.exec_driver_sql(_OLDEST).scalar_one()
    return oldest.astimezone(UTC) - CLOCK_MARGIN
