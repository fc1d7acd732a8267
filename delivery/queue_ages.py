"""How long people have waited in the queues of sendings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from db.tables import delivery
from delivery.queue import DeliveryState


def waiting_since(connection: Connection, sending_ids: Sequence[int]) -> dict[int, datetime]:
    """Return since when somebody waits in the queues of some sendings, by internal id, where somebody does."""
    waiting = (delivery.c.sending_id.in_(sending_ids), delivery.c.state == int(DeliveryState.WAITING))
    query = select(delivery.c.sending_id, func.min(delivery.c.due_at)).where(*waiting)
    rows = connection.execute(query.group_by(delivery.c.sending_id))
    return {row[0]: row[1] for row in rows}
