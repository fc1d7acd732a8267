"""What recipients did with e-mails, for those who look at one recipient or at one message.

Everything is of one list. Sendings whose statistics are hidden are left out, as exports leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, case, exists, func, or_, select

from audience.events import MailEventKind
from audience.lists import MailingList
from audience.selections import is_reachable
from audience.status_rules import Channel, Status
from db.tables import mail_event, message, recipient, sending, subscription

BATCH_ROWS = 2_000
_REACTIONS = (MailEventKind.OPENED, MailEventKind.CLICKED)


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient of the account, as one list knows him."""

    id: int
    fields: Mapping[str, str]
    """Personal data by field number."""
    email_status: Status | None
    """None: he is not registered in the list by this channel."""
    sms_status: Status | None


class PersonEvent(NamedTuple):
    """Something that one recipient did, or that happened to a mail to him."""

    kind: MailEventKind
    url: str
    """Of a click."""
    at: datetime
    ip_address: str
    message_number: int
    subject: str


class Reaction(NamedTuple):
    """How often one recipient opened a message, or clicked one link of it."""

    kind: MailEventKind
    url: str
    """Of clicks."""
    email: str
    """As it was then."""
    times: int


def find_person(connection: Connection, mailing: MailingList, email: str) -> Person | None:
    """Return a recipient of a list's account by his normalised address; None when the account does not know him."""
    email_row, sms_row = (subscription.alias(name) for name in ("by_email", "by_sms"))
    joined: FromClause = recipient
    for row, channel in ((email_row, Channel.EMAIL), (sms_row, Channel.SMS)):
        here = (row.c.recipient_id == recipient.c.id, row.c.list_id == mailing.id, row.c.channel == channel)
        joined = joined.outerjoin(row, and_(*here))
    query = (
        select(recipient.c.id, recipient.c.fields, email_row.c.status, sms_row.c.status)
        .select_from(joined)
        .where(recipient.c.account_id == mailing.account_id, recipient.c.email == email)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    person_id, fields, *states = found
    return Person(person_id, fields, *(Status(status) if status else None for status in states))


def has_message(connection: Connection, mailing: MailingList, number: int) -> bool:
    """Tell whether a list has an e-mail with this number, or was sent one."""
    stored = exists().where(
        message.c.account_id == mailing.account_id,
        message.c.channel == Channel.EMAIL,
        message.c.number == number,
        message.c.list_id == mailing.id,
    )
    sent = exists().where(*_sendings(mailing, number))
    return bool(connection.execute(select(or_(stored, sent))).scalar_one())


def list_person_events(
    connection: Connection, mailing: MailingList, person_id: int, message_number: int | None = None
) -> Iterator[PersonEvent]:
    """Yield the openings, clicks and bounces of a recipient, by link and instant.

    Args:
        connection: reading.
        mailing: the list whose sendings count.
        person_id: internal id of a recipient of the list's account.
        message_number: of the only message that counts; None: every one.
    """
    url = func.coalesce(_url(), "")
    query = (
        select(
            mail_event.c.kind,
            url,
            mail_event.c.at,
            func.coalesce(mail_event.c.ip_address, ""),
            sending.c.message_number,
            sending.c.subject,
        )
        .join_from(mail_event, sending, sending.c.id == mail_event.c.sending_id)
        .where(mail_event.c.recipient_id == person_id)
        .where(mail_event.c.kind.in_((*_REACTIONS, MailEventKind.BOUNCED)), *_sendings(mailing, message_number))
        .order_by(url, mail_event.c.at, mail_event.c.id)
    )
    for kind, *rest in connection.execute(query.execution_options(yield_per=BATCH_ROWS)):
        yield PersonEvent(MailEventKind(kind), *rest)


def count_reactions(connection: Connection, mailing: MailingList, message_number: int) -> Iterator[Reaction]:
    """Yield how often each recipient clicked each link of a message and opened it, clicks first, by link and address.

    Args:
        connection: in a reading transaction.
        mailing: the list whose sendings count.
        message_number: of the message.
    """
    for row in connection.execute(select_reactions(mailing, message_number).execution_options(yield_per=BATCH_ROWS)):
        yield Reaction(MailEventKind(row.kind), row.url, row.email, row.times)


def select_reactions(mailing: MailingList, message_number: int) -> Select[Any]:
    """Return the query of `count_reactions`; its columns are those of `Reaction`."""
    url = func.coalesce(_url(), "").label("url")
    key = (mail_event.c.kind, url, mail_event.c.email)
    return (
        select(*key, func.count().label("times"))
        .join_from(sending, mail_event, mail_event.c.sending_id == sending.c.id)
        .join(recipient, recipient.c.id == mail_event.c.recipient_id)
        .where(*_sendings(mailing, message_number), mail_event.c.kind.in_(_REACTIONS))
        .where(is_reachable())
        .group_by(*key)
        .order_by(mail_event.c.kind.desc(), url, mail_event.c.email)
    )


def _url() -> ColumnElement[Any]:
    return case((mail_event.c.kind == MailEventKind.CLICKED, mail_event.c.details))


def _sendings(mailing: MailingList, message_number: int | None) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions on the sendings that count."""
    yield sending.c.account_id == mailing.account_id
    yield sending.c.list_id == mailing.id
    yield sending.c.channel == Channel.EMAIL
    yield sending.c.statistics_hidden.is_(False)
    if message_number is not None:
        yield sending.c.message_number == message_number
