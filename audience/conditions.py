"""Conditions on people as somebody writes them, `KEY OPERATOR VALUE`, read strictly and made into clauses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, FromClause, exists, func, not_

from audience.columns import FIELD_PREFIX, field_column, field_number
from audience.status_rules import Channel, Status
from db.tables import group_member, list_group, mailing_list, recipient

TEXTS: Mapping[str, ColumnElement[str | None]] = {
    "email": recipient.c.email,
    "mobile": recipient.c.mobile,
    "external": recipient.c.external_key,
}
WORDS: Mapping[str, Mapping[str, int]] = {
    "status": {status.name.lower(): int(status) for status in Status},
    "channel": {channel.name.lower(): int(channel) for channel in Channel},
}
NUMBERS = ("list", "group")
DATES = ("subscribed_at", "unsubscribed_at", "changed_at", "created_at", "updated_at")
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "text": ("=", "!=", "contains", "empty", "present"),
    "word": ("=", "!="),
    "number": ("=", "!="),
    "date": (">=", "<"),
}
"""By kind of key; `empty` and `present` take no value."""

# The key is all or nothing (`++`), lest "email" be read as "emai" with the operator "l".
_SHAPE = re.compile(r"\s*([a-z_]++(?::[0-9]++)?+)\s*(!=|>=|=|<|[a-z]+\b)\s?(.*)", re.ASCII)
_WITHOUT_VALUE = ("empty", "present")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; whether a subscription passes may depend on its list and channel."""

    key: str
    operator: str
    value: Any
    """Text, number or instant, as the key has it; None where the operator takes none."""

    def clause(self, table: FromClause) -> ColumnElement[bool]:
        """Return the condition, for the subscription table or an alias of it; recipient and list are joined."""
        if self.key in NUMBERS:
            return self._number_clause()
        if self.key in WORDS:
            wanted: ColumnElement[bool] = table.c[self.key] == self.value
            return wanted if self.operator == "=" else not_(wanted)
        if self.key in DATES:
            column = table.c[self.key] if self.key in table.c else recipient.c[self.key]
            later: ColumnElement[bool] = column >= self.value
            return later if self.operator == ">=" else not_(later)
        return _TEXT_CLAUSES[self.operator](_text_column(self.key), self.value)

    def _number_clause(self) -> ColumnElement[bool]:
        if self.key == "list":
            wanted: ColumnElement[bool] = mailing_list.c.number == self.value
        else:
            member = exists().where(
                group_member.c.recipient_id == recipient.c.id,
                group_member.c.group_id == list_group.c.id,
                list_group.c.list_id == mailing_list.c.id,
                list_group.c.number == self.value,
            )
            wanted = member.correlate_except(group_member, list_group)
        return wanted if self.operator == "=" else not_(wanted)


def parse_condition(text: str, zone: ZoneInfo) -> Condition:
    """Return the condition that a text means.

    Keys are `email`, `mobile`, `external` and `field:<number>`, which are compared as text (`=`, `!=`, `contains`,
    `empty`, `present`; capitals count, except in e-mail addresses); `status`, `channel`, `list` and `group` (`=`,
    `!=`); and the dates of `DATES` (`>=`, `<`), which are ISO 8601.

    Args:
        text: the key, the operator and, after one space that does not count, the value.
        zone: of dates that name none.

    Raises:
        ValueError: it means none; the text says why.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or not text.isprintable():
        raise ValueError(f"{text!r} is not a condition in the form KEY OPERATOR VALUE.")
    key, operator, value = match.groups()
    kind = _kind_of(key)
    if operator not in OPERATORS[kind]:
        raise ValueError(f"{operator!r} does not go with {key}: choose among {', '.join(OPERATORS[kind])}.")
    if operator in _WITHOUT_VALUE:
        if value.strip():
            raise ValueError(f"{text!r} has a value, which {operator} does not take.")
        return Condition(key, operator, None)
    return Condition(key, operator, _READERS[kind](key, value, zone))


def _kind_of(key: str) -> str:
    if key in TEXTS or field_number(key) is not None:
        return "text"
    kinds = {**dict.fromkeys(WORDS, "word"), **dict.fromkeys(NUMBERS, "number"), **dict.fromkeys(DATES, "date")}
    if key not in kinds:
        known = ", ".join((*TEXTS, f"{FIELD_PREFIX}<number>", *kinds))
        raise ValueError(f"{key!r} cannot be filtered by: choose among {known}.")
    return kinds[key]


def _read_text(key: str, value: str, _zone: ZoneInfo) -> str:
    if not value:
        raise ValueError(f"{key} is compared with nothing; use `{key} empty`.")
    return value.lower() if key == "email" else value


def _read_word(key: str, value: str, _zone: ZoneInfo) -> int:
    words = WORDS[key]
    if value.strip() not in words:
        raise ValueError(f"{value!r} is not a {key}: choose among {', '.join(words)}.")
    return words[value.strip()]


def _read_number(key: str, value: str, _zone: ZoneInfo) -> int:
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and 0 < len(digits) < 10 and int(digits)):
        raise ValueError(f"{value!r} is not the number of a {key}.")
    return int(digits)


def _read_date(key: str, value: str, zone: ZoneInfo) -> datetime:
    try:
        instant = datetime.fromisoformat(value.strip())
        aware = instant if instant.tzinfo else instant.replace(tzinfo=zone)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a date in the form of ISO 8601, which {key} is compared with.") from None


_READERS: Mapping[str, Callable[[str, str, ZoneInfo], Any]] = {
    "text": _read_text,
    "word": _read_word,
    "number": _read_number,
    "date": _read_date,
}


def _text_column(key: str) -> ColumnElement[Any]:
    number = field_number(key)
    stored = TEXTS[key] if number is None else field_column(number)
    return func.coalesce(stored, "")


_TEXT_CLAUSES: Mapping[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    # Not LIKE, which has wildcards, and on SQLite ignores the case of some letters.
    "contains": lambda column, value: func.replace(column, value, "") != column,
    "empty": lambda column, _value: column == "",
    "present": lambda column, _value: column != "",
}
