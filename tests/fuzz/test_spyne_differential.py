"""The compiled path against stock Spyne with the same declarations: what goes in comes out alike.

Where Spyne is laxer or stricter on purpose, `DIFFERENCES` says so; nothing stands there that is the same.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any
from xml.sax.saxutils import escape

import pytest
from fuzz_contract import KINDS, NAMESPACE, ROW, SERVICE, Kind, values_of
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from services.soap.codec import ServiceCodec
from services.soap.declarations import Service
from services.soap.envelope import open_envelope
from services.soap.faults import SoapFault, SoapVersion, wrap_body
from services.soap.large_text import Text
from services.soap.limits import XmlLimits
from services.soap.reader import MalformedDocument
from services.soap.types import members_of
from services.soap.values import find_simple_type

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from spyne import Application
    from spyne.protocol.soap import Soap11
    from spyne.server.wsgi import WsgiApplication

V11 = SoapVersion.V11
XSI = "http://www.w3.org/2001/XMLSchema-instance"
CODEC = ServiceCodec(SERVICE)
REFUSED = "refused"
_FRACTION = re.compile(r"(T[0-9:]{8}\.[0-9]*?)0+$")
_EMPTY = re.compile(r"<\w+ />")
# Types that extend others Spyne reads and writes in its own way; they have tests of their own.
COMPARED = tuple(kind for kind in KINDS if kind.name not in ("OneBox", "OneAnimal", "Animals"))


@pytest.fixture(scope="module")
def stock() -> Iterator[dict[str, Any]]:
    """Each operation as Spyne alone serves it."""
    logging.getLogger("spyne").setLevel(logging.CRITICAL)
    names = {kind.name for kind in COMPARED}
    yield {
        one.name: WsgiApplication(_build_stock(replace(SERVICE, operations=(one,))))
        for one in SERVICE.operations
        if one.name in names
    }
    logging.getLogger("spyne").setLevel(logging.NOTSET)


def _build_stock(service: Service) -> Any:
    return Application(
        [service.spyne_class], tns=NAMESPACE, in_protocol=Soap11(validator="soft"), out_protocol=Soap11()
    )


def _no_text() -> Text:
    raise AssertionError


def _ask_stock(stock: Any, content: bytes) -> Any:
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "text/xml; charset=utf-8",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }
    answer = b"".join(stock(environ, lambda status, _headers, _error=None: statuses.append(status)))
    return _simplify(answer) if statuses[0].startswith("200") else REFUSED


def _ask_ours(content: bytes) -> Any:
    try:
        body = open_envelope(CODEC.read_message([content], XmlLimits(), None, _no_text), V11.media_type).body
        assert body is not None
        operation = CODEC.operations[body.tag]
        return _simplify(wrap_body(V11, operation.encode(operation.function(None, *operation.decode(body)))))
    except (SoapFault, MalformedDocument):
        return REFUSED


def _simplify(answer: bytes) -> Any:
    """Return the payload of an answer without prefixes and forms of empty elements, which have no meaning."""
    payload = etree.fromstring(answer)[0][0]
    return _describe(payload)


def _describe(element: etree._Element) -> Any:
    nil = element.get(f"{{{XSI}}}nil") in ("true", "1")
    return (element.tag, nil, _canonical(element.text or ""), [_describe(child) for child in element])


def _canonical(text: str) -> str | Decimal:
    """Return a number or time without its form: 0 is 0.0."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _FRACTION.sub(r"\1", text)
    return text if number.is_nan() else number


def _message(kind: str, content: str) -> bytes:
    return (
        f'<e:Envelope xmlns:e="{V11.namespace}" xmlns:xsi="{XSI}"><e:Body>'
        f'<{kind} xmlns="{NAMESPACE}">{content}</{kind}></e:Body></e:Envelope>'
    ).encode()


@pytest.mark.parametrize("kind", COMPARED, ids=lambda kind: kind.name)
def test_valid_messages(stock: dict[str, Any], kind: Kind) -> None:
    codec = CODEC.operations[f"{NAMESPACE} {kind.name}"]

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(values_of(kind.declared))
    def check(value: Any) -> None:
        # Written by the engine and renamed from an answer to a request; Spyne takes an empty element for null.
        answer = codec.encode(value)
        # It then misses a member that has to be there.
        assume("<Note />" not in answer)
        written = _EMPTY.sub("", answer.replace(f"{kind.name}Response", kind.name))
        assume(">INF<" not in written and ">-INF<" not in written)
        content = wrap_body(V11, written)
        assert _ask_ours(content) == _ask_stock(stock[kind.name], content)

    check()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["Text", "Note", "Rank", "Number", "Long"]),
    st.sampled_from(["x", "-5", "7", "2147483648", "\u00e8", "a b", "0"]),
    st.sampled_from(["", "<Other>1</Other>", '<Other xmlns="">9</Other>']),
    st.permutations(sorted(members_of(ROW))),
)
def test_near_valid_rows(stock: dict[str, Any], odd_member: str, odd: str, more: str, order: list[str]) -> None:
    cells = {name: _sound(kind) for name, kind in members_of(ROW).items()} | {odd_member: odd}
    row = more + "".join(f"<{name}>{escape(cells[name])}</{name}>" for name in order)
    content = _message("OneRow", f"<OneRowResult>{row}</OneRowResult>")
    assert _ask_ours(content) == _ask_stock(stock["OneRow"], content)


def _sound(declared: Any) -> str:
    simple = find_simple_type(declared)
    assert simple is not None
    return {"string": "s", "dateTime": "2024-02-29T12:30:00", "base64Binary": "AAEC", "boolean": "true"}.get(
        simple.name, "1"
    )


DIFFERENCES: tuple[tuple[str, str, str, str], ...] = (
    # operation, content of its parameter's element, answers (ours, stock's): text of the result
    ("Int", "<IntResult>1_0</IntResult>", REFUSED, "10"),
    ("Int", "<IntResult>\u0661</IntResult>", REFUSED, "1"),
    ("Int", "", "0", REFUSED),
    ("Double", "<DoubleResult>INF</DoubleResult>", "Infinity", REFUSED),
    ("Text", "<TextResult />", "", REFUSED),
    ("Data", "<DataResult />", "", REFUSED),
    ("Boolean", "<BooleanResult>yes</BooleanResult>", REFUSED, "false"),
    ("Boolean", "", "false", REFUSED),
    ("Long", "<LongResult>1_0</LongResult>", REFUSED, "10"),
)


@pytest.mark.parametrize(("kind", "content", "ours", "stocks"), DIFFERENCES)
def test_differences(stock: dict[str, Any], kind: str, content: str, ours: str, stocks: str) -> None:
    message = _message(kind, content)
    assert _text(_ask_ours(message)) == ours
    assert _text(_ask_stock(stock[kind], message)) == stocks


def _text(answer: Any) -> str:
    if answer == REFUSED:
        return REFUSED
    children = answer[3]
    return str(children[0][2]) if children else ""
