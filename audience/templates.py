"""Templates: layouts that new messages begin with, of one list or, as defaults, of the account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, select

from audience.errors import InvalidName
from audience.lists import MailingList, clean_notes
from audience.numbers import take_number
from db.tables import message_template

MAX_SUBJECT = 255
MAX_HTML = 2_000_000


@dataclass(frozen=True, slots=True)
class Template:
    """One layout; its number is unique in the account."""

    number: int
    subject: str
    notes: str
    html: str
    created_at: datetime


def add_template(
    connection: Connection, account_id: int, mailing: MailingList | None, *, subject: str, html: str, notes: str = ""
) -> Template:
    """Add a template to a list, or with None to the account's defaults.

    Raises:
        InvalidName: the subject is empty, longer than 255 characters or has line breaks or control characters, or
            notes or HTML are too long.
    """
    subject = subject.strip()
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise InvalidName(f"A subject is one line of 1 to {MAX_SUBJECT} characters.")
    if len(html) > MAX_HTML:
        raise InvalidName(f"A template has at most {MAX_HTML} characters.")
    found = Template(0, subject, clean_notes(notes), html, datetime.now(UTC))
    return _insert(connection, account_id, mailing, found)


def templates_of(connection: Connection, account_id: int, mailing: MailingList | None) -> list[Template]:
    """Return the templates of a list, or with None the account's defaults, by number."""
    query = (
        select(
            message_template.c.number,
            message_template.c.subject,
            message_template.c.notes,
            message_template.c.html,
            message_template.c.created_at,
        )
        .where(message_template.c.account_id == account_id, _is_of(mailing))
        .order_by(message_template.c.number)
    )
    return [Template(*row) for row in connection.execute(query)]


def copy_templates(connection: Connection, source: MailingList | None, target: MailingList) -> None:
    """Give a list copies of another list's templates, or with None of the account's defaults."""
    for template in templates_of(connection, target.account_id, source):
        _insert(connection, target.account_id, target, template)


def _is_of(mailing: MailingList | None) -> ColumnElement[bool]:
    if mailing is None:
        return message_template.c.list_id.is_(None)
    return message_template.c.list_id == mailing.id


def _insert(connection: Connection, account_id: int, mailing: MailingList | None, template: Template) -> Template:
    added = Template(
        number=take_number(connection, account_id, "template"),
        subject=template.subject,
        notes=template.notes,
        html=template.html,
        created_at=datetime.now(UTC),
    )
    connection.execute(
        message_template.insert().values(
            account_id=account_id,
            list_id=mailing.id if mailing is not None else None,
            number=added.number,
            subject=added.subject,
            notes=added.notes,
            html=added.html,
            created_at=added.created_at,
        )
    )
    return added
