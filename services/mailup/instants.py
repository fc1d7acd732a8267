"""How instants are written in results (specification §9, no. 14)."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def describe_instant(at: datetime | None, zone: ZoneInfo) -> str:
    """Return an instant as `dd/MM/yyyy HH.mm.ss` of a time zone; None is empty."""
    return at.astimezone(zone).strftime("%d/%m/%Y %H.%M.%S") if at is not None else ""
