"""Limits of single domains, as operators set them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, select

from db.functions import insert_into
from db.tables import domain_limit
from delivery.domain_gate import DomainLimit


def read_limits(connection: Connection, default: DomainLimit) -> dict[str, DomainLimit]:
    """Return the limits by domain; what is not set for a domain is as for all."""
    query = select(domain_limit.c.domain, domain_limit.c.connections, domain_limit.c.per_minute)
    return {
        domain: DomainLimit(
            default.connections if connections is None else connections,
            default.per_minute if per_minute is None else per_minute,
        )
        for domain, connections, per_minute in connection.execute(query)
    }


def list_limits(connection: Connection) -> Sequence[Row[str, int | None, int | None]]:
    """Return `domain`, `connections` and `per_minute` of each domain with limits of its own; None: as for all."""
    query = select(domain_limit.c.domain, domain_limit.c.connections, domain_limit.c.per_minute)
    return connection.execute(query.order_by(domain_limit.c.domain)).all()


def set_limit(connection: Connection, domain: str, *, connections: int | None, per_minute: int | None) -> None:
    """Set the limits of a domain, replacing earlier ones; None: as for all."""
    values = {"connections": connections, "per_minute": per_minute}
    insert = insert_into(connection, domain_limit).values(domain=domain.lower(), **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[domain_limit.c.domain], set_=values))


def remove_limit(connection: Connection, domain: str) -> bool:
    """Treat a domain as all others again; False when it had no limits of its own."""
    here = domain_limit.c.domain == domain.lower()
    return connection.execute(delete(domain_limit).where(here)).rowcount == 1
