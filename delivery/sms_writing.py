"""Fills text messages in for their recipients, and divides them into the parts that go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from audience.lists import default_values_of, fields_of
from db.tables import account
from delivery.errors import InvalidMessage
from delivery.merge_tags import TagReader
from delivery.messages import Message
from delivery.sms_text import is_near, split, to_gsm
from delivery.sources import (
    Occasion,
    Person,
    RecipientHash,
    Source,
    read_email,
    read_number,
    read_prefix,
    read_recipient,
)
from delivery.tracking_links import LinkSigner
from delivery.vocabulary import TagNames, Vocabulary


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A text message for one recipient."""

    parts: tuple[str, ...]
    unicode: bool


@dataclass(frozen=True, slots=True)
class TextWriter:
    """Writes the text messages of an account; for one batch, as fields may get other names."""

    vocabulary: Vocabulary
    field_names: Mapping[str, int]
    """Numbers of personal data fields by name, folded."""
    field_defaults: Mapping[int, str]
    built_in: Mapping[str, Source | str]
    signer: LinkSigner
    secret_key: str = field(repr=False)

    def write(self, message: Message, person: Person) -> WrittenText:
        """Return a message for a recipient.

        Args:
            message: of the channel SMS.
            person: with the values of his row in the queue.

        Raises:
            InvalidMessage: it has become empty or too long.
        """
        values = {name.strip().casefold(): name for name in person.values or {}}
        reader = TagReader(
            names=TagNames(self.vocabulary, self.field_names, values),
            built_in=self.built_in,
            links={},
            defaults=self.field_defaults,
            replaces_tags=message.settings.merge_fields,
        )
        links = self.signer.of_recipient(0, person.recipient_id, person.email)
        occasion = Occasion(person, links, person.email)
        pieces = reader.split(message.text)
        text = "".join(piece if isinstance(piece, str) else piece(occasion) for piece in pieces)
        return write_text(text, unicode=message.settings.unicode)


def load_writer(connection: Connection, account_id: int, vocabulary: Vocabulary, public_url: str) -> TextWriter:
    """Return what writes the text messages of an account.

    Args:
        connection: reading or writing.
        account_id: whose.
        vocabulary: of the merge tags.
        public_url: where this server's pages are.
    """
    owner = connection.execute(select(account.c.number, account.c.secret_key).where(account.c.id == account_id)).one()
    names = fields_of(connection, account_id)
    return TextWriter(
        vocabulary=vocabulary,
        field_names={name.strip().casefold(): number for number, name in names.items()},
        field_defaults=default_values_of(connection, account_id),
        built_in={
            "email": read_email,
            "prefix": read_prefix,
            "number": read_number,
            "recipient": read_recipient,
            "hash": RecipientHash(owner.secret_key),
            "host": urlsplit(public_url).netloc,
        },
        signer=LinkSigner(owner.secret_key, owner.number, public_url),
        secret_key=owner.secret_key,
    )


def write_text(text: str, *, unicode: bool) -> WrittenText:
    """Return a text as it goes out.

    Unicode is used where it is allowed and needed: a text in the GSM alphabet takes fewer parts in that.

    Args:
        text: filled in.
        unicode: whether it may go out as Unicode; what the GSM alphabet has nothing near for becomes `?` otherwise.

    Raises:
        InvalidMessage: it is empty or too long.
    """
    if not text.strip():
        raise InvalidMessage("A text message has a text.")
    needs_unicode = unicode and to_gsm(text) != text
    return WrittenText(tuple(split(text if needs_unicode else to_gsm(text), needs_unicode)), needs_unicode)


def check_text(text: str, *, unicode: bool, has_tags: bool = False) -> str:
    """Return a text that a caller wants to send, as it is.

    Args:
        text: as it was written.
        unicode: whether it may go out as Unicode.
        has_tags: its length is known for each recipient only.

    Raises:
        InvalidMessage: it is empty, too long, or has characters that need Unicode.
    """
    if not unicode and not all(map(is_near, text)):
        to_gsm(text, replacement=None)
    if not has_tags or not text.strip():
        write_text(text, unicode=unicode)
    return text
