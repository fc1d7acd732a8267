"""Mails as recipients would get them, without a sending: nothing is recorded, and no link in them is tracked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from audience.addresses import normalise_email
from audience.errors import UnknownRecipient
from audience.list_settings import read_settings
from audience.lists import default_values_of, fields_of, load_list
from db.tables import account, recipient
from delivery.compiling import CompiledMessage, Person, compile_message
from delivery.composition import load_message_content
from delivery.dkim import find_signer
from delivery.message_context import MessageContext
from delivery.messages import Message
from delivery.sendings import Sender
from delivery.vocabulary import Vocabulary

NO_SENDING = 0


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
    return Preview(compile_message(content, _load_context(connection, message, place)), person)


def _find_person(connection: Connection, account_id: int, email: str) -> Person:
    columns = (recipient.c.id, recipient.c.email, recipient.c.mobile, recipient.c.fields)
    here = (recipient.c.account_id == account_id) & (recipient.c.email == email)
    row = connection.execute(select(*columns).where(here)).one_or_none()
    if row is None:
        raise UnknownRecipient("The account has no recipient with this address.")
    return Person(0, row.id, row.email, row.mobile, row.fields)


def _load_context(connection: Connection, message: Message, place: Place) -> MessageContext:
    columns = (account.c.number, account.c.secret_key)
    owner = connection.execute(select(*columns).where(account.c.id == message.account_id)).one()
    mailing = load_list(connection, message.list_id)
    settings = read_settings(mailing.settings)
    domain = settings.sender_email.rpartition("@")[2]
    return MessageContext(
        account_id=message.account_id,
        account_number=owner.number,
        secret_key=owner.secret_key,
        list_id=mailing.id,
        list_name=mailing.name,
        list_settings=settings,
        field_names=fields_of(connection, message.account_id),
        field_defaults=default_values_of(connection, message.account_id),
        sending_id=NO_SENDING,
        sender=Sender(),
        public_url=place.public_url,
        bounce_domain=place.bounce_domain,
        host=place.host,
        vocabulary=place.vocabulary,
        dkim=find_signer(connection, message.account_id, domain) if domain else None,
        bulk=True,
        issued_at=datetime.now(UTC),
    )
