"""Makes a message ready for sending once, so that each recipient's mail is a matter of filling gaps between bytes."""

from __future__ import annotations

import base64
import hashlib
import html as markup_language
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from audience.charsets import find_charset
from delivery.errors import InvalidMessage
from delivery.headers import encode_address
from delivery.html_scanner import escape_bare, escape_text, read_value, scan
from delivery.layouts import Form, Layout
from delivery.merge_tags import TagReader, Text
from delivery.message_context import MessageContent, MessageContext, sender_of
from delivery.message_headers import write_head
from delivery.message_links import LinkReader, Places
from delivery.messages import MessageFile
from delivery.mime import Entity, Escape, Markup, Slot, file_entity, leave, multipart, text_entity
from delivery.parcels import Parcel
from delivery.return_paths import write_return_path
from delivery.sources import (
    ConfirmLink,
    Occasion,
    Person,
    RecipientHash,
    UnsubscribeLink,
    is_own_address,
    read_email,
    read_number,
    read_open_url,
    read_prefix,
    read_recipient,
)
from delivery.text_parts import make_text
from delivery.tracking_links import LinkSigner
from delivery.vocabulary import TagNames

__all__ = ["CompiledMessage", "MessageContent", "MessageContext", "Person", "compile_message"]

MAX_VARIANTS = 16
"""Of the names of values that rows of a sending bring; those of one file are all the same."""
_END = re.compile(r"</body", re.IGNORECASE)
_HAS_MARKUP = re.compile(r"<[a-zA-Z/!]")
_ASCII = bytes(range(128))
_ESCAPES: Mapping[str, Escape] = {
    "text": escape_text,
    "value": escape_text,
    "style": escape_text,
    "tag": escape_bare,
}
_CSS_URL = re.compile(r"(url\()([^()]{1,2000})(?=\))", re.IGNORECASE)
_CSS_QUOTES = re.compile(r"^(?:[\"']|&quot;|&apos;|&#3[49];)|(?:[\"']|&quot;|&apos;|&#3[49];)$")


def compile_message(content: MessageContent, context: MessageContext) -> CompiledMessage:
    """Prepare a message for all recipients of a sending.

    Args:
        content: as it was written.
        context: what the sending brings.

    Raises:
        InvalidMessage: it can never be sent: it has no content, or no sender with a well-formed address.
    """
    if not content.html.strip() and not content.text.strip():
        raise InvalidMessage("The message has no content.")
    return CompiledMessage(content, context)


class _Variant(NamedTuple):
    """A message for all recipients whose rows have values of the same names."""

    form: Form
    head: Layout
    body: Layout


class CompiledMessage:
    """A message that is ready for each recipient; threads may share it."""

    def __init__(self, content: MessageContent, context: MessageContext) -> None:
        """Compile; see `compile_message`."""
        self._content, self._context = content, context
        self._places = Places()
        self._signer = LinkSigner(context.secret_key, context.account_number, context.public_url)
        self._signs = context.dkim
        bounce_email = context.list_settings.bounce_email or sender_of(context).email
        self._return_path = "" if context.bounce_domain else encode_address(bounce_email)
        self._charset = _choose_charset(context.list_settings.charset)
        self._variants: dict[tuple[frozenset[str], str], _Variant] = {}
        self._pages: dict[frozenset[str], tuple[Markup, Markup]] = {}
        self._usual = self._find_variant(frozenset())

    @property
    def links(self) -> tuple[str, ...]:
        """The tracked links, as the message has them, in the order of `sending_link.place`, from 0."""
        return tuple(self._places.urls)

    def render(self, person: Person) -> Parcel:
        """Return one recipient's mail; the same person gets the same bytes each time.

        Raises:
            InvalidMessage: the recipient's address cannot stand in a mail.
        """
        recipient = encode_address(person.email)
        variant = self._find_variant(frozenset(person.values)) if person.values else self._usual
        occasion = self._begin(person, recipient)
        try:
            values = variant.form.fill_in(occasion)
        except UnicodeEncodeError:
            variant = self._find_variant(frozenset(person.values or ()), "utf-8")
            values = variant.form.fill_in(occasion)
        head, body = variant.head.fill(values), variant.body.fill(values)
        signature = self._signs.sign(head, body) if self._signs is not None else b""
        content = b"".join((signature, head, b"\r\n", body))
        return Parcel(self._find_return_path(person), recipient, content)

    def render_html(self, person: Person) -> str:
        """Return the HTML as a page: images are in it, and nobody is told that it was opened. Empty without HTML."""
        return self._show(person, 0)

    def render_text(self, person: Person) -> str:
        """Return the text part."""
        return self._show(person, 1)

    def _show(self, person: Person, part: int) -> str:
        names = frozenset(person.values or ())
        if names not in self._pages:
            _make_room(self._pages)
            self._pages[names] = self._write_pages(names)
        occasion = self._begin(person, person.email)
        pieces = self._pages[names][part]
        return "".join(piece if isinstance(piece, str) else piece.escape(piece.source(occasion)) for piece in pieces)

    def _begin(self, person: Person, address: str) -> Occasion:
        links = self._signer.of_recipient(self._context.sending_id, person.recipient_id, person.email)
        return Occasion(person, links, address)

    def _find_return_path(self, person: Person) -> str:
        context = self._context
        if not context.bounce_domain:
            return self._return_path
        numbers = (context.account_number, context.sending_id, person.recipient_id)
        return write_return_path(context.secret_key, *numbers, context.bounce_domain)

    def _find_variant(self, names: frozenset[str], charset: str = "") -> _Variant:
        key = (names, charset)
        if key not in self._variants:
            _make_room(self._variants)
            self._variants[key] = self._compile(names, charset or self._charset)
        return self._variants[key]

    def _compile(self, names: frozenset[str], charset: str) -> _Variant:
        try:
            return self._compile_in(names, charset)
        except UnicodeEncodeError:
            return self._compile_in(names, "utf-8")

    def _compile_in(self, names: frozenset[str], charset: str) -> _Variant:
        form = Form()
        links = self._read_links(names)
        entity = _Writer(self._content, self._context, links).write(charset)
        head = write_head(self._content.subject, self._context, links.tags)
        return _Variant(form, Layout([*head, entity.headers], form), Layout(entity.body, form))

    def _write_pages(self, names: frozenset[str]) -> tuple[Markup, Markup]:
        writer = _Writer(self._content, self._context, self._read_links(names))
        images = {image.name: _write_data_url(image) for image in writer.images}
        return writer.write_html(images, opens=False), writer.write_text()

    def _read_links(self, names: frozenset[str]) -> LinkReader:
        context = self._context
        tags = _read_tags(context, names, replaces_tags=self._content.settings.merge_fields)
        has_sending = context.sending_id > 0
        return LinkReader(
            tags, self._content.settings, self._places, has_sending, tracks=has_sending and context.tracks_clicks
        )


def _make_room(cache: dict[Any, Any]) -> None:
    if len(cache) >= MAX_VARIANTS:
        cache.clear()


def _choose_charset(name: str) -> str:
    """Return the list's charset if it can stand in a mail's text: its lower half is ASCII; else UTF-8."""
    try:
        is_usable = find_charset(name) is not None and _ASCII.decode("ascii").encode(name) == _ASCII
    except UnicodeError:
        is_usable = False
    return name if is_usable else "utf-8"


def _read_tags(context: MessageContext, names: frozenset[str], *, replaces_tags: bool) -> TagReader:
    return TagReader(
        names=TagNames(
            context.vocabulary,
            {name.strip().casefold(): number for number, name in context.field_names.items()},
            {name.strip().casefold(): name for name in names},
        ),
        built_in={
            "email": read_email,
            "prefix": read_prefix,
            "number": read_number,
            "recipient": read_recipient,
            "hash": RecipientHash(context.secret_key),
            "host": urlsplit(context.public_url).netloc,
        },
        links={
            "unsubscribe": UnsubscribeLink(context.list_id, context.issued_at),
            "confirm": ConfirmLink(
                context.secret_key, context.account_number, context.list_id, context.issued_at, context.public_url
            ),
        },
        defaults=context.field_defaults,
        replaces_tags=replaces_tags,
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the parts of a mail."""

    content: MessageContent
    context: MessageContext
    links: LinkReader

    @property
    def images(self) -> list[MessageFile]:
        return [file for file in self.content.files if file.kind == "image"]

    def write(self, charset: str) -> Entity:
        """Return the content as one entity."""
        seed = hashlib.blake2b(repr((self.content, self.context.sending_id)).encode(), digest_size=12).hexdigest()
        parts = [text_entity("plain", self.write_text(), charset)]
        if self.is_html:
            ids = {image.name: f"{place}.{seed}@{self.context.host}" for place, image in enumerate(self.images)}
            addresses = {name: f"cid:{content_id}" for name, content_id in ids.items()}
            parts.append(text_entity("html", self.write_html(addresses, opens=True), charset))
            shown = [file_entity(image, ids[image.name]) for image in self.images]
            both = multipart("alternative", parts, f"=_a{seed}")
            parts = [multipart("related", [both, *shown], f"=_r{seed}")]
        attached = [file_entity(file) for file in self.content.files if file.kind == "attachment"]
        whole = multipart("mixed", [*parts, *attached], f"=_m{seed}")
        # A mail ends with a line break, which a part by itself need not have.
        return whole if self.is_html or attached else whole._replace(body=[*whole.body, b"\r\n"])

    @property
    def is_html(self) -> bool:
        return bool(self.content.html.strip()) and self.context.list_settings.format == "html"

    def write_html(self, images: Mapping[str, str], *, opens: bool) -> Markup:
        """Return the HTML.

        Args:
            images: addresses of the message's images by how the HTML names them.
            opens: whether it tells that it was opened.
        """
        if not self.content.html.strip():
            return []
        settings, html = self.context.list_settings, self.content.html
        *_, end = (len(html), *(found.start() for found in _END.finditer(html)))
        addition = _write_disclaimer(settings.disclaimer) + settings.conversion_code
        markup = [*self._read_html(html[:end] + addition, images)]
        if opens and settings.track_opens and self.links.has_sending:
            pixel = Slot(read_open_url, leave)
            markup += ('<img src="', pixel, '" width="1" height="1" alt="">')
        return markup + self._read_html(html[end:], images)

    def _read_html(self, html: str, images: Mapping[str, str]) -> Markup:
        markup: Markup = []
        for place, text in scan(html):
            if place in ("style", "sheet"):
                text = _show_images(text, images)
            if place in _ESCAPES:
                markup += _escape(self.links.tags.split(text), _ESCAPES[place], is_markup=True)
            elif place == "link":
                markup += self._replace(text, self.links.read(read_value(text)))
            elif place in ("sheet", "script"):
                markup.append(text)
            else:
                markup += self._replace(text, self._read_source(text.strip(), images))
        return markup

    def _read_source(self, text: str, images: Mapping[str, str]) -> Text | None:
        image = _find_image(text, images)
        if image is not None:
            return [image]
        url = read_value(text)
        pieces = self.links.tags.split_address(url)
        return None if pieces in ([url], []) else pieces

    def _replace(self, text: str, replaced: Text | None) -> Markup:
        return [text] if replaced is None else _escape(replaced, escape_text, is_markup=False)

    def write_text(self) -> Markup:
        """Return the text part: the message's own, or one made from the HTML."""
        text = self.content.text if self.content.text.strip() else make_text(self.content.html)
        disclaimer = self.context.list_settings.disclaimer
        if disclaimer:
            text = f"{text.rstrip()}\n\n{make_text(_write_disclaimer(disclaimer))}\n"
        return _escape(self.links.split_text(text), str, is_markup=True)


def _escape(text: Text, escape: Escape, *, is_markup: bool) -> Markup:
    """Turn sources into slots; text is escaped unless it is markup already."""
    fixed = str if is_markup else escape
    return [
        fixed(piece) if isinstance(piece, str) else Slot(piece, leave if is_own_address(piece) else escape)
        for piece in text
    ]


def _find_image(text: str, images: Mapping[str, str]) -> str | None:
    # A file may have its name from an address, or from how that is written.
    return images.get(read_value(text)) or images.get(text)


def _show_images(css: str, images: Mapping[str, str]) -> str:
    """Return CSS with the addresses of images in it; as it stands in the HTML, where quotes may be references."""

    def replace(found: re.Match[str]) -> str:
        name = _CSS_QUOTES.sub("", found[2].strip())
        address = _find_image(name, images)
        return f"{found[1]}{address}" if address is not None else found[0]

    return _CSS_URL.sub(replace, css) if images else css


def _write_disclaimer(disclaimer: str) -> str:
    if not disclaimer or _HAS_MARKUP.search(disclaimer):
        return disclaimer
    escaped = markup_language.escape(disclaimer).replace("\n", "<br>")
    return f"<p>{escaped}</p>"


def _write_data_url(image: MessageFile) -> str:
    return f"data:{image.content_type};base64,{base64.b64encode(image.content).decode()}"
