"""Numbers that callers see: small integers counted from 1 per account and kind."""

from __future__ import annotations

from sqlalchemy import Connection

from db.functions import insert_into
from db.tables import account_counter


def take_number(connection: Connection, account_id: int, kind: str) -> int:
    """Return the next number of a kind ("list", "group", "import", "user", …) in an account, never given out before."""
    insert = insert_into(connection, account_counter).values(account_id=account_id, kind=kind, value=1)
    taken = insert.on_conflict_do_update(
        index_elements=[account_counter.c.account_id, account_counter.c.kind],
        set_={"value": account_counter.c.value + 1},
    ).returning(account_counter.c.value)
    return int(connection.execute(taken).scalar_one())
