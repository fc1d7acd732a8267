"""What is due for an account that is not active waits, and what is due for the others does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from export_world import make_world
from partner_servers import Partner, sftp_partner
from sqlalchemy import select
from transfer_world import World

from audience.accounts import ACCOUNT_STATES, AccountState, set_account_state
from db.engine import Database
from db.tables import export_run, schedule
from jobs.schedules import Subject, enqueue_due, set_schedule
from jobs.storage import Storage
from jobs.transfers import enqueue_deliveries

CLOSED = [state for state in ACCOUNT_STATES if state != "active"]
ROWS = b"email\nann@example.com\n"


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    with sftp_partner(tmp_path_factory.mktemp("partner")) as partner:
        yield partner


def set_state(database: Database, account_id: int, state: AccountState) -> None:
    with database.write() as connection:
        set_account_state(connection, account_id, state)


@pytest.mark.parametrize("subject", ["export", "transfer"])
def test_due_times_of_closed_accounts_are_missed_ones(
    database: Database, storage: Storage, sftp: Partner, subject: Subject
) -> None:
    world = World.make(database, storage)
    if subject == "export":
        world.add_delivery(sftp.access, "in")
        subject_id = 1
    else:
        subject_id = world.add_fetch(sftp.access, "out")
    rule = {"kind": "interval", "minutes": 60}
    now = datetime.now(UTC)
    with database.write() as connection:
        set_schedule(connection, world.account.id, subject, subject_id, rule, time_zone="UTC", missed="last")
        connection.execute(schedule.update().values(since=now - timedelta(hours=5)))
    for state in CLOSED:
        set_state(database, world.account.id, state)
        assert enqueue_due(database, now) == 0
    set_state(database, world.account.id, "active")
    assert enqueue_due(database, now) == 1


def test_runs_of_transfers_wait_until_the_account_is_active(
    database: Database, storage: Storage, sftp: Partner
) -> None:
    world = World.make(database, storage)
    (sftp.folder("nightly") / "people.csv").write_bytes(ROWS)
    run_id = world.request(world.add_fetch(sftp.access, "nightly"))
    for state in CLOSED:
        set_state(database, world.account.id, state)
        world.work_off()
        assert (world.load(run_id).state, world.imports()) == ("queued", [])
    set_state(database, world.account.id, "active")
    world.work_off()
    assert (world.load(run_id).state, len(world.imports())) == ("completed", 1)


def test_deliveries_wait_until_the_account_is_active(database: Database, storage: Storage, sftp: Partner) -> None:
    world = World.make(database, storage)
    world.add_delivery(sftp.access, "in")
    world.complete_export("a.csv", ROWS)
    set_state(database, world.account.id, "suspended")
    assert enqueue_deliveries(database) == 0
    set_state(database, world.account.id, "active")
    assert enqueue_deliveries(database) == 1


def test_runs_of_exports_wait_until_the_account_is_active(database: Database, storage: Storage) -> None:
    closed, other = make_world(database, storage, 7), make_world(database, storage, 8)
    runs = [world.request(world.add_export("unsubscribers")) for world in (closed, other)]
    set_state(database, closed.account.id, "expired")
    other.work()
    query = select(export_run.c.state).order_by(export_run.c.id)
    with database.read() as connection:
        assert list(connection.execute(query).scalars()) == ["queued", "completed"]
    set_state(database, closed.account.id, "active")
    closed.work()
    assert [closed.run(run_id).state for run_id in runs] == ["completed", "completed"]


def test_a_run_whose_worker_died_waits_too(database: Database, storage: Storage) -> None:
    world = make_world(database, storage)
    run_id = world.request(world.add_export("unsubscribers"))
    gone = datetime.now(UTC) - timedelta(seconds=1)
    world.change_run(run_id, state="running", lease_owner="elsewhere:1:00", lease_until=gone, attempts=1)
    set_state(database, world.account.id, "inactive")
    world.work()
    assert world.run(run_id).state == "running"
    set_state(database, world.account.id, "active")
    world.work()
    assert world.run(run_id).state == "completed"
