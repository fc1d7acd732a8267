"""What stands in a message where it has a merge tag or a link of the recipient's own.

A source is made when a message is compiled and called for each recipient. Equal ones are one: each is asked once.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import phonenumbers

from delivery.links import write_token
from delivery.outbox import LINK_PATHS
from delivery.return_paths import write_unsubscribe_address
from delivery.tracking_links import RecipientLinks


class Person(NamedTuple):
    """One recipient of a message, with what it is filled with."""

    delivery_id: int
    recipient_id: int
    email: str
    """Normalised: the domain in Unicode."""
    mobile: str | None
    """E.164."""
    fields: Mapping[str, str]
    """Personal data by field number as text, as in `recipient.fields`."""
    values: Mapping[str, str] | None = None
    """What is filled in besides, by name; comes before everything else of that name."""


class Occasion(NamedTuple):
    """A person, and the links of the mail that he is about to get."""

    person: Person
    links: RecipientLinks
    address: str
    """His own, its domain in ASCII."""


Source = Callable[[Occasion], str]


def read_email(occasion: Occasion) -> str:
    """Return the recipient's address."""
    return occasion.person.email


def read_address(occasion: Occasion) -> str:
    """Return the recipient's address as servers take it."""
    return occasion.address


def read_recipient(occasion: Occasion) -> str:
    """Return the recipient's internal id."""
    return str(occasion.person.recipient_id)


def read_prefix(occasion: Occasion) -> str:
    """Return the international prefix of the mobile number, such as `+39`."""
    return _split_mobile(occasion.person.mobile)[0]


def read_number(occasion: Occasion) -> str:
    """Return the mobile number without its international prefix."""
    return _split_mobile(occasion.person.mobile)[1]


def read_open_url(occasion: Occasion) -> str:
    """Return the address of the image that tells that a mail was opened."""
    return occasion.links.open_url()


def read_web_version_url(occasion: Occasion) -> str:
    """Return the address of the mail as a web page."""
    return occasion.links.web_version_url()


def _split_mobile(mobile: str | None) -> tuple[str, str]:
    if not mobile:
        return "", ""
    try:
        prefix = f"+{phonenumbers.parse(mobile).country_code}"
    except phonenumbers.NumberParseException:
        return "", mobile
    return prefix, mobile.removeprefix(prefix)


@dataclass(frozen=True, slots=True)
class FieldValue:
    """Personal data."""

    number: str
    default: str
    """For recipients who have nothing there."""

    def __call__(self, occasion: Occasion) -> str:
        """Return the recipient's own value or the default."""
        return occasion.person.fields.get(self.number) or self.default


@dataclass(frozen=True, slots=True)
class RowValue:
    """A value that the recipient's row of the queue brings."""

    key: str
    otherwise: Source | None = None
    """What stands there when the row has nothing: the personal data of that name."""

    def __call__(self, occasion: Occasion) -> str:
        """Return the value; empty where there is none."""
        value = (occasion.person.values or {}).get(self.key)
        return value or (self.otherwise(occasion) if self.otherwise is not None else "")


@dataclass(frozen=True, slots=True)
class RecipientHash:
    """A GUID that is always the same for a recipient, and tells nothing about him."""

    secret_key: str = field(repr=False)

    def __call__(self, occasion: Occasion) -> str:
        """Return the GUID."""
        message = b"listbridge recipient 1\0%d" % occasion.person.recipient_id
        digest = hmac.digest(self.secret_key.encode(), message, "sha256")
        return str(uuid.UUID(bytes=digest[:16], version=4))


@dataclass(frozen=True, slots=True)
class UnsubscribeLink:
    """Where to unsubscribe."""

    list_id: int
    issued_at: datetime

    def __call__(self, occasion: Occasion) -> str:
        """Return the address of the page."""
        return occasion.links.unsubscribe_url((self.list_id,), self.issued_at)


@dataclass(frozen=True, slots=True)
class UnsubscribeMail:
    """Where to send a mail to unsubscribe."""

    secret_key: str = field(repr=False)
    account_number: int
    sending_id: int
    list_id: int
    domain: str

    def __call__(self, occasion: Occasion) -> str:
        """Return the e-mail address."""
        recipient_id = occasion.person.recipient_id
        return write_unsubscribe_address(
            self.secret_key, self.account_number, self.sending_id, recipient_id, self.list_id, self.domain
        )


@dataclass(frozen=True, slots=True)
class ConfirmLink:
    """Where to confirm a subscription."""

    secret_key: str = field(repr=False)
    account_number: int
    list_id: int
    issued_at: datetime
    public_url: str

    def __call__(self, occasion: Occasion) -> str:
        """Return the address of the page, for this list alone."""
        token = write_token(
            self.secret_key,
            "confirm",
            account_number=self.account_number,
            recipient_id=occasion.person.recipient_id,
            email=occasion.person.email,
            list_ids=(self.list_id,),
            issued_at=self.issued_at,
        )
        return f"{self.public_url}{LINK_PATHS['confirm']}{token}"


@dataclass(frozen=True, slots=True)
class ClickLink:
    """A link by way of this server, which counts the click."""

    place: int
    target: Source | None
    """None where it leads all to the same address, which is stored."""

    def __call__(self, occasion: Occasion) -> str:
        """Return the address that leads on; nothing when it would lead nowhere."""
        if self.target is None:
            return occasion.links.click_url(self.place)
        target = self.target(occasion)
        return occasion.links.click_url(self.place, target) if target else ""


@dataclass(frozen=True, slots=True)
class Composite:
    """A line of text with merge tags in it."""

    pieces: tuple[str | Source, ...]

    def __call__(self, occasion: Occasion) -> str:
        """Return the line."""
        return "".join([piece if isinstance(piece, str) else piece(occasion) for piece in self.pieces])


@dataclass(frozen=True, slots=True)
class Quoted:
    """A value inside an address: data, which must not change where that leads."""

    source: Source

    def __call__(self, occasion: Occasion) -> str:
        """Return the value with percent signs for all but unreserved characters (RFC 3986 section 2.3)."""
        value = self.source(occasion)
        return value if value.isalnum() and value.isascii() else quote(value, safe="", errors="replace")


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*(?=:)", re.IGNORECASE)
_HARMLESS = ("http", "https", "mailto", "ftp", "news", "tel")


@dataclass(frozen=True, slots=True)
class WholeAddress:
    """A value that an address begins with."""

    source: Source

    def __call__(self, occasion: Occasion) -> str:
        """Return the value as an address; nothing when opening it could run a program."""
        url = self.source(occasion).strip()
        scheme = _SCHEME.match(url)
        if scheme is None or scheme[0].lower() not in _HARMLESS:
            return ""
        return quote(url, safe="!#$%&'()*+,/:;=?@[]~", errors="replace")


def is_own_address(source: Source) -> bool:
    """Tell whether a source gives addresses of this server, which have no characters that must be escaped."""
    return isinstance(source, (ClickLink, UnsubscribeLink, ConfirmLink)) or source in _OWN_ADDRESSES


_OWN_ADDRESSES = (read_open_url, read_web_version_url)
