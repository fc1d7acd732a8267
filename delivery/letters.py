"""Mails of which each is written for itself: those that a list sends by itself, and notices to staff.

Sendings to many people are compiled instead, see `delivery.compiling`.
"""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from audience.list_settings import ListSettings
from delivery.colors import text_color_on
from delivery.dkim import DkimSigner
from delivery.headers import encode_address, encode_text, write_address
from delivery.quoted_printable import encode_piece

AUTOMATIC = b"Auto-Submitted: auto-generated\r\n"
"""Says that a program has written a mail (RFC 3834 section 5), so that no other program answers."""
_HEAD = b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One mail to one person."""

    sender: str
    """Address."""
    sender_name: str = ""
    reply_to: str = ""
    recipient: str
    """Address."""
    subject: str
    text: str
    html: str = ""
    """Empty: the text alone."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones, in ASCII, of one line."""


def write_letter(letter: Letter, host: str, dkim: DkimSigner | None = None) -> bytes:
    """Return a mail as it goes to a mail server, its lines ending with CRLF.

    Args:
        letter: what it says; what would end a line in a header becomes a blank.
        host: of the Message-ID.
        dkim: signs it.

    Raises:
        InvalidMessage: an address cannot be written.
    """
    fields = {
        "From": write_address(letter.sender_name, encode_address(letter.sender)),
        "To": write_address("", encode_address(letter.recipient)),
        **({"Reply-To": write_address("", encode_address(letter.reply_to))} if letter.reply_to else {}),
        "Subject": encode_text(letter.subject),
        "Date": format_datetime(datetime.now(UTC)).encode(),
        "Message-ID": f"<{uuid.uuid4()}@{host}>".encode(),
        **{name: value.encode() for name, value in letter.headers.items()},
        "MIME-Version": b"1.0",
    }
    lines = [b"%s: %s\r\n" % (name.encode(), value) for name, value in fields.items()]
    kind, body = _write_content(letter)
    head = b"".join((AUTOMATIC, *lines, kind))
    return b"".join((dkim.sign(head, body) if dkim is not None else b"", head, b"\r\n", body))


def _write_content(letter: Letter) -> tuple[bytes, bytes]:
    """Return the header fields about the content, and the content."""
    text = _HEAD % b"plain", encode_piece(letter.text.encode())
    if not letter.html:
        return text
    boundary = uuid.uuid4().hex.encode()
    parts = (text, (_HEAD % b"html", encode_piece(letter.html.encode())))
    body = b"".join(b"--%s\r\n%s\r\n%s\r\n" % (boundary, head, content) for head, content in parts)
    return b'Content-Type: multipart/alternative; boundary="%s"\r\n' % boundary, body + b"--%s--\r\n" % boundary


def write_html(
    settings: ListSettings,
    language: str,
    title: str,
    paragraphs: Sequence[str],
    names: Sequence[str] = (),
    link: tuple[str, str] | None = None,
    end: str = "",
) -> str:
    """Return the HTML of a mail in the colours of a list; all that is given is plain text.

    Args:
        settings: of the list.
        language: of the texts.
        title: its heading, in the list's colour.
        paragraphs: its text: the first one before the names, the others after them.
        names: of lists.
        link: address and words of its button.
        end: stands in small type at the end.
    """
    color = settings.color if _COLOR.fullmatch(settings.color) else ListSettings().color
    first, *others = [f"<p>{html.escape(text)}</p>" for text in paragraphs]
    items = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    button = _write_button(*link, color) if link else ""
    small = f'<p style="font-size:14px;color:#595959">{html.escape(end)}</p>' if end else ""
    return (
        f'<!doctype html>\n<html lang="{html.escape(language)}"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title></head>\n"
        '<body style="margin:0;background:#ffffff;color:#1a1a1a;font:16px/1.5 sans-serif">\n'
        f'<div style="padding:16px;background:{color};color:{text_color_on(color)};font-weight:bold">'
        f"{html.escape(title)}</div>\n"
        f'<div style="padding:16px">{first}\n<ul>{items}</ul>\n{"".join(others)}\n{button}\n{small}</div>\n'
        "</body></html>\n"
    )


def _write_button(url: str, words: str, color: str) -> str:
    style = f"display:inline-block;padding:12px 24px;background:{color};color:{text_color_on(color)}"
    return f'<p><a href="{html.escape(url)}" style="{style};font-weight:bold">{html.escape(words)}</a></p>'
