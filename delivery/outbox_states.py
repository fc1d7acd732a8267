"""Gives the mails of the outbox and the notices another chance, when whatever kept them from going out is mended."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, exists, or_, true

from db.tables import notice, outbox


def retry_mails(connection: Connection, account_id: int | None = None) -> int:
    """Have all mails that failed, or that wait for their next try, sent now; return how many these are.

    A mail that was asked for again since it failed stays failed.

    Args:
        connection: in a writing transaction.
        account_id: only those of this account.
    """
    count = 0
    for table, stands_alone in ((outbox, _stands_alone()), (notice, true())):
        columns = table.c
        failed = (columns.state == "failed") & stands_alone
        put_off = (columns.state == "waiting") & columns.due_at.is_not(None)
        anew = {"state": "waiting", "due_at": None, "started_at": None, "finished_at": None, "attempts": 0}
        update = table.update().where(or_(failed, put_off)).values(**anew)
        if account_id is not None:
            update = update.where(columns.account_id == account_id)
        count += connection.execute(update).rowcount
    return count


def _stands_alone() -> ColumnElement[bool]:
    """Return the condition that the same mail neither waits nor was asked for later."""
    other = outbox.alias("other")
    same = (other.c[name] == outbox.c[name] for name in ("recipient_id", "list_id", "kind"))
    return ~exists().where(*same, other.c.id != outbox.c.id, or_(other.c.state == "waiting", other.c.id > outbox.c.id))
