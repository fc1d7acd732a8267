"""Files that hold everybody, files that wait for a time or for each other, and imports that are cancelled."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from audience.accounts import Account, add_account
from audience.history import Cause
from audience.lists import MailingList, add_list, set_field
from audience.status_rules import SUBSCRIBE, Reason
from audience.subscriptions import change_state, parse_address
from db.engine import Database
from db.leases import RunTable, name_owner
from db.tables import history, import_error, import_run, recipient, subscription
from exchange.profiles import Profile
from jobs.bundles import NEVER, release_bundles
from jobs.feeds import Feed, remove_feed, set_feed
from jobs.import_results import import_result
from jobs.import_undo import undo_import
from jobs.imports import CHUNK_ROWS, import_file, run_next_import
from jobs.queue import enqueue_arrival, spool
from jobs.storage import Storage

FULL = {"mode": "full", "max_missing_percent": 100.0}


@dataclass
class Office:
    """An account with a list, whose folders get files."""

    database: Database
    storage: Storage
    account: Account
    mailing: MailingList
    owner: str = field(default_factory=name_owner)

    def feed(self, folder: str = "import/1", **profile: Any) -> Feed:
        with self.database.write() as connection:
            return set_feed(connection, self.storage, self.account, folder, Profile(**profile))

    def arrive(self, feed: Feed, text: str) -> int:
        """Let a file arrive in a folder; return its import's id."""
        spooled = spool(self.storage, io.BytesIO(text.encode()))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        with self.database.write() as connection:
            return enqueue_arrival(
                connection, feed, key=spooled.name, name="people.csv", size=spooled.size, sha256=sha256, reason="test"
            )

    def work(self) -> None:
        while run_next_import(self.database, self.storage, self.owner):
            pass

    def bring(self, feed: Feed, text: str) -> Any:
        """Let a file arrive and be imported; return what became of it."""
        import_id = self.arrive(feed, text)
        self.work()
        return self.result(import_id)

    def result(self, import_id: int) -> Any:
        with self.database.read() as connection:
            return import_result(connection, import_id)

    def subscribe(self, *names: str) -> None:
        with self.database.write() as connection:
            for name in names:
                address = parse_address(self.mailing, email=f"{name}@example.com")
                change_state(connection, self.mailing, address, SUBSCRIBE, Cause("page"))

    def subscribed(self) -> list[str]:
        """Return the names of those who are subscribed, sorted."""
        query = select(recipient.c.email).join(subscription, subscription.c.recipient_id == recipient.c.id)
        with self.database.read() as connection:
            emails = connection.execute(query.where(subscription.c.status == 1)).scalars()
            return sorted(email.partition("@")[0] for email in emails)

    def states(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.execute(select(import_run.c.state).order_by(import_run.c.id)).scalars())


@pytest.fixture
def office(database: Database, storage: Storage) -> Office:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret", time_zone="Europe/Rome")
        mailing = add_list(connection, account.id, "News")
        for number in (1, 2):
            set_field(connection, account.id, number, f"Field {number}")
    return Office(database, storage, account, mailing)


def people(*names: str) -> str:
    return "email\n" + "".join(f"{name}@example.com\n" for name in names)


def test_whoever_is_missing_is_unsubscribed(office: Office) -> None:
    office.subscribe("ann", "bob", "cyd")
    result = office.bring(office.feed(**FULL), people("bob", "dan"))
    assert (result.state, result.counters["missing"], office.subscribed()) == ("completed", 2, ["bob", "dan"])
    with office.database.read() as connection:
        gone = connection.execute(subscription.select().where(subscription.c.status == 3)).all()
        told = connection.execute(history.select().where(history.c.new_status == 3)).all()
    assert {(row.reason_type, row.unsubscribed_at is not None) for row in gone} == {(Reason.IMPORTED, True)}
    assert {(row.old_status, row.source, row.import_id) for row in told} == {(1, "ftp", result.id)}
    assert sorted(row.recipient_id for row in told) == sorted(row.recipient_id for row in gone)


def test_undoing_a_full_import_brings_back_who_was_missing(office: Office) -> None:
    office.subscribe("ann", "bob")
    result = office.bring(office.feed(**FULL), people("bob"))
    undo_import(office.database, result.id, None)
    assert office.subscribed() == ["ann", "bob"]


@pytest.mark.parametrize(("percent", "state", "left"), [(50.0, "completed", ["ann"]), (49.0, "failed", ["ann", "bob"])])
def test_a_file_that_ends_too_many_ends_none(office: Office, percent: float, state: str, left: list[str]) -> None:
    office.subscribe("ann", "bob")
    result = office.bring(office.feed(mode="full", max_missing_percent=percent), people("ann"))
    assert (result.state, office.subscribed()) == (state, left)
    assert result.error_code == ("too-many-missing" if state == "failed" else None)


def test_each_list_is_looked_at_by_itself(office: Office) -> None:
    office.subscribe("ann", "bob", "cyd")
    with office.database.write() as connection:
        other = add_list(connection, office.account.id, "Other")
        change_state(connection, other, parse_address(other, email="far@example.com"), SUBSCRIBE, Cause("page"))
    rows = "email;list\n" + "".join(f"{name}@example.com;1\n" for name in ("ann", "bob", "cyd")) + "ann@example.com;2\n"
    result = office.bring(office.feed(mode="full", max_missing_percent=40.0), rows)
    assert (result.error_code, office.subscribed()) == ("too-many-missing", ["ann", "ann", "bob", "cyd", "far"])


def test_nobody_is_missing_while_rows_are_refused(office: Office) -> None:
    office.subscribe("ann", "bob")
    result = office.bring(office.feed(**FULL), "email;status\nann@example.com;1\nbob@example.com;yes\n")
    assert (result.error_code, office.subscribed()) == ("refused-rows", ["ann", "bob"])
    errors = office.storage.home(1) / "import/1/failed/people.csv.errors.csv"
    repaired = errors.read_text().replace("yes", "1")
    assert office.bring(office.feed(**FULL), repaired).state == "completed"
    assert office.subscribed() == ["ann", "bob"]


def test_who_is_missing_can_be_left(office: Office) -> None:
    office.subscribe("ann", "bob")
    result = office.bring(office.feed(**FULL, missing="keep"), people("ann"))
    assert (result.counters["missing"], office.subscribed()) == (1, ["ann", "bob"])


def test_a_file_without_rows_empties_its_list(office: Office) -> None:
    office.subscribe("ann")
    assert office.bring(office.feed(**FULL), people()).counters["missing"] == 1
    assert office.subscribed() == []


def test_other_lists_and_later_subscriptions_are_left(office: Office) -> None:
    office.subscribe("ann")
    with office.database.write() as connection:
        other = add_list(connection, office.account.id, "Other")
        change_state(connection, other, parse_address(other, email="far@example.com"), SUBSCRIBE, Cause("page"))
    import_id = office.arrive(office.feed(**FULL), people("bob"))
    office.subscribe("late")
    office.work()
    assert office.result(import_id).counters["missing"] == 1
    assert office.subscribed() == ["bob", "far", "late"]


def test_a_trial_tells_who_would_be_missing(office: Office, tmp_path: Any) -> None:
    office.subscribe("ann", "bob")
    file = tmp_path / "people.csv"
    file.write_text(people("bob", "dan"))
    result = import_file(
        office.database,
        office.storage,
        office.owner,
        account=office.account,
        mailing=office.mailing,
        path=file,
        profile=Profile(**FULL),
        dry_run=True,
    )
    assert (result.state, result.counters["missing"], result.counters["new"]) == ("completed", 1, 1)
    assert office.subscribed() == ["ann", "bob"]


@pytest.mark.parametrize(("duplicates", "refused"), [("first", {}), ("refuse", {"duplicate": 1})])
def test_a_person_far_apart_in_a_file_comes_twice(office: Office, duplicates: str, refused: dict[str, int]) -> None:
    names = [f"p{number}" for number in range(CHUNK_ROWS + 1)]
    result = office.bring(office.feed(duplicates=duplicates), people(*names, "p0"))
    assert (result.counters["new"], result.counters["refused"]) == (CHUNK_ROWS + 1, refused)
    with office.database.read() as connection:
        (error,) = connection.execute(import_error.select()).all()
    assert (error.line, error.code, error.raw) == (CHUNK_ROWS + 3, "duplicate", b"p0@example.com\n")


def _starts(office: Office) -> list[datetime | None]:
    with office.database.read() as connection:
        return list(connection.execute(select(import_run.c.not_before).order_by(import_run.c.id)).scalars())


def _let_it_be_time(office: Office, ids: Sequence[int]) -> None:
    with office.database.write() as connection:
        reached = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(import_run.update().where(import_run.c.id.in_(ids)).values(not_before=reached))


def test_a_file_waits_for_its_time_of_day(office: Office) -> None:
    now = datetime.now(office.account.zone)
    at = (now + timedelta(hours=3)).strftime("%H:%M")
    import_id = office.arrive(office.feed(start_at=at), people("ann"))
    office.work()
    (start,) = _starts(office)
    assert start is not None and start.astimezone(office.account.zone).strftime("%H:%M") == at
    assert office.states() == ["queued"]
    _let_it_be_time(office, [import_id])
    office.work()
    assert office.states() == ["completed"]


def test_files_that_belong_together_wait_for_each_other(office: Office) -> None:
    second = office.feed("import/1/shop", bundle="nightly", bundle_place=2)
    first = office.feed("import/1/crm", bundle="nightly", bundle_place=1)
    office.arrive(second, "email;1\nann@example.com;shop\n")
    office.work()
    assert (office.states(), _starts(office)) == (["queued"], [NEVER])
    office.arrive(first, "email;1;2\nann@example.com;crm;crm\n")
    office.work()
    assert office.states() == ["completed", "completed"]
    with office.database.read() as connection:
        # In the order of their places, not of their arrival.
        assert connection.execute(select(recipient.c.fields)).scalars().all() == [{"1": "shop", "2": "crm"}]
    office.arrive(first, people("bob"))
    office.work()
    assert office.states()[2:] == ["queued"]


def test_a_set_that_was_released_is_not_mixed_with_the_next(office: Office) -> None:
    first = office.feed("import/1/crm", bundle="nightly", bundle_place=1)
    second = office.feed("import/1/shop", bundle="nightly", bundle_place=2)
    for feed, name in ((first, "a"), (second, "b"), (first, "c")):
        office.arrive(feed, people(name))
    office.work()
    assert office.states() == ["completed", "completed", "queued"]


def test_a_file_does_not_wait_for_a_folder_that_is_gone(office: Office) -> None:
    first = office.feed("import/1/crm", bundle="nightly", bundle_place=1)
    second = office.feed("import/1/shop", bundle="nightly", bundle_place=2)
    office.arrive(first, people("ann"))
    with office.database.write() as connection:
        remove_feed(connection, second)
    assert release_bundles(office.database, datetime.now(UTC)) == 1
    office.work()
    assert office.states() == ["completed"]


def test_a_bundle_waits_no_longer_than_agreed(office: Office) -> None:
    office.feed("import/1/crm", bundle="nightly", bundle_place=1)
    second = office.feed("import/1/shop", bundle="nightly", bundle_place=2, wait_until="05:00")
    import_id = office.arrive(second, people("ann"))
    (until,) = _starts(office)
    assert until is not None and until.astimezone(office.account.zone).strftime("%H:%M") == "05:00"
    office.work()
    assert office.states() == ["queued"]
    _let_it_be_time(office, [import_id])
    office.work()
    assert office.states() == ["completed"]


def test_a_cancelled_import_keeps_what_it_did_and_gives_the_file_back(office: Office) -> None:
    import_id = office.arrive(office.feed(), people("ann"))
    with office.database.write() as connection:
        assert RunTable(import_run).request_cancel(connection, import_id, hands_back=True)
    office.work()
    result = office.result(import_id)
    assert (result.state, result.error_code, office.subscribed()) == ("cancelled", "cancelled", [])
    folder = office.storage.home(1) / "import/1/failed"
    assert (folder / "people.csv").read_text() == people("ann")
