"""The settings of a list: who sends, what its pages look like, what happens when people come and go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal
from urllib.parse import urlsplit

import phonenumbers

from audience.addresses import normalise_email
from audience.charsets import find_charset
from audience.errors import InvalidAddress, InvalidSetting

LANGUAGES = ("en", "it", "de", "fr", "es")
UnsubscribeMode = Literal["one-click", "confirmed", "preferences", "options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSettings:
    """What is set for a list; stored as JSON, without what has its default."""

    language: str = "en"
    """Of its pages and mails; one of `LANGUAGES`."""
    color: str = "#1f5fa8"
    """Of its pages' buttons and headings: `#` and six hexadecimal digits."""
    description: str = ""
    public: bool = False
    """Whether the account's catalogue shows it."""
    hosted_forms: bool = True
    """Whether its hosted subscription forms are shown."""
    sender_email: str = ""
    sender_name: str = ""
    reply_to: str = ""
    bounce_email: str = ""
    """Where delivery failures go."""
    to_name: str = ""
    """Of recipients in the To header; may name fields as `field:<number>`."""
    sms_sender: str = ""
    format: Literal["html", "text"] = "html"
    charset: str = "utf-8"
    text_part: bool = False
    """Whether messages get a text part by themselves."""
    disclaimer: str = ""
    """Added to messages."""
    abuse_header: str = ""
    """X-Abuse header."""
    unsubscribe_header: str = ""
    """List-Unsubscribe header."""
    size_warning_kb: int = 100
    track_opens: bool = True
    conversion_code: str = ""
    unsubscribe_mode: UnsubscribeMode = "one-click"
    unsubscribe_lists: tuple[int, ...] = ()
    """Numbers of the lists that the preferences page offers beside this one."""
    welcome_mail: bool = False
    welcome_sms: bool = False
    goodbye_mail: bool = False
    unsubscribe_notice: str = ""
    """E-mail address of the staff to tell of each unsubscribe."""
    received_url: str = ""
    """Where a subscription form leads to, in place of the hosted page."""
    confirmed_url: str = ""
    """Where a confirmed subscription leads to, in place of the hosted page."""
    unsubscribed_url: str = ""
    """Where an unsubscribe leads to, in place of the hosted page."""


def read_settings(stored: Mapping[str, Any]) -> ListSettings:
    """Return settings from their stored form; keys that are missing have their defaults, unknown ones are left out."""
    known = {item.name for item in fields(ListSettings)}
    values = {name: value for name, value in stored.items() if name in known}
    if "unsubscribe_lists" in values:
        values["unsubscribe_lists"] = tuple(values["unsubscribe_lists"])
    return ListSettings(**values)


MAX_LINE = 255
MAX_TEXT = 10_000
MAX_URL = 2_000
MAX_KILOBYTES = 1_000_000
UNSUBSCRIBE_MODES: tuple[UnsubscribeMode, ...] = ("one-click", "confirmed", "preferences", "options")

_FLAGS = {"0": False, "1": True, "false": False, "true": True}
_COLOR = re.compile(r"#[0-9a-f]{6}")
_PREFIX = re.compile(r"(?:\+|00)?0*([1-9][0-9]{0,2})")
_SENDER_NAME = re.compile(r"[A-Za-z0-9 ]{1,11}")
_SENDER_NUMBER = re.compile(r"(?:\+|00)?[0-9]{5,15}")
_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,39}")
_NOT_IN_LINES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_IN_TEXTS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def parse_setting(name: str, text: str) -> Any:
    """Return the value of a setting, as it is stored, from the text that a person or a program wrote.

    Flags are `0`, `1`, `false` or `true`; list numbers are separated by `,` or `;`. An empty text stands for the
    default, which other settings than texts have too.

    Args:
        name: a field of `ListSettings`.
        text: trimmed before it is read.

    Raises:
        InvalidSetting: there is no such setting, or it cannot have this value.
    """
    parse = _PARSERS.get(name)
    if parse is None:
        raise InvalidSetting(name, f"There is no such setting; choose among {', '.join(_PARSERS)}.")
    if not text.strip():
        return _DEFAULTS[name]
    try:
        return parse(text.strip())
    except ValueError as error:
        raise InvalidSetting(name, str(error)) from None


def make_patch(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to merge into stored settings: values from `parse_setting`, None for those that are the default."""
    return {name: None if value == _DEFAULTS[name] else value for name, value in values.items()}


def normalise_prefix(text: str) -> str:
    """Return an international prefix, which may be written as `+39`, `0039` or `39`, as `+` and digits (ITU-T E.164).

    Raises:
        ValueError: no country has it.
    """
    found = _PREFIX.fullmatch(text)
    if found is None or int(found[1]) not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        raise ValueError("It is an international prefix such as +39 or 0039.")
    return f"+{found[1]}"


def _read_flag(text: str) -> bool:
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise ValueError("It is 0, 1, false or true.")
    return flag


def _read_email(text: str) -> str:
    try:
        return normalise_email(text) if text else ""
    except InvalidAddress as error:
        raise ValueError(str(error)) from None


def _read_line(text: str) -> str:
    # These end in the headers of mails, where a line break would begin another header.
    if len(text) > MAX_LINE or _NOT_IN_LINES.search(text):
        raise ValueError(f"It is one line of at most {MAX_LINE} characters.")
    return text


def _read_text(text: str) -> str:
    if len(text) > MAX_TEXT or _NOT_IN_TEXTS.search(text):
        raise ValueError(f"It has at most {MAX_TEXT} characters, and no control characters but line breaks and tabs.")
    return text


def _read_url(text: str) -> str:
    if text and not _is_url(text):
        raise ValueError(f"It is an address with http:// or https:// of at most {MAX_URL} characters.")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _port = parts.port
    except ValueError:
        return False
    printable = len(text) <= MAX_URL and text.isprintable() and " " not in text and "\\" not in text
    return printable and parts.scheme in ("http", "https") and bool(parts.hostname)


def _read_color(text: str) -> str:
    color = text.lower()
    if not _COLOR.fullmatch(color):
        raise ValueError("It is # and six hexadecimal digits, such as #1f5fa8.")
    return color


def _read_sms_sender(text: str) -> str:
    if text and not (_SENDER_NAME.fullmatch(text) or _SENDER_NUMBER.fullmatch(text)):
        raise ValueError("It is at most 11 letters, digits and spaces, or a telephone number.")
    return text


def _read_charset(text: str) -> str:
    # Text in one with a byte order mark could not be cut into lines and put together again.
    if not _CHARSET.fullmatch(text) or find_charset(text) is None or "".encode(text):
        raise ValueError("It is the name of a character set, such as utf-8.")
    return text.lower()


def _read_kilobytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_KILOBYTES))):
        raise ValueError("It is a positive whole number.")
    if not 0 < int(text) <= MAX_KILOBYTES:
        raise ValueError(f"It is a positive whole number up to {MAX_KILOBYTES}.")
    return int(text)


def _read_numbers(text: str) -> list[int]:
    parts = [part.strip() for part in re.split("[,;]", text) if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise ValueError("It is numbers of lists, separated by commas.")
    return list(dict.fromkeys(map(int, parts)))


def _choose(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"It is one of {', '.join(choices)}.")
        return text.lower()

    return read


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "language": _choose(*LANGUAGES),
    "color": _read_color,
    "description": _read_text,
    "public": _read_flag,
    "hosted_forms": _read_flag,
    "sender_email": _read_email,
    "sender_name": _read_line,
    "reply_to": _read_email,
    "bounce_email": _read_email,
    "to_name": _read_line,
    "sms_sender": _read_sms_sender,
    "format": _choose("html", "text"),
    "charset": _read_charset,
    "text_part": _read_flag,
    "disclaimer": _read_text,
    "abuse_header": _read_line,
    "unsubscribe_header": _read_line,
    "size_warning_kb": _read_kilobytes,
    "track_opens": _read_flag,
    "conversion_code": _read_text,
    "unsubscribe_mode": _choose(*UNSUBSCRIBE_MODES),
    "unsubscribe_lists": _read_numbers,
    "welcome_mail": _read_flag,
    "welcome_sms": _read_flag,
    "goodbye_mail": _read_flag,
    "unsubscribe_notice": _read_email,
    "received_url": _read_url,
    "confirmed_url": _read_url,
    "unsubscribed_url": _read_url,
}
_DEFAULTS: Mapping[str, Any] = {**asdict(ListSettings()), "unsubscribe_lists": []}
