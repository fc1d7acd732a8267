"""The three forms of a notification, to the letter."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience.webhooks import WebhookSettings
from jobs.webhook_requests import (
    Told,
    Wording,
    append_query,
    build_request,
    format_date,
    quote,
    rc4,
    sign,
    split_mobile,
)
from services.mailup.notification_parameters import PARAMETER_NAMES, WORDING, parse_parameter_name

AT = datetime(2012, 12, 10, 16, 41, 3, 695_400, UTC)
CONTENT: dict[str, Any] = {
    "account_number": 6457,
    "list_number": 2,
    "list_guid": "0a000000-0000-4000-8000-000000000001",
    "channel": 1,
    "email": "johnsmith@example.com",
    "mobile": "+393401234567",
    "fields": {"1": "Città – 東京", "12": "x & y"},
    "groups": [3, 6, 22],
    "reason_type": 2,
    "reason_subtype": 1,
}
TOLD = Told(71, "unsubscribe", "recipient", AT, CONTENT, "Europe/Rome")
SETTINGS = WebhookSettings(name="Shop", url="https://shop.example.com/hook", event="unsubscribe")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def with_parameters(*pairs: tuple[str, str], **values: Any) -> WebhookSettings:
    return dataclasses.replace(SETTINGS, parameters=pairs, **values)


# RFC 6229, section 2: 16 bytes of the key stream, from which one on.
RC4_VECTORS = [
    ("0102030405", 0, "b2396305f03dc027ccc3524a0a1118a8"),
    ("0102030405", 4096, "ff25b58995996707e51fbdf08b34d875"),
    ("01020304050607", 0, "293f02d47f37c9b633f2af5285feb46b"),
    ("0102030405060708", 0, "97ab8a1bf0afb96132f2f67258da15a8"),
    ("0102030405060708090a", 0, "ede3b04643e586cc907dc21851709902"),
    ("0102030405060708090a0b0c0d0e0f10", 0, "9ac7cc9a609d1ef7b2932899cde41b97"),
    ("833222772a", 0, "80ad97bdc973df8a2e879e92a497efda"),
    ("ebb46227c6cc8b37641910833222772a", 0, "720c94b63edf44e131d950ca211a5a30"),
]


@pytest.mark.parametrize(("key", "offset", "stream"), RC4_VECTORS)
def test_rc4_has_the_key_streams_of_rfc_6229(key: str, offset: int, stream: str) -> None:
    assert rc4(bytes.fromhex(key), bytes(offset + 16))[offset:].hex() == stream


@given(st.binary(min_size=1, max_size=256), st.binary(max_size=600))
def test_rc4_undoes_itself(key: bytes, data: bytes) -> None:
    assert rc4(key, rc4(key, data)) == data


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("2012-12-10T17:41:03.695+01", "2012-12-10T17%3a41%3a03.695%2b01"),
        ("johnsmith@yahoo.com", "johnsmith%40yahoo.com"),
        ("a b", "a+b"),
        ("à", "%c3%a0"),
        ("~'\"", "%7e%27%22"),
        ("-_.!*()", "-_.!*()"),
        ("%2F", "%252F"),
    ],
)
def test_escapes_are_those_of_dotnet(text: str, quoted: str) -> None:
    assert quote(text) == quoted
    assert unquote_plus(quoted) == text


@given(st.text())
def test_whatever_is_escaped_comes_back(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert unquote_plus(quote(text)) == text


@pytest.mark.parametrize(
    ("zone", "written"),
    [
        ("Europe/Rome", "2012-12-10T17:41:03.695+01"),
        ("UTC", "2012-12-10T16:41:03.695+00"),
        ("Asia/Kolkata", "2012-12-10T22:11:03.695+05:30"),
        ("America/St_Johns", "2012-12-10T13:11:03.695-03:30"),
        ("America/New_York", "2012-12-10T11:41:03.695-05"),
    ],
)
def test_dates_are_in_the_accounts_zone(zone: str, written: str) -> None:
    assert format_date(AT, zone) == written


def test_dates_know_summer() -> None:
    assert format_date(datetime(2012, 9, 12, 9, 18, 37, 664_000, UTC), "Europe/Rome") == "2012-09-12T11:18:37.664+02"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("[EventDate]", "2012-12-10T17:41:03.695+01"),
        ("[IdConsole]", "a6457"),
        ("[IdList]", "2"),
        ("[IdNL]", ""),
        ("[EventType]", "UNSUBSCRIBE"),
        ("[EventSource]", "RECIPIENT"),
        ("[Reason]", "21"),
        ("[Email]", "johnsmith@example.com"),
        ("[email]", "johnsmith@example.com"),
        ("[Prefix]", "+39"),
        ("[Number]", "3401234567"),
        ("[Groups]", "3,6,22"),
        ("[Channel]", "0"),
        ("[Channel+1]", "1"),
        ("[Field01]", "Città – 東京"),
        ("[field12]", "x & y"),
        ("[Field39]", ""),
        ("email", "johnsmith@example.com"),
    ],
)
def test_every_parameter_of_the_specification(word: str, value: str) -> None:
    request = build_request(with_parameters(("p", parse_parameter_name(word)), method="GET"), TOLD, WORDING, NOW)
    assert parse_qsl(urlsplit(request.url).query, keep_blank_values=True) == [("p", value)]


def test_the_sample_of_the_specification() -> None:
    parameters = (("unsubscribeDate", "date"), ("customerEmail", "email"), ("customerList", "list"))
    expected = "unsubscribeDate=2012-12-10T17%3a41%3a03.695%2b01&customerEmail=johnsmith%40example.com&customerList=2"
    request = build_request(with_parameters(*parameters, method="GET"), TOLD, WORDING, NOW)
    assert (request.method, request.url, request.body) == ("GET", f"{SETTINGS.url}?{expected}", b"")
    request = build_request(with_parameters(*parameters, method="POST"), TOLD, WORDING, NOW)
    assert (request.method, request.url, request.body) == ("POST", SETTINGS.url, expected.encode())
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("url", "query", "whole"),
    [
        ("http://h.example/a", "x=1", "http://h.example/a?x=1"),
        ("http://h.example/a?ListGuid=g&List=1", "email=e", "http://h.example/a?ListGuid=g&List=1&email=e"),
        ("http://h.example/a?", "x=1", "http://h.example/a?x=1"),
        ("http://h.example/a?b=1&", "x=1", "http://h.example/a?b=1&x=1"),
        ("http://h.example/a", "", "http://h.example/a"),
    ],
)
def test_parameters_are_appended(url: str, query: str, whole: str) -> None:
    assert append_query(url, query) == whole


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_encrypted_form_is_the_whole_query_or_body(method: str) -> None:
    parameters = (("evt", "event"), ("eml", "email"))
    settings = with_parameters(*parameters, method=method, format="rc4", secret="a key")
    request = build_request(settings, TOLD, WORDING, NOW)
    text = urlsplit(request.url).query if method == "GET" else request.body.decode()
    assert "=" not in text
    clear = rc4(b"a key", base64.b64decode(unquote_plus(text), validate=True))
    assert clear == b"evt=UNSUBSCRIBE&eml=johnsmith%40example.com"


def test_the_encrypted_form_follows_a_query_that_is_there() -> None:
    settings = with_parameters(
        ("evt", "event"), method="GET", format="rc4", secret="k", url="https://shop.example.com/?option=hook"
    )
    query = urlsplit(build_request(settings, TOLD, WORDING, NOW).url).query
    assert query.startswith("option=hook&")
    assert rc4(b"k", base64.b64decode(unquote_plus(query.rpartition("&")[2]))) == b"evt=UNSUBSCRIBE"


def test_the_json_form_is_signed() -> None:
    settings = dataclasses.replace(SETTINGS, format="json", secret="0123456789abcdef")
    request = build_request(settings, TOLD, WORDING, NOW)
    assert request.headers["Content-Type"] == "application/json"
    timestamp = request.headers["X-Listbridge-Timestamp"]
    assert int(timestamp) == int(NOW.timestamp())
    expected = hmac.new(b"0123456789abcdef", timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Listbridge-Signature"] == f"sha256={expected}"
    assert sign(b"0123456789abcdef", timestamp, request.body) == expected
    assert json.loads(request.body) == {
        "id": 71,
        "event": "unsubscribe",
        "source": "recipient",
        "at": "2012-12-10T16:41:03.695400Z",
        "account": 6457,
        "list": {"number": 2, "guid": CONTENT["list_guid"]},
        "channel": "email",
        "recipient": {
            "email": "johnsmith@example.com",
            "mobile": "+393401234567",
            "prefix": "+39",
            "number": "3401234567",
            "fields": CONTENT["fields"],
            "groups": [3, 6, 22],
        },
        "reason": {"type": 2, "subtype": 1},
    }


def test_what_is_absent_is_empty() -> None:
    content = CONTENT | {"email": None, "mobile": None, "fields": {}, "groups": [], "reason_type": None}
    told = dataclasses.replace(TOLD, content=content)
    kinds = [*PARAMETER_NAMES.values(), "field:1"]
    request = build_request(with_parameters(*((kind, kind) for kind in kinds), method="GET"), told, Wording(), NOW)
    values = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
    assert {kind for kind in kinds if not values[kind]} == {
        "message",
        "reason",
        "email",
        "prefix",
        "number",
        "groups",
        "field:1",
    }
    assert (values["event"], values["source"], values["account"]) == ("unsubscribe", "recipient", "6457")
    document = json.loads(
        build_request(dataclasses.replace(SETTINGS, format="json", secret="k"), told, Wording(), NOW).body
    )
    assert document["reason"] is None
    assert document["recipient"]["prefix"] is None


@pytest.mark.parametrize(("subtype", "code"), [(None, "8"), (0, "80"), (3, "83")])
def test_reasons_are_type_and_subtype(subtype: int | None, code: str) -> None:
    told = dataclasses.replace(TOLD, content=CONTENT | {"reason_type": 8, "reason_subtype": subtype})
    assert build_request(with_parameters(("r", "reason")), told, WORDING, NOW).body == f"r={code}".encode()


@pytest.mark.parametrize(
    ("mobile", "parts"),
    [
        (None, ("", "")),
        ("", ("", "")),
        ("+393401234567", ("+39", "3401234567")),
        ("+14155550123", ("+1", "4155550123")),
        ("+390612345678", ("+39", "0612345678")),
        ("+999123456", ("", "+999123456")),
    ],
)
def test_mobile_numbers_are_split(mobile: str | None, parts: tuple[str, str]) -> None:
    assert split_mobile(mobile) == parts


IMPORT = {
    "number": 12,
    "file": "people.csv",
    "state": "completed",
    "code": None,
    "text": None,
    "counters": {"total": 4, "new": 2, "refused": {"email": 1, "columns": 1}, "noted": {}},
}
NOBODY = {"email": None, "mobile": None, "fields": {}, "groups": [], "reason_type": None, "reason_subtype": None}
TOLD_IMPORT = Told(72, "import", "api", AT, {**CONTENT, **NOBODY, "import": IMPORT}, "Europe/Rome")


def test_the_end_of_an_import_in_parameters() -> None:
    names = ("event", "import", "file", "state", "code", "total", "refused", "noted", "email", "groups", "field:1")
    settings = with_parameters(*((name, name) for name in names), event="import")
    request = build_request(settings, TOLD_IMPORT, WORDING, NOW)
    assert request.body is not None
    values = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    assert list(values.values()) == ["import", "12", "people.csv", "completed", "", "4", "2", "0", "", "", ""]
    # In what is told of a person they are empty.
    request = build_request(settings, TOLD, WORDING, NOW)
    assert request.body is not None
    values = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    assert {values[name] for name in ("import", "file", "state", "code", "total", "refused", "noted")} == {""}


def test_the_end_of_an_import_as_json() -> None:
    settings = dataclasses.replace(SETTINGS, event="import", format="json", secret="s")
    request = build_request(settings, TOLD_IMPORT, WORDING, NOW)
    assert request.body is not None
    assert json.loads(request.body) == {
        "id": 72,
        "event": "import",
        "source": "api",
        "at": "2012-12-10T16:41:03.695400Z",
        "account": 6457,
        "list": {"number": 2, "guid": CONTENT["list_guid"]},
        "import": IMPORT,
    }
