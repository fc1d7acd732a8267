"""Works off sendings of text messages: claims a batch, pays for it, hands it to the gateway, records what came of it.

Whoever may get a message is looked up in the transaction that claims it, right before it is handed over. What was on
its way when the process died is treated like e-mails are, see `delivery.queue.recover`.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from audience.list_settings import read_settings
from audience.lists import load_list
from audience.status_rules import Channel
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import sending
from delivery.errors import InvalidMessage
from delivery.handovers import Gateway, GatewayUnavailable, Handover, Outcome, OutgoingText
from delivery.messages import Message, load_message
from delivery.queue import ActiveSending, Claimed, DeliveryState, active_sendings, claim_batch
from delivery.sendings import SendingKind
from delivery.sms_queue import (
    Addressee,
    Ready,
    Result,
    find_addressees,
    judge,
    may_get,
    pause_without_credits,
    pay,
    record,
)
from delivery.sms_receipts import STATUS_PATH, ReceiptBook, write_status_token
from delivery.sms_senders import choose_sender
from delivery.sms_writing import TextWriter, WrittenText, load_writer, write_text
from delivery.sources import Person
from delivery.vocabulary import Vocabulary

log = structlog.get_logger()

LARGEST_BATCH = 200
IDLE_SECONDS = 0.2
_DATABASE_SECONDS = 1.0
"""Between two tries to write results down."""
_AWAY_SECONDS = 1.0
"""After a gateway took nothing, before it is asked again."""
_HELD_SECONDS = 30.0
"""How long a sending is left alone that nothing could be made of."""
_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
"""What passes; whatever else a database says is about the rows."""
_KINDS: tuple[SendingKind, ...] = ("single", "bulk")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsOptions:
    """How text messages go out."""

    owner: str
    """From `db.leases.name_owner`."""
    vocabulary: Vocabulary
    public_url: str
    per_second: float = 10.0
    """Parts that the gateway takes in a second."""
    retry: timedelta = timedelta(hours=48)


def run_sms_lane(database: Database, gateway: Gateway, options: SmsOptions, stop: threading.Event) -> None:
    """Send text messages until told to stop; returns when nothing is on its way any more.

    Args:
        database: migrated.
        gateway: closed at the end.
        options: how.
        stop: set by the caller, in another thread.
    """
    lane = SmsLane(database, gateway, options)
    try:
        while not stop.is_set():
            try:
                worked = lane.work(stop)
            except Exception as error:
                log.error("sms_lane_failed", **_describe(error))
                worked = False
            if not worked:
                stop.wait(IDLE_SECONDS)
    finally:
        gateway.close()


class SmsLane:
    """Works off the sendings of text messages, those to one person first; for one thread."""

    def __init__(self, database: Database, gateway: Gateway, options: SmsOptions) -> None:
        """Get ready, and take the gateway's receipts from now on."""
        self._database = database
        self._gateway = gateway
        self._options = options
        self._receipts = ReceiptBook(database)
        self._turn = 0
        self._not_before = 0.0
        self._held: dict[int, float] = {}
        gateway.on_receipts(self._receipts.take)

    def work(self, stop: threading.Event) -> bool:
        """Send one batch; False when there is nothing to send now, or nowhere to send it to.

        Args:
            stop: ends the wait for the gateway's rate.
        """
        try:
            # Also when nothing is to be sent: receipts come over the same connection.
            self._gateway.connect()
        except GatewayUnavailable:
            return False
        if stop.wait(max(self._not_before - time.monotonic(), 0.0)):
            return False
        self._receipts.look_again()
        for kind in _KINDS:
            for of in self._find_active(kind):
                ready = self._try_to_claim(of)
                if ready is not None:
                    self._hand_over(of, ready)
                    return True
        return False

    def _find_active(self, kind: SendingKind) -> list[ActiveSending]:
        """Return the sendings of a kind; those of several accounts take turns."""
        with self._database.read_once() as connection:
            active = active_sendings(connection, Channel.SMS, kind)
        self._turn += 1
        place = self._turn % len(active) if active else 0
        return active[place:] + active[:place]

    def _try_to_claim(self, of: ActiveSending) -> list[Ready] | None:
        """Claim; a sending that nothing can be made of is left alone for a while, so that others go on."""
        if time.monotonic() < self._held.get(of.id, 0.0):
            return None
        self._held.pop(of.id, None)
        try:
            return self._claim(of)
        except _DATABASE_AWAY:
            raise
        except Exception as error:
            log.error("sending_held", sending=of.number, account_id=of.account_id, **_describe(error))
            self._held[of.id] = time.monotonic() + _HELD_SECONDS
            return None

    def _claim(self, of: ActiveSending) -> list[Ready] | None:
        """Take the next rows of a sending, on their way from now on; None when it has none."""
        limit = max(1, min(int(self._options.per_second), LARGEST_BATCH))

        def claim() -> list[Ready] | None:
            with self._database.write() as connection:
                rows = claim_batch(connection, self._options.owner, of, limit)
                return self._prepare(connection, of, rows) if rows else None

        return retry_on_conflict(claim)

    def _prepare(self, connection: Connection, of: ActiveSending, rows: Sequence[Claimed]) -> list[Ready]:
        batch = _Batch(connection, of, self._options)
        addressees = find_addressees(connection, of, rows)
        ready: list[Ready] = []
        done: list[Result] = []
        for row in rows:
            prepared = batch.prepare(row, addressees.get(row.id))
            if isinstance(prepared, Ready):
                ready.append(prepared)
            else:
                done.append(prepared)
        paid = pay(connection, of, ready)
        unpaid = ready[len(paid) :]
        # Their parts, if any, stay paid.
        done += [_return(item) for item in unpaid]
        if unpaid:
            pause_without_credits(connection, of)
            log.warning("sending_paused", sending=of.number, account_id=of.account_id, reason="no credits")
        record(connection, of, done)
        return paid

    def _hand_over(self, of: ActiveSending, ready: Sequence[Ready]) -> None:
        if not ready:
            return
        try:
            handovers = self._send(of, [item.text for item in ready])
        except GatewayUnavailable as error:
            log.warning("texts_not_handed_over", sending=of.number, reason=str(error), texts=len(ready))
            self._not_before = time.monotonic() + _AWAY_SECONDS
            # What was paid with this claim stays paid.
            self._write(of, [_return(replace(item, paid=True)) for item in ready])
            return
        cost = sum(item.cost for item in ready)
        self._not_before = time.monotonic() + cost / self._options.per_second
        self._write(of, [self._judge(of, *pair) for pair in zip(ready, handovers, strict=True)])

    def _send(self, of: ActiveSending, texts: Sequence[OutgoingText]) -> Sequence[Handover]:
        """Hand texts over; of what nobody has an answer for, nobody knows whether it was sent.

        Raises:
            GatewayUnavailable: none of them was handed over.
        """
        try:
            handovers = self._gateway.send(texts)
            if len(handovers) == len(texts):
                return handovers
            log.error("texts_in_doubt", sending=of.number, texts=len(texts), answers=len(handovers))
        except GatewayUnavailable:
            raise
        except Exception as error:
            log.error("texts_in_doubt", sending=of.number, texts=len(texts), **_describe(error))
        return [Handover(Outcome.UNKNOWN)] * len(texts)

    def _judge(self, of: ActiveSending, item: Ready, handover: Handover) -> Result:
        try:
            return judge(item, handover, of, self._options.retry)
        except Exception as error:
            log.error("text_in_doubt", sending=of.number, delivery=item.row.id, **_describe(error))
            return Result(item.row, DeliveryState.UNKNOWN, parts=item.cost)

    def _write(self, of: ActiveSending, results: Sequence[Result]) -> None:
        """Write results down, however long the database is away: nobody else knows them.

        Those that it does not take are written one by one, in the end without what the gateway called them.
        """

        def write() -> None:
            with self._database.write() as connection:
                record(connection, of, results)

        while True:
            try:
                return retry_on_conflict(write)
            except _DATABASE_AWAY as error:
                log.error("results_not_written", sending=of.number, error=type(error).__name__)
                threading.Event().wait(_DATABASE_SECONDS)
            except Exception as error:
                log.error("results_refused", sending=of.number, results=len(results), **_describe(error))
                return self._write_apart(of, results)

    def _write_apart(self, of: ActiveSending, results: Sequence[Result]) -> None:
        if len(results) > 1:
            for result in results:
                self._write(of, [result])
        elif results[0].code or results[0].remote_id:
            self._write(of, [replace(results[0], code=None, remote_id=None)])
        else:
            # It stays on its way, and is in doubt once this process has ended.
            log.error("result_lost", sending=of.number, delivery=results[0].row.id, state=results[0].state.name)


class _Batch:
    """What the rows of one sending have in common."""

    def __init__(self, connection: Connection, of: ActiveSending, options: SmsOptions) -> None:
        row = connection.execute(_SENDING, {"id": of.id}).one()
        self._by_name = (row.target or {}).get("to") == "queue"
        self._sender: str = row.sender_name or ""
        self._own_sender = read_settings(load_list(connection, of.list_id).settings).sms_sender
        self._message: Message | None = load_message(connection, row.message_id) if row.message_id else None
        self._writer: TextWriter = load_writer(connection, of.account_id, options.vocabulary, options.public_url)
        self._secret_key = self._writer.secret_key
        self._public_url = options.public_url

    def prepare(self, row: Claimed, addressee: Addressee | None) -> Ready | Result:
        """Return what goes out for a row, or what becomes of it because nothing does."""
        paid = (addressee.paid_parts if addressee is not None else None) or 0
        if addressee is None or not may_get(addressee, row, by_name=self._by_name):
            return Result(row, DeliveryState.SKIPPED, parts=paid)
        try:
            written = self._write(row, addressee)
        except InvalidMessage:
            return Result(row, DeliveryState.FAILED, "invalid", parts=paid)
        text = OutgoingText(
            reference=str(row.id),
            sender=choose_sender(self._sender, self._own_sender, row.address),
            number=row.address,
            parts=written.parts,
            unicode=written.unicode,
            callback=f"{self._public_url}{STATUS_PATH}{write_status_token(self._secret_key, row.id)}",
        )
        return Ready(row, text, paid=bool(paid))

    def _write(self, row: Claimed, addressee: Addressee) -> WrittenText:
        if row.text is not None:
            # What a caller wrote for this recipient, in the GSM alphabet unless he may use all of Unicode.
            return write_text(row.text, unicode=True)
        if self._message is None:
            raise InvalidMessage("The sending has no message.")
        values = row.values
        person = Person(row.id, row.recipient_id, addressee.email or "", addressee.mobile, addressee.fields, values)
        return self._writer.write(self._message, person)


def _describe(error: Exception) -> dict[str, str]:
    """Return only where and what kind an error is: the text of a database's error holds rows."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "place": f"{place.name}:{place.lineno}"}


def _return(item: Ready) -> Result:
    """Return what becomes of a row that nobody has tried to send."""
    return Result(item.row, DeliveryState.WAITING, parts=item.cost if item.paid else 0, tried=False)


_SENDING = select(sending.c.target, sending.c.sender_name, sending.c.message_id).where(sending.c.id == bindparam("id"))
