"""Columns that several selections share: personal data fields and the groups of a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, String, cast, func, select

from db.tables import group_member, list_group, mailing_list, recipient

FIELD_PREFIX = "field:"
"""The column `field:7` is the personal data field of number 7."""


def field_number(key: str) -> int | None:
    """Return the number of the field that a column's key means, None when it means none."""
    digits = key.removeprefix(FIELD_PREFIX)
    usable = key.startswith(FIELD_PREFIX) and digits.isascii() and digits.isdigit() and 0 < int(digits) < 10**9
    return int(digits) if usable else None


def field_column(number: int) -> ColumnElement[Any]:
    """Return the personal data field of a number, as text."""
    column: ColumnElement[Any] = recipient.c.fields[str(number)].as_string()
    return column


def check_key(key: str, known: Collection[str], *, fields: bool) -> None:
    """Accept the key of a column.

    Args:
        key: what is asked for.
        known: the columns there are.
        fields: whether personal data fields are columns too.

    Raises:
        ValueError: it is none of them.
    """
    if key in known or (fields and field_number(key) is not None):
        return
    extra = f" and {FIELD_PREFIX}<number>" if fields else ""
    raise ValueError(f"{key!r} is not a column: choose among {', '.join(known)}{extra}.")


def pick_columns(
    keys: Sequence[str], known: Mapping[str, ColumnElement[Any]], *, fields: bool = True
) -> list[ColumnElement[Any]]:
    """Return the columns of these keys.

    Raises:
        ValueError: one is unknown.
    """
    for key in keys:
        check_key(key, known, fields=fields)
    return [known[key] if key in known else field_column(field_number(key) or 0) for key in keys]


def groups_column() -> ColumnElement[Any]:
    """Return the numbers of the groups that a person has in the list of the row, ascending, between commas."""
    numbers = (
        select(cast(list_group.c.number, String).label("number"))
        .where(
            list_group.c.id == group_member.c.group_id,
            list_group.c.list_id == mailing_list.c.id,
            group_member.c.recipient_id == recipient.c.id,
        )
        .order_by(list_group.c.number)
        .correlate(mailing_list, recipient)
        .subquery()
    )
    return select(func.aggregate_strings(numbers.c.number, ",")).scalar_subquery()
