"""Signs of life: each process of a role writes down, every few seconds, that it is there."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from db.functions import insert_into
from db.tables import heartbeat


def beat(connection: Connection, role: str, owner: str) -> None:
    """Record that a process is alive in a role; within a writing transaction."""
    now = datetime.now(UTC)
    insert = insert_into(connection, heartbeat).values(role=role, owner=owner, at=now)
    connection.execute(
        insert.on_conflict_do_update(index_elements=[heartbeat.c.role, heartbeat.c.owner], set_={"at": now})
    )


def stop_beating(connection: Connection, role: str, owner: str) -> None:
    """Record that a process has left a role; within a writing transaction."""
    connection.execute(heartbeat.delete().where(heartbeat.c.role == role, heartbeat.c.owner == owner))
