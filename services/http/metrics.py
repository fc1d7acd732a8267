"""What Prometheus is told: requests and calls counted here, the state of the work read from the database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Integer, cast, func, select
from sqlalchemy.exc import SQLAlchemyError

from db.engine import Database
from db.tables import account, arrival, export_run, feed, heartbeat, import_run
from services.http.delivery_metrics import delivery_metrics

log = structlog.get_logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Counter("listbridge_http_requests_total", "HTTP requests answered.", ["endpoint", "status"])
CALLS = Counter("listbridge_soap_calls_total", "SOAP calls by outcome.", ["service", "operation", "outcome"])

ROW_OUTCOMES = ("new", "existing", "updated", "left_unsubscribed", "unsubscribed", "mobile_in_use")


def expose_metrics(database: Database) -> bytes:
    """Return the metrics of all worker processes, and those of the database, in Prometheus' text format."""
    state = CollectorRegistry()
    state.register(DatabaseCollector(database))
    return _expose_counters() + generate_latest(state)


def _expose_counters() -> bytes:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class DatabaseCollector(Collector):
    """Reads the state of imports, feeds, exports, sendings and roles at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; only that it is down when the database cannot be read."""
        found: list[Metric] = []
        try:
            with self._database.read() as connection:
                now = datetime.now(UTC)
                found.extend(_collect_state(connection, now))
                found.extend(delivery_metrics(self._database, connection, now))
        except SQLAlchemyError as error:
            log.warning("metrics_without_database", error=type(error).__name__)
            found.clear()
        yield GaugeMetricFamily("listbridge_database_up", "Whether the database answers.", value=float(bool(found)))
        yield from found


def _collect_state(connection: Connection, now: datetime) -> Iterator[Metric]:
    yield _count_states(connection, import_run, "listbridge_imports", "Imports by state.")
    yield _measure_queue(connection, now)
    yield _count_rows(connection)
    yield _measure_feeds(connection, now)
    yield _count_states(connection, export_run, "listbridge_export_runs", "Runs of exports by state.")
    yield _measure_heartbeats(connection, now)


def _count_states(connection: Connection, table: object, name: str, text: str) -> Metric:
    assert table is import_run or table is export_run
    gauge = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in connection.execute(select(table.c.state, func.count()).group_by(table.c.state)):
        gauge.add_metric([state], count)
    return gauge


def _measure_queue(connection: Connection, now: datetime) -> Metric:
    text = "Seconds that the oldest queued import has waited; 0 when none waits."
    oldest = connection.execute(
        select(func.min(import_run.c.created_at)).where(import_run.c.state == "queued")
    ).scalar_one()
    age = (now - oldest).total_seconds() if oldest is not None else 0.0
    return GaugeMetricFamily("listbridge_import_queue_oldest_seconds", text, value=age)


def _count_rows(connection: Connection) -> Metric:
    counter = CounterMetricFamily("listbridge_imported_rows", "Rows of imports by outcome.", labels=["outcome"])
    sums = [func.sum(func.coalesce(cast(import_run.c.counters[name].as_string(), Integer), 0)) for name in ROW_OUTCOMES]
    totals = connection.execute(select(*sums)).one()
    for name, total in zip(ROW_OUTCOMES, totals, strict=True):
        counter.add_metric([name], total or 0)
    return counter


def _measure_feeds(connection: Connection, now: datetime) -> Metric:
    text = "Seconds since the newest complete file of a feed arrived; absent before the first one."
    gauge = GaugeMetricFamily("listbridge_feed_newest_arrival_seconds", text, labels=["account", "folder"])
    newest = (
        select(account.c.number, feed.c.folder, func.max(arrival.c.at))
        .join_from(feed, account, account.c.id == feed.c.account_id)
        .join(arrival, arrival.c.feed_id == feed.c.id)
        .where(arrival.c.complete)
        .group_by(account.c.number, feed.c.folder)
    )
    for number, folder, at in connection.execute(newest):
        gauge.add_metric([str(number), folder], (now - at).total_seconds())
    return gauge


def _measure_heartbeats(connection: Connection, now: datetime) -> Metric:
    text = "Seconds since a role last told that it is alive."
    gauge = GaugeMetricFamily("listbridge_heartbeat_age_seconds", text, labels=["role"])
    for role, at in connection.execute(select(heartbeat.c.role, func.max(heartbeat.c.at)).group_by(heartbeat.c.role)):
        gauge.add_metric([role], (now - at).total_seconds())
    return gauge
