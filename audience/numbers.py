"""Numbers that callers see: small integers counted from 1 per account and kind."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from db.tables import account_counter


def take_number(connection: Connection, account_id: int, kind: str) -> int:
    """Return the next number of a kind ("list", "group", "import", "user", …) in an account, never given out before."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(account_counter).values(account_id=account_id, kind=kind, value=1)
    taken = insert.on_conflict_do_update(
        index_elements=[account_counter.c.account_id, account_counter.c.kind],
        set_={"value": account_counter.c.value + 1},
    ).returning(account_counter.c.value)
    return int(connection.execute(taken).scalar_one())
