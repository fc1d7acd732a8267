"""Sends the mails of the outbox and the notices to staff: claimed, looked at again, handed over, and recorded.

Requests for confirmation and notices go out at least once: nobody can come into a list without the one, and the other
may tell of damage. What else a list sends by itself goes out at most once: whatever was on its way when a process died
is not repeated.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, or_, select, true
from sqlalchemy.exc import IntegrityError

from audience.accounts import select_active_ids
from db.engine import Database
from db.leases import LeaseKeeper, RunTable
from db.retry import retry_on_conflict
from db.tables import notice, outbox
from delivery.bounce_codes import classify_answer
from delivery.bounce_rules import record_bounce
from delivery.composition import NO_SENDING
from delivery.errors import InvalidMessage
from delivery.outbox import is_released, join_waiting
from delivery.outbox_letters import NoSender, OutboxOptions, compose_mail, compose_notice
from delivery.parcels import Outcome, Parcel
from delivery.return_paths import ReturnPath
from delivery.routes import MailRoute
from delivery.smtp import RouteDown

log = structlog.get_logger()

BATCH = 50
"""Mails that are looked for at a time."""
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""Until the next attempt; the last one is repeated."""
WAIT_FOR_SENDER = timedelta(minutes=5)
NO_SENDER = "no sender"
INVALID = "invalid"
UNKNOWN = "unknown"
"""Codes that no server gave."""
_REPEATED_KINDS = ("confirmation",)
_KINDS_TO_RECIPIENTS = ("confirmation", "welcome", "goodbye")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A table of mails that are to go out."""

    runs: RunTable
    compose: Callable[[Connection, int, OutboxOptions], Parcel | None]
    repeats: ColumnElement[bool]
    """Whether a mail is sent again that may have gone out already."""
    is_released: ColumnElement[bool]
    is_served: ColumnElement[bool]
    """Whether a mail goes out while its account is closed to its callers, or the account is not."""
    refused: Callable[[Connection, int, Outcome], None]
    """Told when a server does not take a mail."""


def _block_recipient(connection: Connection, mail_id: int, outcome: Outcome) -> None:
    """Take a recipient whose address does not exist out of the account's lists, as a bounce does."""
    found = classify_answer(outcome.code, outcome.text)
    to_recipient = (outbox.c.id == mail_id, outbox.c.kind.in_(_KINDS_TO_RECIPIENTS))
    row = connection.execute(select(outbox.c.account_id, outbox.c.recipient_id).where(*to_recipient)).one_or_none()
    if row is not None and found.kind == "hard":
        about = ReturnPath(row.account_id, NO_SENDING, row.recipient_id)
        # Of these mails only what is certain counts, so that the limit for others is never reached.
        record_bounce(connection, about, found, soft_bounce_limit=sys.maxsize)


_SOURCES = (
    _Source(
        runs=RunTable(outbox, "waiting", "sending"),
        compose=compose_mail,
        repeats=outbox.c.kind.in_(_REPEATED_KINDS),
        is_released=is_released(),
        is_served=outbox.c.account_id.in_(select_active_ids()),
        refused=_block_recipient,
    ),
    _Source(
        runs=RunTable(notice, "waiting", "sending"),
        compose=compose_notice,
        repeats=true(),
        is_released=true(),
        # They may tell why.
        is_served=true(),
        refused=lambda *_: None,
    ),
)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A mail that is about to go out."""

    id: int
    parcel: Parcel
    attempts: int
    since: datetime
    """The first of them."""
    repeats: bool


def send_due_mails(
    database: Database, route: MailRoute, options: OutboxOptions, owner: str, stop: threading.Event
) -> bool:
    """Send some of the mails and notices that are due; return whether there may be more.

    Args:
        database: knows them.
        route: takes them.
        options: how the server shows itself.
        owner: from `db.leases.name_owner`.
        stop: set when no further mail is to be begun.
    """
    worked = False
    for source in _SOURCES:
        with database.read() as connection:
            due = _find_due(connection, source)
        for mail_id in due:
            if stop.is_set():
                return False
            try:
                worked |= _send(database, route, options, owner, source, mail_id)
            except RouteDown as error:
                log.warning("mail_route_down", error=str(error))
                return False
    return worked


def _find_due(connection: Connection, source: _Source) -> list[int]:
    """Return ids of mails that are due, the oldest first; before them those that somebody has on his way for long."""
    columns, now = source.runs.table.c, datetime.now(UTC)
    left = select(columns.id).where(columns.state == source.runs.running, columns.lease_until < now)
    is_due = or_(columns.due_at.is_(None), columns.due_at <= now)
    waiting = select(columns.id).where(columns.state == source.runs.queued, is_due, source.is_released)
    found: list[int] = []
    for query in (left, waiting):
        found += connection.execute(query.where(source.is_served).order_by(columns.id).limit(BATCH)).scalars()
    return found


def _send(
    database: Database, route: MailRoute, options: OutboxOptions, owner: str, source: _Source, mail_id: int
) -> bool:
    """Send one mail, if it is this owner's to send; return whether anything was done about it.

    Raises:
        RouteDown: nothing can be sent at all, and the mail waits as before.
    """

    def write(work: Callable[[Connection], Any]) -> Any:
        def attempt() -> Any:
            with database.write() as connection:
                return work(connection)

        return retry_on_conflict(attempt)

    claimed = write(lambda connection: _claim(connection, source, mail_id, owner, options))
    if not isinstance(claimed, _Claimed):
        return bool(claimed)
    try:
        with LeaseKeeper(database, source.runs, mail_id, owner):
            outcome = route.send(claimed.parcel)
    except RouteDown as error:
        if route.shares_servers:
            write(lambda connection: _put_back(connection, source, mail_id, owner, attempts=claimed.attempts - 1))
            raise
        outcome = Outcome("deferred", 0, str(error))
    except ValueError:
        outcome = Outcome("refused", 0, INVALID)
    write(lambda connection: _record(connection, source, claimed, owner, outcome, options))
    return True


def _claim(
    connection: Connection, source: _Source, mail_id: int, owner: str, options: OutboxOptions
) -> _Claimed | bool:
    """Take a mail and write it; False when it is not to be had, True when there is nothing to send after all."""
    runs, columns = source.runs, source.runs.table.c
    query = select(columns.state, source.repeats.label("repeats")).where(columns.id == mail_id)
    before = connection.execute(query.with_for_update()).one_or_none()
    if before is None or runs.claim(connection, owner, columns.id == mail_id) is None:
        return False
    if before.state == runs.running and not before.repeats:
        return _give_up(connection, source, mail_id, owner, UNKNOWN)
    try:
        parcel = source.compose(connection, mail_id, options)
    except NoSender as reason:
        return _wait_for_sender(connection, source, mail_id, owner, reason)
    except InvalidMessage:
        return _give_up(connection, source, mail_id, owner, INVALID)
    if parcel is None:
        return runs.finish(connection, mail_id, owner, "cancelled")
    row = connection.execute(select(columns.attempts, columns.started_at).where(columns.id == mail_id)).one()
    return _Claimed(mail_id, parcel, row.attempts, row.started_at, before.repeats)


def _record(
    connection: Connection, source: _Source, claimed: _Claimed, owner: str, outcome: Outcome, options: OutboxOptions
) -> None:
    """Write down what became of a mail."""
    runs, table, now = source.runs, source.runs.table.name, datetime.now(UTC)
    if outcome.kind == "sent":
        runs.finish(connection, claimed.id, owner, "sent", sent_at=now, code=None)
        log.info("mail_sent", table=table, id=claimed.id)
        return
    code = outcome.name or (UNKNOWN if outcome.kind == "unknown" else outcome.text[:80])
    again = outcome.kind == "deferred" or (outcome.kind == "unknown" and claimed.repeats)
    if again and now < claimed.since + timedelta(hours=options.retry_hours):
        delay = DELAYS[min(claimed.attempts, len(DELAYS)) - 1]
        _put_back(connection, source, claimed.id, owner, due_at=now + delay, code=code)
        log.info("mail_deferred", table=table, id=claimed.id, code=outcome.code, attempts=claimed.attempts)
        return
    _give_up(connection, source, claimed.id, owner, code)
    if outcome.kind == "refused" and outcome.code:
        source.refused(connection, claimed.id, outcome)


def _give_up(connection: Connection, source: _Source, mail_id: int, owner: str, code: str) -> bool:
    log.warning("mail_failed", table=source.runs.table.name, id=mail_id, code=code)
    return source.runs.finish(connection, mail_id, owner, "failed", code=code)


def _wait_for_sender(connection: Connection, source: _Source, mail_id: int, owner: str, reason: NoSender) -> bool:
    """Put back a mail that nobody sends, and all others of its list, as if they had not been looked at."""
    log.warning("list_without_sender", account=reason.account_number, list=reason.list_number)
    due_at = datetime.now(UTC) + WAIT_FOR_SENDER
    _put_back(connection, source, mail_id, owner, due_at=due_at, code=NO_SENDER, attempts=outbox.c.attempts - 1)
    same_list = select(outbox.c.list_id).where(outbox.c.id == mail_id).scalar_subquery()
    others = (outbox.c.state == "waiting", outbox.c.list_id == same_list, outbox.c.sender_email.is_(None))
    connection.execute(outbox.update().where(*others).values(due_at=due_at, code=NO_SENDER))
    return True


def _put_back(connection: Connection, source: _Source, mail_id: int, owner: str, **values: Any) -> None:
    """Let a mail wait, unless the same one was asked for again meanwhile: that one does for both."""
    runs = source.runs
    try:
        with connection.begin_nested():
            runs.renew(connection, mail_id, owner, state=runs.queued, lease_owner=None, **values)
    except IntegrityError:
        join_waiting(connection, mail_id)
        runs.finish(connection, mail_id, owner, "cancelled")
