"""What `/metrics` tells of messages on their way out and of mails that came back, read from the database.

Several processes send, so the tables know more than any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, Table, func, select

from audience.status_rules import Channel
from db.engine import Database
from db.tables import account, delivery, inbound_mail, notice, outbox, sending, sms_credit

MAX_DEFERRALS = 20
"""Pairs of domain and code that are told, those of most messages."""
_LOOKED_AT = 100_000
"""Messages that wait for another try, of all sendings, of which the pairs are counted."""
_CHANNELS = {Channel.EMAIL: "email", Channel.SMS: "sms"}
_OUTCOMES = ("sent", "failed", "skipped", "unknown")
_OPEN = ("sending", "paused")
_THOUSANDTHS = 1000
_ACCOUNT = 0
"""Stands for the list where credits are the account's own."""
KEPT_SECONDS = 5.0
"""How long what was read is told again: whoever scrapes often must not slow the sending down."""

_read: WeakKeyDictionary[Database, tuple[float, list[Metric]]] = WeakKeyDictionary()


def delivery_metrics(database: Database, connection: Connection, now: datetime) -> list[Metric]:
    """Return the metrics, which are at most `KEPT_SECONDS` old."""
    at, metrics = _read.get(database, (-inf, []))
    if monotonic() - at > KEPT_SECONDS:
        metrics = list(collect_delivery(connection, now))
        _read[database] = (monotonic(), metrics)
    return metrics


def collect_delivery(connection: Connection, now: datetime) -> Iterator[Metric]:
    """Yield the metrics; a handful of statements, none of which reads all of a long queue."""
    yield _count_sendings(connection)
    yield _count_outcomes(connection)
    yield from _measure_queues(connection, now)
    yield _count_deferrals(connection, now)
    yield from _measure_mails(connection, now)
    yield from _measure_inbound(connection, now)
    yield _tell_credits(connection)


def _count_sendings(connection: Connection) -> Metric:
    gauge = GaugeMetricFamily("listbridge_sendings", "Sendings by channel and state.", labels=["channel", "state"])
    key = (sending.c.channel, sending.c.state)
    for channel, state, count in connection.execute(select(*key, func.count()).group_by(*key)):
        gauge.add_metric([_CHANNELS[channel], state], count)
    return gauge


def _count_outcomes(connection: Connection) -> Metric:
    text = "Messages by channel and what became of them."
    counter = CounterMetricFamily("listbridge_deliveries", text, labels=["channel", "outcome"])
    sums = [func.sum(sending.c[name]) for name in _OUTCOMES]
    for channel, *totals in connection.execute(select(sending.c.channel, *sums).group_by(sending.c.channel)):
        for name, total in zip(_OUTCOMES, totals, strict=True):
            counter.add_metric([_CHANNELS[channel], name], total)
    return counter


def _measure_queues(connection: Connection, now: datetime) -> Iterator[Metric]:
    labels = ["channel", "kind"]
    waiting = GaugeMetricFamily("listbridge_delivery_waiting", "Messages in open sendings to be sent.", labels=labels)
    text = "Seconds that the message that has been due for longest is late; 0 when none is due."
    late = GaugeMetricFamily("listbridge_delivery_oldest_seconds", text, labels=labels)
    left = sending.c.total - sum((sending.c[name] for name in _OUTCOMES[1:]), sending.c[_OUTCOMES[0]])
    oldest = (
        select(func.min(delivery.c.due_at))
        .where(delivery.c.sending_id == sending.c.id, delivery.c.state == 0)
        .correlate(sending)
        .scalar_subquery()
    )
    key = (sending.c.channel, sending.c.kind)
    query = select(*key, func.sum(left), func.min(oldest)).where(sending.c.state == "sending").group_by(*key)
    for channel, kind, count, due_at in connection.execute(query):
        names = [_CHANNELS[channel], kind]
        waiting.add_metric(names, count)
        late.add_metric(names, _age(due_at, now))
    yield from (waiting, late)


def _count_deferrals(connection: Connection, now: datetime) -> Metric:
    text = "Messages that wait for another try, by domain and what its server last said; the most frequent ones."
    gauge = GaugeMetricFamily("listbridge_delivery_deferrals", text, labels=["domain", "code"])
    is_open = delivery.c.sending_id.in_(select(sending.c.id).where(sending.c.state.in_(_OPEN)))
    # Whatever was never tried is due at once, so that these are few, and an index has them together.
    deferred = (
        select(delivery.c.domain, delivery.c.code)
        .where(is_open, delivery.c.state == 0, delivery.c.due_at > now, delivery.c.code.is_not(None))
        .limit(_LOOKED_AT)
        .subquery()
    )
    key = (deferred.c.domain, deferred.c.code)
    query = select(*key, func.count()).group_by(*key).order_by(func.count().desc(), *key).limit(MAX_DEFERRALS)
    for domain, code, count in connection.execute(query):
        gauge.add_metric([domain, code], count)
    return gauge


def _measure_mails(connection: Connection, now: datetime) -> Iterator[Metric]:
    text = "Mails that lists send by themselves, and notices to staff, that wait."
    waiting = GaugeMetricFamily("listbridge_outbox_waiting", text, labels=["table"])
    text = "Seconds that the oldest of them has waited; 0 when none waits."
    oldest = GaugeMetricFamily("listbridge_outbox_oldest_seconds", text, labels=["table"])
    for table in (outbox, notice):
        count, since = _measure(connection, table, "waiting")
        waiting.add_metric([table.name], count)
        oldest.add_metric([table.name], _age(since, now))
    yield from (waiting, oldest)


def _measure_inbound(connection: Connection, now: datetime) -> Iterator[Metric]:
    count, since = _measure(connection, inbound_mail, "waiting")
    yield GaugeMetricFamily("listbridge_inbound_waiting", "Mails that came back and were not read yet.", value=count)
    text = "Seconds that the oldest of them has waited; 0 when none waits."
    yield GaugeMetricFamily("listbridge_inbound_oldest_seconds", text, value=_age(since, now))


def _tell_credits(connection: Connection) -> Metric:
    gauge = GaugeMetricFamily("listbridge_sms_credits", "Credits for text messages of an account.", labels=["account"])
    query = (
        select(account.c.number, sms_credit.c.thousandths)
        .join_from(sms_credit, account, account.c.id == sms_credit.c.account_id)
        .where(sms_credit.c.list_id == _ACCOUNT)
    )
    for number, thousandths in connection.execute(query):
        gauge.add_metric([str(number)], thousandths / _THOUSANDTHS)
    return gauge


def _measure(connection: Connection, table: Table, state: str) -> tuple[int, Any]:
    """Return how many rows are in a state, and since when the oldest of them is there."""
    query = select(func.count(), func.min(table.c.created_at)).where(table.c.state == state)
    count, since = connection.execute(query).one()
    return count, since


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since is not None else 0.0
