"""Shows messages that were sent as web pages: to one of their recipients as he got them, or to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select

from audience.status_rules import Channel
from db.tables import delivery, message, recipient, sending, sending_link
from delivery.compiling import CompiledMessage, Person, compile_message
from delivery.composition import load_context, load_message_content
from delivery.errors import InvalidMessage, UnknownMessage
from delivery.links import Link
from delivery.messages import find_message, load_message
from delivery.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Page:
    """A message as a browser is to show it."""

    content: str
    is_html: bool


@dataclass(frozen=True, slots=True)
class Viewing:
    """How messages are read, and where their links lead."""

    public_url: str
    vocabulary: Vocabulary


def show_to_recipient(connection: Connection, link: Link, viewing: Viewing) -> Page:
    """Return a message with what is known of its recipient now.

    Args:
        connection: reading.
        link: verified.
        viewing: of the server.

    Raises:
        UnknownMessage: the sending, its message or the recipient does not exist any more.
    """
    own = (sending.c.id == link.sending_id) & (sending.c.account_id == link.account_id)
    sent = connection.execute(_SENT.where(own)).one_or_none()
    person = _find_person(connection, link)
    if sent is None or person is None:
        raise UnknownMessage("The message does not exist any more.")
    return _show(_compile(connection, sent, viewing, sending_id=sent.id), person)


def show_to_anybody(connection: Connection, account_id: int, number: int, viewing: Viewing) -> Page:
    """Return a message with defaults in place of what is personal.

    Args:
        connection: reading.
        account_id: whose message it is.
        number: of an e-mail of the account.
        viewing: of the server.

    Raises:
        UnknownMessage: there is none, or no list has been sent it.
    """
    found = find_message(connection, account_id, Channel.EMAIL, number)
    # What single people were sent is for them alone.
    to_list = (sending.c.message_id == found.id) & (sending.c.kind == "bulk") & (sending.c.sent > 0)
    latest = _SENT.where(to_list, sending.c.account_id == account_id).order_by(sending.c.id.desc()).limit(1)
    sent = connection.execute(latest).one_or_none()
    if sent is None:
        raise UnknownMessage(f"The message {number} was not sent.")
    nobody = Person(delivery_id=0, recipient_id=0, email="", mobile=None, fields={})
    return _show(_compile(connection, sent, viewing, sending_id=0), nobody)


def _compile(connection: Connection, sent: Row[Any], viewing: Viewing, *, sending_id: int) -> CompiledMessage:
    content = load_message_content(connection, load_message(connection, sent.message_id), subject=sent.subject)
    context = load_context(
        connection,
        sent.id,
        public_url=viewing.public_url,
        bounce_domain="",
        host="",
        vocabulary=viewing.vocabulary,
    )
    context = replace(context, sending_id=sending_id, dkim=None)
    try:
        compiled = compile_message(content, context)
        if sending_id and compiled.links != _stored_links(connection, sending_id):
            # The message has been changed since: its links stand at other places than those of what was sent.
            return compile_message(content, replace(context, tracks_clicks=False))
    except InvalidMessage:
        # The list has lost its sender, for example.
        raise UnknownMessage("The message cannot be shown.") from None
    return compiled


def _stored_links(connection: Connection, sending_id: int) -> tuple[str, ...]:
    return tuple(connection.execute(_LINKS.where(sending_link.c.sending_id == sending_id)).scalars())


def _show(compiled: CompiledMessage, person: Person) -> Page:
    html = compiled.render_html(person)
    return Page(html, is_html=True) if html.strip() else Page(compiled.render_text(person), is_html=False)


def _find_person(connection: Connection, link: Link) -> Person | None:
    known = (recipient.c.id == link.recipient_id) & (recipient.c.account_id == link.account_id)
    row = connection.execute(_PERSON.where(known, recipient.c.email.is_not(None))).one_or_none()
    if row is None:
        return None
    own = (delivery.c.sending_id == link.sending_id) & (delivery.c.recipient_id == link.recipient_id)
    queued = connection.execute(_QUEUED.where(own).limit(1)).one_or_none()
    values: Mapping[str, str] | None = queued[1] if queued is not None else None
    return Person(queued.id if queued is not None else 0, row.id, row.email, row.mobile, row.fields, values)


_SENT: Select[Any] = select(sending.c.id, sending.c.message_id, sending.c.subject).where(
    sending.c.channel == int(Channel.EMAIL), exists().where(message.c.id == sending.c.message_id)
)
_LINKS: Select[Any] = select(sending_link.c.url).order_by(sending_link.c.place)
_PERSON: Select[Any] = select(recipient.c.id, recipient.c.email, recipient.c.mobile, recipient.c.fields)
_QUEUED: Select[Any] = select(delivery.c.id, delivery.c["values"]).order_by(delivery.c.copy)
