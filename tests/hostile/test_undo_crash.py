"""An import's undoing that is killed, or meets people who change something meanwhile, loses and undoes nothing more."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import exists, insert, select

import jobs.import_undo
from audience.accounts import add_account
from audience.errors import UnknownRecipient
from audience.history import Cause
from audience.lists import MailingList, add_group, add_list, groups_of
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Channel, Reason
from audience.subscriptions import Address, change_state, update_profile
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import group_member, history, import_run, recipient, subscription
from exchange.profiles import Profile
from exchange.rows import SourceRow
from jobs.import_chunk import Chunk, ImportPlan
from jobs.import_undo import undo_import

PEOPLE = 400
"""Half of them are known before the import."""
CHUNK = 20
PAGE = Cause("page", Reason.LINK)
_fork = multiprocessing.get_context("fork")


def address(person: int) -> Address:
    return Address(Channel.EMAIL, f"person{person}@example.com")


def set_up(database: Database) -> MailingList:
    with database.write() as connection:
        owner = add_account(connection, 1, password="secret")
        mailing = add_list(connection, owner.id, "News")
        group = add_group(connection, mailing, "Red")
        for person in range(0, PEOPLE, 2):
            recipient_id = change_state(connection, mailing, address(person), SUBSCRIBE, PAGE).recipient_id
            fields = {1: f"value {person}"}
            update_profile(connection, mailing, recipient_id, fields=fields, groups=[group.number], cause=PAGE)
    return mailing


def import_everybody(database: Database, mailing: MailingList) -> int:
    """Everybody leaves, gets a new value and loses his groups."""
    facts: dict[str, Any] = dict.fromkeys(("source", "file_name", "spool_name", "sha256"), "x")
    facts |= {"account_id": mailing.account_id, "list_id": mailing.id, "number": 1, "profile": {}, "size": 1}
    facts |= {"state": "completed", "counters": {}, "created_at": datetime.now(UTC)}
    empty: dict[str, Any] = dict.fromkeys(SourceRow._fields, "") | {"line": 1, "fields": {"1": "new"}, "status": "0"}
    with database.write() as connection:
        import_id = connection.execute(insert(import_run).values(**facts).returning(import_run.c.id)).scalar_one()
        groups = {group.number: group for group in groups_of(connection, [mailing.id])}
        profile = Profile(status="column", replace_groups=True)
        chunk = Chunk(
            ImportPlan(mailing.account_id, import_id, "ftp", profile, mailing, {mailing.number: mailing}, groups)
        )
        chunk.add(SourceRow(**(empty | {"email": address(person).value})) for person in range(PEOPLE))
        chunk.merge(connection, datetime.now(UTC))
    return int(import_id)


def snapshot(database: Database) -> list[list[tuple[Any, ...]]]:
    """Everything about people but when they changed last."""
    people = select(recipient.c.id, recipient.c.email, recipient.c.mobile, recipient.c.fields).order_by(recipient.c.id)
    # Taking a change back is a change too, so the instant of the last one differs.
    told = [column for column in subscription.c if column.name != "changed_at"]
    statuses = select(*told).order_by(subscription.c.recipient_id)
    groups = select(group_member).order_by(group_member.c.recipient_id)
    with database.read() as connection:
        return [[tuple(row) for row in connection.execute(query)] for query in (people, statuses, groups)]


def undo(url: str, import_id: int) -> None:
    """The body of the process that gets killed."""
    jobs.import_undo.CHUNK_PEOPLE = CHUNK
    undo_import(Database(url), import_id, "operator")
    os._exit(0)


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.torture)])
def test_a_killed_undo_is_begun_again(database: Database, kills: int) -> None:
    mailing = set_up(database)
    before, chance = snapshot(database), random.Random()
    import_id = import_everybody(database, mailing)
    database.close()
    for _ in range(kills):
        process = _fork.Process(target=undo, args=(database.url, import_id))
        process.start()
        time.sleep(chance.uniform(0.02, 0.3))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(120)
        database.close()
    undo_import(database, import_id, "operator")
    assert snapshot(database) == before
    assert undo_import(database, import_id, "operator").did_nothing
    query = select(history.c.recipient_id, history.c.kind).where(history.c.source == "undo")
    with database.read() as connection:
        rows = connection.execute(query).all()
    assert len(rows) == len(set(rows)) == 3 * PEOPLE // 2


def test_people_who_change_something_meanwhile_have_their_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.import_undo, "CHUNK_PEOPLE", CHUNK)
    mailing = set_up(database)
    import_id = import_everybody(database, mailing)
    wishes: dict[int, int] = {}
    errors: list[Exception] = []

    def change_people(first: int) -> None:
        # Who was added by the import may be gone already, and cannot leave then.
        for person in random.Random(first).sample(range(first, PEOPLE, 4), 40):
            wish = SUBSCRIBE if person % 3 else UNSUBSCRIBE
            try:
                retry_on_conflict(lambda person=person, wish=wish: change(database, mailing, person, wish))  # type: ignore[misc]
            except UnknownRecipient:
                continue
            except Exception as error:
                errors.append(error)
                return
            wishes[person] = 1 if wish is SUBSCRIBE else 3

    threads = [threading.Thread(target=change_people, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    undo_import(database, import_id, "operator")
    for thread in threads:
        thread.join()
    undo_import(database, import_id, "operator")
    assert errors == []
    with database.read() as connection:
        query = select(recipient.c.email, subscription.c.status).join(
            subscription, subscription.c.recipient_id == recipient.c.id
        )
        found = {row.email: row.status for row in connection.execute(query)}
        owner = exists().where(recipient.c.id == subscription.c.recipient_id)
        assert connection.execute(select(subscription).where(~owner)).all() == []
    subscribed = {person for person, wish in wishes.items() if wish == 1}
    assert {person for person in subscribed if found.get(address(person).value) != 1} == set()


def change(database: Database, mailing: MailingList, person: int, wish: Any) -> None:
    with database.write() as connection:
        change_state(connection, mailing, address(person), wish, PAGE)
