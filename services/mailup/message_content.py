"""What newsletters are made of, as callers say it: a type with a content, and options (specification §1.3.1).

Which keys the options for tracking have is our choice (§8, no. 39).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from delivery.errors import InvalidMessage
from delivery.html_sources import decode_page, fetch_page
from delivery.messages import MessageSettings, check_notes
from delivery.outgoing_http import OutgoingClient
from services.mailup.keyed_operations import option_pairs
from services.mailup.keyed_results import INVALID_OPTION, INVALID_PARAMETER, NOT_ALLOWED_NOW, Failure
from services.resources import Resources
from services.throttle import NoPlace

Fetched = TypeVar("Fetched")

EXISTING = "ID"
"""The type whose content is the number of a message."""
MAX_QUERY = 1_000
MAX_OTHERS = 50
MAX_OTHER = 1_000
"""Characters of an option that is only kept."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]*+={0,2}", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_SWITCHES = {"dyn_fld": "merge_fields", "emb_img": "embed_images", "link_track": "track_links"}
_SCHEMES = ("http", "https", "mailto", "ftp", "news")
_SCHEME_KEY = "link_track_"
# Options of sendings, which go with those of messages in some operations, and hold people's addresses and data.
_OF_SENDINGS = re.compile(
    r"from_email|from_name|clear_stats|send_to|recipients|exclude|filters|filters_as|deliverydt|campo[0-9]+"
)
_NOT_IN_QUERY = re.compile(r"[\s\x00-\x1f\x7f\"<>#]")


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of a message."""

    html: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What a caller wants of a message beside its content."""

    notes: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values by setting, without those that were not named."""
    schemes: Mapping[str, bool] = field(default_factory=dict)
    """Whether links of a scheme are tracked, where it was said."""
    other: Mapping[str, str] = field(default_factory=dict)

    def apply(self, settings: MessageSettings) -> MessageSettings:
        """Return settings as they are with these options."""
        tracked = {scheme: scheme in settings.tracked_schemes for scheme in _SCHEMES} | dict(self.schemes)
        other = dict(settings.other) | dict(self.other)
        return replace(
            settings,
            **self.changes,
            tracked_schemes=tuple(scheme for scheme in _SCHEMES if tracked[scheme]),
            other=dict(list(other.items())[-MAX_OTHERS:]),
        )


def read_content_type(given: str | None) -> str:
    """Return the type of a content in capitals; without one it is HTML.

    Raises:
        Failure: there is no such type.
    """
    name = (given or "").strip().upper() or "HTML"
    if name not in ("HTML", "TEXT", "URL", "FILE", EXISTING):
        raise Failure(INVALID_PARAMETER, "The type is HTML, TEXT, URL, FILE or ID.")
    return name


def read_content(resources: Resources, given_type: str | None, content: str | None) -> Content:
    """Return the parts of a message; what lies elsewhere is fetched, so no transaction may be open.

    Args:
        resources: of the call.
        given_type: HTML, or TEXT, which is the same; URL of a page; FILE, whose bytes are in base64.
        content: of this type.

    Raises:
        Failure: there is none, or not in this type.
        InvalidMessage: the page cannot be fetched, or what is in page or file is no text.
    """
    name, content = read_content_type(given_type), content or ""
    if not content.strip():
        raise Failure(INVALID_PARAMETER, "There is no content.")
    if name == EXISTING:
        raise Failure(INVALID_PARAMETER, "A message cannot be made of another one's ID.")
    if name == "URL":
        return _fetch(resources, content)
    return Content(html=decode_page(_decode_file(content)) if name == "FILE" else content)


def fetch(resources: Resources, work: Callable[[OutgoingClient], Fetched]) -> Fetched:
    """Do work that waits for other servers; see `Resources.fetch`.

    Raises:
        Failure: too many others wait.
    """
    try:
        return resources.fetch(work)
    except NoPlace:
        raise Failure(NOT_ALLOWED_NOW, "Too many calls fetch pages or images; call again.") from None


def read_message_options(options: Iterable[Any] | None) -> MessageOptions:
    """Return what options say of a message; those of sendings are left out, and unknown ones are kept.

    Raises:
        Failure: an option cannot have its value.
    """
    given = {key.lower(): (key, value) for key, value in option_pairs(options)}
    notes: str | None = None
    changes: dict[str, Any] = {}
    schemes: dict[str, bool] = {}
    other: dict[str, str] = {}
    for name, (key, value) in given.items():
        if name == "note":
            notes = _read_notes(key, value)
        elif name in _SWITCHES:
            changes[_SWITCHES[name]] = read_flag(key, value)
        elif name.removeprefix(_SCHEME_KEY) in _SCHEMES and name.startswith(_SCHEME_KEY):
            schemes[name.removeprefix(_SCHEME_KEY)] = read_flag(key, value)
        elif name == "querystring":
            changes["link_parameters"] = _read_query(key, value)
        elif not _OF_SENDINGS.fullmatch(name):
            other[key[:MAX_OTHER]] = value[:MAX_OTHER].replace("\0", "")
    return MessageOptions(notes, changes, schemes, other)


def read_flag(key: str, value: str) -> bool:
    """Return the value of an option that is true or false; empty is false.

    Raises:
        Failure: it is something else.
    """
    try:
        return _FLAGS[value.strip().lower() or "0"]
    except KeyError:
        raise Failure(INVALID_OPTION, f"{key}: It is true or false.") from None


def _fetch(resources: Resources, url: str) -> Content:
    page = fetch(resources, partial(fetch_page, url=url))
    return Content(html=page.text) if page.is_html else Content(text=page.text)


def _decode_file(content: str) -> bytes:
    packed = "".join(content.split())
    if not _BASE64.fullmatch(packed):
        raise Failure(INVALID_PARAMETER, "The content of a file is in base64.")
    # Some programs leave the padding out.
    digits = packed.rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4))
    except binascii.Error:
        raise Failure(INVALID_PARAMETER, "The content of a file is in base64.") from None


def _read_notes(key: str, value: str) -> str:
    try:
        return check_notes(value)
    except InvalidMessage as error:
        raise Failure(INVALID_OPTION, f"{key}: {error}") from None


def _read_query(key: str, value: str) -> str:
    query = value.strip().lstrip("?&")
    if len(query) > MAX_QUERY or _NOT_IN_QUERY.search(query):
        raise Failure(INVALID_OPTION, f"{key}: It is a query string of at most {MAX_QUERY} characters.")
    return query
