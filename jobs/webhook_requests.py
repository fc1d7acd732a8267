"""Builds the request that tells a webhook of a change, in the three forms that receivers understand.

Forms and codes: mailup specification, sections 5 and 6.4. Words that belong to one vendor come in as `Wording`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

import orjson
import phonenumbers

from audience.status_rules import Channel
from audience.webhooks import WebhookSettings
from delivery.outgoing_http import OutgoingRequest

FORM_TYPE = "application/x-www-form-urlencoded"
_ESCAPE = re.compile("%[0-9A-F]{2}")


@dataclass(frozen=True, slots=True)
class Wording:
    """How values are written in parameters; without an entry the general word is taken."""

    events: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    account: str = "{}"
    """Around the number of the account."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a notification tells: a row of the table, with what its receiver needs to understand it."""

    id: int
    event: str
    source: str
    at: datetime
    content: Mapping[str, Any]
    time_zone: str
    """IANA name of the account's."""


def build_request(settings: WebhookSettings, told: Told, wording: Wording, now: datetime) -> OutgoingRequest:
    """Return the request for a notification.

    Args:
        settings: of the webhook.
        told: what is told.
        wording: for the values of parameters.
        now: signed with the JSON form, so that a receiver can refuse old requests.
    """
    if settings.format == "json":
        return _build_json(settings, told, now)
    text = _encode_parameters(settings, told, wording)
    if settings.format == "rc4":
        encrypted = rc4(_key(settings), text.encode("ascii"))
        text = quote(base64.b64encode(encrypted).decode("ascii"))
    if settings.method == "POST":
        return OutgoingRequest("POST", settings.url, {"Content-Type": FORM_TYPE}, text.encode("ascii"))
    return OutgoingRequest("GET", append_query(settings.url, text))


def append_query(url: str, query: str) -> str:
    """Return a URL with a piece added to its query string."""
    if not query:
        return url
    separator = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return f"{url}{separator}{query}"


def quote(text: str) -> str:
    """Return a text percent-encoded as .NET's `HttpUtility.UrlEncode` does: in lower case, spaces as `+`."""
    escaped = quote_plus(text, safe="!*()").replace("~", "%7e")
    return _ESCAPE.sub(lambda match: match[0].lower(), escaped)


def format_date(instant: datetime, time_zone: str) -> str:
    """Return an instant as ISO 8601 with milliseconds and the shortest form of the offset, `+02` or `+05:30`."""
    local = instant.astimezone(ZoneInfo(time_zone))
    offset = local.utcoffset() or timedelta()
    minutes = abs(offset) // timedelta(minutes=1)
    sign = "-" if offset < timedelta() else "+"
    rest = f":{minutes % 60:02}" if minutes % 60 else ""
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03}{sign}{minutes // 60:02}{rest}"


def rc4(key: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt with RC4 (RFC 6229 has its test vectors).

    Only receivers that know nothing better get it: it hides little and proves nothing.
    """
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a body: HMAC-SHA256 over the timestamp, a full stop and the body, in hexadecimal."""
    return hmac.new(secret, timestamp.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


def split_mobile(mobile: str | None) -> tuple[str, str]:
    """Return the international prefix with its `+`, and the rest, of a number in E.164."""
    if not mobile:
        return "", ""
    try:
        number = phonenumbers.parse(mobile)
    except phonenumbers.NumberParseException:
        return "", mobile
    prefix = f"+{number.country_code}"
    return prefix, mobile.removeprefix(prefix)


def _key(settings: WebhookSettings) -> bytes:
    assert settings.secret is not None
    return settings.secret.encode()


def _build_json(settings: WebhookSettings, told: Told, now: datetime) -> OutgoingRequest:
    content = told.content
    document = {
        "id": told.id,
        "event": told.event,
        "source": told.source,
        "at": told.at.astimezone(UTC),
        "account": content["account_number"],
        "list": {"number": content["list_number"], "guid": content["list_guid"]},
        **({"import": content["import"]} if told.event == "import" else _describe_person(content)),
    }
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "X-Listbridge-Timestamp": timestamp,
        "X-Listbridge-Signature": f"sha256={sign(_key(settings), timestamp, body)}",
    }
    return OutgoingRequest("POST", settings.url, headers, body)


def _describe_person(content: Mapping[str, Any]) -> dict[str, Any]:
    prefix, number = split_mobile(content["mobile"])
    return {
        "channel": Channel(content["channel"]).name.lower(),
        "recipient": {
            "email": content["email"],
            "mobile": content["mobile"],
            "prefix": prefix or None,
            "number": number or None,
            "fields": content["fields"],
            "groups": content["groups"],
        },
        "reason": _describe_reason(content),
    }


def _describe_reason(content: Mapping[str, Any]) -> dict[str, int | None] | None:
    if content["reason_type"] is None:
        return None
    return {"type": content["reason_type"], "subtype": content["reason_subtype"]}


def _encode_parameters(settings: WebhookSettings, told: Told, wording: Wording) -> str:
    pairs = ((name, _value(kind, told, wording)) for name, kind in settings.parameters)
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


def _value(kind: str, told: Told, wording: Wording) -> str:
    if kind.startswith("field:"):
        return str(told.content["fields"].get(kind.removeprefix("field:")) or "")
    return _VALUES[kind](told, wording)


def _reason_code(told: Told) -> str:
    kind, subtype = told.content["reason_type"], told.content["reason_subtype"]
    if kind is None:
        return ""
    return f"{kind}{'' if subtype is None else subtype}"


def _count_rows(told: Told, name: str) -> str:
    """Return a counter of an import, those by code summed up; empty where there is none."""
    if told.event != "import":
        return ""
    count = told.content["import"]["counters"][name]
    return str(sum(count.values()) if isinstance(count, dict) else count)


def _import_value(told: Told, name: str) -> str:
    return str(told.content["import"][name] or "") if told.event == "import" else ""


# The channels count from 0 here, in old receivers from 1.
_VALUES: dict[str, Callable[[Told, Wording], str]] = {
    "date": lambda told, _: format_date(told.at, told.time_zone),
    "account": lambda told, wording: wording.account.format(told.content["account_number"]),
    "list": lambda told, _: str(told.content["list_number"]),
    # Only what a reader answers to a message has one.
    "message": lambda told, _: str(told.content.get("message_number") or ""),
    "event": lambda told, wording: wording.events.get(told.event, told.event),
    "source": lambda told, wording: wording.sources.get(told.source, told.source),
    "reason": lambda told, _: _reason_code(told),
    "email": lambda told, _: told.content["email"] or "",
    "prefix": lambda told, _: split_mobile(told.content["mobile"])[0],
    "number": lambda told, _: split_mobile(told.content["mobile"])[1],
    "groups": lambda told, _: ",".join(map(str, told.content["groups"])),
    "channel": lambda told, _: str(told.content["channel"] - Channel.EMAIL),
    "channel+1": lambda told, _: str(told.content["channel"] - Channel.EMAIL + 1),
    "import": lambda told, _: _import_value(told, "number"),
    "file": lambda told, _: _import_value(told, "file"),
    "state": lambda told, _: _import_value(told, "state"),
    "code": lambda told, _: _import_value(told, "code"),
    "total": lambda told, _: _count_rows(told, "total"),
    "refused": lambda told, _: _count_rows(told, "refused"),
    "noted": lambda told, _: _count_rows(told, "noted"),
}
