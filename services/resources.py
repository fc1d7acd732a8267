"""What every door of the web application works on."""

from __future__ import annotations

from dataclasses import dataclass, field

from db.engine import Database
from jobs.storage import Storage
from services.throttle import LoginThrottle, Places

LARGE_TEXTS = 4
"""Calls whose large text one process keeps on the disk at once."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The database and the files of this server, and what this process shares out among callers."""

    database: Database
    storage: Storage
    logins: LoginThrottle = field(default_factory=LoginThrottle)
    large_texts: Places = field(default_factory=lambda: Places(LARGE_TEXTS))
