"""What may be done to sendings and when, on both databases: against a small model, and by several at one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, update

from audience.accounts import add_account
from audience.lists import MailingList, add_list
from audience.status_rules import Channel
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import delivery, sending, sending_stop
from delivery import sending_changes
from delivery.errors import NotAllowedNow, UnknownSending
from delivery.queue import DeliveryState, add_delivery
from delivery.queue_ages import waiting_since
from delivery.sending_changes import cancel, move_down, move_up, pause, remove, reschedule, resume, start_now
from delivery.sending_stops import is_stopped, start_channel, stop_channel
from delivery.sendings import (
    OPEN_STATES,
    NewSending,
    Sending,
    SendingState,
    add_sending,
    find_sending,
    list_sendings,
    queue_of,
)

LATER = datetime(2036, 1, 1, 9, tzinfo=UTC)
WITHOUT_DEADLINE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Work = Callable[[Connection, Sending], None]


@pytest.fixture
def mailing(database: Database) -> MailingList:
    with database.write() as connection:
        return add_list(connection, add_account(connection, 1, password="secret").id, "News")


def add(database: Database, mailing: MailingList, state: SendingState = "scheduled") -> NewSending:
    with database.write() as connection:
        return add_sending(connection, mailing, Channel.EMAIL, None, state=state)


def attempt(database: Database, mailing: MailingList, number: int, work: Work) -> str:
    """Do something to a sending; return `done`, or what was said against it."""

    def change() -> str:
        with database.write() as connection:
            work(connection, find_sending(connection, mailing.account_id, number))
            return "done"

    try:
        return retry_on_conflict(change)
    except NotAllowedNow as refusal:
        return str(refusal)


def load(database: Database, mailing: MailingList, number: int) -> Sending:
    with database.read() as connection:
        return find_sending(connection, mailing.account_id, number)


# The model: one sending, which the engine may take further at any time.


@dataclass
class Model:
    """What is known of the sending; `begun` is whether people stand in its queue."""

    state: str = "draft"
    begun: bool = False
    stopped: bool = False
    planned: bool = False
    """Whether it has a time."""

    @property
    def on_its_way(self) -> str:
        return self.state if self.is_running else "sending" if self.begun else "scheduled"

    @property
    def is_running(self) -> bool:
        return self.state in ("preparing", "sending")

    def do(self, name: str) -> bool:
        """Change as the engine or a caller would; False when that is not allowed."""
        return bool(getattr(self, f"_{name}")())

    def _go(self, allowed: tuple[str, ...], after: str) -> bool:
        if self.state not in allowed:
            return False
        self.state = after
        return True

    def _pause(self) -> bool:
        return self._go(("scheduled", "preparing", "sending"), "paused")

    def _resume(self) -> bool:
        return self._go(("paused",), self.on_its_way)

    def _plan(self) -> bool:
        return self._go(("draft", "scheduled", "paused", "preparing", "sending"), self.on_its_way)

    def _start_now(self) -> bool:
        done = self._plan()
        self.planned = self.planned and not done
        return done

    def _reschedule(self) -> bool:
        done = not self.begun and self._go(("draft", "scheduled", "paused"), "scheduled")
        self.planned = self.planned or done
        return done

    def _unplan(self) -> bool:
        return self._at_rest("paused" if self.begun else "draft", ("draft", "scheduled", "paused"))

    def _remove(self) -> bool:
        return self._at_rest("cancelled", ("draft", "waiting", "scheduled", "paused"))

    def _at_rest(self, after: str, allowed: tuple[str, ...]) -> bool:
        return self._go((*allowed, *(("preparing", "sending") if self.stopped else ())), after)

    def _cancel(self) -> bool:
        return self._go(OPEN_STATES, "cancelled")

    def _stop(self) -> bool:
        self.stopped = True
        return True

    def _start(self) -> bool:
        self.stopped = False
        return True

    def _engine_prepares(self) -> bool:
        return not self.stopped and self._go(("scheduled",), "preparing")

    def _engine_begins(self) -> bool:
        done = self._go(("preparing",), "sending")
        self.begun = self.begun or done
        return done

    def _engine_completes(self) -> bool:
        return self._go(("sending",), "completed")


CALLERS: dict[str, Work] = {
    **{name: getattr(sending_changes, name) for name in ("pause", "resume", "plan", "start_now", "unplan")},
    **{name: getattr(sending_changes, name) for name in ("cancel", "remove")},
    "reschedule": lambda connection, found: reschedule(connection, found, LATER),
    "stop": lambda connection, found: stop_channel(connection, found.account_id, found.channel),
    "start": lambda connection, found: start_channel(connection, found.account_id, found.channel),
}


def engine(before: str, after: str, **values: object) -> Work:
    """Return what the engine does: from one state only, and not for accounts that are stopped."""

    def work(connection: Connection, found: Sending) -> None:
        is_free = before != "scheduled" or not is_stopped(connection, found.account_id, found.channel)
        here = (sending.c.id == found.id) & (sending.c.state == before)
        if not is_free or connection.execute(update(sending).where(here).values(state=after, **values)).rowcount == 0:
            raise NotAllowedNow("It has changed.")

    return work


STEPS: dict[str, Work] = {
    **CALLERS,
    "engine_prepares": engine("scheduled", "preparing", started_at=LATER),
    "engine_begins": engine("preparing", "sending", total=3),
    "engine_completes": engine("sending", "completed"),
}


@WITHOUT_DEADLINE
@given(
    first=st.sampled_from(["draft", "waiting", "scheduled"]),
    steps=st.lists(st.sampled_from([*STEPS, *("engine_prepares", "engine_begins") * 2]), max_size=12),
)
@example(
    first="draft", steps=["plan", "engine_prepares", "engine_begins", "pause", "reschedule", "resume", "stop", "unplan"]
)
@example(first="scheduled", steps=["engine_prepares", "pause", "resume", "engine_prepares", "cancel", "engine_begins"])
@example(first="scheduled", steps=["engine_prepares", "engine_begins", "remove", "stop", "remove", "plan"])
def test_whatever_is_done_it_is_in_the_state_of_the_model(
    database: Database, mailing: MailingList, first: SendingState, steps: list[str]
) -> None:
    number, model = add(database, mailing, first).number, Model(first)
    attempt(database, mailing, number, CALLERS["start"])
    for step in steps:
        before = load(database, mailing, number).state
        outcome = attempt(database, mailing, number, STEPS[step])
        assert (outcome == "done") == model.do(step), (step, outcome)
        after = load(database, mailing, number)
        assert after.state == model.state
        assert (after.start_at is not None) == model.planned
        if outcome != "done" and step in CALLERS:
            begun = " and has begun" if model.begun and before == "paused" else ""
            assert outcome == f"Sending {number} is {before}{begun}."
        assert (after.finished_at is None) == (after.state != "cancelled")


@pytest.mark.parametrize("work", [cancel, remove], ids=["cancel", "remove"])
def test_who_waits_is_told_nothing_any_more(database: Database, mailing: MailingList, work: Work) -> None:
    new = add(database, mailing, "sending")
    with database.write() as connection:
        for recipient_id in (1, 2, 3):
            add_delivery(connection, new, mailing, recipient_id, f"p{recipient_id}@example.com")
        on_its_way = update(delivery).where(delivery.c.recipient_id == 2).values(state=int(DeliveryState.ON_ITS_WAY))
        connection.execute(on_its_way)
        since = connection.execute(select(func.min(delivery.c.due_at))).scalar_one()
        assert waiting_since(connection, [new.id]) == {new.id: since}
        pause(connection, find_sending(connection, mailing.account_id, new.number))
        work(connection, find_sending(connection, mailing.account_id, new.number))
        rows = connection.execute(select(delivery.c.recipient_id, delivery.c.state))
        states = {row.recipient_id: row.state for row in rows}
        assert waiting_since(connection, [new.id]) == {}
    cancelled = DeliveryState.CANCELLED
    assert states == ({1: cancelled, 2: 1, 3: cancelled} if work is cancel else {2: 1})


def order(database: Database, mailing: MailingList) -> list[int]:
    with database.read() as connection:
        return [found.number for found in queue_of(connection, mailing.account_id, Channel.EMAIL)]


def test_sendings_change_places_in_the_queue_of_their_account(database: Database, mailing: MailingList) -> None:
    for state in ("scheduled", "paused", "completed", "draft", "sending"):
        add(database, mailing, state)
    with database.write() as connection:
        add_sending(connection, mailing, Channel.EMAIL, None, kind="single")
        add_sending(connection, mailing, Channel.SMS, None)
    assert order(database, mailing) == [1, 2, 5, 4]
    assert attempt(database, mailing, 5, move_up) == "done"
    assert order(database, mailing) == [1, 5, 2, 4]
    assert attempt(database, mailing, 1, move_down) == "done"
    assert order(database, mailing) == [5, 1, 2, 4]
    assert attempt(database, mailing, 5, move_up) == "Sending 5 is the first in the queue."
    assert attempt(database, mailing, 2, move_down) == "Sending 2 is the last in the queue."
    for number in (3, 4, 6):
        assert attempt(database, mailing, number, move_up) == f"Sending {number} is not in the queue."
    assert attempt(database, mailing, 7, move_up) == "Sending 7 is the first in the queue."


@WITHOUT_DEADLINE
@given(moves=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8))
def test_moves_are_those_of_a_list(database: Database, mailing: MailingList, moves: list[tuple[int, bool]]) -> None:
    with database.write() as connection:
        connection.execute(update(sending).values(state="completed"))
    model = [add(database, mailing).number for _ in range(4)]
    numbers = list(model)
    for which, up in moves:
        place = model.index(numbers[which])
        other = place + (-1 if up else 1)
        if 0 <= other < len(model):
            model[place], model[other] = model[other], model[place]
        attempt(database, mailing, numbers[which], move_up if up else move_down)
        assert order(database, mailing) == model


def at_once(works: Sequence[Callable[[], object]]) -> list[object]:
    """Do several things in threads that begin at one moment; return what each gave."""
    begin, results = threading.Barrier(len(works)), [object()] * len(works)

    def run(place: int, work: Callable[[], object]) -> None:
        begin.wait()
        results[place] = work()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("rival", [cancel, pause, engine("scheduled", "preparing")], ids=["cancel", "pause", "engine"])
def test_of_two_at_one_moment_one_wins(database: Database, mailing: MailingList, rival: Work) -> None:
    for _ in range(8):
        number = add(database, mailing).number
        works = [partial(attempt, database, mailing, number, work) for work in (remove, rival)]
        outcomes = at_once(works)
        state = load(database, mailing, number).state
        if outcomes == ["done", "done"]:
            assert (rival, state) == (pause, "cancelled")
        else:
            assert outcomes.count("done") == 1
            assert state == ("cancelled" if outcomes[0] == "done" or rival is cancel else "preparing")


def test_many_who_start_one_draft_start_it_once_and_the_engine_takes_it_once(
    database: Database, mailing: MailingList
) -> None:
    number = add(database, mailing, "draft").number
    takes = engine("scheduled", "preparing", attempts=sending.c.attempts + 1)
    starts = [lambda: attempt(database, mailing, number, start_now)] * 4
    assert at_once(starts) == ["done"] * 4
    outcomes = at_once([lambda: attempt(database, mailing, number, takes)] * 4)
    assert outcomes.count("done") == 1
    assert load(database, mailing, number).state == "preparing"


def test_moves_at_one_moment_lose_no_place(database: Database, mailing: MailingList) -> None:
    numbers = [add(database, mailing).number for _ in range(4)]
    works = [partial(attempt, database, mailing, number, work) for number in numbers for work in (move_up, move_down)]
    at_once(works)
    with database.read() as connection:
        positions = list(connection.execute(select(sending.c.position).order_by(sending.c.position)).scalars())
    assert positions == [1, 2, 3, 4]


def test_sendings_added_at_one_moment_have_places_of_their_own(database: Database, mailing: MailingList) -> None:
    at_once([lambda: retry_on_conflict(lambda: add(database, mailing)) for _ in range(6)])
    with database.read() as connection:
        found = list_sendings(connection, mailing.account_id)
    assert sorted(each.position for each in found) == sorted(each.number for each in found) == [1, 2, 3, 4, 5, 6]


def test_a_channel_is_stopped_and_started_however_often(database: Database, mailing: MailingList) -> None:
    account_id = mailing.account_id
    with database.write() as connection:
        assert not is_stopped(connection, account_id, Channel.EMAIL)
        for _ in range(2):
            stop_channel(connection, account_id, Channel.EMAIL)
        assert is_stopped(connection, account_id, Channel.EMAIL)
        assert not is_stopped(connection, account_id, Channel.SMS)
        assert connection.execute(select(func.count()).select_from(sending_stop)).scalar_one() == 1
        for _ in range(2):
            start_channel(connection, account_id, Channel.EMAIL)
        assert not is_stopped(connection, account_id, Channel.EMAIL)


def test_sendings_of_other_accounts_and_channels_are_unknown(database: Database, mailing: MailingList) -> None:
    number = add(database, mailing).number
    with database.write() as connection:
        other = add_account(connection, 2, password="secret")
        for args in ((other.id, number), (mailing.account_id, 99), (mailing.account_id, number, Channel.SMS)):
            with pytest.raises(UnknownSending, match=f"no sending {args[1]}"):
                find_sending(connection, *args)
        assert list_sendings(connection, other.id) == queue_of(connection, other.id, Channel.EMAIL) == []


def test_progress(database: Database, mailing: MailingList) -> None:
    number = add(database, mailing).number
    begun = datetime(2026, 11, 22, 9, tzinfo=UTC)

    def measure(**values: object) -> tuple[int, int, int, timedelta | None, float | None]:
        with database.write() as connection:
            connection.execute(update(sending).values(**values))
        found = load(database, mailing, number)
        now = begun + timedelta(minutes=2)
        progress = found.progress(now)
        return (progress.total, progress.left, progress.percent, progress.time_left, found.rate_per_minute(now))

    assert measure(failed=0) == (0, 0, 0, None, None)
    assert measure(state="sending", started_at=begun, total=100) == (100, 100, 0, None, 0.0)
    assert measure(sent=15, failed=2, skipped=2, unknown=1) == (100, 80, 20, timedelta(minutes=8), 10.0)
    assert measure(state="paused") == (100, 80, 20, timedelta(minutes=8), 10.0)
    assert measure(sent=200) == (100, 0, 100, timedelta(), 102.5)
    ended = {"state": "cancelled", "sent": 15, "finished_at": begun + timedelta(minutes=4)}
    assert measure(**ended) == (100, 0, 100, timedelta(), 5.0)


def test_a_paused_sending_goes_on_with_who_is_left(database: Database, mailing: MailingList) -> None:
    new = add(database, mailing, "sending")
    with database.write() as connection:
        add_delivery(connection, new, mailing, 1, "p1@example.com")
    for work, state in ((pause, "paused"), (resume, "sending")):
        assert attempt(database, mailing, new.number, work) == "done"
        assert load(database, mailing, new.number).state == state
