"""Mails as recipients would get them, without a sending: nothing is recorded, and no link in them is tracked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from audience.addresses import normalise_email
from audience.errors import UnknownRecipient
from db.tables import recipient
from delivery.compiling import CompiledMessage, Person, compile_message
from delivery.composition import load_list_context, load_message_content
from delivery.messages import Message
from delivery.sendings import Sender
from delivery.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where mails go out from."""

    public_url: str
    """Under which readers reach the pages, without a slash at its end."""
    host: str
    """For Message-IDs."""
    bounce_domain: str
    """Of return paths; empty for none."""
    vocabulary: Vocabulary
    """Of the messages."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A message, and a recipient to see it as."""

    compiled: CompiledMessage
    person: Person

    def source(self) -> bytes:
        """Return the whole mail; its lines end with CRLF."""
        return self.compiled.render(self.person).content

    def html(self) -> str:
        """Return the HTML; empty when the message has a text part only."""
        return self.compiled.render_html(self.person)

    def text(self) -> str:
        """Return the text part."""
        return self.compiled.render_text(self.person)


def load_preview(connection: Connection, message: Message, email: str, place: Place) -> Preview:
    """Return a message as a recipient would get it now.

    Args:
        connection: reading.
        message: an e-mail.
        email: of a recipient of the account, subscribed or not.
        place: where it would go out from.

    Raises:
        InvalidAddress: it is not an e-mail address.
        UnknownRecipient: the account has nobody with this address.
        InvalidMessage: the message can never be sent.
    """
    person = _find_person(connection, message.account_id, normalise_email(email))
    content = load_message_content(connection, message)
    context = load_list_context(
        connection,
        message.list_id,
        sender=Sender(),
        public_url=place.public_url,
        bounce_domain=place.bounce_domain,
        host=place.host,
        vocabulary=place.vocabulary,
    )
    return Preview(compile_message(content, replace(context, bulk=True)), person)


def _find_person(connection: Connection, account_id: int, email: str) -> Person:
    columns = (recipient.c.id, recipient.c.email, recipient.c.mobile, recipient.c.fields)
    here = (recipient.c.account_id == account_id) & (recipient.c.email == email)
    row = connection.execute(select(*columns).where(here)).one_or_none()
    if row is None:
        raise UnknownRecipient("The account has no recipient with this address.")
    return Person(0, row.id, row.email, row.mobile, row.fields)
