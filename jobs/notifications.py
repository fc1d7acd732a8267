"""Delivers notifications to webhooks: each at least once, in order for each recipient, again and again for a day.

The rows are the queue. A claim is a lease; when its owner dies between sending and writing down the answer, the
notification is sent again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Select, exists, or_, select

from audience.status_rules import Channel, Reason
from audience.webhooks import SWITCHED_OFF, WebhookSettings, find_webhook, finished, read_webhook_settings
from db.engine import Database
from db.retry import retry_on_conflict
from db.tables import account, mailing_list, notification, webhook
from delivery.outgoing_http import Answer, OutgoingClient, RequestFailed
from jobs.webhook_requests import Told, Wording, build_request
from jobs.webhook_shares import THREADS, Shares

log = structlog.get_logger()

RETRY_DELAYS = (
    *[timedelta(minutes=5)] * 3,
    *[timedelta(minutes=15)] * 3,
    *[timedelta(hours=2)] * 3,
    *[timedelta(hours=6)] * 3,
)
"""After the first try and those that follow (mailup specification, section 5); some 25 hours together."""

LEASE = timedelta(seconds=60)
"""Longer than looking a host up and one request can take together."""

FORGOTTEN = "forgotten"
"""Of a notification about somebody who was erased while it was under way."""

_POLL_SECONDS = 0.5
_WAITING = notification.c.state == "waiting"


@dataclass(frozen=True, slots=True)
class _Claimed:
    told: Told
    account_id: int
    webhook_id: int
    recipient_id: int
    webhook_number: int
    attempts: int
    settings: WebhookSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try."""

    status: int | None
    text: str
    delivered: bool


class Notifier:
    """Delivers what is due, several notifications at a time; any number of them may share a database."""

    def __init__(
        self,
        database: Database,
        client: OutgoingClient,
        wording: Wording,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Set up; nothing is sent yet.

        Args:
            database: where notifications are.
            client: sends requests.
            wording: for the values of parameters.
            clock: says what is due, and when the next try is.
        """
        self._database = database
        self._client = client
        self._wording = wording
        self._clock = clock
        self._failing: set[int] = set()

    def deliver_due(self, owner: str, stop: threading.Event | None = None) -> int:
        """Deliver until nothing is due; return the number of requests made.

        Args:
            owner: from `db.leases.name_owner`, another one for each call at the same time.
            stop: once set, requests under way are ended and no others begun.
        """
        made = 0
        shares = Shares(self._failing)
        busy: dict[Future[bool], _Claimed] = {}
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhook") as threads:
            while True:
                claimed = [] if stop is not None and stop.is_set() else self._claim(owner, shares)
                for item in claimed:
                    shares.take(item.webhook_id, item.account_id)
                    busy[threads.submit(self._deliver, item, owner)] = item
                if not busy:
                    return made
                # Others may become due while slow receivers are waited for.
                done, _ = wait(busy, _POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    item = busy.pop(future)
                    shares.give_back(item.webhook_id, item.account_id, delivered=future.result())
                made += len(done)

    def _claim(self, owner: str, shares: Shares) -> list[_Claimed]:
        """Take due notifications for free threads, of webhooks that have not had their turn if there are any."""
        if shares.free <= 0:
            return []
        served = shares.served
        due = self._due(shares, served)
        found = self._is_any(due)
        if not found and served:
            shares.begin_round()
            due = self._due(shares, set())
            found = self._is_any(due)
        return retry_on_conflict(lambda: self._take(owner, due, shares)) if found else []

    def _is_any(self, due: Select[Any]) -> bool:
        with self._database.read_once() as connection:
            return connection.execute(due.limit(1)).first() is not None

    def _take(self, owner: str, due: Select[Any], shares: Shares) -> list[_Claimed]:
        with self._database.write() as connection:
            due = due.limit(shares.free).with_for_update(skip_locked=True, of=notification)
            taken = shares.choose((row.id, row.webhook_id, row.account_id) for row in connection.execute(due))
            here = notification.c.id.in_(taken)
            leased = {"lease_owner": owner, "lease_until": self._clock() + LEASE}
            connection.execute(notification.update().where(here).values(**leased, attempts=notification.c.attempts + 1))
            claimed = [_read(row) for row in connection.execute(_CLAIMED.where(here))]
            return [item for item in claimed if self._is_wanted(connection, item)]

    def _due(self, shares: Shares, served: set[int]) -> Select[Any]:
        """Select what may be sent now: it is due, nobody is at it, and nothing for the same recipient is before it."""
        now = self._clock()
        columns = notification.c
        free = or_(columns.lease_until.is_(None), columns.lease_until < now)
        return (
            select(columns.id, columns.webhook_id, columns.account_id)
            .where(_WAITING, columns.due_at <= now, free, ~_has_earlier())
            .where(
                columns.webhook_id.not_in(shares.full_webhooks | served),
                columns.account_id.not_in(shares.full_accounts),
            )
            .order_by(columns.due_at)
        )

    def _is_wanted(self, connection: Connection, item: _Claimed) -> bool:
        """Drop what was written while its webhook was being switched off, or is about somebody erased since."""
        reason = FORGOTTEN if not item.told.content else SWITCHED_OFF if not item.settings.active else None
        if reason is not None:
            here = notification.c.id == item.told.id
            values = finished("failed", None, reason, self._clock())
            connection.execute(notification.update().where(here).values(**values))
        return reason is None

    def _deliver(self, item: _Claimed, owner: str) -> bool:
        outcome = send(self._client, item.settings, item.told, self._wording, self._clock())
        retry_on_conflict(lambda: self._record(item, owner, outcome))
        return outcome.delivered

    def _record(self, item: _Claimed, owner: str, outcome: Outcome) -> None:
        """Write down what became of a try, unless somebody else has taken the notification over."""
        now = self._clock()
        due = None if outcome.delivered else _next_try(item.attempts, now)
        columns = notification.c
        here = columns.id == item.told.id
        mine = here & _WAITING & (columns.lease_owner == owner) & (columns.attempts == item.attempts)
        with self._database.write() as connection:
            row = connection.execute(select(columns.content).where(mine).with_for_update()).one_or_none()
            if row is None:
                return
            if not row.content:
                # Nothing of him is kept, so it cannot be tried again; the answer may repeat what it was told.
                due, outcome = None, replace(outcome, text=FORGOTTEN)
            connection.execute(notification.update().where(here).values(**_after(outcome, due, now)))
            if due is not None:
                _put_off_later_ones(connection, item, due)
        if not outcome.delivered:
            log.warning(
                "notification_not_delivered",
                notification=item.told.id,
                account_id=item.account_id,
                webhook=item.webhook_number,
                attempts=item.attempts,
                status=outcome.status,
                again=due is not None,
            )


def _after(outcome: Outcome, due: datetime | None, now: datetime) -> dict[str, Any]:
    """Return the column values of a notification after a try; without a next one it has ended."""
    if due is None:
        return finished("delivered" if outcome.delivered else "failed", outcome.status, outcome.text, now)
    values = {"answer_status": outcome.status, "answer_text": outcome.text, "due_at": due}
    return values | {"lease_owner": None, "lease_until": None}


def _next_try(attempts: int, now: datetime) -> datetime | None:
    """Return when to try again after so many tries; None when that was the last one."""
    return now + RETRY_DELAYS[attempts - 1] if attempts <= len(RETRY_DELAYS) else None


def send(client: OutgoingClient, settings: WebhookSettings, told: Told, wording: Wording, now: datetime) -> Outcome:
    """Send one notification and tell what became of it; any status of 200 to 299 is a success."""
    try:
        answer: Answer = client.send(build_request(settings, told, wording, now))
    except RequestFailed as error:
        return Outcome(None, str(error), delivered=False)
    except Exception as error:
        # One that cannot be told must not be tried without end, nor keep the others from being told.
        log.error("notification_not_made", notification=told.id, error=type(error).__name__)
        return Outcome(None, "The request could not be made.", delivered=False)
    return Outcome(answer.status, answer.text, answer.is_success)


def send_sample(database: Database, client: OutgoingClient, wording: Wording, account_id: int, number: int) -> Outcome:
    """Send a webhook, even one that is switched off, a notification about an invented recipient.

    Raises:
        UnknownWebhook: the account has no such webhook.
    """
    with database.read() as connection:
        found = find_webhook(connection, account_id, number)
        query = (
            select(account.c.number, account.c.time_zone, mailing_list.c.guid)
            .join(mailing_list, mailing_list.c.account_id == account.c.id)
            .where(account.c.id == account_id, mailing_list.c.number == found.list_number)
        )
        row = connection.execute(query).one()
    now = datetime.now(UTC)
    content = {
        "account_number": row.number,
        "list_number": found.list_number,
        "list_guid": row.guid,
        "channel": int(Channel.EMAIL),
        "email": "sample@example.com",
        "mobile": "+393331234567",
        "fields": {"1": "Sample"},
        "groups": [],
        "reason_type": int(Reason.LINK) if found.settings.event == "unsubscribe" else None,
        "reason_subtype": None,
        "import": {
            "number": 1,
            "file": "sample.csv",
            "state": "completed",
            "code": None,
            "text": None,
            "counters": {"total": 1, "refused": {}, "noted": {}},
        },
    }
    told = Told(0, found.settings.event, found.settings.sources[0], now, content, row.time_zone)
    return send(client, found.settings, told, wording, now)


def recent_deliveries(
    connection: Connection, account_id: int, *, number: int | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """Return the last notifications of an account, the newest first, and what was answered to them.

    Args:
        connection: for reading.
        account_id: whose notifications.
        number: of the webhook; all if not given.
        limit: of these many.
    """
    columns = notification.c
    query = (
        select(
            columns.id,
            webhook.c.number.label("webhook"),
            columns.event,
            columns.source,
            columns.at,
            columns.state,
            columns.attempts,
            columns.due_at,
            columns.answer_status,
            columns.answer_text,
            columns.finished_at,
        )
        .join(webhook, webhook.c.id == columns.webhook_id)
        .where(columns.account_id == account_id)
        .order_by(columns.id.desc())
        .limit(limit)
    )
    if number is not None:
        query = query.where(webhook.c.number == number)
    # The names of a result are not plain texts, which JSON insists on.
    return [{str(name): value for name, value in row._mapping.items()} for row in connection.execute(query)]


def _put_off_later_ones(connection: Connection, item: _Claimed, due: datetime) -> None:
    """Have what waits behind a notification become due with it, so that nobody looks at it in vain until then."""
    columns = notification.c
    behind = (columns.webhook_id == item.webhook_id) & (columns.recipient_id == item.recipient_id)
    later = notification.update().where(behind, columns.id > item.told.id, _WAITING, columns.due_at < due)
    connection.execute(later.values(due_at=due))


def _has_earlier() -> ColumnElement[bool]:
    """Return the condition that something for the same webhook and recipient is to be told first."""
    earlier = notification.alias("earlier")
    same = (earlier.c.webhook_id == notification.c.webhook_id) & (earlier.c.recipient_id == notification.c.recipient_id)
    first = select(earlier.c.id).where(same, earlier.c.id < notification.c.id, earlier.c.state == "waiting")
    # The fence keeps PostgreSQL from joining all that waits with itself when a handful of rows is wanted.
    return exists(first.correlate(notification).offset(0))


# What the two have in common, the account and the event, is the notification's.
_CLAIMED = (
    select(notification, *(column for column in webhook.c if column.name not in notification.c), account.c.time_zone)
    .join(webhook, webhook.c.id == notification.c.webhook_id)
    .join(account, account.c.id == notification.c.account_id)
)


def _read(row: Any) -> _Claimed:
    return _Claimed(
        told=Told(row.id, row.event, row.source, row.at, row.content, row.time_zone),
        account_id=row.account_id,
        webhook_id=row.webhook_id,
        recipient_id=row.recipient_id,
        webhook_number=row.number,
        attempts=row.attempts,
        settings=read_webhook_settings(row),
    )
