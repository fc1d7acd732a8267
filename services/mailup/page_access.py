"""Which addresses may call the pages under `/frontend/` that are not public (specification §3, IP restriction)."""

from __future__ import annotations

from sqlalchemy import Connection

from audience.service_access import AccessRefused, Gate, check_gate


def is_admitted(connection: Connection, gate: Gate, address: str) -> bool:
    """Tell whether the pages of an account are enabled and active, and this caller's address may call them."""
    try:
        check_gate(connection, gate, address)
    except AccessRefused:
        return False
    return True
