"""What every door of the web application works on."""

from __future__ import annotations

from dataclasses import dataclass

from db.engine import Database
from jobs.storage import Storage


@dataclass(frozen=True, slots=True)
class Resources:
    """The database and the files of this server."""

    database: Database
    storage: Storage
