"""What every door of the web application works on."""

from __future__ import annotations

from dataclasses import dataclass, field

from db.engine import Database
from jobs.storage import Storage
from services.throttle import LoginThrottle, Places

LARGE_BODIES = 2
"""Large bodies that one process holds in memory at once."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The database and the files of this server, and what this process shares out among callers."""

    database: Database
    storage: Storage
    logins: LoginThrottle = field(default_factory=LoginThrottle)
    large_bodies: Places = field(default_factory=lambda: Places(LARGE_BODIES))
