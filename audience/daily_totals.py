"""How often messages were sent, opened, clicked and returned on each day: kept as events are appended, read by reports.

Totals know no recipients, so they stay when a person is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, false, select, true

from audience.status_rules import Channel
from db.functions import inserts_into
from db.tables import account, daily_total, sending

COUNTED = ("sent", "opened", "clicked", "bounced")
"""What is counted. A text message counts as sent when a gateway has taken it, and as bounced when it failed."""
_MOST_SENDINGS = 5_000
"""Asked for in one statement; one of single messages each has a sending of its own."""


class Occurrence(NamedTuple):
    """What is counted together."""

    day: str
    """ISO 8601, in the account's time zone."""
    list_id: int
    sending_id: int
    name: str
    """One of `COUNTED`."""


class DailyTotal(NamedTuple):
    """What happened to a message in a list on a day of the account's time zone."""

    day: date
    list_id: int
    channel: Channel
    message_number: int
    """0: the sendings had no message of their own."""
    sent: int
    opened: int
    clicked: int
    bounced: int


def find_zone(connection: Connection, account_id: int) -> ZoneInfo:
    """Return the time zone that an account's days are counted in."""
    return ZoneInfo(connection.execute(_ZONE.where(account.c.id == account_id)).scalar_one())


def add_totals(connection: Connection, account_id: int, channel: Channel, counts: Mapping[Occurrence, int]) -> None:
    """Add to the totals, except what happened in sendings whose statistics are hidden.

    Args:
        connection: in the writing transaction that appends the events.
        account_id: whose sendings they are.
        channel: of the events.
        counts: how often each has happened.
    """
    messages = _find_messages(connection, account_id, sorted({item.sending_id for item in counts}))
    rows: dict[tuple[str, int, int], dict[str, Any]] = {}
    for item, count in counts.items():
        if (number := messages.get(item.sending_id)) is not None:
            row = rows.setdefault((item.day, item.list_id, number), dict.fromkeys(COUNTED, 0))
            row[item.name] += count
    if rows:
        # In one order, so that two writers do not wait for each other.
        values = [_complete(account_id, channel, key, rows[key]) for key in sorted(rows)]
        connection.execute(_ADD[connection.dialect.name], values)


def find_totals(
    connection: Connection,
    account_id: int,
    channel: Channel,
    first: date,
    last: date,
    *,
    list_id: int | None = None,
    message_number: int | None = None,
) -> list[DailyTotal]:
    """Return the totals of some days, by day, list and message.

    Args:
        connection: reading or writing.
        account_id: whose messages they are of.
        channel: how they went out.
        first: day.
        last: day, included.
        list_id: internal id of a list; None for all.
        message_number: of a message; None for all.
    """
    query = select(*(daily_total.c[name] for name in DailyTotal._fields)).where(
        daily_total.c.account_id == account_id,
        daily_total.c.channel == int(channel),
        daily_total.c.day.between(first.isoformat(), last.isoformat()),
    )
    if list_id is not None:
        query = query.where(daily_total.c.list_id == list_id)
    if message_number is not None:
        query = query.where(daily_total.c.message_number == message_number)
    rows = connection.execute(query.order_by(daily_total.c.day, daily_total.c.list_id, daily_total.c.message_number))
    return [DailyTotal(date.fromisoformat(row.day), row.list_id, channel, *row[3:]) for row in rows]


def hide_statistics(connection: Connection, account_id: int, channel: Channel, message_number: int) -> None:
    """Have reports, exports and totals leave out all sendings of a message until now, and what still happens in them.

    Args:
        connection: in a writing transaction.
        account_id: whose message it is.
        channel: how it goes out.
        message_number: of the message in the account.
    """
    of_message = (sending.c.account_id == account_id) & (sending.c.message_number == message_number)
    hide = sending.update().where(of_message, sending.c.channel == int(channel))
    connection.execute(hide.values(statistics_hidden=true()))
    totals = (daily_total.c.account_id == account_id) & (daily_total.c.message_number == message_number)
    connection.execute(delete(daily_total).where(totals, daily_total.c.channel == int(channel)))


def _find_messages(connection: Connection, account_id: int, sending_ids: Sequence[int]) -> dict[int, int]:
    """Return the number of the message of each sending of the account that counts."""
    query = select(sending.c.id, sending.c.message_number).where(
        sending.c.account_id == account_id, sending.c.statistics_hidden == false()
    )
    found: dict[int, int] = {}
    for some in _pieces(sending_ids):
        found |= {row.id: row.message_number for row in connection.execute(query.where(sending.c.id.in_(some)))}
    return found


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _MOST_SENDINGS):
        yield ids[start : start + _MOST_SENDINGS]


def _complete(
    account_id: int, channel: Channel, key: tuple[str, int, int], counted: Mapping[str, int]
) -> dict[str, Any]:
    day, list_id, message_number = key
    values = {"account_id": account_id, "day": day, "list_id": list_id, "channel": int(channel)}
    return {**values, "message_number": message_number, **counted}


def _add_to_present(insert: Any) -> Any:
    sums = {name: daily_total.c[name] + insert.excluded[name] for name in COUNTED}
    return insert.on_conflict_do_update(index_elements=list(daily_total.primary_key.columns), set_=sums)


# Made once: to make a statement takes longer than to execute it.
_ZONE = select(account.c.time_zone)
_ADD = {name: _add_to_present(insert) for name, insert in inserts_into(daily_total).items()}
