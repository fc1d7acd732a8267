"""Takes away what is in deleted lists, a batch at a time, so that nobody waits long for it.

Recipients stay, with whatever keeps them unsubscribed elsewhere; history, imports, sendings and what came of these stay
too, and so does the list's row, by which they name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Column, ColumnElement, Connection, Delete, Update, delete, func, select

from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import (
    group_member,
    list_group,
    mailing_list,
    message,
    message_file,
    message_template,
    outbox,
    recipient_filter,
    sending,
    subscription,
)
from delivery.sendings import OPEN_STATES

log = structlog.get_logger()

GRACE = timedelta(hours=1)
"""After its deletion, before a list is emptied: whoever had found it then has done his work meanwhile."""
BATCH_ROWS = 5_000
_EMPTIED = {"emptied": True}
"""Settings of a list that has been emptied, so that it is not looked into again."""


def empty_deleted_lists(database: Database, grace: timedelta = GRACE) -> int:
    """Empty the lists whose deletion is long enough ago; return how many there were.

    A list in which a sending has not ended yet is left for another time.

    Args:
        database: written in many short transactions; what is cut off goes on the next time.
        grace: how long ago that is.
    """
    with database.read() as connection:
        lists = _find_lists(connection, datetime.now(UTC) - grace)
        groups = select(list_group.c.id).where(list_group.c.list_id.in_(lists))
        group_ids = connection.execute(groups).scalars().all()
    if not lists:
        return 0
    removed = sum(remove_along(database, key, condition) for key, condition in _contents(lists, group_ids))
    # The number of a message that is gone may be given to another one, which is not what these have sent.
    _work_along(database, sending.c.id, _has_message(lists), sending.update().values(message_id=None))
    retry_on_conflict(partial(_remove_rest, database, lists))
    log.info("deleted_lists_emptied", lists=len(lists), rows=removed)
    return len(lists)


def _find_lists(connection: Connection, before: datetime) -> list[int]:
    goes_on = sending.c.state.in_(OPEN_STATES) & (sending.c.list_id == mailing_list.c.id)
    query = select(mailing_list.c.id, mailing_list.c.settings).where(
        mailing_list.c.deleted_at <= before, ~select(sending.c.id).where(goes_on).exists()
    )
    return [row.id for row in connection.execute(query) if row.settings != _EMPTIED]


def _contents(lists: Sequence[int], group_ids: Sequence[int]) -> Iterator[tuple[Column[int], ColumnElement[bool]]]:
    """Yield what there may be much of: the first column of its table's key, and which rows."""
    yield subscription.c.recipient_id, subscription.c.list_id.in_(lists)
    yield group_member.c.recipient_id, group_member.c.group_id.in_(group_ids)
    yield outbox.c.id, outbox.c.list_id.in_(lists) & (outbox.c.state == "waiting")
    yield message_file.c.id, message_file.c.message_id.in_(select(message.c.id).where(message.c.list_id.in_(lists)))


def _has_message(lists: Sequence[int]) -> ColumnElement[bool]:
    return sending.c.message_id.in_(select(message.c.id).where(message.c.list_id.in_(lists)))


def remove_along(database: Database, key: Column[int], condition: ColumnElement[bool]) -> int:
    """Remove rows in the order of their key, in many short transactions; return how many.

    Args:
        database: to remove them from.
        key: the first column of their table's key.
        condition: which rows.
    """
    return _work_along(database, key, condition, delete(key.table))


def _work_along(
    database: Database, key: Column[int], condition: ColumnElement[bool], statement: Update | Delete
) -> int:
    touched = done = 0
    while (end := _find_end(database, key, condition, done)) is not None:
        some = statement.where(condition, key.between(done + 1, end))
        touched += retry_on_conflict(partial(_execute, database, some))
        done = end
    return touched


def _find_end(database: Database, key: Column[int], condition: ColumnElement[bool], done: int) -> int | None:
    """Return the last key of the next batch, None when there is no further one."""
    batch = select(key.label("key")).where(condition, key > done).order_by(key).limit(BATCH_ROWS).subquery()
    with database.read_once() as connection:
        end: int | None = connection.execute(select(func.max(batch.c.key))).scalar_one()
    return end


def _execute(database: Database, statement: Update | Delete) -> int:
    with database.write() as connection:
        return connection.execute(statement).rowcount


def _remove_rest(database: Database, lists: Sequence[int]) -> None:
    with database.write() as connection:
        for table in (list_group, message_template, message, recipient_filter):
            connection.execute(delete(table).where(table.c.list_id.in_(lists)))
        emptied = mailing_list.update().where(mailing_list.c.id.in_(lists)).values(settings=_EMPTIED)
        connection.execute(emptied)
