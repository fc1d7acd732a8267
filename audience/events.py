"""What happened to messages after they were sent: appended in bulk, never changed.

Exports of what is new since the last time rely on this: whoever appends an event dates it (`at`) inside the
transaction that appends it, see `db.settled`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from audience.daily_totals import COUNTED, Occurrence, add_totals, find_zone
from audience.status_rules import Channel
from db.bulk import append_rows
from db.tables import mail_event, sms_event


class MailEventKind(IntEnum):
    """What happened to an e-mail."""

    SENT = 1
    OPENED = 2
    CLICKED = 3
    BOUNCED = 4


class SmsStatus(IntEnum):
    """How far a text message came."""

    DELIVERED = 0
    QUEUED = 1
    ERROR = 2


_MAIL_TOTALS = dict(zip(MailEventKind, COUNTED, strict=True))
# A text message that was delivered has been taken by a gateway before.
_SMS_TOTALS = {SmsStatus.QUEUED: "sent", SmsStatus.ERROR: "bounced"}


class MailEvent(NamedTuple):
    """Something that happened to an e-mail; list, sending and recipient are of the account and given by id."""

    list_id: int
    sending_id: int
    recipient_id: int
    email: str
    """The address as it was then."""
    kind: MailEventKind
    at: datetime
    sent_at: datetime
    details: str | None = None
    """Address that was clicked, or code of the bounce."""
    ip_address: str | None = None
    country: str | None = None
    user_agent: str | None = None


class SmsEvent(NamedTuple):
    """A change of a text message's state; list, sending and recipient are of the account and given by id."""

    list_id: int
    sending_id: int
    recipient_id: int
    mobile: str
    """The number as it was then."""
    status: SmsStatus
    at: datetime
    sent_at: datetime
    error_code: str | None = None


def append_mail_events(connection: Connection, account_id: int, events: Iterable[MailEvent]) -> int:
    """Append what happened to e-mails of an account and add it to the day's totals; return how many there were.

    Args:
        connection: in a writing transaction.
        account_id: whose sendings and recipients they are of.
        events: may be endless in number; they are not kept in memory.
    """
    counts: Counter[Occurrence] = Counter()
    zone = find_zone(connection, account_id)
    rows = ((account_id, *event) for event in _count_mail_events(events, counts, zone))
    appended = append_rows(connection, mail_event, ("account_id", *MailEvent._fields), rows)
    add_totals(connection, account_id, Channel.EMAIL, counts)
    return appended


def append_sms_events(connection: Connection, account_id: int, events: Iterable[SmsEvent]) -> int:
    """Append what happened to text messages of an account, as `append_mail_events` does; return how many there were."""
    counts: Counter[Occurrence] = Counter()
    zone = find_zone(connection, account_id)
    rows = ((account_id, *event) for event in _count_sms_events(events, counts, zone))
    appended = append_rows(connection, sms_event, ("account_id", *SmsEvent._fields), rows)
    add_totals(connection, account_id, Channel.SMS, counts)
    return appended


def _count_mail_events(events: Iterable[MailEvent], counts: Counter[Occurrence], zone: ZoneInfo) -> Iterator[MailEvent]:
    """Yield events, counting them."""
    for event in events:
        day = event.at.astimezone(zone).date().isoformat()
        counts[Occurrence(day, event.list_id, event.sending_id, _MAIL_TOTALS[event.kind])] += 1
        yield event


def _count_sms_events(events: Iterable[SmsEvent], counts: Counter[Occurrence], zone: ZoneInfo) -> Iterator[SmsEvent]:
    for event in events:
        if (name := _SMS_TOTALS.get(event.status)) is not None:
            day = event.at.astimezone(zone).date().isoformat()
            counts[Occurrence(day, event.list_id, event.sending_id, name)] += 1
        yield event
