"""Writes the history of one recipient: what changed, when, who did it, through which door and why.

Bulk imports write the same rows with the statements of `db.merge_sql`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection

from audience.status_rules import Channel, Reason, State, Status
from db.tables import history


class HistoryKind(IntEnum):
    """What a row of the history tells of."""

    STATUS = 1
    """The status of a subscription; without a new one, the subscription was removed."""
    PROFILE = 2
    """Personal data: `{"before": {…}, "after": {…}}` by field number, `email` or `mobile`; null where there is none."""
    GROUPS = 3
    """Groups of a list: `{"added": […], "removed": […]}`, by their internal ids."""
    ERASURE = 4
    """The person was forgotten."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why and whence a change comes."""

    source: str
    """The door: `page`, `link`, `soap`, `ftp`, `command-line`, `mail` (somebody wrote one), `bounce`."""
    reason: Reason | None = None
    subtype: int | None = None
    actor: str | None = None
    """Who: a user's name, or the address of the machine that called."""
    message_number: int | None = None
    """Of the account's e-mail that it answers."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom and where a change concerns."""

    account_id: int
    recipient_id: int
    list_id: int | None


def record_status(
    connection: Connection,
    subject: Subject,
    channel: Channel,
    before: State,
    after: Status | None,
    cause: Cause,
    at: datetime,
) -> None:
    """Record that a subscription got another status, or with None that it was removed."""
    ended = after == Status.UNSUBSCRIBED
    _record(
        connection,
        subject,
        HistoryKind.STATUS,
        cause,
        at,
        channel=channel,
        old_status=None if before == State.NONE else min(before, State.UNSUBSCRIBED),
        new_status=after,
        reason_type=cause.reason if ended else None,
        reason_subtype=cause.subtype if ended else None,
    )


def record_profile(
    connection: Connection,
    subject: Subject,
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
    cause: Cause,
    at: datetime,
) -> None:
    """Record that personal data changed: the values that did, before and after."""
    details = {"before": dict(before), "after": dict(after)}
    _record(connection, subject, HistoryKind.PROFILE, cause, at, details=details)


def record_groups(
    connection: Connection,
    subject: Subject,
    added: Collection[int],
    removed: Collection[int],
    cause: Cause,
    at: datetime,
) -> None:
    """Record that somebody was put into groups of a list, or taken out."""
    details = {"added": sorted(added), "removed": sorted(removed)}
    _record(connection, subject, HistoryKind.GROUPS, cause, at, details=details)


def _record(
    connection: Connection, subject: Subject, kind: HistoryKind, cause: Cause, at: datetime, **values: Any
) -> None:
    row = {
        "account_id": subject.account_id,
        "recipient_id": subject.recipient_id,
        "list_id": subject.list_id,
        "kind": kind,
        "at": at,
        "source": cause.source,
        "actor": cause.actor,
        **values,
    }
    connection.execute(_ADD, row)


# Made once: to make a statement takes longer than to execute it.
_ADD = history.insert()
