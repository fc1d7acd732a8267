"""Which unsubscriptions an export is about: combinable filters that become one query.

A recipient appears once per list. Where both the e-mail and the SMS subscription pass the filters, the row is the
e-mail one's; a person who passes with the SMS subscription alone gives a row too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, exists, false, func, not_, or_, select

from audience.status_rules import Channel, Reason, Status
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

FIELD_PREFIX = "field:"
"""The column `field:7` is the personal data field of number 7."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribedFilter:
    """Conditions that must all hold."""

    account_id: int
    lists: tuple[int, ...] | None = None
    """Numbers of the lists that count; None: all of them."""
    exclude_lists: tuple[int, ...] = ()
    since: datetime | None = None
    """Unsubscribed at this instant or later."""
    until: datetime | None = None
    """Unsubscribed before this instant."""
    reasons: tuple[int, ...] | None = None
    """Codes as `parse_reason` takes them; None: whatever the reason, even an unknown one."""
    exclude_reasons: tuple[int, ...] = ()


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
    if key not in _COLUMNS and _field_number(key) is None:
        raise ValueError(f"{key!r} is not a column: choose among {', '.join(COLUMNS)} and field:<number>.")


def select_unsubscribed(wanted: UnsubscribedFilter, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the unsubscriptions wanted, by list number, instant and recipient.

    Args:
        wanted: which ones.
        columns: what each row tells, keys of `COLUMNS` or `field:<number>`.

    Raises:
        ValueError: a column or a reason code is unknown.
    """
    joined = mailing_list.join(subscription, subscription.c.list_id == mailing_list.c.id).join(
        recipient, recipient.c.id == subscription.c.recipient_id
    )
    return (
        select(*(_column(key) for key in columns))
        .select_from(joined)
        .where(*_list_conditions(wanted), *_conditions(wanted, subscription), _first_of_person(wanted))
        # Who was forgotten has no address to tell any more.
        .where(or_(recipient.c.email.is_not(None), recipient.c.mobile.is_not(None)))
        .order_by(mailing_list.c.number, subscription.c.unsubscribed_at, subscription.c.recipient_id)
    )


def _parse_number(code: int | str) -> int:
    if isinstance(code, str) and not (code.isascii() and code.isdigit()):
        raise ValueError(f"{code!r} is not a number, so it is not the code of an unsubscribe reason.")
    return int(code)


def _field_number(key: str) -> int | None:
    digits = key.removeprefix(FIELD_PREFIX)
    usable = key.startswith(FIELD_PREFIX) and digits.isascii() and digits.isdigit() and int(digits) > 0
    return int(digits) if usable else None


def _column(key: str) -> ColumnElement[Any]:
    check_column(key)
    number = _field_number(key)
    return _COLUMNS[key] if number is None else recipient.c.fields[str(number)].as_string()


def _list_conditions(wanted: UnsubscribedFilter) -> Iterable[ColumnElement[bool]]:
    yield mailing_list.c.account_id == wanted.account_id
    yield mailing_list.c.deleted_at.is_(None)
    if wanted.lists is not None:
        yield mailing_list.c.number.in_(wanted.lists)
    if wanted.exclude_lists:
        yield mailing_list.c.number.not_in(wanted.exclude_lists)


def _conditions(wanted: UnsubscribedFilter, table: FromClause) -> Iterable[ColumnElement[bool]]:
    yield table.c.status == Status.UNSUBSCRIBED
    # Said as well, because the index covers only these rows.
    yield table.c.unsubscribed_at.is_not(None)
    if wanted.since is not None:
        yield table.c.unsubscribed_at >= wanted.since
    if wanted.until is not None:
        yield table.c.unsubscribed_at < wanted.until
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


def _first_of_person(wanted: UnsubscribedFilter) -> ColumnElement[bool]:
    twin = subscription.alias("twin")
    has_email_row = exists().where(
        twin.c.recipient_id == subscription.c.recipient_id,
        twin.c.list_id == subscription.c.list_id,
        twin.c.channel == Channel.EMAIL,
        *_conditions(wanted, twin),
    )
    return or_(subscription.c.channel == Channel.EMAIL, not_(has_email_row))
