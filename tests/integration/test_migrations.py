"""Migrations lead from each schema to the next, and to the tables that the program declares."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select

import db
from audience.accounts import add_account
from audience.history import HistoryKind, Subject, record_status
from audience.lists import add_group, add_list, find_list
from audience.status_rules import SUBSCRIBE, UNSUBSCRIBE, Channel, Reason, State
from audience.subscriptions import Cause, ProfileChange, change_state, parse_address
from db.engine import Database
from db.leases import name_owner
from db.migration import is_current, migrate
from db.tables import account, account_counter, api_user, export_run, history, metadata
from jobs.export_runs import run_next_export
from jobs.exports import ExportSettings, add_export, request_run
from jobs.storage import Storage

LATEST_BUT_ONE = "0001"


def _go_back(database: Database, revision: str = LATEST_BUT_ONE) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(db.__file__).parent / "migrations"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_migrated_tables_are_the_declared_ones(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_what_an_older_database_told_is_told_as_before(database: Database) -> None:
    with database.write() as connection:
        owner = add_account(connection, 1, password="secret")
        mailing = add_list(connection, owner.id, "News")
        group = add_group(connection, mailing, "Red")
        address = parse_address(mailing, email="ada@example.com")
        profile = ProfileChange({1: "Ada"}, [group.number])
        change_state(connection, mailing, address, SUBSCRIBE, Cause("page"), profile)
        change_state(connection, mailing, address, UNSUBSCRIBE, Cause("page", Reason.LINK, actor="192.0.2.1"))
    statuses = _statuses(database)
    with database.write() as connection:
        # That a subscription was removed an older database cannot tell.
        subject = Subject(owner.id, 1, mailing.id)
        record_status(connection, subject, Channel.EMAIL, State.PENDING, None, Cause("soap"), datetime.now(UTC))
    _go_back(database)
    migrate(database)
    assert _statuses(database) == statuses
    with database.read() as connection:
        assert {row.kind for row in connection.execute(select(history))} == {HistoryKind.STATUS}
        users = connection.execute(select(api_user.c.name, api_user.c.number).order_by(api_user.c.number)).all()
        assert [tuple(user) for user in users] == [("m1", 1), ("a1", 2)]
        secret_key = connection.execute(select(account.c.secret_key)).scalar_one()
        assert len(bytes.fromhex(secret_key)) == 32
        assert find_list(connection, owner.id, 1).settings == {}
        # The next user of the account does not get a number twice.
        counter = account_counter.c.kind == "user"
        assert connection.execute(select(account_counter.c.value).where(counter)).scalar_one() == 2


def _statuses(database: Database) -> list[tuple[object, ...]]:
    columns = (history.c.id, history.c.recipient_id, history.c.list_id, history.c.channel, history.c.at)
    told = (history.c.old_status, history.c.new_status, history.c.reason_type, history.c.source)
    query = select(*columns, *told).where(history.c.kind == HistoryKind.STATUS).order_by(history.c.id)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_older_database_is_upgraded_and_keeps_its_rows(database: Database) -> None:
    with database.write() as connection:
        add_account(connection, 1, password="secret")
    _go_back(database)
    assert not is_current(database)
    assert not inspect(database.engine).has_table("access_key")
    migrate(database)
    assert is_current(database)
    assert inspect(database.engine).has_table("access_key")
    with database.read() as connection:
        assert connection.execute(select(account.c.number)).scalars().all() == [1]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_an_export_whose_file_has_its_name_is_delivered_after_the_upgrade(
    database: Database, storage: Storage, state: str
) -> None:
    with database.write() as connection:
        owner = add_account(connection, 7, password="secret")
        export_id = add_export(connection, owner, "unsubscribers", ExportSettings(folder="export/daily"))
        run_id = request_run(connection, export_id)
        request_run(connection, export_id)
        named = {"state": state, "file_name": "a.csv", "rows": 1, "started_at": datetime(2026, 1, 1, tzinfo=UTC)}
        connection.execute(export_run.update().where(export_run.c.id == run_id).values(**named, attempts=1))
    _go_back(database, "0003")
    (storage.exports / f"{run_id}.ready").write_text("written before")
    migrate(database)
    with database.write() as connection:
        runs = connection.execute(select(export_run).order_by(export_run.c.id)).all()
        assert [run.files for run in runs] == [["export/daily/a.csv"], None]
        connection.execute(export_run.delete().where(export_run.c.id != run_id))
        connection.execute(export_run.update().values(lease_owner="elsewhere:1:0", lease_until=runs[0].started_at))
    assert run_next_export(database, storage, name_owner())
    folder = storage.home(7) / "export" / "daily"
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a.csv", "written before")]
    assert list(storage.exports.iterdir()) == []
