"""The end of a full import: whoever is subscribed to its lists and did not stand in the file leaves them.

People whose subscription changed since the file came are left alone: the file cannot know of them. A file that would
end more subscriptions than its profile allows ends none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, literal, or_, select

from audience.history import HistoryKind
from audience.status_rules import Channel, Reason, Status
from db.functions import insert_into
from db.tables import history, import_seen, recipient, subscription
from db.types import UtcDateTime
from exchange.errors import FileRefused
from exchange.profiles import Channels, Profile

_CHANNELS: dict[Channels, tuple[Channel, ...]] = {
    "email": (Channel.EMAIL,),
    "sms": (Channel.SMS,),
    "both": (Channel.EMAIL, Channel.SMS),
}
_HERE = (Status.SUBSCRIBED, Status.PENDING)


@dataclass(frozen=True, slots=True)
class FullList:
    """What a full import is about."""

    import_id: int
    account_id: int
    lists: Sequence[int]
    """Ids of the lists that the file tells everybody of."""
    profile: Profile
    source: str
    began_at: datetime
    """When the file came."""


def find_lists(connection: Connection, import_id: int, default_list_id: int) -> list[int]:
    """Return the lists that a file's rows were about; the default one for a file without rows."""
    met = select(import_seen.c.list_id).where(import_seen.c.import_id.in_((import_id, -import_id))).distinct()
    return sorted(connection.execute(met).scalars()) or [default_list_id]


def check_missing(connection: Connection, full: FullList) -> int:
    """Return how many people are missing from the file, counted in each list.

    Raises:
        FileRefused: `too-many-missing`, in any of the lists.
    """
    missing = _count_people(connection, _missing(full))
    for list_id, subscribed in _count_people(connection, _subscribed(full)).items():
        gone = missing.get(list_id, 0)
        if gone * 100 > full.profile.max_missing_percent * subscribed:
            raise FileRefused("too-many-missing", _describe_missing(gone, subscribed, full))
    return sum(missing.values())


def _count_people(connection: Connection, conditions: Iterable[ColumnElement[bool]]) -> dict[int, int]:
    list_id, people = subscription.c.list_id, func.count(func.distinct(subscription.c.recipient_id))
    counted = connection.execute(select(list_id, people).where(*conditions).group_by(list_id))
    return {row[0]: row[1] for row in counted}


def _describe_missing(missing: int, subscribed: int, full: FullList) -> str:
    return (
        f"{missing:,} of {subscribed:,} subscribers are not in the file; no more than"
        f" {full.profile.max_missing_percent:g} % may be missing. Its rows were imported, and nobody was unsubscribed."
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch of people whose subscriptions were ended."""

    people: int
    last_id: int
    """The highest recipient among them; the next batch begins after it."""


def unsubscribe_missing(
    connection: Connection, full: FullList, now: datetime, *, after: int, most: int
) -> Ended | None:
    """End the subscriptions of some of those who are missing; None when there are none left.

    Args:
        connection: in a writing transaction.
        full: the import.
        now: the instant.
        after: id of the last recipient of the batch before; 0 at first.
        most: people at a time.
    """
    recipient_id = subscription.c.recipient_id
    some = select(recipient_id).where(*_missing(full), recipient_id > after).distinct()
    people = connection.execute(some.order_by(recipient_id).limit(most)).scalars().all()
    if not people:
        return None
    ending = and_(*_missing(full), recipient_id.in_(people))
    # What the history tells must be what is changed, whatever others do at this moment.
    order = (recipient_id, subscription.c.list_id, subscription.c.channel)
    connection.execute(select(*order).where(ending).order_by(*order).with_for_update())
    _write_history(connection, full, ending, now)
    ended = {
        "status": Status.UNSUBSCRIBED,
        "unsubscribed_at": now,
        "changed_at": now,
        "reason_type": Reason.IMPORTED,
        "reason_subtype": None,
        "message_id": None,
        "source": full.source,
    }
    connection.execute(subscription.update().where(ending).values(**ended))
    return Ended(len(people), people[-1])


def find_met(connection: Connection, import_id: int) -> list[tuple[int, int]]:
    """Return list and recipient of everybody whom an import has met in this transaction, when it keeps nothing."""
    query = select(import_seen.c.list_id, import_seen.c.recipient_id).where(import_seen.c.import_id == import_id)
    return [(row.list_id, row.recipient_id) for row in connection.execute(query)]


def keep_met(connection: Connection, import_id: int, met: Sequence[tuple[int, int]]) -> None:
    """Note down whom an import that keeps nothing has met; those it would have added are nobody's ids yet."""
    if not met:
        return
    known = select(recipient.c.id).where(recipient.c.id.in_([recipient_id for _, recipient_id in met]))
    ids = set(connection.execute(known).scalars())
    rows = [
        {"import_id": -import_id, "list_id": list_id, "recipient_id": recipient_id}
        for list_id, recipient_id in met
        if recipient_id in ids
    ]
    if rows:
        connection.execute(insert_into(connection, import_seen).on_conflict_do_nothing(), rows)


def _subscribed(full: FullList) -> tuple[ColumnElement[bool], ...]:
    columns = subscription.c
    return (
        columns.list_id.in_(full.lists),
        columns.channel.in_(_CHANNELS[full.profile.channels]),
        columns.status.in_(_HERE),
    )


def _missing(full: FullList) -> tuple[ColumnElement[bool], ...]:
    seen = import_seen.c
    met = exists().where(
        or_(seen.import_id == full.import_id, seen.import_id == -full.import_id),
        seen.list_id == subscription.c.list_id,
        seen.recipient_id == subscription.c.recipient_id,
    )
    return (*_subscribed(full), subscription.c.changed_at < full.began_at, ~met)


def _write_history(connection: Connection, full: FullList, ending: ColumnElement[bool], now: datetime) -> None:
    columns = (
        "account_id", "recipient_id", "list_id", "kind", "channel", "at", "old_status", "new_status", "reason_type",
        "source", "import_id",
    )  # fmt: skip
    rows = select(
        literal(full.account_id),
        subscription.c.recipient_id,
        subscription.c.list_id,
        literal(int(HistoryKind.STATUS)),
        subscription.c.channel,
        literal(now, UtcDateTime),
        subscription.c.status,
        literal(int(Status.UNSUBSCRIBED)),
        literal(int(Reason.IMPORTED)),
        literal(full.source),
        literal(full.import_id),
    ).where(ending)
    connection.execute(history.insert().from_select(columns, rows))
