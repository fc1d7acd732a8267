"""The worker role: APScheduler calls the jobs, the rows in the database say what there is to do.

The scheduler's own jobs are kept in memory only; nothing is lost with it.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import DBAPIError

from db.engine import Database
from db.leases import name_owner
from delivery.outgoing_http import Network, OutgoingClient
from delivery.sending_requests import SendingRules
from jobs.bundles import release_bundles
from jobs.export_runs import run_next_export
from jobs.heartbeats import beat, stop_beating
from jobs.housekeeping import keep_house
from jobs.imports import run_next_import
from jobs.missing_files import tell_missing
from jobs.notifications import Notifier
from jobs.remote_access import Dialer
from jobs.schedules import enqueue_due
from jobs.sending_files import run_next_sending_file
from jobs.storage import Storage
from jobs.transfer_runs import run_next_transfer
from jobs.transfers import enqueue_deliveries
from jobs.webhook_requests import Wording

log = structlog.get_logger()

ROLE = "worker"
BUNDLES_SECONDS = 10.0
MISSING_FILES_SECONDS = 30.0
"""How often missing files are looked for."""
TRANSFER_WORKERS = 2
"""Transfers with different servers that run at the same time; they mostly wait."""
_OTHER_JOBS = 8
"""Jobs of which there is one each; all must be able to run at the same time."""
RunNext = Callable[[Database, Storage, str, threading.Event], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works; times in seconds unless the name says otherwise."""

    import_workers: int = 2
    """Imports of different accounts that run at the same time."""
    poll_seconds: float = 0.5
    """How often queues are looked into."""
    schedule_seconds: float = 1.0
    """How often due times are looked for."""
    heartbeat_seconds: float = 5.0
    housekeeping_seconds: float = 3600.0
    keep_spool_days: float = 7.0
    webhook_allowed_networks: tuple[Network, ...] = ()
    """Where webhooks may lie although it is not a public network."""
    transfer_allowed_networks: tuple[Network, ...] = ()
    """Where partners' servers may lie although it is not a public network."""
    webhook_wording: Wording = field(default_factory=Wording)
    sending_rules: SendingRules = field(default_factory=SendingRules)
    """For the senders of the messages of files."""


def run_worker(database: Database, storage: Storage, options: WorkerOptions, stop: threading.Event) -> None:
    """Do imports, exports and all that is due until told to stop; returns when nothing runs any more.

    Runs then at work end their present piece of work and go back into the queue.

    Args:
        database: migrated.
        storage: prepared.
        options: how often, how many.
        stop: set by the caller, in another thread or from a signal handler.
    """
    worker = _Worker(database, storage, options, stop)
    worker.start()
    stop.wait()
    worker.finish()


class _Worker:
    def __init__(self, database: Database, storage: Storage, options: WorkerOptions, stop: threading.Event) -> None:
        self._database = database
        self._storage = storage
        self._options = options
        self._stop = stop
        self._owner = name_owner()
        jobs = options.import_workers + TRANSFER_WORKERS + _OTHER_JOBS
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(jobs)})

    def start(self) -> None:
        # Its usual messages, one for each poll that finds the one before still at work, tell nothing.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        options = self._options
        self._add("heartbeat", options.heartbeat_seconds, self._beat)
        self._add("due", options.schedule_seconds, lambda: enqueue_due(self._database, datetime.now(UTC)))
        for number in range(1, options.import_workers + 1):
            self._add_queue(f"imports-{number}", run_next_import)
        self._add_queue("exports", run_next_export)
        self._add_queue("sending-files", partial(run_next_sending_file, rules=options.sending_rules))
        self._add("deliveries", options.schedule_seconds, lambda: enqueue_deliveries(self._database))
        run_transfer = partial(run_next_transfer, dialer=Dialer(options.transfer_allowed_networks))
        for number in range(1, TRANSFER_WORKERS + 1):
            self._add_queue(f"transfers-{number}", run_transfer)
        client = OutgoingClient(options.webhook_allowed_networks)
        notifier = Notifier(self._database, client, options.webhook_wording)
        self._add("notifications", options.poll_seconds, lambda: notifier.deliver_due(name_owner(), self._stop))
        self._add("bundles", BUNDLES_SECONDS, lambda: release_bundles(self._database, datetime.now(UTC)))
        self._add("missing-files", MISSING_FILES_SECONDS, lambda: tell_missing(self._database, datetime.now(UTC)))
        keep_spool = timedelta(days=options.keep_spool_days)
        housekeeping = options.housekeeping_seconds
        self._add("housekeeping", housekeeping, lambda: keep_house(self._database, self._storage, keep_spool))
        self._scheduler.start()
        log.info("worker_started", owner=self._owner)

    def finish(self) -> None:
        self._scheduler.shutdown(wait=True)
        # A database that is away must not keep the process from ending; housekeeping takes the row away later.
        with suppress(DBAPIError), self._database.write() as connection:
            stop_beating(connection, ROLE, self._owner)
        log.info("worker_stopped", owner=self._owner)

    def _add(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        self._scheduler.add_job(
            self._guard,
            "interval",
            args=(name, work),
            id=name,
            seconds=seconds,
            next_run_time=datetime.now(UTC),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def _add_queue(self, name: str, run_next: RunNext) -> None:
        # An owner for each thread: a run that one of them lost must not look like its own to another.
        owner = name_owner()

        def drain() -> None:
            while not self._stop.is_set() and run_next(self._database, self._storage, owner, self._stop):
                pass

        self._add(name, self._options.poll_seconds, drain)

    def _guard(self, name: str, work: Callable[[], object]) -> None:
        """Do one job's work; whatever goes wrong with it is logged, and the job is called again."""
        try:
            work()
        except Exception as error:
            # Only where and what kind: the text of a database's error holds rows.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("job_failed", job=name, error=type(error).__name__, place=f"{place.name}:{place.lineno}")

    def _beat(self) -> None:
        with self._database.write() as connection:
            beat(connection, ROLE, self._owner)
