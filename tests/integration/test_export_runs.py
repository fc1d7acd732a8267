"""Exports from the request to the file in the home, and what a crash at any point leaves."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from audience.accounts import Account, add_account, load_account
from audience.lists import add_list, lists_of, set_field
from audience.status_rules import Channel, Status
from db.engine import Database
from db.leases import RunTable, name_owner
from db.tables import export, export_run, recipient, schedule, subscription
from exchange.export_csv import CsvFormat
from jobs.export_runs import run_next_export
from jobs.exports import (
    ExportError,
    ExportSettings,
    UnknownExport,
    add_export,
    exports_of,
    find_export,
    request_run,
)
from jobs.schedules import enqueue_due
from jobs.storage import Storage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAIN: dict[str, Any] = {"columns": ("email",), "csv": CsvFormat(header=False), "name_pattern": "{type}.csv"}


@pytest.fixture
def account(database: Database) -> Account:
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        add_list(connection, account.id, "First")
        add_list(connection, account.id, "Second")
    return account


def unsubscribe(database: Database, name: str, at: datetime, *, list_number: int = 1) -> None:
    with database.write() as connection:
        lists = {mailing.number: mailing.id for mailing in lists_of(connection, 1)}
        values = {"account_id": 1, "email": f"{name}@example.com", "fields": {"2": name.title()}}
        inserted = connection.execute(recipient.insert().values(**values, created_at=NOON, updated_at=NOON))
        assert inserted.inserted_primary_key is not None
        connection.execute(
            subscription.insert().values(
                recipient_id=inserted.inserted_primary_key[0],
                list_id=lists[list_number],
                channel=Channel.EMAIL,
                status=Status.UNSUBSCRIBED,
                subscribed_at=NOON - timedelta(days=30),
                changed_at=at,
                unsubscribed_at=at,
                reason_type=2,
                reason_subtype=0,
                source="page",
            )
        )


def add(database: Database, account: Account, at: str | None = None, **settings: Any) -> int:
    with database.write() as connection:
        return add_export(connection, account, "unsubscribers", ExportSettings(**settings), at)


def request(database: Database, export_id: int) -> int:
    with database.write() as connection:
        return request_run(connection, export_id)


def run_all(database: Database, storage: Storage) -> None:
    owner = name_owner()
    while run_next_export(database, storage, owner):
        pass


def load_run(database: Database, run_id: int) -> Any:
    with database.read() as connection:
        return connection.execute(select(export_run).where(export_run.c.id == run_id)).one()


def change_run(database: Database, run_id: int, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(export_run.update().where(export_run.c.id == run_id).values(**values))


def files(folder: Path) -> dict[str, str]:
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes().decode() for path in sorted(folder.iterdir()) if path.is_file()}


def exported(storage: Storage) -> dict[str, str]:
    return files(storage.home(7) / "export")


def test_a_requested_export_lies_in_the_home(database: Database, storage: Storage, account: Account) -> None:
    unsubscribe(database, "anna", NOON)
    unsubscribe(database, "bruno", NOON, list_number=2)
    with database.write() as connection:
        set_field(connection, account.id, 2, "Nome")
    settings = {
        "columns": ("email", "list", "unsubscribed_at", "message", "reason_type", "reason_subtype", "field:2"),
        "headers": {"list": "idList", "unsubscribed_at": "OptOut_Date"},
        "csv": CsvFormat(time_zone="Europe/Rome"),
    }
    run_id = request(database, add(database, account, **settings))
    run_all(database, storage)
    found = load_run(database, run_id)
    due = found.due_at.astimezone(account.zone)
    assert (found.state, found.rows, found.attempts, found.lease_owner, found.error_text) == (
        "completed", 2, 1, None, None,
    )  # fmt: skip
    assert found.file_name == f"unsubscribers_{due:%Y%m%d%H%M%S}.csv"
    assert exported(storage) == {
        found.file_name: "email;idList;OptOut_Date;message;reason_type;reason_subtype;Nome\r\n"
        "anna@example.com;1;20260301T130000;;2;0;Anna\r\n"
        "bruno@example.com;2;20260301T130000;;2;0;Bruno\r\n"
    }
    assert files(storage.exports) == {}


def test_an_export_without_rows_gives_a_file_with_its_header(
    database: Database, storage: Storage, account: Account
) -> None:
    run_id = request(database, add(database, account, columns=("email", "field:9")))
    run_all(database, storage)
    assert list(exported(storage).values()) == ["email;field:9\r\n"]
    assert load_run(database, run_id).rows == 0


def test_filters_of_the_settings_count(database: Database, storage: Storage, account: Account) -> None:
    unsubscribe(database, "anna", NOON)
    unsubscribe(database, "bruno", NOON, list_number=2)
    for number, filters in enumerate(({"lists": (2,)}, {"exclude_lists": (2,)}, {"reasons": (8,)}, {"reasons": (20,)})):
        request(database, add(database, account, **{**PLAIN, "name_pattern": f"{number}.csv", **filters}))
    run_all(database, storage)
    anna, bruno = "anna@example.com\r\n", "bruno@example.com\r\n"
    assert exported(storage) == {"0.csv": bruno, "1.csv": anna, "2.csv": "", "3.csv": anna + bruno}


def test_daily_exports_hold_each_instant_once_over_the_clock_change(
    database: Database, storage: Storage, account: Account
) -> None:
    # In Rome, 29 March 2026 begins at 23:00 and ends at 22:00 by UTC.
    for name, at in {
        "saturday": "2026-03-28T22:59:59.999999",
        "sunday": "2026-03-28T23:00",
        "late": "2026-03-29T21:59:59.999999",
        "monday": "2026-03-29T22:00",
    }.items():
        unsubscribe(database, name, datetime.fromisoformat(at).replace(tzinfo=UTC))
    daily = {**PLAIN, "period": "previous-day", "name_pattern": "{date:yyyyMMddHHmmss}.csv"}
    add(database, account, "02:30", **daily)
    with database.write() as connection:
        connection.execute(schedule.update().values(since=datetime(2026, 3, 28, 12, tzinfo=UTC)))
    assert enqueue_due(database, datetime(2026, 3, 31, 12, tzinfo=UTC)) == 3
    run_all(database, storage)
    assert exported(storage) == {
        "20260329030000.csv": "saturday@example.com\r\n",
        "20260330023000.csv": "sunday@example.com\r\nlate@example.com\r\n",
        "20260331023000.csv": "monday@example.com\r\n",
    }


def test_a_requested_run_of_a_daily_export_is_about_yesterday(
    database: Database, storage: Storage, account: Account
) -> None:
    today = datetime.now(account.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    unsubscribe(database, "yesterday", today - timedelta(minutes=1))
    unsubscribe(database, "today", today + timedelta(seconds=1))
    run_id = request(database, add(database, account, "02:30", period="previous-day", **PLAIN))
    change_run(database, run_id, due_at=today + timedelta(hours=12), lease_until=NOON)
    run_all(database, storage)
    assert exported(storage) == {"unsubscribers.csv": "yesterday@example.com\r\n"}


def test_another_file_of_the_same_name_is_never_replaced(
    database: Database, storage: Storage, account: Account
) -> None:
    folder = storage.prepare_home(7) / "export"
    (folder / "unsubscribers.csv").write_text("the partner's own")
    unsubscribe(database, "anna", NOON)
    export_id = add(database, account, **PLAIN)
    runs = [request(database, export_id) for _ in range(2)]
    run_all(database, storage)
    anna = "anna@example.com\r\n"
    assert exported(storage) == {
        "unsubscribers.csv": "the partner's own",
        "unsubscribers-1.csv": anna,
        "unsubscribers-2.csv": anna,
    }
    assert [load_run(database, run_id).file_name for run_id in runs] == ["unsubscribers-1.csv", "unsubscribers-2.csv"]


def test_a_name_taken_after_it_was_recorded_is_left_to_its_file(
    database: Database, storage: Storage, account: Account
) -> None:
    run_id = request(database, add(database, account, **PLAIN))
    # As left by an owner that died before it could put the file into the home.
    change_run(database, run_id, state="running", attempts=1, files=["export/unsubscribers.csv"], rows=1)
    change_run(database, run_id, lease_owner="elsewhere:1:0", lease_until=NOON)
    (storage.exports / f"{run_id}.0.ready").write_text("finished before")
    (storage.prepare_home(7) / "export" / "unsubscribers.csv").write_text("another")
    run_all(database, storage)
    assert exported(storage) == {"unsubscribers.csv": "another", "unsubscribers-1.csv": "finished before"}
    assert load_run(database, run_id).file_name == "unsubscribers-1.csv"


def test_a_delivered_file_that_the_partner_took_away_does_not_come_back(
    database: Database, storage: Storage, account: Account
) -> None:
    run_id = request(database, add(database, account, **PLAIN))
    change_run(database, run_id, state="running", attempts=3, files=["export/unsubscribers.csv"], rows=1)
    change_run(database, run_id, lease_owner="elsewhere:1:0", lease_until=NOON)
    run_all(database, storage)
    assert exported(storage) == {}
    found = load_run(database, run_id)
    assert (found.state, found.rows, found.attempts) == ("completed", 1, 4)


def test_a_folder_below_export_is_made(database: Database, storage: Storage, account: Account) -> None:
    request(database, add(database, account, folder="export/daily/rome", **PLAIN))
    run_all(database, storage)
    assert files(storage.home(7) / "export" / "daily" / "rome") == {"unsubscribers.csv": ""}


class Meanwhile(threading.Event):
    """Does something the first time it is asked, which an export does at its first row."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self._actions = iter([action])

    def is_set(self) -> bool:
        for action in self._actions:
            action()
        return super().is_set()


def test_a_file_shows_one_state_of_the_database(database: Database, storage: Storage, account: Account) -> None:
    unsubscribe(database, "anna", NOON)
    unsubscribe(database, "bruno", NOON, list_number=2)
    request(database, add(database, account, **PLAIN))
    meanwhile = Meanwhile(lambda: unsubscribe(database, "later", NOON, list_number=2))
    assert run_next_export(database, storage, name_owner(), meanwhile)
    assert exported(storage) == {"unsubscribers.csv": "anna@example.com\r\nbruno@example.com\r\n"}


def test_a_run_that_another_process_took_over_is_left_to_it(
    database: Database, storage: Storage, account: Account
) -> None:
    unsubscribe(database, "anna", NOON)
    run_id = request(database, add(database, account, **PLAIN))
    meanwhile = Meanwhile(lambda: change_run(database, run_id, lease_owner="elsewhere:1:0"))
    assert run_next_export(database, storage, name_owner(), meanwhile)
    assert (exported(storage), files(storage.exports)) == ({}, {})
    found = load_run(database, run_id)
    assert (found.state, found.lease_owner, found.attempts) == ("running", "elsewhere:1:0", 1)


def test_a_run_at_work_when_the_worker_stops_goes_back_into_the_queue(
    database: Database, storage: Storage, account: Account
) -> None:
    unsubscribe(database, "anna", NOON)
    run_id = request(database, add(database, account, **PLAIN))
    stopping = threading.Event()
    stopping.set()
    for _restart in range(5):
        assert run_next_export(database, storage, name_owner(), stopping)
    found = load_run(database, run_id)
    assert (found.state, found.lease_owner, found.attempts) == ("queued", None, 0)
    assert (exported(storage), files(storage.exports)) == ({}, {})
    run_all(database, storage)
    assert exported(storage) == {"unsubscribers.csv": "anna@example.com\r\n"}


def fail_three_times(database: Database, storage: Storage, run_id: int) -> Iterator[str]:
    for _attempt in range(3):
        assert run_next_export(database, storage, name_owner())
        found = load_run(database, run_id)
        if found.state == "queued":
            assert not run_next_export(database, storage, name_owner())
            change_run(database, run_id, lease_until=NOON)
        yield found.state


def test_settings_that_have_become_unusable_fail_with_their_text(
    database: Database, storage: Storage, account: Account
) -> None:
    run_id = request(database, add(database, account, **PLAIN))
    with database.write() as connection:
        connection.execute(export.update().values(settings={"columns": ["nothing"]}))
    assert list(fail_three_times(database, storage, run_id)) == ["queued", "queued", "failed"]
    found = load_run(database, run_id)
    assert found.error_text.startswith("The export was begun 3 times and never came to an end. The last time: ")
    assert "'nothing' is not a column" in found.error_text
    assert (found.lease_owner, found.lease_until) == (None, None)
    assert files(storage.exports) == {}


def test_a_run_whose_process_died_three_times_is_given_up(
    database: Database, storage: Storage, account: Account
) -> None:
    export_id = add(database, account, **PLAIN)
    run_id, following = request(database, export_id), request(database, export_id)
    change_run(database, run_id, state="running", attempts=3, lease_owner="elsewhere:1:0", lease_until=NOON)
    (storage.exports / f"{run_id}.0123abcd.part").write_text("half a fi")
    run_all(database, storage)
    found = load_run(database, run_id)
    assert found.state == "failed"
    assert found.error_text.endswith("Each time the process that did it ended.")
    assert load_run(database, following).state == "completed"
    assert files(storage.exports) == {}


STEPS = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir"})


def run_until_step(url: str, storage: Storage, last: int) -> bool:
    """Run exports in a process of its own that dies at a step of its work; tell whether it got to the end."""
    child = os.fork()
    if child == 0:
        try:
            die_at_step(url, storage, last)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 0


def die_at_step(url: str, storage: Storage, last: int) -> None:
    steps = itertools.count(1)

    def step(*_event: object) -> None:
        if next(steps) == last:
            os._exit(9)

    database = Database(url)
    with database.read():  # what connecting opens is not counted
        pass
    event.listen(database.engine, "commit", step)
    sys.addaudithook(lambda name, _arguments: step() if name in STEPS else None)
    run_all(database, storage)
    os._exit(0)


def test_a_death_at_any_step_leaves_one_whole_file(
    database: Database, database_url: str, storage: Storage, account: Account
) -> None:
    names = [f"person{number}" for number in range(50)]
    for name in names:
        unsubscribe(database, name, NOON)
    whole = "".join(f"{name}@example.com\r\n" for name in names)
    export_id = add(database, account, **PLAIN)
    for step in itertools.count(1):
        run_id = request(database, export_id)
        database.close()
        ended = run_until_step(database_url, storage, step)
        assert set(exported(storage).values()) <= {whole}
        run_all(database, storage)
        found = load_run(database, run_id)
        assert (found.state, found.rows, step) == ("completed", len(names), step)
        assert list(exported(storage).values()) == [whole] * step
        assert files(storage.exports) == {}
        if ended:
            break
    assert step > 10


def test_exports_are_listed_and_found(database: Database, storage: Storage, account: Account) -> None:
    settings = ExportSettings(lists=(1,), exclude_lists=(2,), csv=CsvFormat(separator="|"))
    with database.write() as connection:
        export_id = add_export(connection, account, "unsubscribers", settings, "02:30")
        other = add_account(connection, 8, password="a long password")
        (found,) = exports_of(connection, account.id)
        assert found == find_export(connection, export_id)
        assert (found.settings, found.at, found.type) == (settings, "02:30", "unsubscribers")
        assert exports_of(connection, load_account(connection, other.id).id) == []
        with pytest.raises(UnknownExport, match="no export 99"):
            request_run(connection, 99)


@pytest.mark.parametrize(
    ("type", "settings", "at", "text"),
    [
        ("people", {}, None, "'people' is not a type of export"),
        ("unsubscribers", {}, "25:00", "HH:MM"),
        ("unsubscribers", {"lists": (1, 3)}, None, "There is no list 3 in account 7"),
        ("unsubscribers", {"exclude_lists": (4,)}, None, "There is no list 4 in account 7"),
    ],
)
def test_refuses_an_export_that_could_not_run(
    sqlite_url: str, type: Any, settings: dict[str, Any], at: str | None, text: str
) -> None:
    database = Database(sqlite_url)
    with database.write() as connection:
        account = add_account(connection, 7, password="a long password")
        add_list(connection, account.id, "First")
        with pytest.raises(ExportError, match=text):
            add_export(connection, account, type, ExportSettings(**settings), at)
    database.close()


def test_two_owners_never_get_the_same_run(database: Database, account: Account) -> None:
    run_id = request(database, add(database, account, **PLAIN))
    with database.write() as connection:
        assert RunTable(export_run).claim(connection, name_owner()) == run_id
    with database.write() as connection:
        assert RunTable(export_run).claim(connection, name_owner()) is None
