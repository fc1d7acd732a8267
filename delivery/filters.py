"""Stored filters: conditions on people, kept under a number, that sendings can be limited by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, true

from audience.accounts import Account
from audience.conditions import Condition, parse_condition
from audience.errors import InvalidName
from audience.lists import MailingList
from audience.numbers import take_number
from db.tables import account, mailing_list, recipient_filter, subscription
from delivery.errors import InvalidTarget, UnknownFilter

FilterMatch = Literal["all", "any"]
MAX_NAME = 200
MAX_CONDITIONS = 50
MAX_FILTERS = 100
"""Filters that one sending may have."""


@dataclass(frozen=True, slots=True)
class StoredFilter:
    """A filter of an account; its number is unique there."""

    number: int
    name: str
    list_number: int | None
    """Of the only list whose sendings may have it; None: those of all lists."""
    conditions: tuple[str, ...]
    match: FilterMatch
    created_at: datetime


def add_filter(
    connection: Connection,
    owner: Account,
    name: str,
    conditions: Iterable[str],
    *,
    match: FilterMatch = "all",
    mailing: MailingList | None = None,
) -> int:
    """Add a filter; return its number.

    Args:
        connection: in a writing transaction.
        owner: whose filter it is.
        name: for people.
        conditions: as `audience.conditions.parse_condition` reads them; dates are in the account's time zone.
        match: whether `all` of the conditions must hold, or `any`.
        mailing: the only list whose sendings may have it.

    Raises:
        InvalidName: the name is empty, too long or not one line.
        InvalidTarget: a condition is none, or there are too many or none.
    """
    name, texts = name.strip(), list(conditions)
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidName(f"The name of a filter is one line of 1 to {MAX_NAME} characters.")
    if not 0 < len(texts) <= MAX_CONDITIONS:
        raise InvalidTarget(f"A filter has 1 to {MAX_CONDITIONS} conditions.")
    _parse(texts, owner.zone)
    number = take_number(connection, owner.id, "filter")
    values = {
        "account_id": owner.id,
        "list_id": mailing.id if mailing is not None else None,
        "number": number,
        "name": name,
        "conditions": texts,
        "match": match,
        "created_at": datetime.now(UTC),
    }
    connection.execute(recipient_filter.insert().values(**values))
    return number


def filters_of(connection: Connection, account_id: int) -> list[StoredFilter]:
    """Return the filters of an account by number."""
    query = _select().where(recipient_filter.c.account_id == account_id).order_by(recipient_filter.c.number)
    return [_read(row) for row in connection.execute(query)]


def find_filter(connection: Connection, account_id: int, number: int) -> StoredFilter:
    """Return a filter of an account.

    Raises:
        UnknownFilter: there is none with this number.
    """
    query = _select().where(recipient_filter.c.account_id == account_id, recipient_filter.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownFilter(f"There is no filter {number}.")
    return _read(row)


def remove_filter(connection: Connection, account_id: int, number: int) -> None:
    """Remove a filter; a sending that has it and has not begun fails when its time comes.

    Raises:
        UnknownFilter: there is none with this number.
    """
    here = (recipient_filter.c.account_id == account_id) & (recipient_filter.c.number == number)
    if connection.execute(recipient_filter.delete().where(here)).rowcount == 0:
        raise UnknownFilter(f"There is no filter {number}.")


def check_filters(connection: Connection, mailing: MailingList, numbers: Iterable[int]) -> None:
    """Let filters pass that a sending of a list may have.

    Raises:
        UnknownFilter: one of them does not exist, or is another list's.
        InvalidTarget: there are too many.
    """
    for found in _find(connection, mailing.account_id, tuple(numbers)):
        if found.list_number not in (None, mailing.number):
            raise UnknownFilter(f"There is no filter {found.number} for list {mailing.number}.")


def filter_clauses(
    connection: Connection, account_id: int, numbers: Iterable[int], match: FilterMatch
) -> ColumnElement[bool]:
    """Return the condition that people pass stored filters, over `mailing_list`, `subscription` and `recipient` joined.

    Args:
        connection: reading or writing.
        account_id: whose filters they are.
        numbers: of the filters; without any everybody passes.
        match: whether people must pass `all` filters, or `any`.

    Raises:
        UnknownFilter: one of them does not exist.
        InvalidTarget: there are too many.
    """
    found = _find(connection, account_id, tuple(numbers))
    if not found:
        return true()
    zone = ZoneInfo(connection.execute(select(account.c.time_zone).where(account.c.id == account_id)).scalar_one())
    return _join((_filter_clause(each, zone) for each in found), match)


def _filter_clause(stored: StoredFilter, zone: ZoneInfo) -> ColumnElement[bool]:
    conditions = _parse(stored.conditions, zone)
    return _join((condition.clause(subscription) for condition in conditions), stored.match)


def _join(clauses: Iterable[ColumnElement[bool]], match: FilterMatch) -> ColumnElement[bool]:
    joined: ColumnElement[bool] = and_(*clauses) if match == "all" else or_(*clauses)
    return joined.self_group()


def _parse(texts: Iterable[str], zone: ZoneInfo) -> list[Condition]:
    try:
        return [parse_condition(text, zone) for text in texts]
    except ValueError as error:
        raise InvalidTarget(str(error)) from None


def _find(connection: Connection, account_id: int, numbers: tuple[int, ...]) -> list[StoredFilter]:
    """Return filters in the order of their numbers, each once."""
    if not numbers:
        return []
    if len(set(numbers)) > MAX_FILTERS:
        raise InvalidTarget(f"A sending has at most {MAX_FILTERS} filters.")
    wanted = (recipient_filter.c.account_id == account_id) & recipient_filter.c.number.in_(sorted(set(numbers)))
    query = _select().where(wanted).order_by(recipient_filter.c.number)
    found = [_read(row) for row in connection.execute(query)]
    missing = set(numbers) - {each.number for each in found}
    if missing:
        raise UnknownFilter(f"There is no filter {min(missing)}.")
    return found


_COLUMNS = (
    recipient_filter.c.number,
    recipient_filter.c.name,
    mailing_list.c.number.label("list_number"),
    recipient_filter.c.conditions,
    recipient_filter.c.match,
    recipient_filter.c.created_at,
)


def _select() -> Any:
    owned = recipient_filter.outerjoin(mailing_list, mailing_list.c.id == recipient_filter.c.list_id)
    return select(*_COLUMNS).select_from(owned)


def _read(row: Row[Any]) -> StoredFilter:
    values = row._asdict()
    return StoredFilter(**values | {"conditions": tuple(row.conditions)})
