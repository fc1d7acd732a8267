"""Messages compiled and rendered for a person, and read again as a mail program does, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from audience.list_settings import ListSettings
from delivery.compiling import CompiledMessage, compile_message
from delivery.message_context import MessageContent, MessageContext
from delivery.messages import MessageFile, MessageSettings
from delivery.sendings import Sender
from delivery.sources import Person
from services.mailup.merge_tags import VOCABULARY

SECRET = "5ec7e7" * 10 + "abcd"
ISSUED = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADA = Person(5, 77, "ada@example.org", "+393331234567", {"1": "Ada", "2": "Lovelace", "7": "https://example.net/a?b=1"})
SETTINGS = ListSettings(sender_email="shop@example.com", sender_name="Shop", track_opens=False)
CONTEXT = MessageContext(
    account_id=1,
    account_number=7,
    secret_key=SECRET,
    list_id=3,
    list_name="News",
    list_settings=SETTINGS,
    field_names={1: "nome", 2: "Cognome", 7: "Pagina personale", 9: "città"},
    field_defaults={1: "friend", 9: "Roma & Ostia"},
    sending_id=12,
    sender=Sender(),
    public_url="https://mail.example.com",
    bounce_domain="bounce.example.com",
    host="mail.example.com",
    vocabulary=VOCABULARY,
    bulk=True,
    issued_at=ISSUED,
)


@dataclass(frozen=True)
class Rendered:
    """One person's mail, and how it reads."""

    compiled: CompiledMessage
    raw: bytes = field(repr=False)
    return_path: str
    recipient: str

    @property
    def mail(self) -> EmailMessage:
        mail = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        return mail

    @property
    def html(self) -> str:
        return self._read("html")

    @property
    def text(self) -> str:
        return self._read("plain")

    def _read(self, subtype: str) -> str:
        part = self.mail.get_body((subtype,))
        assert part is not None
        content = part.get_content()
        assert isinstance(content, str)
        # The line break before a boundary belongs to that.
        return content.replace("\r\n", "\n").removesuffix("\n")

    def __getitem__(self, name: str) -> str:
        return str(self.mail[name])


def render(
    html: str = "",
    person: Person = ADA,
    *,
    text: str = "",
    subject: str = "News",
    files: tuple[MessageFile, ...] = (),
    settings: MessageSettings | None = None,
    listed: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Rendered:
    """Compile a message and render it.

    Args:
        html: of the message.
        person: whom it is for.
        text: of the message.
        subject: of the message.
        files: of the message.
        settings: of the message.
        listed: settings of the list, beside those of `SETTINGS`.
        changes: to `CONTEXT`.
    """
    context = make_context(listed, **changes)
    content = MessageContent(subject=subject, html=html, text=text, files=files, settings=settings or MessageSettings())
    compiled = compile_message(content, context)
    parcel = compiled.render(person)
    check_lines(parcel.content)
    return Rendered(compiled, parcel.content, parcel.return_path, parcel.recipient)


def make_context(listed: Mapping[str, Any] | None = None, **changes: Any) -> MessageContext:
    """Return `CONTEXT` with changes."""
    values = {name: getattr(CONTEXT, name) for name in CONTEXT.__dataclass_fields__}
    own = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    return MessageContext(**values | {"list_settings": ListSettings(**own | dict(listed or {}))} | changes)


def check_lines(raw: bytes) -> None:
    """Check what every server relies on: CRLF and nothing like it, no NUL, no line over 998 octets (RFC 5322)."""
    assert b"\0" not in raw
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert raw.endswith(b"\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert max(map(len, body.split(b"\r\n"))) <= 78
