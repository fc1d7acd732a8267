"""Keeps what gateways tell of messages that they have accepted; and the tokens of the pages they tell it to."""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, select

from audience.events import SmsEvent, SmsStatus, append_sms_events
from audience.status_rules import Channel
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import account, delivery, sending
from delivery.handovers import Receipt
from delivery.queue import DeliveryState
from delivery.smpp_receipts import same_ids

STATUS_PATH = "/sms-status/"
"""Of the page that a gateway may tell the fate of a message; the token follows."""
DELIVERED = "delivered"
"""Stands as the code of a message that has arrived."""
KEPT_EARLY = 10_000
KEPT_SECONDS = 600.0
"""How long a receipt waits for its message: some come before the answer that names the message."""
_A_QUERY = 200
_PURPOSE = b"listbridge sms status 1\0"
_NO_KEY = "0" * 64


class Accepted(NamedTuple):
    """A message of the queue, in the order of the query's columns."""

    id: int
    account_id: int
    list_id: int
    sending_id: int
    recipient_id: int
    address: str
    remote_id: str | None
    sent_at: datetime | None
    code: str | None
    state: int


class ReceiptBook:
    """Keeps receipts in the database, and in memory those that came before their messages were recorded."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._early: OrderedDict[tuple[str, str], tuple[float, Receipt]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, receipts: Sequence[Receipt]) -> None:
        """Record receipts; those of messages that nobody knows are kept for a while, without a word."""
        unknown = self._record([receipt for receipt in receipts if receipt.status != SmsStatus.QUEUED])
        now = time.monotonic()
        with self._lock:
            for receipt in unknown:
                self._early[receipt.remote_id, receipt.number] = now, receipt
            while len(self._early) > KEPT_EARLY:
                self._early.popitem(last=False)

    def look_again(self) -> None:
        """Record those of the early ones whose messages are known by now."""
        with self._lock:
            kept = list(self._early.items())
            self._early.clear()
        if not kept:
            return
        unknown = set(self._record([receipt for _key, (_at, receipt) in kept]))
        young = time.monotonic() - KEPT_SECONDS
        with self._lock:
            for key, (at, receipt) in kept:
                if receipt in unknown and at > young:
                    self._early.setdefault(key, (at, receipt))

    def _record(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        def record() -> list[Receipt]:
            with self._database.write() as connection:
                return record_receipts(connection, receipts)

        return retry_on_conflict(record) if receipts else []


def record_receipts(connection: Connection, receipts: Sequence[Receipt]) -> list[Receipt]:
    """Record the fates of messages by the names that the gateway gave them; return those whose messages are unknown.

    A message has one fate: what comes later is left out.

    Args:
        connection: in a writing transaction.
        receipts: delivered or not.
    """
    wanted = {spelling for receipt in receipts for spelling in same_ids(receipt.remote_id)}
    by_id: dict[str, list[Accepted]] = {}
    spellings = sorted(wanted)
    for begin in range(0, len(spellings), _A_QUERY):
        some = spellings[begin : begin + _A_QUERY]
        for row in map(Accepted._make, connection.execute(_BY_REMOTE_ID, {"remote_ids": some})):
            by_id.setdefault(row.remote_id or "", []).append(row)
    unknown: list[Receipt] = []
    fates: dict[int, tuple[Accepted, Receipt]] = {}
    for receipt in receipts:
        found = _find_row(by_id, receipt)
        if found is None:
            unknown.append(receipt)
        else:
            fates.setdefault(found.id, (found, receipt))
    _write_fates(connection, fates.values())
    return unknown


def record_fate(connection: Connection, delivery_id: int, status: SmsStatus, code: str | None) -> bool:
    """Record the fate of one message, unless it has one; False when it is not known yet that it was handed over.

    Args:
        connection: in a writing transaction.
        delivery_id: of the queue's row.
        status: delivered, or not.
        code: why not.
    """
    rows = [Accepted._make(row) for row in connection.execute(_BY_ID, {"id": delivery_id})]
    _write_fates(connection, [(row, Receipt("", status, code)) for row in rows if status != SmsStatus.QUEUED])
    return all(row.state not in (DeliveryState.WAITING, DeliveryState.ON_ITS_WAY) for row in rows)


def write_status_token(secret_key: str, delivery_id: int) -> str:
    """Return the end of the address that a gateway may tell a message's fate.

    Args:
        secret_key: of the account.
        delivery_id: of the queue's row.
    """
    return f"{delivery_id}-{_sign(secret_key, delivery_id)}"


def read_status_token(connection: Connection, token: str) -> int | None:
    """Return the id of the queue's row that a token is about, None when this server has not written it."""
    number, _, signature = token.partition("-")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and signature.isascii()):
        return None
    secret_key = connection.execute(_KEY_OF, {"id": int(number)}).scalar_one_or_none()
    expected = _sign(secret_key or _NO_KEY, int(number))
    return int(number) if hmac.compare_digest(signature, expected) and secret_key else None


def _select_rows() -> Select[Any]:
    columns = (
        *(delivery.c.id, delivery.c.account_id, delivery.c.list_id, delivery.c.sending_id, delivery.c.recipient_id),
        *(delivery.c.address, delivery.c.remote_id, delivery.c.sent_at, delivery.c.code, delivery.c.state),
    )
    query = select(*columns).join(sending, sending.c.id == delivery.c.sending_id)
    return query.where(sending.c.channel == int(Channel.SMS)).with_for_update(of=delivery)


_BY_REMOTE_ID = _select_rows().where(delivery.c.remote_id.in_(bindparam("remote_ids", expanding=True)))
_BY_ID = _select_rows().where(delivery.c.id == bindparam("id"))
_KEY_OF = (
    select(account.c.secret_key)
    .join_from(delivery, account, account.c.id == delivery.c.account_id)
    .where(delivery.c.id == bindparam("id"))
)
_SET_FATE = (
    delivery.update()
    .where(delivery.c.id == bindparam("row"))
    .values(code=bindparam("to_code"), state=bindparam("to_state"))
)


def _find_row(by_id: dict[str, list[Accepted]], receipt: Receipt) -> Accepted | None:
    """Return the message that a receipt is about: the same name, and the same number where the receipt tells it."""
    for spelling in same_ids(receipt.remote_id):
        for row in reversed(by_id.get(spelling, [])):
            if receipt.number in ("", row.address):
                return row
    return None


def _write_fates(connection: Connection, fates: Iterable[tuple[Accepted, Receipt]]) -> None:
    now = datetime.now(UTC)
    new = [(row, receipt) for row, receipt in fates if row.state == DeliveryState.SENT and row.code is None]
    if not new:
        return
    values = [
        {
            "row": row.id,
            "to_code": DELIVERED if receipt.status == SmsStatus.DELIVERED else receipt.code or "error",
            "to_state": int(DeliveryState.SENT if receipt.status == SmsStatus.DELIVERED else DeliveryState.FAILED),
        }
        for row, receipt in new
    ]
    connection.execute(_SET_FATE, values)
    _move_counts(connection, [row for row, receipt in new if receipt.status == SmsStatus.ERROR])
    for account_id in sorted({row.account_id for row, _receipt in new}):
        events = (_event(row, receipt, now) for row, receipt in new if row.account_id == account_id)
        append_sms_events(connection, account_id, events)


def _move_counts(connection: Connection, failed: Sequence[Accepted]) -> None:
    """Count messages as failed that were counted as sent."""
    for sending_id in sorted({row.sending_id for row in failed}):
        count = sum(row.sending_id == sending_id for row in failed)
        counts = {"sent": sending.c.sent - count, "failed": sending.c.failed + count}
        connection.execute(sending.update().where(sending.c.id == sending_id).values(counts))


def _event(row: Accepted, receipt: Receipt, now: datetime) -> SmsEvent:
    status, code = receipt.status, receipt.code
    sent_at = row.sent_at or now
    return SmsEvent(row.list_id, row.sending_id, row.recipient_id, row.address, status, now, sent_at, code)


def _sign(secret_key: str, delivery_id: int) -> str:
    return hmac.digest(secret_key.encode(), _PURPOSE + str(delivery_id).encode(), "sha256").hex()[:32]
