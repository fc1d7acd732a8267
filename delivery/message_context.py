"""What a message is made of, and what it is sent with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from audience.list_settings import ListSettings
from delivery.dkim import DkimSigner
from delivery.errors import InvalidMessage
from delivery.messages import MessageFile, MessageSettings
from delivery.sendings import Sender
from delivery.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContent:
    """A message as it was written."""

    subject: str
    html: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    files: tuple[MessageFile, ...] = ()
    settings: MessageSettings = field(default_factory=MessageSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContext:
    """What all mails of a sending have in common."""

    account_id: int
    account_number: int
    secret_key: str = field(repr=False)
    list_id: int
    """Internal id."""
    list_name: str
    list_settings: ListSettings
    field_names: Mapping[int, str]
    """Of personal data fields by number."""
    field_defaults: Mapping[int, str]
    """What stands where a recipient has no value."""
    sending_id: int
    """Internal id; 0 for none: then there are no tracked links and no open pixel."""
    sender: Sender
    """Empty parts are the list's own."""
    public_url: str
    bounce_domain: str
    """Empty: bounces go to the list's address."""
    host: str
    """For Message-IDs and the like."""
    vocabulary: Vocabulary
    dkim: DkimSigner | None = None
    bulk: bool = True
    """Whether the mails say that they are bulk, and how to unsubscribe."""
    issued_at: datetime
    """Aware. Stands in Date and in links."""
    tracks_clicks: bool = True
    """Whether links lead by way of this server; without a sending they never do."""


def sender_of(context: MessageContext) -> Sender:
    """Return whom the mails come from.

    Raises:
        InvalidMessage: there is no address.
    """
    own, settings = context.sender, context.list_settings
    email = own.email or settings.sender_email
    if not email:
        raise InvalidMessage("The list has no sender address.")
    name = own.name or settings.sender_name
    return Sender(email=email, name=name, reply_to=own.reply_to or settings.reply_to)
