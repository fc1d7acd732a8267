"""What recipients did with e-mails: of each sending the latest kind of action of each recipient (specification 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, exists, false, not_, or_, select

from audience.columns import pick_columns
from audience.events import MailEventKind
from audience.selections import Selection, date_conditions, is_reachable, list_conditions, name_states
from db.functions import join_json
from db.tables import mail_event, mailing_list, recipient, sending

_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "list": mailing_list.c.number,
    "sending": sending.c.number,
    "message": sending.c.message_number,
    "email": mail_event.c.email,
    "subject": sending.c.subject,
    "status": mail_event.c.kind,
    "details": mail_event.c.details,
    "changed_at": mail_event.c.at,
    "sent_at": mail_event.c.sent_at,
    "ip_address": mail_event.c.ip_address,
    "country": mail_event.c.country,
    "user_agent": mail_event.c.user_agent,
    "tags": join_json(sending.c.tags),
}
COLUMNS = tuple(_COLUMNS)
"""What a row can tell."""

_STATES = {int(kind): kind.name.lower() for kind in MailEventKind}
WORDS = tuple(_STATES.values())
"""States that a row tells by words."""

_RANKS = {MailEventKind.SENT: 1, MailEventKind.BOUNCED: 2, MailEventKind.OPENED: 3, MailEventKind.CLICKED: 4}


def select_mail_statistics(wanted: Selection, columns: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for the actions wanted, by instant.

    Of each sending and recipient only the highest kind of action counts (sent, bounced, opened, clicked) that happened
    before the end of the stretch: of opens the last one, of clicks the last one of each link. Actions before the
    stretch give no row, but whoever clicked before it gives none for opening again.

    Args:
        wanted: of which lists, and when.
        columns: what each row tells, keys of `COLUMNS`.

    Raises:
        ValueError: a column is unknown.
    """
    known = {**_COLUMNS, "status": name_states(mail_event.c.kind, _STATES, wanted.words)}
    joined = (
        mail_event.join(sending, sending.c.id == mail_event.c.sending_id)
        .join(mailing_list, mailing_list.c.id == mail_event.c.list_id)
        .join(recipient, recipient.c.id == mail_event.c.recipient_id)
    )
    return (
        select(*pick_columns(columns, known, fields=False))
        .select_from(joined)
        .where(mail_event.c.account_id == wanted.account_id, *date_conditions(wanted, mail_event.c.at))
        .where(sending.c.statistics_hidden == false())
        .where(sending.c.account_id == wanted.account_id, *list_conditions(wanted))
        .where(is_reachable(), not_(_is_outdone(wanted)))
        .order_by(mail_event.c.at, mail_event.c.id)
    )


def _is_outdone(wanted: Selection) -> ColumnElement[bool]:
    """Return the condition that a higher or later action stands for this one."""
    other = mail_event.alias("other")
    rank, other_rank = _rank(mail_event), _rank(other)
    # An action that leads nowhere else has no address; a bounce counts whatever its code.
    same_link = or_(
        mail_event.c.kind != MailEventKind.CLICKED, other.c.details.is_not_distinct_from(mail_event.c.details)
    )
    later = or_(other.c.at > mail_event.c.at, and_(other.c.at == mail_event.c.at, other.c.id > mail_event.c.id))
    outdone = exists().where(
        other.c.sending_id == mail_event.c.sending_id,
        other.c.recipient_id == mail_event.c.recipient_id,
        or_(other_rank > rank, and_(other_rank == rank, same_link, later)),
    )
    if wanted.until is not None:
        outdone = outdone.where(other.c.at < wanted.until)
    return outdone.correlate(mail_event)


def _rank(table: FromClause) -> ColumnElement[int]:
    return case({int(kind): rank for kind, rank in _RANKS.items()}, value=table.c.kind, else_=0)
