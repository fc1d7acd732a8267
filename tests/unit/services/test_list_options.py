"""What each option of a list becomes: one row for each key of the specification's table (§1.4), in both spellings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.mailup.keyed_results import Failure
from services.mailup.list_options import OPTION_KEYS, read_list_options

TABLE = {
    "owneremail": ("a@example.com", {"sender_email": "a@example.com"}),
    "bouncedemail": ("a@example.com", {"bounce_email": "a@example.com"}),
    "description": ("Some text", {"description": "Some text"}),
    "format": ("text", {"format": "text"}),
    "charset": ("UTF-8", {"charset": "UTF-8"}),
    "public": ("1", {"public": "1"}),
    "tracking": ("0", {"track_opens": "0"}),
    "nl_sendername": ("Shop", {"sender_name": "Shop"}),
    "sms_sendername": ("Shop", {"sms_sender": "Shop"}),
    "optout_type": ("2", {"unsubscribe_mode": "preferences"}),
    "multi_optout_list": ("1,2,3", {"unsubscribe_lists": "1,2,3"}),
    "sendemailoptout": ("true", {"goodbye_mail": "true"}),
    "notifyemail": ("a@example.com", {"unsubscribe_notice": "a@example.com"}),
    "frontendform": ("false", {"hosted_forms": "false"}),
    "disclaimer": ("Text", {"disclaimer": "Text"}),
    "headerxabuse": ("Text", {"abuse_header": "Text"}),
    "kbmax": ("50", {"size_warning_kb": "50"}),
    "replyto": ("a@example.com", {"reply_to": "a@example.com"}),
    "headerreplyto": ("a@example.com", {"reply_to": "a@example.com"}),
    "displayas": ("campo1,campo2 x", {"to_name": "field:1,field:2 x"}),
    "headerlistunsubscriber": ("<[listunsubscribe]>", {"unsubscribe_header": "<[listunsubscribe]>"}),
    "headerlistunsubscribe": ("<[listunsubscribe]>", {"unsubscribe_header": "<[listunsubscribe]>"}),
    "multipart_text": ("1", {"text_part": "1"}),
    "conversionlab_trackcode": ("x", {"conversion_code": "x"}),
    "default_prefix": ("0039", {"default_prefix": "0039"}),
    "subscribedemail": ("1", {"welcome_mail": "1"}),
    "sendconfirmsms": ("1", {"welcome_sms": "1"}),
}


def option(key: str | None, value: str | None) -> Any:
    return SimpleNamespace(Key=key, Value=value)


def test_the_table_has_every_key() -> None:
    assert tuple(TABLE) == OPTION_KEYS


@pytest.mark.parametrize("key", TABLE)
def test_keys(key: str) -> None:
    value, changes = TABLE[key]
    for spelled in (key, key.upper(), f" {key} "):
        found = read_list_options([option(spelled, value)])
        assert found.changes == changes
        assert list(found.keys.values()) == [spelled.strip()]


def test_what_is_left_out() -> None:
    options = [None, option(None, "x"), option("", "x"), option("Colour", "red"), option("public", None)]
    assert read_list_options(options).changes == {"public": ""}
    assert read_list_options(None).changes == read_list_options([]).changes == {}


def test_the_last_of_two_for_one_setting_counts() -> None:
    found = read_list_options([option("replyto", "a@example.com"), option("headerreplyto", "b@example.com")])
    assert (found.changes, found.keys) == ({"reply_to": "b@example.com"}, {"reply_to": "headerreplyto"})


@pytest.mark.parametrize(
    ("value", "mode"), [("", ""), ("0", "one-click"), ("1", "confirmed"), ("2", "preferences"), ("3", "options")]
)
def test_kinds_of_unsubscribing(value: str, mode: str) -> None:
    assert read_list_options([option("optout_type", value)]).changes == {"unsubscribe_mode": mode}


@pytest.mark.parametrize("value", ["4", "-1", "one-click", "2.0"])
def test_no_kinds_of_unsubscribing(value: str) -> None:
    with pytest.raises(Failure) as refused:
        read_list_options([option("OptOut_Type", value)])
    assert (refused.value.code, refused.value.description) == (10, "OptOut_Type: It is 0, 1, 2 or 3.")
