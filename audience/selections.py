"""What the selections of exports have in common: which lists, which instants, and one row per person and list.

A recipient appears once per list. Where both the e-mail and the SMS subscription pass the filters, the row is the
e-mail one's; a person who passes with the SMS subscription alone gives a row too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, case, exists, not_, or_, select

from audience.conditions import Condition
from audience.status_rules import Channel
from db.tables import mailing_list, recipient, subscription

Conditions = Callable[[FromClause], Iterable[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What an export is about: conditions that must all hold."""

    account_id: int
    lists: tuple[int, ...] | None = None
    """Numbers of the lists that count; None: all of them."""
    exclude_lists: tuple[int, ...] = ()
    since: datetime | None = None
    """It happened, or came back by the undoing of an import, at this instant or later."""
    until: datetime | None = None
    """It happened before this instant."""
    reasons: tuple[int, ...] | None = None
    """Of unsubscriptions: codes as `audience.unsubscribed.parse_reason` takes them; None: whatever the reason, even an
    unknown one."""
    exclude_reasons: tuple[int, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """Further ones, on recipients and their subscriptions."""
    words: Mapping[str, str] = field(default_factory=dict)
    """How states are called that a row tells, by their own names, where they are called otherwise."""


def list_conditions(wanted: Selection) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions on lists: of the account, not deleted, wanted."""
    yield mailing_list.c.account_id == wanted.account_id
    yield mailing_list.c.deleted_at.is_(None)
    if wanted.lists is not None:
        yield mailing_list.c.number.in_(wanted.lists)
    if wanted.exclude_lists:
        yield mailing_list.c.number.not_in(wanted.exclude_lists)


def date_conditions(wanted: Selection, column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions that a date lies in the stretch wanted."""
    if wanted.since is not None:
        yield column >= wanted.since
    if wanted.until is not None:
        yield column < wanted.until


def select_people(
    wanted: Selection, columns: Iterable[ColumnElement[Any]], conditions: Conditions
) -> Select[*tuple[Any, ...]]:
    """Return the query for the subscriptions that pass, one per person and list, without an order.

    Args:
        wanted: of which lists.
        columns: what each row tells.
        conditions: on the subscription table, or an alias of it.
    """
    joined = mailing_list.join(subscription, subscription.c.list_id == mailing_list.c.id).join(
        recipient, recipient.c.id == subscription.c.recipient_id
    )
    return (
        select(*columns)
        .select_from(joined)
        .where(*list_conditions(wanted), *conditions(subscription), _first_of_person(conditions))
        .where(is_reachable())
    )


def is_reachable() -> ColumnElement[bool]:
    """Return the condition that a recipient has an address to tell, which who was forgotten has not."""
    return or_(recipient.c.email.is_not(None), recipient.c.mobile.is_not(None))


def name_states(column: ColumnElement[Any], names: Mapping[int, str], words: Mapping[str, str]) -> ColumnElement[Any]:
    """Return a column of numbers as words.

    Args:
        column: the numbers.
        names: own name of each.
        words: words to use instead, by own name.
    """
    return case({number: words.get(name, name) for number, name in names.items()}, value=column)


def _first_of_person(conditions: Conditions) -> ColumnElement[bool]:
    twin = subscription.alias("twin")
    has_email_row = exists().where(
        twin.c.recipient_id == subscription.c.recipient_id,
        twin.c.list_id == subscription.c.list_id,
        twin.c.channel == Channel.EMAIL,
        *conditions(twin),
    )
    return or_(subscription.c.channel == Channel.EMAIL, not_(has_email_row.correlate_except(twin)))
