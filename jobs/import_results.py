"""What is known of imports: their states and counters, for listings and for whoever waits for one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, true

from db.merge import COUNT_NAMES
from db.tables import account, import_run, mailing_list


class UnknownImport(Exception):
    """There is no import with this id."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of an import."""

    id: int
    number: int
    account_number: int
    list_number: int
    source: str
    file_name: str
    state: str
    counters: dict[str, Any]
    error_code: str | None
    error_text: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def empty_counters() -> dict[str, Any]:
    """Return the counters of an import before its first row."""
    return {"total": 0, **dict.fromkeys(COUNT_NAMES, 0), "refused": {}, "noted": {}}


def import_result(connection: Connection, import_id: int) -> ImportResult:
    """Return what is known of an import.

    Raises:
        UnknownImport: there is none with this id.
    """
    found = _results(connection, import_run.c.id == import_id)
    if not found:
        raise UnknownImport(f"There is no import {import_id}.")
    return found[0]


def list_imports(connection: Connection, account_id: int | None = None, *, limit: int = 100) -> list[ImportResult]:
    """Return the newest imports, of one account or of all, newest first."""
    condition = import_run.c.account_id == account_id if account_id is not None else true()
    return _results(connection, condition, limit=limit)


def _results(connection: Connection, condition: ColumnElement[bool], limit: int = 1) -> list[ImportResult]:
    query = (
        select(
            import_run.c.id,
            import_run.c.number,
            account.c.number.label("account_number"),
            mailing_list.c.number.label("list_number"),
            import_run.c.source,
            import_run.c.file_name,
            import_run.c.state,
            import_run.c.counters,
            import_run.c.error_code,
            import_run.c.error_text,
            import_run.c.created_at,
            import_run.c.started_at,
            import_run.c.finished_at,
        )
        .join(account, account.c.id == import_run.c.account_id)
        .join(mailing_list, mailing_list.c.id == import_run.c.list_id)
        .where(condition)
        .order_by(import_run.c.id.desc())
        .limit(limit)
    )
    results = [ImportResult(**row) for row in connection.execute(query).mappings()]
    return [replace(result, counters=empty_counters() | result.counters) for result in results]
