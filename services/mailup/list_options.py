"""The options of lists (specification §1.4): the one table from their keys to the settings that lists have here.

Two pages of the original spell some keys differently; each operation takes both spellings, in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from audience.errors import InvalidSetting
from audience.list_changes import check_changes
from audience.list_settings import UNSUBSCRIBE_MODES
from services.mailup.keyed_operations import option_pairs
from services.mailup.keyed_results import INVALID_OPTION, Failure

_FIELD = re.compile(r"\bcampo([0-9]{1,2})\b", re.IGNORECASE)


def _keep(value: str) -> str:
    return value


def _read_optout_type(value: str) -> str:
    modes = {"": "", **{str(number): mode for number, mode in enumerate(UNSUBSCRIBE_MODES)}}
    if value.strip() not in modes:
        raise ValueError("It is 0, 1, 2 or 3.")
    return modes[value.strip()]


def _read_display_name(value: str) -> str:
    return _FIELD.sub(r"field:\1", value)


@dataclass(frozen=True, slots=True)
class _Option:
    setting: str
    translate: Callable[[str], str] = _keep


_OPTIONS: Mapping[str, _Option] = {
    "owneremail": _Option("sender_email"),
    "bouncedemail": _Option("bounce_email"),
    "description": _Option("description"),
    "format": _Option("format"),
    "charset": _Option("charset"),
    "public": _Option("public"),
    "tracking": _Option("track_opens"),
    "nl_sendername": _Option("sender_name"),
    "sms_sendername": _Option("sms_sender"),
    "optout_type": _Option("unsubscribe_mode", _read_optout_type),
    "multi_optout_list": _Option("unsubscribe_lists"),
    "sendemailoptout": _Option("goodbye_mail"),
    "notifyemail": _Option("unsubscribe_notice"),
    "frontendform": _Option("hosted_forms"),
    "disclaimer": _Option("disclaimer"),
    "headerxabuse": _Option("abuse_header"),
    "kbmax": _Option("size_warning_kb"),
    "replyto": _Option("reply_to"),
    "headerreplyto": _Option("reply_to"),
    "displayas": _Option("to_name", _read_display_name),
    "headerlistunsubscriber": _Option("unsubscribe_header"),
    "headerlistunsubscribe": _Option("unsubscribe_header"),
    "multipart_text": _Option("text_part"),
    "conversionlab_trackcode": _Option("conversion_code"),
    "default_prefix": _Option("default_prefix"),
    "subscribedemail": _Option("welcome_mail"),
    "sendconfirmsms": _Option("welcome_sms"),
}
OPTION_KEYS = tuple(_OPTIONS)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a caller wants to be set for a list."""

    changes: Mapping[str, str]
    """Text by setting; empty where the default is wanted."""
    keys: Mapping[str, str]
    """By setting: the key, as the caller spelled it."""

    def check(self, connection: Connection, account_id: int) -> dict[str, Any]:
        """Return the values to store.

        Raises:
            Failure: an option cannot have its value.
        """
        try:
            return check_changes(connection, account_id, self.changes)
        except InvalidSetting as error:
            raise _refuse(self.keys[error.setting], error.reason) from None


def read_list_options(options: Iterable[Any] | None) -> ListOptions:
    """Return what options ask for; unknown keys are left out, and of two for one setting the last counts.

    Raises:
        Failure: an option cannot have its value.
    """
    changes: dict[str, str] = {}
    keys: dict[str, str] = {}
    for key, value in option_pairs(options):
        option = _OPTIONS.get(key.lower())
        if option is None:
            continue
        try:
            changes[option.setting] = option.translate(value)
        except ValueError as error:
            raise _refuse(key, str(error)) from None
        keys[option.setting] = key
    return ListOptions(changes, keys)


def _refuse(key: str, reason: str) -> Failure:
    return Failure(INVALID_OPTION, f"{key}: {reason}")
