"""The queue of what each recipient is to get: put in, claimed in batches, and recorded when it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.sql.dml import ReturningUpdate

from audience.accounts import select_active_ids
from audience.events import MailEvent, MailEventKind, append_mail_events
from audience.lists import MailingList
from audience.status_rules import Channel, Status
from db.functions import insert_into
from db.tables import delivery, recipient, sending, sending_link, sending_stop, subscription
from db.types import UtcDateTime
from delivery.parcels import Outcome
from delivery.sendings import NewSending, SendingKind, SendingMode


class DeliveryState(IntEnum):
    """How far one recipient's message has come."""

    WAITING = 0
    ON_ITS_WAY = 1
    SENT = 2
    FAILED = 3
    SKIPPED = 4
    """Its recipient was not subscribed any more when it was his turn."""
    UNKNOWN = 5
    """It was on its way when a process died or a connection broke, and is not repeated."""
    CANCELLED = 6


def add_delivery(
    connection: Connection,
    to: NewSending,
    mailing: MailingList,
    recipient_id: int,
    address: str,
    *,
    values: Mapping[str, str] | None = None,
    text: str | None = None,
    copy: int = 0,
) -> int:
    """Put one recipient's message into the queue; return its id.

    Args:
        connection: in a writing transaction.
        to: the sending it is part of, in state `sending`.
        mailing: the sending's list.
        recipient_id: internal id.
        address: normalised e-mail address or mobile number.
        values: what the message is filled with beside the recipient's own data, by name.
        text: instead of the message's text.
        copy: which one, where a recipient gets several.
    """
    row: dict[str, Any] = {
        "account_id": mailing.account_id,
        "sending_id": to.id,
        "list_id": mailing.id,
        "recipient_id": recipient_id,
        "copy": copy,
        "address": address,
        "domain": address.rpartition("@")[2].lower() if "@" in address else "",
        "due_at": datetime.now(UTC),
        "values": dict(values) if values else None,
        "text": text,
    }
    inserted = connection.execute(delivery.insert().values(**row))
    connection.execute(sending.update().where(sending.c.id == to.id).values(total=sending.c.total + 1))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


@dataclass(frozen=True, slots=True)
class ActiveSending:
    """A sending whose queue is being worked off."""

    id: int
    account_id: int
    list_id: int
    number: int
    mode: SendingMode


class Claimed(NamedTuple):
    """What one recipient is to get, on its way with whoever claimed it."""

    id: int
    recipient_id: int
    address: str
    domain: str
    attempts: int
    """With this one."""
    queued_at: datetime
    """When its sending began."""
    values: Mapping[str, str] | None
    text: str | None


class Reachable(NamedTuple):
    """Who is still to get what stands in the queue for him, as he is now."""

    recipient_id: int
    email: str
    mobile: str | None
    fields: Mapping[str, str]


class Postponed(NamedTuple):
    """What waits for another try."""

    id: int
    due_at: datetime
    code: str
    tried: bool
    """False: it counts as no try."""


class Failed(NamedTuple):
    """What was refused for good, or is not known to have arrived."""

    id: int
    recipient_id: int
    address: str
    code: str
    answer: Outcome
    """Without a code when no server has said it."""


@dataclass(slots=True)
class Results:
    """What became of a batch."""

    sent: list[tuple[int, int, str]] = field(default_factory=list)
    """Id, recipient's id and address."""
    failed: list[Failed] = field(default_factory=list)
    unknown: list[Failed] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    postponed: list[Postponed] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    """Ids of those that nobody has tried to send."""

    def ids(self) -> list[int]:
        """Return the ids of all rows."""
        told = [row[0] for rows in (self.sent, self.failed, self.unknown, self.postponed) for row in rows]
        return [*told, *self.skipped, *self.returned]

    def only(self, ids: Collection[int]) -> Results:
        """Return the results of some rows."""
        return Results(
            sent=[row for row in self.sent if row[0] in ids],
            failed=[row for row in self.failed if row.id in ids],
            unknown=[row for row in self.unknown if row.id in ids],
            skipped=[row for row in self.skipped if row in ids],
            postponed=[row for row in self.postponed if row.id in ids],
            returned=[row for row in self.returned if row in ids],
        )


def is_active(channel: Channel | BindParameter[int]) -> ColumnElement[bool]:
    """Return the condition that a sending's queue is to be worked off now."""
    stopped = exists().where(sending_stop.c.account_id == sending.c.account_id, sending_stop.c.channel == channel)
    served = sending.c.account_id.in_(select_active_ids())
    return and_(sending.c.state == "sending", sending.c.channel == channel, ~stopped, served)


# Lanes ask these again and again, so the statements are made once.
_ACTIVE = (
    select(sending.c.id, sending.c.account_id, sending.c.list_id, sending.c.number, sending.c.mode)
    .where(
        is_active(bindparam("channel", type_=Integer)),
        sending.c.kind == bindparam("kind"),
        # A claim that finds nothing would have others wait who write.
        exists().where(
            delivery.c.sending_id == sending.c.id,
            delivery.c.state == int(DeliveryState.WAITING),
            delivery.c.due_at <= bindparam("now", type_=UtcDateTime),
        ),
    )
    .order_by(sending.c.position, sending.c.id)
)
_OPEN = and_(delivery.c.sending_id == bindparam("of_sending"), delivery.c.state == int(DeliveryState.WAITING))
_NEXT = (
    select(delivery.c.id)
    .where(_OPEN, delivery.c.due_at <= bindparam("now", type_=UtcDateTime))
    .order_by(delivery.c.due_at, delivery.c.id)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_NEXT_ELSEWHERE = _NEXT.where(delivery.c.domain.not_in(bindparam("closed", expanding=True)))


def _claiming(next_ids: Select[int]) -> ReturningUpdate[Any]:
    since = func.coalesce(sending.c.started_at, sending.c.created_at)
    begun_at = select(since).where(sending.c.id == bindparam("of_sending")).scalar_subquery()
    return (
        delivery.update()
        .where(delivery.c.id.in_(next_ids.scalar_subquery()))
        .values(state=int(DeliveryState.ON_ITS_WAY), owner=bindparam("claimant"), attempts=delivery.c.attempts + 1)
        .returning(
            delivery.c.id,
            delivery.c.recipient_id,
            delivery.c.address,
            delivery.c.domain,
            delivery.c.attempts,
            begun_at,
            delivery.c["values"],
            delivery.c.text,
        )
    )


_CLAIM = _claiming(_NEXT)
_CLAIM_ELSEWHERE = _claiming(_NEXT_ELSEWHERE)


def active_sendings(connection: Connection, channel: Channel, kind: SendingKind) -> list[ActiveSending]:
    """Return the sendings of a channel that have somebody to send to now, in their accounts' order."""
    values = {"channel": int(channel), "kind": kind, "now": datetime.now(UTC)}
    return [ActiveSending(*row) for row in connection.execute(_ACTIVE, values)]


def claim_batch(
    connection: Connection, owner: str, of: ActiveSending, limit: int, *, without_domains: Collection[str] = ()
) -> list[Claimed]:
    """Take the next rows of a sending's queue, the longest waiting first.

    Args:
        connection: in a writing transaction; nobody may send anything before it was committed.
        owner: from `db.leases.name_owner`.
        of: which sending.
        limit: most rows.
        without_domains: whose servers are not to be troubled now.
    """
    values: dict[str, Any] = {"of_sending": of.id, "now": datetime.now(UTC), "limit": limit, "claimant": owner}
    if not without_domains:
        rows = connection.execute(_CLAIM, values)
    else:
        rows = connection.execute(_CLAIM_ELSEWHERE, values | {"closed": list(without_domains)})
    return sorted(Claimed(*row) for row in rows)


def write_links(connection: Connection, sending_id: int, links: Sequence[str]) -> None:
    """Keep where the tracked links of a sending lead, before anybody gets a mail with them; those kept already stay.

    Args:
        connection: in a writing transaction.
        sending_id: internal id.
        links: in the order of the message.
    """
    rows = [{"sending_id": sending_id, "place": place, "url": url} for place, url in enumerate(links)]
    if rows:
        connection.execute(insert_into(connection, sending_link).on_conflict_do_nothing(), rows)


def find_reachable(connection: Connection, of: ActiveSending, ids: Sequence[int]) -> dict[int, Reachable] | None:
    """Return, by id of the queue's row, those who are subscribed at this moment; None when the sending has paused.

    Args:
        connection: reading or writing.
        of: which sending of e-mails.
        ids: of rows that were claimed.
    """
    rows = connection.execute(_REACHABLE, {"sending_id": of.id, "list_id": of.list_id, "ids": list(ids)}).all()
    if not all(row.is_active for row in rows):
        return None
    return {row[0]: Reachable(*row[1:5]) for row in rows if row.status == Status.SUBSCRIBED and row.email is not None}


_SUBSCRIPTION = and_(
    subscription.c.recipient_id == delivery.c.recipient_id,
    subscription.c.list_id == bindparam("list_id"),
    subscription.c.channel == int(Channel.EMAIL),
)
_RECIPIENT = and_(recipient.c.id == delivery.c.recipient_id, recipient.c.account_id == delivery.c.account_id)
_IS_ACTIVE = select(sending.c.id).where(sending.c.id == bindparam("sending_id"), is_active(Channel.EMAIL)).exists()
# Whether the sending goes on is told by the same statement as who is subscribed: a moment later it may be otherwise.
_REACHABLE = (
    select(
        delivery.c.id,
        recipient.c.id,
        recipient.c.email,
        recipient.c.mobile,
        recipient.c.fields,
        subscription.c.status,
        _IS_ACTIVE.label("is_active"),
    )
    .select_from(delivery.outerjoin(subscription, _SUBSCRIPTION).outerjoin(recipient, _RECIPIENT))
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)))
)


def record_results(connection: Connection, of: ActiveSending, results: Results, owner: str) -> None:
    """Write what became of claimed rows, the events of it, and how far the sending has come.

    Rows that are not the owner's any more are left out: they were recorded already, or given up for him by others.

    Args:
        connection: in a writing transaction.
        of: which sending of e-mails.
        results: of rows that the owner has claimed.
        owner: who.
    """
    now = datetime.now(UTC)
    own = connection.execute(_OWN, {"ids": results.ids(), "claimant": owner}).all()
    results = results.only({row.id for row in own})
    for change, ids in (
        (_SENT, [row[0] for row in results.sent]),
        (_SKIP, results.skipped),
        (_RETURN, results.returned),
    ):
        if ids:
            connection.execute(change, {"ids": ids, "now": now} if change is _SENT else {"ids": ids})
    for state, rows in ((DeliveryState.FAILED, results.failed), (DeliveryState.UNKNOWN, results.unknown)):
        if rows:
            connection.execute(_FAIL, [{"row": row.id, "to_state": int(state), "to_code": row.code} for row in rows])
    if results.postponed:
        waits = [
            {"row": row.id, "to_due": row.due_at, "to_code": row.code or None, "not_tried": int(not row.tried)}
            for row in results.postponed
        ]
        connection.execute(_POSTPONE, waits)
    again = [*results.returned, *(row.id for row in results.postponed)]
    if again:
        connection.execute(_CANCEL, {"ids": again})
    _count(connection, of, results)
    forgotten = {row.recipient_id for row in own if row.email is None}
    append_mail_events(connection, of.account_id, _events(of, results, now, forgotten))


# An erasure waits for those who have seen its recipient here, and they for it.
_OWN = (
    select(delivery.c.id, delivery.c.recipient_id, recipient.c.email)
    .join(recipient, recipient.c.id == delivery.c.recipient_id)
    .where(
        delivery.c.id.in_(bindparam("ids", expanding=True)),
        delivery.c.state == int(DeliveryState.ON_ITS_WAY),
        delivery.c.owner == bindparam("claimant"),
    )
    .with_for_update(read=True, key_share=True)
)
_CANCEL = (
    delivery.update()
    .where(
        delivery.c.id.in_(bindparam("ids", expanding=True)),
        exists().where(sending.c.id == delivery.c.sending_id, sending.c.state == "cancelled"),
    )
    .values(state=int(DeliveryState.CANCELLED))
)
_FAIL = (
    delivery.update()
    .where(delivery.c.id == bindparam("row"))
    .values(state=bindparam("to_state"), code=bindparam("to_code"), owner=None)
)
_POSTPONE = (
    delivery.update()
    .where(delivery.c.id == bindparam("row"))
    .values(
        state=int(DeliveryState.WAITING),
        due_at=bindparam("to_due"),
        code=func.coalesce(bindparam("to_code", type_=String), delivery.c.code),
        attempts=delivery.c.attempts - bindparam("not_tried", type_=Integer),
        owner=None,
    )
)


_ONES = delivery.c.id.in_(bindparam("ids", expanding=True))
_SENT = (
    delivery.update()
    .where(_ONES)
    .values(state=int(DeliveryState.SENT), owner=None, code="250", sent_at=bindparam("now", type_=UtcDateTime))
)
_SKIP = delivery.update().where(_ONES).values(state=int(DeliveryState.SKIPPED), owner=None)
_RETURN = (
    delivery.update()
    .where(_ONES)
    .values(state=int(DeliveryState.WAITING), owner=None, attempts=delivery.c.attempts - 1)
)


def _count(connection: Connection, of: ActiveSending, results: Results) -> None:
    counts = {
        "sent": len(results.sent),
        "failed": len(results.failed),
        "skipped": len(results.skipped),
        "unknown": len(results.unknown),
    }
    changed = {name: sending.c[name] + count for name, count in counts.items() if count}
    if changed:
        connection.execute(sending.update().where(sending.c.id == of.id).values(changed))


def _events(of: ActiveSending, results: Results, now: datetime, forgotten: Collection[int]) -> Iterable[MailEvent]:
    for _id, recipient_id, address in results.sent:
        if recipient_id not in forgotten:
            yield MailEvent(of.list_id, of.id, recipient_id, address, MailEventKind.SENT, now, now)
    for row in results.failed:
        if row.recipient_id not in forgotten:
            yield MailEvent(of.list_id, of.id, row.recipient_id, row.address, MailEventKind.BOUNCED, now, now, row.code)


def return_unbegun(connection: Connection, owner: str) -> int:
    """Put back what an owner has claimed without knowing it, since the answer to the claim was lost; return how many.

    Args:
        connection: in a writing transaction.
        owner: who has nothing on his way at this moment.
    """
    mine = (delivery.c.owner == owner) & (delivery.c.state == int(DeliveryState.ON_ITS_WAY))
    back = {"state": int(DeliveryState.WAITING), "owner": None, "attempts": delivery.c.attempts - 1}
    return connection.execute(delivery.update().where(mine).values(back)).rowcount


def settle_roughly(connection: Connection, results: Results, owner: str) -> None:
    """Write nothing but the states of claimed rows, where more cannot be written.

    Args:
        connection: in a writing transaction.
        results: of rows that the owner has claimed.
        owner: who.
    """
    mine = (delivery.c.owner == owner) & (delivery.c.state == int(DeliveryState.ON_ITS_WAY))
    for state, ids in (
        (DeliveryState.SENT, [row[0] for row in results.sent]),
        (DeliveryState.FAILED, [row.id for row in results.failed]),
        (DeliveryState.UNKNOWN, [row.id for row in results.unknown]),
        (DeliveryState.SKIPPED, results.skipped),
        (DeliveryState.WAITING, [*results.returned, *(row.id for row in results.postponed)]),
    ):
        if ids:
            change = delivery.update().where(delivery.c.id.in_(ids), mine)
            connection.execute(change.values(state=int(state), owner=None))


def owners_at_work(connection: Connection) -> list[str]:
    """Return who has something on its way."""
    query = select(delivery.c.owner).where(delivery.c.state == int(DeliveryState.ON_ITS_WAY)).distinct()
    return [owner for owner in connection.execute(query).scalars() if owner is not None]


class Recovered(NamedTuple):
    """What a dead owner had on its way, of one sending."""

    sending_id: int
    mode: SendingMode
    rows: int


def recover(connection: Connection, owner: str) -> list[Recovered]:
    """Take from a dead owner what it had on its way: to be repeated, or not, as each sending's mode says.

    Args:
        connection: in a writing transaction.
        owner: who will never come back.
    """
    mine = (delivery.c.owner == owner) & (delivery.c.state == int(DeliveryState.ON_ITS_WAY))
    again = sending.c.mode == "at-least-once"
    count = select(sending.c.id, sending.c.mode, func.count()).join(delivery, delivery.c.sending_id == sending.c.id)
    found = [Recovered(*row) for row in connection.execute(count.where(mine).group_by(sending.c.id, sending.c.mode))]
    own = select(sending.c.id).where(sending.c.id == delivery.c.sending_id)
    after = case(
        (own.where(again, sending.c.state == "cancelled").exists(), int(DeliveryState.CANCELLED)),
        (own.where(again).exists(), int(DeliveryState.WAITING)),
        else_=int(DeliveryState.UNKNOWN),
    )
    connection.execute(delivery.update().where(mine).values(state=after, owner=None))
    for sending_id, mode, rows in found:
        if mode == "at-most-once":
            lost = sending.update().where(sending.c.id == sending_id)
            connection.execute(lost.values(unknown=sending.c.unknown + rows))
    return found


def finish_sendings(connection: Connection) -> list[int]:
    """End the sendings whose queues are done; return their ids."""
    open_states = (int(DeliveryState.WAITING), int(DeliveryState.ON_ITS_WAY))
    is_open = [
        exists().where(delivery.c.sending_id == sending.c.id, delivery.c.state == state) for state in open_states
    ]
    done = sending.update().where(sending.c.state == "sending", ~or_(*is_open))
    now = datetime.now(UTC)
    return list(connection.execute(done.values(state="completed", finished_at=now).returning(sending.c.id)).scalars())
