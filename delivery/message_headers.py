"""The head of a mail: from whom and to whom, about what, and how to get no more of them (RFC 5322, 2369, 8058)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import format_datetime

from delivery.headers import clean, encode_address, encode_name, encode_text, write_address
from delivery.layouts import Encode, Gap, Piece
from delivery.merge_tags import TagReader, Text, join_pieces
from delivery.message_context import MessageContext, sender_of
from delivery.sources import (
    Composite,
    FieldValue,
    Occasion,
    Quoted,
    Source,
    UnsubscribeLink,
    UnsubscribeMail,
    read_address,
)

_FIELD = re.compile(r"\bfield:([0-9]{1,9})\b")
_FIELDS_ONLY = re.compile(r"\s*field:[0-9]{1,9}\s*(?:[,;]\s*field:[0-9]{1,9}\s*)+")
_ELEMENT = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class MessageId:
    """A name for each mail that no other has, and that is the same when it has to be sent once more."""

    end: str
    """What all mails of a sending have in common."""

    def __call__(self, occasion: Occasion) -> str:
        """Return the name without brackets (RFC 5322 section 3.6.4)."""
        person = occasion.person
        return f"{person.delivery_id}.{person.recipient_id}.{self.end}"


def _name_mails(context: MessageContext) -> MessageId:
    # Ids may come again after housekeeping, or in another database; the same time does not.
    seed = f"{context.sending_id} {context.issued_at.isoformat()}".encode()
    digest = hashlib.blake2b(seed, digest_size=10, key=context.secret_key.encode(), person=b"message id")
    return MessageId(f"{context.sending_id}.{digest.hexdigest()}@{context.host}")


def write_head(subject: str, context: MessageContext, tags: TagReader) -> list[Piece]:
    """Return all header fields but those about the content; each ends with CRLF.

    Raises:
        InvalidMessage: there is no sender, or an address is not well-formed.
    """
    message_id = _name_mails(context)
    sender = sender_of(context)
    head: list[Piece] = [b"Message-ID: <", Gap(message_id, str.encode), b">\r\n"]
    head.append(f"Date: {format_datetime(context.issued_at)}\r\n".encode())
    head += (b"From: ", write_address(sender.name, encode_address(sender.email)), b"\r\n")
    head += (b"To: ", *_write_recipient_name(context), b"<", Gap(read_address, str.encode), b">\r\n")
    if sender.reply_to:
        head += (b"Reply-To: ", encode_address(sender.reply_to).encode(), b"\r\n")
    head += (b"Subject: ", _fill(tags.split(clean(subject)), encode_text), b"\r\n", b"MIME-Version: 1.0\r\n")
    if context.list_settings.abuse_header:
        head += (b"X-Abuse: ", encode_text(context.list_settings.abuse_header), b"\r\n")
    return head + (_write_bulk(context, tags) if context.bulk else [])


def _fill(text: Text, encode: Encode) -> Piece:
    """Return a line of text, already encoded when it is the same for all recipients."""
    if all(isinstance(piece, str) for piece in text):
        return encode("".join(map(str, text)))
    return Gap(join_pieces(text), encode)


def _write_recipient_name(context: MessageContext) -> Iterable[Piece]:
    form = context.list_settings.to_name
    if not form:
        return ()
    if _FIELDS_ONLY.fullmatch(form):
        form = " ".join(found[0] for found in _FIELD.finditer(form))
    pieces = _FIELD.split(form)
    text: list[str | Source] = [
        FieldValue(piece, context.field_defaults.get(int(piece), "")) if place % 2 else piece
        for place, piece in enumerate(pieces)
    ]
    return (_fill([piece for piece in text if piece != ""], _encode_name_before),)


def _encode_name_before(name: str) -> bytes:
    encoded = encode_name(" ".join(name.split()))
    return encoded + b"\r\n " if encoded else b""


def _write_bulk(context: MessageContext, tags: TagReader) -> list[Piece]:
    list_id = f"l{context.list_id}.a{context.account_number}.{context.host}"
    feedback = f"{context.sending_id}:{context.list_id}:{context.account_number}:{context.host}"
    name = encode_name(context.list_name)
    head = _write_unsubscribe(context, tags)
    head += (b"List-ID: ", name + b"\r\n " if name else b"", f"<{list_id}>\r\n".encode())
    head.append(f"Feedback-ID: {feedback}\r\nPrecedence: bulk\r\n".encode())
    return head


def _write_unsubscribe(context: MessageContext, tags: TagReader) -> list[Piece]:
    page = UnsubscribeLink(context.list_id, context.issued_at)
    mail = None
    if context.bounce_domain:
        numbers = (context.account_number, context.sending_id, context.list_id)
        mail = Composite(("mailto:", UnsubscribeMail(context.secret_key, *numbers, context.bounce_domain)))
    targets = _read_targets(context, tags, page, mail) or [(page,), *([(mail,)] if mail else [])]
    head: list[Piece] = [b"List-Unsubscribe:"]
    for place, target in enumerate(targets):
        head += (b",\r\n <" if place else b" <", _fill(list(target), _encode_url), b">")
    head.append(b"\r\n")
    # Only of our own page is it certain that a form posted to it unsubscribes (RFC 8058 section 3.1).
    if any(page in target for target in targets):
        head.append(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")
    return head


def _encode_url(url: str) -> bytes:
    return clean(url).replace(" ", "%20").encode()


def _read_targets(
    context: MessageContext, tags: TagReader, page: Source, mail: Source | None
) -> list[tuple[str | Source, ...]]:
    """Return the addresses that the list's own setting names; empty when there are none left."""
    vocabulary = context.vocabulary
    targets: list[tuple[str | Source, ...]] = []
    for element in _ELEMENT.findall(clean(context.list_settings.unsubscribe_header)):
        name = element.strip().lower().removeprefix("mailto:").removesuffix("/").removeprefix("http://")
        if name == f"[{vocabulary.unsubscribe_url}]":
            targets.append((page,))
        elif name == f"[{vocabulary.unsubscribe_mail}]":
            targets += [(mail,)] if mail else []
        elif element.lower().startswith(("http://", "https://", "mailto:")):
            targets.append(tuple(_quote_values(tags.split(element.strip()))))
    return targets


def _quote_values(text: Text) -> Text:
    return [piece if isinstance(piece, str) else Quoted(piece) for piece in text]
