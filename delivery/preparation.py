"""Preparation of sendings: everybody who is to get one is put into the queue, piece by piece, so that writers in
between need not wait, and a process that dies half way is continued by another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal, or_, select

from audience.accounts import select_active_ids
from audience.status_rules import Channel
from db.engine import Database
from db.functions import insert_into
from db.leases import MAX_ATTEMPTS, LeaseKeeper, RunTable
from db.retry import retry_on_conflict
from db.tables import delivery, sending, sending_stop
from db.types import UtcDateTime
from delivery.errors import DeliveryError, InvalidMessage
from delivery.queue import DeliveryState, write_links
from delivery.sending_notices import tell_ended
from delivery.sendings import Target
from delivery.targets import select_target

log = structlog.get_logger()

SENDINGS = RunTable(sending, queued="scheduled", running="preparing")
CHUNK = 20_000
"""People that are put into the queue in one transaction."""
ReadLinks = Callable[[int], tuple[str, ...]]
"""Gives the links of a sending's message that are tracked; raises DeliveryError when it can never be sent."""


def prepare_next(database: Database, read_links: ReadLinks, owner: str, stop: threading.Event) -> bool:
    """Prepare the sending whose turn it is; False when there is none.

    Args:
        database: where everything is.
        read_links: of e-mails.
        owner: from `db.leases.name_owner`.
        stop: ends the work early; it is continued by whoever comes next.
    """

    def claim() -> int | None:
        with database.write() as connection:
            return SENDINGS.claim(connection, owner, _is_due(), _is_next())

    sending_id = retry_on_conflict(claim)
    if sending_id is None:
        return False
    with LeaseKeeper(database, SENDINGS, sending_id, owner) as keeper:
        _prepare(database, read_links, sending_id, owner, lambda: stop.is_set() or keeper.cancelled.is_set())
    return True


def _is_due() -> ColumnElement[bool]:
    now = literal(datetime.now(UTC), UtcDateTime)
    stopped = exists().where(
        sending_stop.c.account_id == sending.c.account_id, sending_stop.c.channel == sending.c.channel
    )
    served = sending.c.account_id.in_(select_active_ids())
    return and_(or_(sending.c.start_at.is_(None), sending.c.start_at <= now), ~stopped, served)


def _is_next() -> ColumnElement[bool]:
    """Return the condition that no other sending to many people of the account is under way, or before this one.

    One of which all that is left waits for servers that want to be asked later holds up nobody.
    """
    other = sending.alias("other")
    now = literal(datetime.now(UTC), UtcDateTime)
    waits_before = and_(
        other.c.state == "scheduled",
        or_(other.c.start_at.is_(None), other.c.start_at <= now),
        or_(
            other.c.position < sending.c.position,
            and_(other.c.position == sending.c.position, other.c.id < sending.c.id),
        ),
    )
    has_more = exists().where(
        delivery.c.sending_id == other.c.id, delivery.c.state == int(DeliveryState.WAITING), delivery.c.due_at <= now
    )
    before = exists().where(
        other.c.account_id == sending.c.account_id,
        other.c.channel == sending.c.channel,
        other.c.kind == "bulk",
        other.c.id != sending.c.id,
        or_(other.c.state == "preparing", and_(other.c.state == "sending", has_more), waits_before),
    )
    return or_(sending.c.kind == "single", ~before.correlate(sending))


def _prepare(
    database: Database, read_links: ReadLinks, sending_id: int, owner: str, is_over: Callable[[], bool]
) -> None:
    with database.read() as connection:
        row = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
    try:
        if row.attempts > MAX_ATTEMPTS:
            raise InvalidMessage("The sending could not be prepared, three times.")
        if row.channel == Channel.EMAIL:
            links = read_links(sending_id)
            retry_on_conflict(lambda: _keep_links(database, sending_id, links))
        if Target.from_dict(row.target or {}).to != "queue" and not _fill_queue(database, row, owner, is_over):
            retry_on_conflict(lambda: _give_up(database, sending_id, owner))
            return
    except DeliveryError as error:
        log.error("sending_failed", sending=row.number, account_id=row.account_id, reason=str(error))
        reason = str(error)
        retry_on_conflict(lambda: _fail(database, sending_id, owner, reason))
        return
    retry_on_conflict(lambda: _begin(database, sending_id, owner))


def _keep_links(database: Database, sending_id: int, links: tuple[str, ...]) -> None:
    with database.write() as connection:
        write_links(connection, sending_id, links)


def _fill_queue(database: Database, row: Any, owner: str, is_over: Callable[[], bool]) -> bool:
    """Put everybody into the queue; False when somebody asked for an end, or another one does it now."""
    with database.read() as connection:
        in_queue = select(func.max(delivery.c.recipient_id)).where(delivery.c.sending_id == row.id)
        last = connection.execute(in_queue).scalar_one_or_none() or 0

    def add(after: int) -> int | None:
        with database.write() as connection:
            # Whoever lost the claim must not add anybody, and whoever has it must not wait for him.
            if not SENDINGS.renew(connection, row.id, owner):
                return after
            return _add_chunk(connection, row, after)

    while True:
        if is_over():
            return False
        upto = retry_on_conflict(partial(add, last))
        if upto is None:
            return True
        if upto == last:
            return False
        last = upto


def _add_chunk(connection: Connection, row: Any, after: int) -> int | None:
    """Put the next people into the queue, by their ids; return the last one's id, None when there was nobody."""
    people = select_target(connection, row).subquery("target")
    following = select(people.c.recipient_id).where(people.c.recipient_id > after).order_by(people.c.recipient_id)
    last = select(func.max(following.limit(CHUNK).subquery("following").c.recipient_id))
    upto: int | None = connection.execute(last).scalar_one_or_none()
    if upto is not None:
        # Up to that one, however many these are by now: who came in between must not push others out.
        chunk = select(people).where(people.c.recipient_id.between(after + 1, upto)).subquery("chunk")
        insert = insert_into(connection, delivery).from_select(_COLUMNS, _queue_rows(connection, row, chunk))
        connection.execute(insert.on_conflict_do_nothing())
    return upto


_COLUMNS = (
    *("account_id", "sending_id", "list_id", "recipient_id", "copy"),
    *("address", "domain", "state", "due_at", "attempts"),
)


def _queue_rows(connection: Connection, row: Any, chunk: Any) -> Select[Any]:
    return select(
        literal(row.account_id),
        literal(row.id),
        literal(row.list_id),
        chunk.c.recipient_id,
        literal(0),
        chunk.c.address,
        _domain(connection, chunk.c.address) if row.channel == Channel.EMAIL else literal(""),
        literal(int(DeliveryState.WAITING)),
        literal(datetime.now(UTC), UtcDateTime),
        literal(0),
        # Where a SELECT has no WHERE, SQLite reads the conflict clause as part of a join.
    ).where(literal(1) == literal(1))


def _domain(connection: Connection, address: ColumnElement[str]) -> ColumnElement[str]:
    # Stored addresses have one "@", for a quoted local part is refused where they come in.
    if connection.dialect.name == "postgresql":
        return func.lower(func.split_part(address, "@", 2))
    return func.lower(func.substr(address, func.instr(address, "@") + 1))


def _begin(database: Database, sending_id: int, owner: str) -> None:
    with database.write() as connection:
        in_queue = select(func.count()).where(delivery.c.sending_id == sending_id)
        total = connection.execute(in_queue).scalar_one()
        if SENDINGS.renew(connection, sending_id, owner, state="sending", total=total):
            released = sending.update().where(sending.c.id == sending_id)
            connection.execute(released.values(lease_owner=None, lease_until=None))


def _give_up(database: Database, sending_id: int, owner: str) -> None:
    with database.write() as connection:
        if SENDINGS.is_cancelled(connection, sending_id):
            connection.execute(delivery.delete().where(delivery.c.sending_id == sending_id))
            SENDINGS.finish(connection, sending_id, owner, "cancelled")
        else:
            SENDINGS.requeue(connection, sending_id, owner)


def _fail(database: Database, sending_id: int, owner: str, reason: str) -> None:
    with database.write() as connection:
        if SENDINGS.finish(connection, sending_id, owner, "failed", error_text=reason):
            tell_ended(connection, sending_id)
