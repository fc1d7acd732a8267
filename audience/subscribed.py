"""Which people an export is about: those subscribed to lists, or all who pass conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, or_

from audience.columns import groups_column, pick_columns
from audience.selections import Selection, date_conditions, name_states, select_people
from audience.status_rules import Channel, Status
from db.tables import mailing_list, recipient, subscription

_SUBSCRIBED: Mapping[str, ColumnElement[Any]] = {
    "email": recipient.c.email,
    "mobile": recipient.c.mobile,
    "list": mailing_list.c.number,
    "subscribed_at": subscription.c.subscribed_at,
    "groups": groups_column(),
    "external": recipient.c.external_key,
}
SUBSCRIBED_COLUMNS = tuple(_SUBSCRIBED)
"""What a row about a subscriber can tell, besides personal data fields."""

_RECIPIENT: Mapping[str, ColumnElement[Any]] = {
    **_SUBSCRIBED,
    "status": subscription.c.status,
    "channel": subscription.c.channel,
    "unsubscribed_at": subscription.c.unsubscribed_at,
    "changed_at": subscription.c.changed_at,
    "created_at": recipient.c.created_at,
    "updated_at": recipient.c.updated_at,
    "reason_type": subscription.c.reason_type,
    "reason_subtype": subscription.c.reason_subtype,
}
RECIPIENT_COLUMNS = tuple(_RECIPIENT)
"""What a row about a recipient can tell, besides personal data fields."""

_STATES: Mapping[str, Mapping[int, str]] = {
    "status": {int(status): status.name.lower() for status in Status},
    "channel": {int(channel): channel.name.lower() for channel in Channel},
}
RECIPIENT_WORDS = tuple(name for names in _STATES.values() for name in names.values())
"""States that a row about a recipient tells by words."""


def select_subscribed(wanted: Selection, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the subscribers wanted, by recipient and list.

    Args:
        wanted: which ones; the stretch is about the date of the subscription.
        columns: what each row tells, keys of `SUBSCRIBED_COLUMNS` or `field:<number>`.

    Raises:
        ValueError: a column is unknown.
    """

    def conditions(table: FromClause) -> Iterator[ColumnElement[bool]]:
        yield table.c.status == Status.SUBSCRIBED
        yield from date_conditions(wanted, table.c.subscribed_at)

    return _in_order(wanted, select_people(wanted, pick_columns(columns, _SUBSCRIBED), conditions))


def select_recipients(wanted: Selection, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the recipients wanted, whatever their status, by recipient and list.

    Args:
        wanted: which ones; the stretch is about the last change of the subscription or of the person's data.
        columns: what each row tells, keys of `RECIPIENT_COLUMNS` or `field:<number>`.

    Raises:
        ValueError: a column is unknown.
    """

    def conditions(table: FromClause) -> Iterator[ColumnElement[bool]]:
        if wanted.since is not None or wanted.until is not None:
            changes = (table.c.changed_at, recipient.c.updated_at)
            yield or_(*(and_(*date_conditions(wanted, column)) for column in changes))
        for condition in wanted.conditions:
            yield condition.clause(table)

    states = {key: name_states(subscription.c[key], names, wanted.words) for key, names in _STATES.items()}
    return _in_order(wanted, select_people(wanted, pick_columns(columns, {**_RECIPIENT, **states}), conditions))


def _in_order(wanted: Selection, people: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    # The order of the primary key, so that nothing need be collected to be sorted.
    of_account = recipient.c.account_id == wanted.account_id
    return people.where(of_account).order_by(subscription.c.recipient_id, subscription.c.list_id)
