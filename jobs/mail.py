"""The mail role: brings messages to mail servers and gateways, and reads what comes back.

Each piece of work is a loop in a thread of its own; the rows in the database say what there is to do.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from db.engine import Database
from db.leases import is_gone, name_owner
from db.retry import retry_on_conflict
from db.tables import heartbeat, sending
from delivery.compiling import CompiledMessage, compile_message
from delivery.composition import load_context, load_message_content
from delivery.domain_gate import DomainGate, DomainLimit
from delivery.domain_limits import read_limits
from delivery.errors import UnknownMessage
from delivery.inbound import read_next_mail
from delivery.inbound_server import InboundOptions, InboundServer
from delivery.lanes import CompiledMessages, LaneOptions, MailLane
from delivery.mailbox import fetch_mailbox
from delivery.messages import load_message
from delivery.outbox_letters import OutboxOptions
from delivery.outbox_mails import send_due_mails
from delivery.preparation import prepare_next
from delivery.queue import finish_sendings, owners_at_work, recover
from delivery.routes import make_route
from delivery.sending_notices import tell_ended
from delivery.sendings import SendingKind
from delivery.sms import SmsOptions, run_sms_lane
from delivery.sms_credits import refund_cancelled
from delivery.sms_gateway import make_gateway
from delivery.smtp import SmtpOptions
from delivery.vocabulary import Vocabulary
from jobs.heartbeats import beat, stop_beating

log = structlog.get_logger()

ROLE = "mail"
HEARTBEAT_SECONDS = 5.0
SILENCE = timedelta(seconds=60)
"""After which a process of another host is taken for dead."""
PLAN_SECONDS = 0.2
BULK_SECONDS = 0.2
SINGLE_SECONDS = 0.05
"""How often each queue is looked into; messages to one person must not wait."""
SINGLE_LANES = 3
"""Each mostly waits: for its turn to write, and for the server."""
SWITCH_SECONDS = 0.001
"""How long a thread keeps the interpreter while others wait for it: one that sends a single message waits often."""
FINISH_SECONDS = 0.5
RECOVER_SECONDS = 2.0
LIMITS_SECONDS = 15.0
OUTBOX_SECONDS = 0.5
INBOUND_SECONDS = 0.5
MAILBOX_SECONDS = 60.0
STOP_SECONDS = 30.0
"""How long loops may take to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailOptions:
    """How the role works."""

    smtp: SmtpOptions
    vocabulary: Vocabulary
    """Of the messages."""
    public_url: str
    host: str
    """Right-hand side of Message-IDs."""
    bounce_domain: str = ""
    soft_bounce_limit: int = 5
    require_verified_senders: bool = False
    bounce_smtp: tuple[str, int] | None = None
    bounce_lmtp: tuple[str, int] | None = None
    bounce_imap: str = field(default="", repr=False)
    sms_gateway: str = field(default="", repr=False)
    sms_per_second: float = 10.0


def run_mail(database: Database, options: MailOptions, stop: threading.Event) -> None:
    """Send and receive until told to stop; returns when nothing is on its way any more.

    Args:
        database: migrated.
        options: where to, and how.
        stop: set by the caller, in another thread or from a signal handler.
    """
    _MailRole(database, options, stop).run()


class _MailRole:
    def __init__(self, database: Database, options: MailOptions, stop: threading.Event) -> None:
        self._database = database
        self._options = options
        self._stop = stop
        self._owner = name_owner()
        self._threads: list[threading.Thread] = []
        self._beating_since: float | None = None
        """Since when each heartbeat was written in time, of the monotonic clock."""
        self._beaten = 0.0
        self._route = make_route(options.smtp)
        self._inbound: InboundServer | None = None

    def run(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        # Before anything is claimed: those of other hosts take whoever has no heartbeat for dead.
        self._beat()
        self._add_loops()
        log.info("mail_started", owner=self._owner)
        self._stop.wait()
        if self._inbound is not None:
            self._inbound.stop()
        deadline = monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        if self._route is not None:
            self._route.close()
        with suppress(DBAPIError), self._database.write() as connection:
            stop_beating(connection, ROLE, self._owner)
        log.info("mail_stopped", owner=self._owner)

    def _add_loops(self) -> None:
        self._loop("heartbeat", HEARTBEAT_SECONDS, self._beat)
        self._loop("recovery", RECOVER_SECONDS, self._recover)
        self._loop("planner", PLAN_SECONDS, self._plan)
        self._loop("finisher", FINISH_SECONDS, self._finish)
        self._add_lanes()
        self._add_text_messages()
        self._add_inbound()

    def _add_lanes(self) -> None:
        route = self._route
        if route is None:
            log.warning("no_mail_route", reason="The setting smtp_relay is empty, so mails wait.")
            return
        smtp = self._options.smtp
        default = DomainLimit(smtp.connections_per_domain, smtp.per_minute_per_domain)
        gate = DomainGate(default)
        self._loop("domain-limits", LIMITS_SECONDS, lambda: self._read_limits(gate, default))
        messages = CompiledMessages(self._compile)
        lane_options = LaneOptions(
            retry=timedelta(hours=smtp.retry_hours), soft_bounce_limit=self._options.soft_bounce_limit
        )

        def add(name: str, seconds: float, kind: SendingKind) -> None:
            # An owner for each lane: what it has on its way must not look like its own to another.
            lane = MailLane(self._database, route, gate, messages, name_owner(), kind, lane_options)
            self._loop(name, seconds, lambda: lane.work(self._stop))

        for number in range(1, SINGLE_LANES + 1):
            add(f"single-{number}", SINGLE_SECONDS, "single")
        for number in range(1, smtp.connections + 1):
            add(f"bulk-{number}", BULK_SECONDS, "bulk")
        letters = OutboxOptions(
            public_url=self._options.public_url,
            host=self._options.host,
            bounce_domain=self._options.bounce_domain,
            retry_hours=smtp.retry_hours,
            require_verified_senders=self._options.require_verified_senders,
            vocabulary=self._options.vocabulary,
        )
        owner = name_owner()
        self._loop("outbox", OUTBOX_SECONDS, lambda: send_due_mails(self._database, route, letters, owner, self._stop))

    def _add_text_messages(self) -> None:
        gateway = make_gateway(self._options.sms_gateway)
        if gateway is None:
            return
        options = SmsOptions(
            owner=self._owner,
            vocabulary=self._options.vocabulary,
            public_url=self._options.public_url,
            per_second=self._options.sms_per_second,
        )
        self._loop("sms", PLAN_SECONDS, lambda: run_sms_lane(self._database, gateway, options, self._stop))

    def _add_inbound(self) -> None:
        options = self._options
        owner = name_owner()
        if options.bounce_smtp or options.bounce_lmtp:
            inbound = InboundOptions(
                smtp=options.bounce_smtp,
                lmtp=options.bounce_lmtp,
                domain=options.bounce_domain,
                hello_name=options.smtp.hello_name,
            )
            self._inbound = InboundServer(inbound, self._database)
            self._inbound.start()
        if options.bounce_imap:
            self._loop(
                "mailbox", MAILBOX_SECONDS, lambda: fetch_mailbox(self._database, options.bounce_imap, self._stop)
            )
        limit = options.soft_bounce_limit
        self._loop(
            "inbound",
            INBOUND_SECONDS,
            lambda: read_next_mail(self._database, owner, self._stop, soft_bounce_limit=limit),
        )

    def _loop(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        """Call a piece of work again and again: at once when it returns True, else after some seconds."""

        def run() -> None:
            while not self._stop.is_set():
                if self._guard(name, work) is not True:
                    self._stop.wait(seconds)

        thread = threading.Thread(target=run, name=f"mail-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, name: str, work: Callable[[], object]) -> object:
        try:
            return work()
        except Exception as error:
            # Only where and what kind: the text of a database's error holds rows.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("job_failed", job=name, error=type(error).__name__, place=f"{place.name}:{place.lineno}")
            return False

    def _beat(self) -> None:
        beaten = monotonic()
        since, self._beating_since = self._beating_since, None
        with self._database.write() as connection:
            beat(connection, ROLE, self._owner)
        # A gap shows that the database was away, when nobody else could beat either.
        is_gapless = since is not None and beaten - self._beaten < SILENCE.total_seconds() / 3
        self._beating_since = since if is_gapless else beaten
        self._beaten = beaten

    def _plan(self) -> bool:
        return prepare_next(
            self._database, lambda sending_id: self._compile(sending_id).links, name_owner(), self._stop
        )

    def _finish(self) -> None:
        def finish() -> list[int]:
            with self._database.write() as connection:
                finished = finish_sendings(connection)
                for sending_id in finished:
                    tell_ended(connection, sending_id)
                return finished

        with self._database.read_once() as connection:
            query = select(sending.c.id).where(sending.c.state == "sending").limit(1)
            if connection.execute(query).first() is None:
                return
        for sending_id in retry_on_conflict(finish):
            log.info("sending_completed", sending_id=sending_id)

    def _read_limits(self, gate: DomainGate, default: DomainLimit) -> None:
        with self._database.read_once() as connection:
            gate.set_limits(read_limits(connection, default))

    def _recover(self) -> None:
        """Take over what processes had on their way that have died since."""
        with self._database.read() as connection:
            owners = owners_at_work(connection)
            limit = datetime.now(UTC) - SILENCE
            beating = select(heartbeat.c.owner).where(heartbeat.c.role == ROLE, heartbeat.c.at > limit)
            alive = {_process_of(owner) for owner in connection.execute(beating).scalars()}
        since = self._beating_since
        knows_others = since is not None and monotonic() - since > SILENCE.total_seconds()
        for owner in owners:
            gone = is_gone(owner)
            if gone or (gone is None and knows_others and _process_of(owner) not in alive):
                self._recover_from(owner)

    def _recover_from(self, owner: str) -> None:
        def take() -> None:
            with self._database.write() as connection:
                found = recover(connection, owner)
                for row in found:
                    refund_cancelled(connection, row.sending_id)
            for sending_id, mode, rows in found:
                # The one place that says how many may be sent twice, or not at all.
                log.warning("process_died_while_sending", sending_id=sending_id, mode=mode, in_doubt=rows)

        retry_on_conflict(take)

    def _compile(self, sending_id: int) -> CompiledMessage:
        options = self._options
        with self._database.read() as connection:
            row = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
            if row.message_id is None:
                raise UnknownMessage("The sending has no message.")
            message = load_message(connection, row.message_id)
            content = load_message_content(connection, message, subject=row.subject)
            context = load_context(
                connection,
                sending_id,
                public_url=options.public_url,
                bounce_domain=options.bounce_domain,
                host=options.host,
                vocabulary=options.vocabulary,
            )
        return compile_message(content, context)


def _process_of(owner: str) -> str:
    """Return what all owners of one process have in common."""
    return owner.rpartition("-")[0]
