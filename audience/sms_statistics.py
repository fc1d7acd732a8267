"""What became of text messages: a row for every change of a delivery's state (specification 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, String, false, func, select

from audience.columns import pick_columns
from audience.events import SmsStatus
from audience.selections import Selection, date_conditions, is_reachable, list_conditions, name_states
from db.tables import mailing_list, recipient, sending, sms_event

_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    # As digits alone, the prefix of the country first.
    "recipient": func.ltrim(sms_event.c.mobile, "+", type_=String()),
    "list": mailing_list.c.number,
    "message": sending.c.message_number,
    "sent_at": sms_event.c.sent_at,
    "changed_at": sms_event.c.at,
    "status": sms_event.c.status,
    "sending": sending.c.number,
    "error_code": sms_event.c.error_code,
}
COLUMNS = tuple(_COLUMNS)
"""What a row can tell."""

_STATES = {int(status): status.name.lower() for status in SmsStatus}
WORDS = tuple(_STATES.values())
"""States that a row tells by words."""


def select_sms_statistics(wanted: Selection, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the changes wanted, by instant.

    Args:
        wanted: of which lists, and when.
        columns: what each row tells, keys of `COLUMNS`.

    Raises:
        ValueError: a column is unknown.
    """
    known = {**_COLUMNS, "status": name_states(sms_event.c.status, _STATES, wanted.words)}
    joined = (
        sms_event.join(sending, sending.c.id == sms_event.c.sending_id)
        .join(mailing_list, mailing_list.c.id == sms_event.c.list_id)
        .join(recipient, recipient.c.id == sms_event.c.recipient_id)
    )
    return (
        select(*pick_columns(columns, known, fields=False))
        .select_from(joined)
        .where(sms_event.c.account_id == wanted.account_id, *date_conditions(wanted, sms_event.c.at))
        .where(sending.c.statistics_hidden == false())
        .where(sending.c.account_id == wanted.account_id, *list_conditions(wanted), is_reachable())
        .order_by(sms_event.c.at, sms_event.c.id)
    )
