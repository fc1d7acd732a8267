"""Starts imports that were prepared before: one of them, or all of an account (specification §2.5)."""

from __future__ import annotations

from sqlalchemy import Connection

from audience.accounts import Account
from audience.lists import MailingList, lists_of
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import import_run
from jobs.queue import UNFINISHED, fail_prepared, prepared_imports, queue_prepared
from services.mailup.import_request import (
    BUSY_SAME_LIST,
    SOURCE,
    UNKNOWN_LIST,
    Started,
    Target,
    check_idle,
    find_process,
    find_target,
    lock_account,
)
from services.mailup.results import Refusal

UNKNOWN_PROCESS = -603
NOT_STARTED = -604


def start_all_prepared(database: Database, account: Account) -> list[Started]:
    """Put all prepared imports of an account into the queue, to be done one after the other in the order of their ids.

    Those into a list that has been deleted meanwhile fail.

    Raises:
        Refusal: there are some, and another import is running; nothing was started.
    """

    def start() -> list[Started]:
        with database.write() as connection:
            lock_account(connection, account.id)
            lists = {mailing.id: mailing for mailing in lists_of(connection, account.id)}
            prepared = prepared_imports(connection, account.id, SOURCE)
            if not prepared:
                return []
            check_idle(connection, account.id, {item.list_id for item in prepared})
            return _start_all(connection, account.id, lists)

    return retry_on_conflict(start)


def _start_all(connection: Connection, account_id: int, lists: dict[int, MailingList]) -> list[Started]:
    gone = import_run.c.list_id.not_in(list(lists))
    reason = {"code": "unknown-list", "text": "The list was deleted before the import was started."}
    failed = [
        Started(item.number, 0, UNKNOWN_LIST) for item in fail_prepared(connection, account_id, SOURCE, gone, **reason)
    ]
    queued = [
        Started(item.number, lists[item.list_id].number) for item in queue_prepared(connection, account_id, SOURCE)
    ]
    return sorted(failed + queued, key=lambda started: started.process)


def start_one_prepared(database: Database, account: Account, target: Target, number: int) -> None:
    """Put a prepared import into the queue.

    Raises:
        Refusal: the list is unknown; it has no such import; it is at work or ended already; another one is running.
    """

    def start() -> None:
        with database.write() as connection:
            lock_account(connection, account.id)
            mailing = find_target(connection, account.id, target)
            _check_prepared(connection, mailing, number)
            check_idle(connection, account.id, {mailing.id})
            queue_prepared(connection, account.id, SOURCE, import_run.c.number == number)

    retry_on_conflict(start)


def _check_prepared(connection: Connection, mailing: MailingList, number: int) -> None:
    found = find_process(connection, mailing, number)
    if found is None:
        raise Refusal(UNKNOWN_PROCESS)
    if found.state in UNFINISHED:
        raise Refusal(BUSY_SAME_LIST)
    if found.state != "prepared" or found.source != SOURCE:
        raise Refusal(NOT_STARTED)
