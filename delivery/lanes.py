"""Lanes: each takes batches from the queue of e-mails and brings them to the mail servers, one after the other.

What a recipient may get is looked up again while a batch is on its way: whoever unsubscribed a second ago gets nothing.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from audience.status_rules import Channel
from db.engine import Database
from db.retry import retry_on_conflict
from delivery.answers import record_answers
from delivery.compiling import CompiledMessage, Person
from delivery.domain_gate import DomainGate
from delivery.errors import DeliveryError
from delivery.parcels import NOT_WRITTEN, Outcome, Parcel
from delivery.queue import (
    ActiveSending,
    Claimed,
    Failed,
    Postponed,
    Reachable,
    Results,
    active_sendings,
    claim_batch,
    find_reachable,
    record_results,
    return_unbegun,
    settle_roughly,
    write_links,
)
from delivery.routes import MailRoute
from delivery.sendings import SendingKind
from delivery.smtp import RouteDown

log = structlog.get_logger()

LOOK_SECONDS = 0.25
"""How old what is known of a recipient may be when he is sent something."""
BATCH_SECONDS = 0.5
"""How long a batch should take: so much is in doubt when the process dies."""
FIRST_BATCH = 50
LARGEST_BATCH = 250
"""Rows; so that others who write need not wait long for its results to be written."""
KEPT_MESSAGES = 8
RETRY_MINUTES = (1, 5, 15, 60, 180, 360)
"""After the first, second, … try; then as after the last."""
MIN_ATTEMPTS = 8
_DATABASE_SECONDS = 1.0
"""Between two tries to write results down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneOptions:
    """How long mails are tried, and how often somebody may not be reached."""

    retry: timedelta = timedelta(hours=48)
    soft_bounce_limit: int = 5


class CompiledMessages:
    """The messages of the sendings now under way, each compiled once; for any number of lanes."""

    def __init__(self, compile_sending: Callable[[int], CompiledMessage]) -> None:
        """Keep a few of what a function compiles.

        Args:
            compile_sending: gets a sending's internal id.
        """
        self._compile = compile_sending
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, CompiledMessage] = OrderedDict()

    def find(self, sending_id: int) -> CompiledMessage:
        """Return the message of a sending.

        Raises:
            DeliveryError: it can never be sent.
        """
        with self._lock:
            kept = self._kept.get(sending_id)
            if kept is not None:
                self._kept.move_to_end(sending_id)
                return kept
        compiled = self._compile(sending_id)
        with self._lock:
            self._kept[sending_id] = compiled
            while len(self._kept) > KEPT_MESSAGES:
                self._kept.popitem(last=False)
        return compiled


class MailLane:
    """Works off sendings of one kind; for one thread."""

    def __init__(
        self,
        database: Database,
        route: MailRoute,
        gate: DomainGate,
        messages: CompiledMessages,
        owner: str,
        kind: SendingKind,
        options: LaneOptions | None = None,
    ) -> None:
        """Get ready.

        Args:
            database: where the queue is.
            route: where mails go.
            gate: of all lanes of the process.
            messages: of all lanes of the process.
            owner: from `db.leases.name_owner`.
            kind: of sendings.
            options: None for the usual ones.
        """
        self._database = database
        self._route = route
        self._gate = gate
        self._messages = messages
        self._owner = owner
        self._kind = kind
        self._options = options or LaneOptions()
        self._batch = FIRST_BATCH
        self._turn = 0
        self._rests_until = 0.0
        self._troubles = 0
        self._is_unsure = False
        """Whether the answer to a claim was lost, so that something may be claimed that nobody knows of."""

    def work(self, stop: threading.Event) -> bool:
        """Send one batch; False when there is nothing to send now.

        Args:
            stop: ends the batch early; what was not sent goes back into the queue.
        """
        if monotonic() < self._rests_until:
            return False
        with self._database.read_once() as connection:
            active = active_sendings(connection, Channel.EMAIL, self._kind)
        # Sendings of several accounts take turns.
        self._turn += 1
        for place in range(len(active)):
            of = active[(self._turn + place) % len(active)]
            message = self._find_message(of)
            claimed = self._claim(of, message)
            if claimed:
                self._bring(of, claimed, message, stop)
                return True
        return False

    def _find_message(self, of: ActiveSending) -> CompiledMessage | None:
        try:
            return self._messages.find(of.id)
        except DeliveryError as error:
            log.error("message_not_sent", sending=of.number, reason=str(error))
            return None

    def _claim(self, of: ActiveSending, message: CompiledMessage | None) -> list[Claimed]:
        closed = self._gate.closed() if not self._route.shares_servers else []

        def claim() -> list[Claimed]:
            with self._database.write() as connection:
                if self._is_unsure:
                    return_unbegun(connection, self._owner)
                if self._kind == "single" and message is not None:
                    # Nobody has prepared it: its recipient was put into the queue by whoever asked for it.
                    write_links(connection, of.id, message.links)
                return claim_batch(connection, self._owner, of, self._batch, without_domains=closed)

        self._is_unsure, is_unsure = True, self._is_unsure
        claimed = retry_on_conflict(claim)
        self._is_unsure = False
        if is_unsure:
            log.info("unbegun_returned", sending=of.number)
        return claimed

    def _bring(
        self, of: ActiveSending, claimed: list[Claimed], message: CompiledMessage | None, stop: threading.Event
    ) -> None:
        began = monotonic()
        batch = _Batch(self._database, of, claimed, self._options.retry)
        try:
            if message is None:
                for row in claimed:
                    batch.note(row, NOT_WRITTEN)
            else:
                self._bring_all(batch, message, stop)
        finally:
            # Also when something unforeseen happened to one of them: what became of the others must not be lost.
            batch.give_back_rest()
            self._write(of, batch.results)
        self._adapt(monotonic() - began, len(claimed))

    def _bring_all(self, batch: _Batch, message: CompiledMessage, stop: threading.Event) -> None:
        parcels = self._write_parcels(batch, message, stop)
        try:
            for outcome in self._route.bring(parcels):
                row = batch.note_first(outcome)
                self._gate.leave(row.domain, reached=outcome.reached)
                self._troubles = 0
        except RouteDown as error:
            # The server has not taken those that have no outcome.
            for row in batch.forget_begun():
                self._gate.leave(row.domain, reached=True)
            self._rest(error)
        finally:
            parcels.close()
            for row in batch.begun:
                self._gate.leave(row.domain, reached=True)

    def _write_parcels(
        self, batch: _Batch, message: CompiledMessage, stop: threading.Event
    ) -> Generator[Parcel, None, None]:
        """Yield the mails of a batch, each for somebody who is to get it as far as is known at this moment."""
        for row in batch.claimed:
            if stop.is_set():
                return
            try:
                person = batch.look_up(row)
            except (DBAPIError, PoolTimeout) as error:
                # Nobody is written to unless it is known that he wants it.
                log.warning("recipients_not_looked_up", sending=batch.of.number, error=type(error).__name__)
                return
            if not batch.is_active:
                return
            if person is None:
                continue
            wait = self._gate.enter(row.domain)
            if wait:
                batch.postpone(row, timedelta(seconds=wait), tried=False)
                continue
            parcel = _write_parcel(message, row, person)
            if parcel is None:
                self._gate.leave(row.domain, reached=True)
                batch.note(row, NOT_WRITTEN)
                continue
            batch.begin(row, person.email)
            yield parcel

    def _rest(self, error: RouteDown) -> None:
        """Leave the server alone for a while, except after the first break: some end each session after a time."""
        self._troubles += 1
        pause = min(2.0 ** min(self._troubles, 7) - 2, 60.0)
        self._rests_until = monotonic() + pause
        log.warning("relay_unreachable", error=str(error), pause_seconds=pause)

    def _write(self, of: ActiveSending, results: Results) -> None:
        """Write results down, however long the database is away: nobody else knows them."""

        def write_all(connection: Connection) -> None:
            record_results(connection, of, results, self._owner)
            record_answers(connection, of, results.failed, self._options.soft_bounce_limit)

        def write_results(connection: Connection) -> None:
            record_results(connection, of, results, self._owner)

        def write_states(connection: Connection) -> None:
            settle_roughly(connection, results, self._owner)

        for write in (write_all, write_results, write_states):
            if self._write_with(write, of):
                return

    def _write_with(self, write: Callable[[Connection], None], of: ActiveSending) -> bool:
        """Write in one transaction, as soon as the database is there; False when it cannot be written at all."""

        def attempt() -> None:
            with self._database.write() as connection:
                write(connection)

        while True:
            try:
                retry_on_conflict(attempt)
                return True
            except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
                log.error("database_away", sending=of.number, error=type(error).__name__)
                threading.Event().wait(_DATABASE_SECONDS)
            except Exception as error:
                log.error("results_not_written", sending=of.number, part=write.__name__, error=type(error).__name__)
                return False

    def _adapt(self, seconds: float, rows: int) -> None:
        """Make batches so large that each takes about the same time."""
        if seconds < BATCH_SECONDS and rows == self._batch:
            self._batch = min(self._batch * 2, LARGEST_BATCH)
        elif seconds > BATCH_SECONDS * 2:
            self._batch = max(self._batch // 2, 1)


def _write_parcel(message: CompiledMessage, row: Claimed, person: Reachable) -> Parcel | None:
    """Return one recipient's mail; None when his data make one that no server would take."""
    try:
        return message.render(
            Person(row.id, person.recipient_id, person.email, person.mobile or "", person.fields, row.values)
        )
    except (DeliveryError, ValueError):
        return None
    except Exception as error:
        # One recipient's data must not keep the mails of all others back.
        log.error("mail_not_written", delivery=row.id, error=type(error).__name__)
        return None


class _Batch:
    """Claimed rows of one sending, and what has become of each."""

    def __init__(self, database: Database, of: ActiveSending, claimed: Sequence[Claimed], retry: timedelta) -> None:
        self.of = of
        self._retry = retry
        self.claimed = claimed
        self.results = Results()
        self.is_active = True
        self._database = database
        self._open = {row.id: row for row in claimed}
        self._emails: dict[int, str] = {}
        """Where mails went, by row: somebody may have another address by now than in the queue."""
        self.begun: deque[Claimed] = deque()
        """Those whose mails were given to a session and have no outcome yet."""
        self._reachable: dict[int, Reachable] = {}
        self._looked_at = float("-inf")

    def look_up(self, row: Claimed) -> Reachable | None:
        """Return a recipient as he is now; None when he is to get nothing, or nobody is."""
        if monotonic() - self._looked_at > LOOK_SECONDS:
            self._look()
        person = self._reachable.get(row.id)
        if person is None and self.is_active:
            self.results.skipped.append(row.id)
            self._end(row)
        return person

    def _look(self) -> None:
        self._looked_at = monotonic()
        with self._database.read() as connection:
            found = find_reachable(connection, self.of, list(self._open))
        self.is_active = found is not None
        self._reachable = found or {}

    def begin(self, row: Claimed, email: str) -> None:
        """Note that from now on nobody knows whether a server has it."""
        self._emails[row.id] = email
        self.begun.append(row)

    def note_first(self, outcome: Outcome) -> Claimed:
        """Note what became of the first that was begun, since outcomes come in order; return it."""
        row = self.begun[0]
        # In doubt until this is noted, whatever happens.
        self.note(row, outcome)
        self.begun.popleft()
        return row

    def forget_begun(self) -> list[Claimed]:
        """Note that no server has taken those without an outcome; they go back with the rest."""
        rows = list(self.begun)
        self.begun.clear()
        return rows

    def note(self, row: Claimed, outcome: Outcome) -> None:
        """Note what a server said."""
        if outcome.kind == "sent":
            self.results.sent.append((row.id, row.recipient_id, self._emails[row.id]))
        elif outcome.kind == "unknown" and self.of.mode == "at-most-once":
            self.results.unknown.append(_failed(row, outcome))
        elif outcome.kind == "refused" or self._is_enough(row):
            self.results.failed.append(_failed(row, outcome))
        else:
            minutes = RETRY_MINUTES[min(row.attempts, len(RETRY_MINUTES)) - 1]
            # So that those that failed together do not all come again together.
            self.postpone(row, timedelta(minutes=minutes * random.uniform(0.9, 1.1)), code=outcome.name)  # noqa: S311
        self._end(row)

    def _is_enough(self, row: Claimed) -> bool:
        # The sending may have stood still for days, so a few tries must have been made too.
        return datetime.now(UTC) - row.queued_at > self._retry and row.attempts >= MIN_ATTEMPTS

    def postpone(self, row: Claimed, delay: timedelta, *, code: str = "", tried: bool = True) -> None:
        """Have it tried again later."""
        self.results.postponed.append(Postponed(row.id, datetime.now(UTC) + delay, code, tried))
        self._end(row)

    def _end(self, row: Claimed) -> None:
        self._open.pop(row.id, None)

    def give_back_rest(self) -> None:
        """Give back what was not tried; those that something unforeseen happened to are treated as after a crash."""
        for row in self.forget_begun():
            self.note(row, Outcome("unknown"))
        self.results.returned.extend(self._open)
        self._open.clear()


def _failed(row: Claimed, outcome: Outcome) -> Failed:
    return Failed(row.id, row.recipient_id, row.address, outcome.name or "000", outcome)
