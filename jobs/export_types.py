"""The types of exports: which columns a row has, which filters there are, and the query that finds the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Select

from audience import mail_statistics, sms_statistics, subscribed, unsubscribed
from audience.columns import check_key
from audience.selections import Selection

ExportType = Literal["unsubscribers", "subscribers", "email-statistics", "sms-statistics", "recipients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeOfExport:
    """What exports of a type can contain."""

    select: Callable[[Selection, Sequence[str]], Select[*tuple[Any, ...]]]
    columns: tuple[str, ...]
    default_columns: tuple[str, ...]
    required_columns: tuple[str, ...] = ()
    has_fields: bool = True
    """Whether the personal data fields `field:<number>` are columns."""
    filters: tuple[str, ...] = ()
    """Names of the settings that filter, besides lists and period."""
    words: tuple[str, ...] = ()
    """States that a row tells by words, which may be replaced."""

    def check_column(self, key: str) -> None:
        """Accept the key of a column.

        Raises:
            ValueError: it is unknown.
        """
        check_key(key, self.columns, fields=self.has_fields)


_MAIL_REQUIRED = ("list", "email", "subject", "changed_at", "sent_at")
_SMS_REQUIRED = ("recipient", "list", "message", "sent_at", "changed_at", "status")

TYPES: Mapping[str, TypeOfExport] = {
    "unsubscribers": TypeOfExport(
        select=unsubscribed.select_unsubscribed,
        columns=unsubscribed.COLUMNS,
        default_columns=unsubscribed.COLUMNS,
        filters=("reasons", "exclude_reasons"),
    ),
    "subscribers": TypeOfExport(
        select=subscribed.select_subscribed,
        columns=subscribed.SUBSCRIBED_COLUMNS,
        default_columns=("email", "mobile", "list", "subscribed_at"),
    ),
    "email-statistics": TypeOfExport(
        select=mail_statistics.select_mail_statistics,
        columns=mail_statistics.COLUMNS,
        default_columns=mail_statistics.COLUMNS[: mail_statistics.COLUMNS.index("sent_at") + 1],
        required_columns=_MAIL_REQUIRED,
        has_fields=False,
        words=mail_statistics.WORDS,
    ),
    "sms-statistics": TypeOfExport(
        select=sms_statistics.select_sms_statistics,
        columns=sms_statistics.COLUMNS,
        default_columns=_SMS_REQUIRED,
        required_columns=_SMS_REQUIRED,
        has_fields=False,
        words=sms_statistics.WORDS,
    ),
    "recipients": TypeOfExport(
        select=subscribed.select_recipients,
        columns=subscribed.RECIPIENT_COLUMNS,
        default_columns=(
            *("email", "mobile", "list", "status", "channel"),
            *("subscribed_at", "unsubscribed_at", "changed_at"),
        ),
        filters=("where",),
        words=subscribed.RECIPIENT_WORDS,
    ),
}
assert TYPES.keys() == set(get_args(ExportType))

ALL_COLUMNS = tuple(dict.fromkeys(column for kind in TYPES.values() for column in kind.columns))
"""Those of any type."""
