"""The settings of a list: who sends, what its pages look like, what happens when people come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

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
    """Of recipients in the To header; may name fields."""
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
