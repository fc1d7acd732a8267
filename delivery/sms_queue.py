"""What the queue of text messages needs beside what all channels share: who may get one now, paying, and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, select

from audience.events import SmsEvent, SmsStatus, append_sms_events
from audience.notices import add_notice
from audience.status_rules import Channel, Status
from db.tables import delivery, recipient, sending, subscription
from delivery.errors import NotEnoughCredits
from delivery.handovers import Handover, Outcome, OutgoingText
from delivery.queue import ActiveSending, Claimed, DeliveryState
from delivery.sendings import OPEN_STATES
from delivery.smpp_receipts import normalise_id
from delivery.sms_credits import NO_CREDITS, affordable_parts, give_back_credits, take_credits

RETRY_MINUTES = (1, 2, 5, 15, 30, 60)
"""After the first, second, … try; then as after the last."""


class Addressee(NamedTuple):
    """Who stands in a row of the queue, as he is now."""

    id: int
    """Of the queue's row."""
    email: str | None
    mobile: str | None
    fields: Mapping[str, str]
    status: int | None
    """Of his subscription to the sending's list by SMS; None without one."""
    paid_parts: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed row with what goes out for it."""

    row: Claimed
    text: OutgoingText
    paid: bool
    """When it was asked for, or before an earlier try."""

    @property
    def cost(self) -> int:
        return len(self.text.parts)


def find_addressees(connection: Connection, of: ActiveSending, rows: Sequence[Claimed]) -> dict[int, Addressee]:
    """Return, by id of the queue's row, whoever is still known."""
    found = connection.execute(_ADDRESSEES, {"list_id": of.list_id, "ids": [row.id for row in rows]})
    return {row[0]: Addressee._make(row) for row in found}


def may_get(addressee: Addressee | None, row: Claimed, *, by_name: bool) -> bool:
    """Return whether somebody may be sent a text message now.

    Args:
        addressee: None when he is not known any more.
        row: of the queue.
        by_name: the sending was asked for with the numbers of its recipients, who need not be subscribed; those who
            have unsubscribed get nothing all the same.
    """
    if addressee is None or addressee.mobile != row.address:
        return False
    if addressee.status == Status.SUBSCRIBED:
        return True
    return by_name and addressee.status != Status.UNSUBSCRIBED


_ADDRESSEES = (
    select(
        delivery.c.id,
        recipient.c.email,
        recipient.c.mobile,
        recipient.c.fields,
        subscription.c.status,
        delivery.c.parts,
    )
    .select_from(
        delivery.join(
            recipient, (recipient.c.id == delivery.c.recipient_id) & (recipient.c.account_id == delivery.c.account_id)
        ).outerjoin(
            subscription,
            and_(
                subscription.c.recipient_id == delivery.c.recipient_id,
                subscription.c.list_id == bindparam("list_id"),
                subscription.c.channel == int(Channel.SMS),
            ),
        )
    )
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)))
)


def pay(connection: Connection, of: ActiveSending, ready: Sequence[Ready]) -> list[Ready]:
    """Pay for what is not paid yet, as far as the credits go; return what is paid, from the first on.

    Args:
        connection: in the writing transaction that claims the rows.
        of: the sending.
        ready: in order.
    """
    while True:
        left = affordable_parts(connection, of.account_id, of.list_id)
        paid: list[Ready] = []
        cost = 0
        for item in ready:
            needed = 0 if item.paid else item.cost
            if cost + needed > left:
                break
            cost += needed
            paid.append(item)
        try:
            if cost:
                take_credits(connection, of.account_id, of.list_id, cost)
        except NotEnoughCredits:
            # Somebody else was faster.
            continue
        new = [{"row": item.row.id, "to_parts": item.cost} for item in paid if not item.paid]
        if new:
            connection.execute(_SET_PARTS, new)
        return paid


def pause_without_credits(connection: Connection, of: ActiveSending) -> None:
    """Hold a sending whose list has no credits left, and tell the account's technical contact, once a day."""
    here = (sending.c.id == of.id) & (sending.c.state == "sending")
    connection.execute(sending.update().where(here).values(state="paused", error_text=NO_CREDITS))
    add_notice(
        connection,
        of.account_id,
        key=f"credits:{of.id}:{datetime.now(UTC).date().isoformat()}",
        kind="credits",
        subject=f"Sending {of.number}: no credits for text messages",
        text=f"Sending {of.number} has been paused: {NO_CREDITS} Resume it when there are some.",
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a row."""

    row: Claimed
    state: DeliveryState
    code: str | None = None
    remote_id: str | None = None
    parts: int = 0
    """That were paid for; given back unless the message was, or may have been, sent, or waits."""
    due_at: datetime | None = None
    tried: bool = True


def judge(ready: Ready, handover: Handover, of: ActiveSending, retry: timedelta) -> Result:
    """Return what becomes of a row after what the gateway said.

    Args:
        ready: what was handed over.
        handover: what came back.
        of: its sending.
        retry: how long messages are tried again that are not taken for the moment.
    """
    row, code = ready.row, handover.code
    if handover.outcome == Outcome.ACCEPTED:
        return Result(row, DeliveryState.SENT, remote_id=handover.remote_id, parts=ready.cost)
    if handover.outcome == Outcome.UNKNOWN and of.mode == "at-most-once":
        return Result(row, DeliveryState.UNKNOWN, code, parts=ready.cost)
    now = datetime.now(UTC)
    if handover.outcome == Outcome.REFUSED or now - row.queued_at > retry:
        return Result(row, DeliveryState.FAILED, code or handover.outcome.value, parts=ready.cost)
    wait = timedelta(minutes=RETRY_MINUTES[min(row.attempts, len(RETRY_MINUTES)) - 1])
    return Result(row, DeliveryState.WAITING, code, parts=ready.cost, due_at=now + wait)


def record(connection: Connection, of: ActiveSending, results: Sequence[Result]) -> None:
    """Write what became of claimed rows, their events and counts, and give back what was paid for nothing.

    Args:
        connection: in a writing transaction.
        of: the sending.
        results: of rows that this owner has claimed.
    """
    now = datetime.now(UTC)
    if any(result.state == DeliveryState.WAITING for result in results) and _is_over(connection, of):
        results = [_cancel(result) for result in results]
    if results:
        connection.execute(_SET_RESULT, [_to_values(result, now) for result in results])
    _count(connection, of, results)
    back = sum(result.parts for result in results if result.state in _GIVEN_BACK)
    give_back_credits(connection, of.account_id, of.list_id, back)
    append_sms_events(connection, of.account_id, _events(of, results, now))


_SET_PARTS = delivery.update().where(delivery.c.id == bindparam("row")).values(parts=bindparam("to_parts"))
_SET_RESULT = (
    delivery.update()
    .where(delivery.c.id == bindparam("row"))
    .values(
        state=bindparam("to_state"),
        code=bindparam("to_code"),
        remote_id=bindparam("to_remote_id"),
        parts=bindparam("to_parts"),
        sent_at=bindparam("to_sent_at"),
        due_at=bindparam("to_due_at"),
        attempts=bindparam("to_attempts"),
        owner=None,
    )
)
_GIVEN_BACK = (DeliveryState.FAILED, DeliveryState.SKIPPED, DeliveryState.CANCELLED)
_COUNTERS = {
    DeliveryState.SENT: "sent",
    DeliveryState.FAILED: "failed",
    DeliveryState.SKIPPED: "skipped",
    DeliveryState.UNKNOWN: "unknown",
}


def _is_over(connection: Connection, of: ActiveSending) -> bool:
    """Return whether a sending has ended; if not, nobody ends it before this transaction has ended."""
    query = select(sending.c.state).where(sending.c.id == of.id).with_for_update()
    return connection.execute(query).scalar_one_or_none() not in OPEN_STATES


def _cancel(result: Result) -> Result:
    return replace(result, state=DeliveryState.CANCELLED) if result.state == DeliveryState.WAITING else result


def _to_values(result: Result, now: datetime) -> dict[str, Any]:
    given_back = result.state in _GIVEN_BACK
    return {
        "row": result.row.id,
        "to_state": int(result.state),
        "to_code": result.code,
        "to_remote_id": normalise_id(result.remote_id) if result.remote_id else None,
        "to_parts": None if given_back else result.parts or None,
        "to_sent_at": now if result.state == DeliveryState.SENT else None,
        "to_due_at": result.due_at or now,
        "to_attempts": result.row.attempts - (not result.tried),
    }


def _count(connection: Connection, of: ActiveSending, results: Sequence[Result]) -> None:
    counts: dict[str, int] = {}
    for result in results:
        if result.state in _COUNTERS:
            counts[_COUNTERS[result.state]] = counts.get(_COUNTERS[result.state], 0) + 1
    if counts:
        changed = {name: sending.c[name] + count for name, count in counts.items()}
        connection.execute(sending.update().where(sending.c.id == of.id).values(changed))


def _events(of: ActiveSending, results: Iterable[Result], now: datetime) -> Iterable[SmsEvent]:
    for result in results:
        row = result.row
        if result.state == DeliveryState.SENT:
            yield SmsEvent(of.list_id, of.id, row.recipient_id, row.address, SmsStatus.QUEUED, now, now)
        elif result.state == DeliveryState.FAILED:
            code = result.code
            yield SmsEvent(of.list_id, of.id, row.recipient_id, row.address, SmsStatus.ERROR, now, now, code)
