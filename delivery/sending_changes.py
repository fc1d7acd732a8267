"""What may be done to a sending, and when.

Each change is one conditional UPDATE, so that of two who want something else at the same moment, callers or the engine,
only one gets it; the other is told the state that it found. The engine itself does likewise: `scheduled` to
`preparing` to `sending` (with `total`) to `completed` or `failed`, each only from the state before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, or_, select

from db.tables import delivery, sending, sending_stop
from delivery.errors import NotAllowedNow
from delivery.queue import DeliveryState
from delivery.sendings import OPEN_STATES, QUEUED_STATES, Sending, SendingState
from delivery.sms_credits import refund_waiting

# Who is still being put into the queue is counted at the end of that, which can be done once more.
_HAS_BEGUN = sending.c.total > 0
_RUNNING: tuple[SendingState, ...] = ("preparing", "sending")
# A sending that had begun goes on with who is left in its queue.
_ON_ITS_WAY = case((sending.c.state.in_(_RUNNING), sending.c.state), (_HAS_BEGUN, "sending"), else_="scheduled")


def pause(connection: Connection, found: Sending) -> None:
    """Hold a sending; mails that are on their way still go out.

    Raises:
        NotAllowedNow: it is neither planned nor under way.
    """
    _change(connection, found, _in_state("scheduled", *_RUNNING), state="paused")


def resume(connection: Connection, found: Sending) -> None:
    """Let a paused sending go on.

    Raises:
        NotAllowedNow: it is not paused.
    """
    # Its tries to be prepared so far were not ended by itself.
    _change(connection, found, _in_state("paused"), state=_ON_ITS_WAY, attempts=0)


def plan(connection: Connection, found: Sending) -> None:
    """Put a draft into the queue, at the time it has, and let a paused sending go on; others stay as they are.

    Raises:
        NotAllowedNow: it is over, or waits for people who are not known yet.
    """
    _change(connection, found, _in_state("draft", "scheduled", "paused", *_RUNNING), state=_ON_ITS_WAY)


def start_now(connection: Connection, found: Sending) -> None:
    """Let a sending begin, or go on, as soon as it is its turn, whatever its time.

    Raises:
        NotAllowedNow: it is over, or waits for people who are not known yet.
    """
    allowed = _in_state("draft", "scheduled", "paused", *_RUNNING)
    _change(connection, found, allowed, state=_ON_ITS_WAY, start_at=None)


def reschedule(connection: Connection, found: Sending, start_at: datetime) -> None:
    """Plan a sending that has not begun for a time.

    Args:
        connection: in a writing transaction.
        found: the sending.
        start_at: aware; a time that has passed means as soon as possible.

    Raises:
        NotAllowedNow: it has begun, is over, or waits for people who are not known yet.
    """
    allowed = and_(_in_state("draft", "scheduled", "paused"), ~_HAS_BEGUN)
    _change(connection, found, allowed, state="scheduled", start_at=start_at)


def unplan(connection: Connection, found: Sending) -> None:
    """Take a sending out of the queue without losing it: it is a draft again, or paused when it had begun.

    Raises:
        NotAllowedNow: it is under way and its account is not stopped; it is over; or it waits for people.
    """
    idle = case((_HAS_BEGUN, "paused"), else_="draft")
    _change(connection, found, _is_at_rest("draft", "scheduled", "paused"), state=idle)


def cancel(connection: Connection, found: Sending) -> None:
    """End a sending for good; who has not got it will not get it.

    Raises:
        NotAllowedNow: it is over.
    """
    _end(connection, found, _in_state(*OPEN_STATES))
    refund_waiting(connection, found.id)
    waiting = (delivery.c.sending_id == found.id) & (delivery.c.state == DeliveryState.WAITING)
    connection.execute(delivery.update().where(waiting).values(state=DeliveryState.CANCELLED))


def remove(connection: Connection, found: Sending) -> None:
    """Take a sending out of the queue for good, with those who wait in it.

    Raises:
        NotAllowedNow: it is under way and its account is not stopped, or it is over.
    """
    _end(connection, found, _is_at_rest("draft", "waiting", "scheduled", "paused"))
    refund_waiting(connection, found.id)
    waiting = (delivery.c.sending_id == found.id) & (delivery.c.state == DeliveryState.WAITING)
    connection.execute(delivery.delete().where(waiting))


def move_up(connection: Connection, found: Sending) -> None:
    """Let a sending change places with the one before it in its account's queue.

    Raises:
        NotAllowedNow: it is the first, or not in the queue.
    """
    _swap(connection, found, -1)


def move_down(connection: Connection, found: Sending) -> None:
    """Let a sending change places with the one behind it in its account's queue.

    Raises:
        NotAllowedNow: it is the last, or not in the queue.
    """
    _swap(connection, found, 1)


def _in_state(*states: SendingState) -> ColumnElement[bool]:
    return sending.c.state.in_(states)


def _is_at_rest(*states: SendingState) -> ColumnElement[bool]:
    """Return the condition that a sending is in one of some states, or under way in an account that is stopped."""
    stopped = exists().where(
        sending_stop.c.account_id == sending.c.account_id, sending_stop.c.channel == sending.c.channel
    )
    return or_(_in_state(*states), and_(_in_state(*_RUNNING), stopped.correlate(sending)))


def _end(connection: Connection, found: Sending, allowed: ColumnElement[bool]) -> None:
    now = datetime.now(UTC)
    _change(connection, found, allowed, state="cancelled", finished_at=now, cancel_requested_at=now)


def _change(connection: Connection, found: Sending, allowed: ColumnElement[bool], **values: Any) -> None:
    changed = connection.execute(sending.update().where(sending.c.id == found.id, allowed).values(**values))
    if changed.rowcount == 0:
        _refuse(connection, found)


def _refuse(connection: Connection, found: Sending) -> None:
    row = connection.execute(select(sending.c.state, sending.c.total).where(sending.c.id == found.id)).one()
    begun = " and has begun" if row.state == "paused" and row.total else ""
    raise NotAllowedNow(f"Sending {found.number} is {row.state}{begun}.")


def _swap(connection: Connection, found: Sending, step: int) -> None:
    entries = _lock_queue(connection, found)
    places = [entry_id for entry_id, _ in entries]
    if found.id not in places:
        raise NotAllowedNow(f"Sending {found.number} is not in the queue.")
    place = places.index(found.id)
    if not 0 <= place + step < len(entries):
        raise NotAllowedNow(f"Sending {found.number} is the {'first' if step < 0 else 'last'} in the queue.")
    (moved, before), (other, after) = entries[place], entries[place + step]
    position = case((sending.c.id == moved, after), else_=before)
    connection.execute(sending.update().where(sending.c.id.in_((moved, other))).values(position=position))


def _lock_queue(connection: Connection, found: Sending) -> list[tuple[int, int]]:
    """Return ids and positions of a queue in order; nobody else changes them until the transaction ends."""
    query = select(sending.c.id, sending.c.position).where(
        sending.c.account_id == found.account_id,
        sending.c.channel == int(found.channel),
        sending.c.kind == "bulk",
        _in_state(*QUEUED_STATES),
    )
    locked = connection.execute(query.order_by(sending.c.id).with_for_update())
    return sorted(((row.id, row.position) for row in locked), key=lambda entry: entry[::-1])
