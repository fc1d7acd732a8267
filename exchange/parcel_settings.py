"""The file `Settings.xml` of a parcel: what is to be done with the message and the recipients beside it.

Every element of the sample has to be there, empty where it says nothing; what it says is checked as by a schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar, get_args

from lxml import etree

from exchange.errors import FileRefused

SETTINGS_SIZE = 1 << 20
"""Most bytes of the file; a security limit."""

Action = Literal["full", "send", "save"]
"""Make a message and send it, send one that exists, or only make one."""
Engine = Literal["massive", "transactional"]
"""By the list's own sendings, its recipients imported; or at once, with data that nobody keeps."""
ENGINES: tuple[Engine, ...] = get_args(Engine)

_ROOT = "FtpZip"
_HEADER, _CONTENT, _ADVANCED = "Header", "Content", "AdvancedSettings"
_NODES = (
    *(f"{_HEADER}/{name}" for name in ("ActionType", "CampaignCode", "FormatVersion", "NotifyEmail")),
    *(
        f"{_CONTENT}/{name}"
        for name in (
            *("ListId", "ListGUID", "SenderName", "SenderEmail", "ReplyToEmail", "EmailSubject"),
            *("ScheduleDateTime", "Notes"),
        )
    ),
    *(
        f"{_ADVANCED}/{name}"
        for name in (
            *("Separator", "Attachments", "DynamicFields", "EmbeddedImages", "LinkTracking"),
            *("HttpLinkTracking", "HttpsLinkTracking", "MailToTracking", "FtpTracking", "NewsTracking"),
            *("QueryStringAdditionalParams", "ContentOverride/MessageId", "ContentOverride/CloneMessage", "SendType"),
            *("Transactional/Username", "Transactional/Password"),
            *("Transactional/AggregationCode", "Transactional/KeepDuplicates"),
        )
    ),
)
"""The elements of the sample; `ScheduleTimeZone` was in its first version only."""
_SCHEMES = {
    "http": "HttpLinkTracking",
    "https": "HttpsLinkTracking",
    "mailto": "MailToTracking",
    "ftp": "FtpTracking",
    "news": "NewsTracking",
}
_FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}
_SEPARATORS = {"tab": "\t", "\\t": "\t"}
_NUMBER = re.compile(r"[0-9]{1,9}")
_LONGEST_LINE = 255

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelSettings:
    """What `Settings.xml` says."""

    action: Action
    campaign: str
    """What the partner calls the run."""
    notify_email: str
    """Not checked; empty for the account's technical contact."""
    list_number: int
    list_guid: str
    sender_name: str
    sender_email: str
    reply_to: str
    subject: str
    start_at: datetime | None
    """Naive where it names no offset; None for now."""
    notes: str
    separator: str | None
    """Of `Recipients.csv`; None: recognised."""
    attachments: bool
    merge_fields: bool
    embed_images: bool
    track_links: bool
    tracked_schemes: tuple[str, ...]
    link_parameters: str
    message_number: int | None
    """Of the message that is sent instead of one in the parcel."""
    clone_message: bool
    engine: Engine
    smtp_user: str
    smtp_password: str
    aggregation: str
    """What statistics are gathered under."""
    keep_duplicates: bool


def read_settings(content: bytes) -> ParcelSettings:
    """Read a `Settings.xml`.

    Raises:
        FileRefused: `xml-node` or `xml-invalid`, with the texts that the partners' programs know.
    """
    node = _Node(_parse(content))
    read = node.read
    return ParcelSettings(
        action=read(f"{_HEADER}/ActionType", _read_action),
        campaign=read(f"{_HEADER}/CampaignCode", _read_line),
        notify_email=read(f"{_HEADER}/NotifyEmail", _read_line),
        list_number=read(f"{_CONTENT}/ListId", _read_list),
        list_guid=read(f"{_CONTENT}/ListGUID", str),
        sender_name=read(f"{_CONTENT}/SenderName", _read_line),
        sender_email=read(f"{_CONTENT}/SenderEmail", _read_line),
        reply_to=read(f"{_CONTENT}/ReplyToEmail", _read_line),
        subject=read(f"{_CONTENT}/EmailSubject", _read_line),
        start_at=read(f"{_CONTENT}/ScheduleDateTime", _read_instant),
        notes=read(f"{_CONTENT}/Notes", str),
        separator=read(f"{_ADVANCED}/Separator", _read_separator, strip=False),
        attachments=read(f"{_ADVANCED}/Attachments", _read_flag),
        merge_fields=read(f"{_ADVANCED}/DynamicFields", _read_flag),
        embed_images=read(f"{_ADVANCED}/EmbeddedImages", _read_flag),
        track_links=read(f"{_ADVANCED}/LinkTracking", _read_flag),
        tracked_schemes=tuple(scheme for scheme, name in _SCHEMES.items() if read(f"{_ADVANCED}/{name}", _read_flag)),
        link_parameters=read(f"{_ADVANCED}/QueryStringAdditionalParams", _read_line),
        message_number=read(f"{_ADVANCED}/ContentOverride/MessageId", _read_number),
        clone_message=read(f"{_ADVANCED}/ContentOverride/CloneMessage", _read_flag),
        engine=read(f"{_ADVANCED}/SendType", _read_engine),
        smtp_user=read(f"{_ADVANCED}/Transactional/Username", str),
        smtp_password=read(f"{_ADVANCED}/Transactional/Password", str),
        aggregation=read(f"{_ADVANCED}/Transactional/AggregationCode", _read_line),
        keep_duplicates=read(f"{_ADVANCED}/Transactional/KeepDuplicates", _read_flag),
    )


def _parse(content: bytes) -> dict[str, str]:
    """Return the text of each element by its path below the root, without name spaces."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError:
        raise _invalid() from None
    if root.getroottree().docinfo.doctype or etree.QName(root).localname != _ROOT:
        raise _invalid()
    found: dict[str, str] = {}
    for section in root.iterchildren("*"):
        _gather(section, "", found)
    if any(path not in found for path in _NODES):
        raise FileRefused("xml-node", "Missing Node in Xml File.")
    return found


def _gather(element: etree._Element, above: str, found: dict[str, str]) -> None:
    path = f"{above}{etree.QName(element).localname}"
    # The first of its name counts; comments may stand within a text.
    found.setdefault(path, "".join(element.xpath("text()")))
    if path.count("/") < 2:
        for child in element.iterchildren("*"):
            _gather(child, f"{path}/", found)


class _Node:
    """The elements that a file has, read one by one."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def read(self, path: str, convert: Callable[[str], Value], *, strip: bool = True) -> Value:
        text = self._texts[path]
        try:
            return convert(text.strip() if strip else text)
        except (ValueError, KeyError):
            raise _invalid() from None


def _invalid() -> FileRefused:
    return FileRefused("xml-invalid", "XML file does not match its schema. Validation failed")


def _read_action(text: str) -> Action:
    actions: dict[str, Action] = {"full": "full", "send": "send", "save": "save"}
    return actions[text.lower()]


def _read_engine(text: str) -> Engine:
    engines: dict[str, Engine] = {"": "massive", "massive": "massive", "transactional": "transactional"}
    return engines[text.lower()]


def _read_flag(text: str) -> bool:
    return _FLAGS[text.lower()]


def _read_line(text: str) -> str:
    if len(text) > _LONGEST_LINE or not text.isprintable():
        raise ValueError
    return text


def _read_list(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return int(text)


def _read_number(text: str) -> int | None:
    if text and not _NUMBER.fullmatch(text):
        raise ValueError
    # 0 is what programs write for none.
    return int(text or 0) or None


def _read_instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _read_separator(text: str) -> str | None:
    text = _SEPARATORS.get(text.strip().lower(), text.strip() or text)
    if len(text) > 1 and text.isspace():
        return None
    if len(text) > 1 or text in ('"', "\r", "\n"):
        raise ValueError
    return text or None
