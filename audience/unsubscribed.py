"""Which unsubscriptions an export is about: combinable filters that become one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, false, func, not_, or_

from audience.columns import check_key, pick_columns
from audience.selections import Selection, date_conditions, select_people
from audience.status_rules import Reason, Status
from db.tables import mailing_list, recipient, subscription

SUBTYPES: Mapping[Reason, tuple[int, ...]] = {
    Reason.ADMINISTRATOR: (1,),
    Reason.LINK: (0, 1, 2),
    Reason.IMPORTED: (1, 2),
    Reason.HARD_BOUNCE: (0, 1, 2, 3),
    Reason.COMPLAINT: (1, 2),
    Reason.HEADER_LINK: (1,),
    Reason.HEADER_MAILTO: (0, 1, 2),
    Reason.INACTIVE: (),
    Reason.REJECTED: (1, 2, 3),
    Reason.SOFT_BOUNCES: (1, 2),
    Reason.FORGOTTEN: (),
}
"""The sub-types that each reason is known with (specification 6.4)."""

_VOLUNTARY = (Reason.LINK, Reason.HEADER_LINK, Reason.HEADER_MAILTO)
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "email": recipient.c.email,
    "mobile": recipient.c.mobile,
    "list": mailing_list.c.number,
    "unsubscribed_at": subscription.c.unsubscribed_at,
    "subscribed_at": subscription.c.subscribed_at,
    "message": case((subscription.c.reason_type.in_(_VOLUNTARY), subscription.c.message_id)),
    "reason_type": subscription.c.reason_type,
    "reason_subtype": subscription.c.reason_subtype,
}
COLUMNS = tuple(_COLUMNS)
"""What a row can tell, besides personal data fields."""


def parse_reason(code: int | str) -> tuple[Reason, int | None]:
    """Return the type and sub-type that a reason code means (specification 6.4).

    A code is a type (0, 2, 4, 8, … 1024), which stands for all its sub-types, or a type with the digit of a
    sub-type appended: 20 is type 2, sub-type 0; 5121 is type 512, sub-type 1; 01, also written 1, is type 0,
    sub-type 1. A number that is a type is never read as a shorter type with a digit.

    Raises:
        ValueError: there is no such code.
    """
    number = _parse_number(code)
    if number in set(Reason):
        return Reason(number), None
    kind, subtype = divmod(number, 10)
    if kind in set(Reason) and subtype in SUBTYPES[Reason(kind)]:
        return Reason(kind), subtype
    raise ValueError(f"{code} is not the code of an unsubscribe reason.")


def check_column(key: str) -> None:
    """Accept the key of a column.

    Raises:
        ValueError: it is neither one of `COLUMNS` nor `field:` and a field number.
    """
    check_key(key, COLUMNS, fields=True)


def select_unsubscribed(wanted: Selection, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the unsubscriptions wanted, by list number, instant of the change and recipient.

    Args:
        wanted: which ones; the stretch is about the change of the subscription, which is the unsubscription itself or,
            after an import was undone, the return to one of earlier.
        columns: what each row tells, keys of `COLUMNS` or `field:<number>`.

    Raises:
        ValueError: a column or a reason code is unknown.
    """

    def conditions(table: FromClause) -> Iterator[ColumnElement[bool]]:
        return _conditions(wanted, table)

    people = select_people(wanted, pick_columns(columns, _COLUMNS), conditions)
    return people.order_by(mailing_list.c.number, subscription.c.changed_at, subscription.c.recipient_id)


def _parse_number(code: int | str) -> int:
    if isinstance(code, str) and not (code.isascii() and code.isdigit()):
        raise ValueError(f"{code!r} is not a number, so it is not the code of an unsubscribe reason.")
    return int(code)


def _conditions(wanted: Selection, table: FromClause) -> Iterator[ColumnElement[bool]]:
    yield table.c.status == Status.UNSUBSCRIBED
    # Said as well, because the index covers only these rows.
    yield table.c.unsubscribed_at.is_not(None)
    yield from date_conditions(wanted, table.c.changed_at)
    if wanted.reasons is not None:
        yield _has_reason(table, wanted.reasons)
    if wanted.exclude_reasons:
        yield not_(_has_reason(table, wanted.exclude_reasons))


def _has_reason(table: FromClause, codes: Iterable[int]) -> ColumnElement[bool]:
    # An unknown reason must compare as different, not as NULL, or excluding any reason would drop it.
    kind, subtype = (func.coalesce(column, -1) for column in (table.c.reason_type, table.c.reason_subtype))
    matches: list[ColumnElement[bool]] = []
    for code in codes:
        wanted_kind, wanted_subtype = parse_reason(code)
        of_kind = kind == wanted_kind
        matches.append(of_kind if wanted_subtype is None else and_(of_kind, subtype == wanted_subtype))
    return or_(false(), *matches)
