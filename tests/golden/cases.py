"""Requests that the oracle and this server both answer: each row of the ASMX table, each leniency rule, odd texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

PATH = "/Oracle.asmx"
NAMESPACE = "http://oracle.example/"
V11, V12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
XSI, XSD = "http://www.w3.org/2001/XMLSchema-instance", "http://www.w3.org/2001/XMLSchema"
TEXT, SOAP = "text/xml; charset=utf-8", "application/soap+xml; charset=utf-8"
NEXT = "http://schemas.xmlsoap.org/soap/actor/next"
ECHO = "<text>a</text>"
CREDENTIALS = f'<Authentication xmlns="{NAMESPACE}"><User>u</User><Password>p</Password></Authentication>'


@dataclass(frozen=True)
class Case:
    """One request."""

    name: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": TEXT})
    method: str = "POST"
    path: str = PATH


def message_cases() -> list[Case]:
    """Return every case."""
    groups = (
        _versions(),
        _actions(),
        _integers(),
        _booleans(),
        _times(),
        _parameters(),
        _texts(),
        _results(),
        _option_lists(),
        _headers(),
        _faults(),
        _not_messages(),
        _other_methods(),
        _pages(),
    )
    return [case for group in groups for case in group]


def wrap(body: str, version: str = V11, header: str | None = None) -> bytes:
    """Return an envelope in which the prefixes `e`, `i` and `d` stand for SOAP, xsi and xsd."""
    head = "" if header is None else f"<e:Header>{header}</e:Header>"
    return (
        f'<?xml version="1.0" encoding="utf-8"?><e:Envelope xmlns:e="{version}" xmlns:i="{XSI}" xmlns:d="{XSD}">'
        f"{head}<e:Body>{body}</e:Body></e:Envelope>"
    ).encode()


def payload(operation: str, content: str = "") -> str:
    """Return the element of a call."""
    return f'<{operation} xmlns="{NAMESPACE}">{content}</{operation}>'


def _call(
    name: str,
    operation: str,
    content: str = "",
    *,
    header: str | None = None,
    version: str = V11,
    content_type: str | None = None,
    action: str | None = None,
) -> Case:
    headers = {"Content-Type": content_type or (TEXT if version == V11 else SOAP)}
    if action is not None:
        headers["SOAPAction"] = action
    return Case(name, wrap(payload(operation, content), version, header), headers)


def _versions() -> Iterator[Case]:
    action = f"{NAMESPACE}Echo"
    quoted = f'"{action}"'
    yield _call("1.1", "Echo", ECHO, action=quoted)
    yield _call("1.2-with-action", "Echo", ECHO, version=V12, content_type=f"{SOAP}; action={quoted}")
    yield _call("1.2-with-bare-action", "Echo", ECHO, version=V12, content_type=f"{SOAP}; action={action}")
    yield _call("1.2-without-action", "Echo", ECHO, version=V12)
    yield _call("1.2-with-soapaction", "Echo", ECHO, version=V12, action=quoted)
    yield _call("1.2-as-text", "Echo", ECHO, version=V12, content_type=TEXT, action=quoted)
    yield _call("1.2-as-text-without-action", "Echo", ECHO, version=V12, content_type=TEXT)
    yield _call("1.1-as-1.2", "Echo", ECHO, content_type=SOAP, action=quoted)
    yield _call("type-without-charset", "Echo", "<text>è</text>", content_type="text/xml")
    yield _call("type-in-capitals", "Echo", ECHO, content_type="Text/XML; Charset=UTF-8")
    yield _call("type-with-quoted-charset", "Echo", ECHO, content_type='text/xml; charset="utf-8"')
    yield _call("type-application-xml", "Echo", ECHO, content_type="application/xml")
    yield _call("type-form", "Echo", ECHO, content_type="application/x-www-form-urlencoded")
    yield Case("type-absent", wrap(payload("Echo", ECHO)), {"SOAPAction": quoted})
    latin = wrap(payload("Echo", "<text>è</text>")).decode().replace("utf-8", "iso-8859-1").encode("latin-1")
    yield Case("charset-latin-1", latin, {"Content-Type": "text/xml; charset=iso-8859-1"})
    utf16 = wrap(payload("Echo", "<text>è東</text>")).decode().replace("utf-8", "utf-16").encode("utf-16")
    yield Case("charset-utf-16", utf16, {"Content-Type": "text/xml; charset=utf-16"})
    yield _call("charset-unknown", "Echo", ECHO, content_type="text/xml; charset=canary")
    yield Case("charset-of-document-unknown", wrap(payload("Echo", ECHO)).replace(b'"utf-8"', b'"canary"'))
    lying = wrap(payload("Echo", "<text>è</text>")).replace(b'"utf-8"', b'"iso-8859-1"')
    yield Case("charset-of-document-other", lying)
    marked = b"\xef\xbb\xbf" + wrap(payload("Echo", ECHO))
    yield Case("byte-order-mark", marked)


def _actions() -> Iterator[Case]:
    action = f"{NAMESPACE}Echo"
    yield _call("action-absent", "Echo", ECHO)
    yield _call("action-bare", "Echo", ECHO, action=action)
    yield _call("action-empty", "Echo", ECHO, action='""')
    yield _call("action-blank", "Echo", ECHO, action="")
    yield _call("action-star", "Echo", ECHO, action="*")
    yield _call("action-unknown", "Echo", ECHO, action=f'"{NAMESPACE}Canary"')
    yield _call("action-unknown-1.2", "Echo", ECHO, version=V12, content_type=f'{SOAP}; action="{NAMESPACE}Canary"')
    yield _call("action-of-another", "Add", "<a>1</a>", action=f'"{NAMESPACE}Echo"')
    yield _call("action-in-other-case", "Echo", ECHO, action=f'"{NAMESPACE}echo"')
    yield _call("action-name-only", "Echo", ECHO, action='"Echo"')


def _integers() -> Iterator[Case]:
    for name, text in {
        "plain": "41",
        "negative": "-42",
        "plus": "+41",
        "leading-zeros": "0041",
        "spaces": " \r\n\t41 ",
        "highest": "2147483646",
        "lowest": "-2147483648",
        "overflow": "2147483648",
        "underflow": "-2147483649",
        "empty": "",
        "blank": " ",
        "word": "canary",
        "fraction": "41.0",
        "exponent": "4e1",
        "underscore": "4_1",
        "thousands": "4,100",
        "hexadecimal": "0x41",
        "arabic-digits": "٤١",
        "no-break-space": "\u00a041",
        "inner-space": "4 1",
        "comment": "4<!-- x -->1",
        "cdata": "<![CDATA[41]]>",
        "element": "<b>41</b>",
        "character-references": "&#52;&#x31;",
    }.items():
        yield _call(f"int-{name}", "Add", f"<a>{text}</a><b>1</b>")
    yield _call("int-missing", "Add", "<a>41</a>")
    yield _call("int-both-missing", "Add")
    yield _call("int-self-closed", "Add", "<a/><b>1</b>")
    yield _call("int-nil", "Add", '<a i:nil="true"/><b>1</b>')
    yield _call("int-typed", "Add", '<a i:type="d:int">41</a><b>1</b>')
    yield _call("int-typed-as-string", "Add", '<a i:type="d:string">41</a><b>1</b>')
    yield _call("int-empty-1.2", "Add", "<a/><b>1</b>", version=V12)
    yield _call("int-word-1.2", "Add", "<a>canary</a><b>1</b>", version=V12)


def _booleans() -> Iterator[Case]:
    for name, text in {
        "true": "true",
        "false": "false",
        "one": "1",
        "zero": "0",
        "true-with-spaces": " true ",
        "zero-with-line-ends": "\n0\r\n",
        "capital": "True",
        "capitals": "FALSE",
        "yes": "yes",
        "two": "2",
        "minus-one": "-1",
        "plus-one": "+1",
        "two-digits": "01",
        "empty": "",
    }.items():
        yield _call(f"bool-{name}", "Flag", f"<flag>{text}</flag>")
    yield _call("bool-missing", "Flag")


def _times() -> Iterator[Case]:
    for name, text in {
        "plain": "2024-02-29T12:30:45",
        "utc": "2024-02-29T12:30:45Z",
        "zone-east": "2024-02-29T12:30:45+02:00",
        "zone-west": "2024-02-29T23:30:45-05:30",
        "fraction": "2024-02-29T12:30:45.5",
        "fraction-3": "2024-02-29T12:30:45.123",
        "fraction-6": "2024-02-29T12:30:45.123456",
        "fraction-7": "2024-02-29T12:30:45.1234567",
        "fraction-9": "2024-02-29T12:30:45.123456789",
        "fraction-zeros": "2024-02-29T12:30:45.000",
        "fraction-utc": "2024-02-29T12:30:45.120Z",
        "date": "2024-02-29",
        "date-utc": "2024-02-29Z",
        "spaces": " 2024-02-29T12:30:45 ",
        "first": "0001-01-01T00:00:00",
        "last": "9999-12-31T23:59:59",
        "midnight-24": "2024-02-29T24:00:00",
        "month-13": "2024-13-01T00:00:00",
        "no-leap-year": "2023-02-29T00:00:00",
        "space-between": "2024-02-29 12:30:45",
        "without-seconds": "2024-02-29T12:30",
        "italian": "29/02/2024 12.30.45",
        "empty": "",
        "word": "canary",
        "year-0": "0000-01-01T00:00:00",
    }.items():
        yield _call(f"time-{name}", "When", f"<at>{text}</at>")
    yield _call("time-missing", "When")


def _parameters() -> Iterator[Case]:
    yield _call("parameter-unqualified", "Add", '<a xmlns="">41</a><b>1</b>')
    yield _call("parameter-of-another-namespace", "Add", '<a xmlns="urn:x">41</a><b>1</b>')
    yield _call("parameter-twice", "Add", "<a>41</a><a>5</a><b>1</b>")
    yield _call("parameter-twice-apart", "Add", "<a>41</a><b>1</b><a>5</a>")
    yield _call("string-twice", "Echo", "<text>first</text><text>second</text>")
    yield _call("parameters-in-other-order", "Add", "<b>1</b><a>41</a>")
    yield _call("parameter-unknown-before", "Add", "<x><a>5</a></x><a>41</a><b>1</b>")
    yield _call("parameter-unknown-between", "Add", "<a>41</a><x>5</x><b>1</b>")
    yield _call("parameter-unknown-after", "Add", "<a>41</a><b>1</b><x/>")
    yield _call("parameter-in-other-case", "Add", "<A>41</A><b>1</b>")
    yield _call("parameter-with-attribute", "Add", '<a x="y">41</a><b>1</b>')
    yield _call("text-between-parameters", "Add", "x<a>41</a>y<b>1</b>z")
    yield _call("operation-with-attributes", "Echo", ECHO.replace("<text>", '<text e:encodingStyle="urn:x">'))
    prefixed = f'<n:Add xmlns:n="{NAMESPACE}"><n:a>41</n:a><n:b>1</n:b></n:Add>'
    yield Case("prefixed", wrap(prefixed))
    yield Case("operation-nil", wrap(f'<Nothing xmlns="{NAMESPACE}" i:nil="true"/>'))
    yield Case("two-operations", wrap(payload("Echo", ECHO) + payload("Add", "<a>41</a>")))
    yield Case("comments-around", wrap(f"<!-- x --> {payload('Echo', ECHO)} <!-- y -->"))


def _texts() -> Iterator[Case]:
    for name, text in {
        "escapes": "&lt;&gt;&amp;&quot;&apos;",
        "quotes": "\"'",
        "cdata": "<![CDATA[<a>&\"']]>",
        "cdata-end": "]]&gt;",
        "carriage-return": "a&#13;b&#13;&#10;c",
        "line-ends": "a\nb\r\nc\rd",
        "tabs": "a\tb&#9;c",
        "no-break-space": "\u00a0\u2028\u0085",
        "accents": "Città – 東京",
        "astral": "😀𐍈",
        "astral-reference": "&#x1F600;",
        "noncharacter": "\ufffd\ufdd0",
        "control": "\u007f\u009f",
        "spaces": "  a  ",
        "blank": "   ",
        "comment": "a<!-- x -->b",
        "instruction": "a<?x y?>b",
        "cdata-beside": "a<![CDATA[b]]>c",
        "markup": "&lt;mailupMessage&gt;&lt;ReturnCode&gt;0&lt;/ReturnCode&gt;&lt;/mailupMessage&gt;",
        "twice-escaped": "&amp;lt;a&amp;gt;",
        "empty": "",
        "element": "a<b>c</b>d",
        "nul-reference": "a&#0;b",
        "control-reference": "a&#1;b",
        "entity-unknown": "&nbsp;",
        "ampersand-bare": "a & b",
    }.items():
        yield _call(f"text-{name}", "Echo", f"<text>{text}</text>")
    yield _call("text-self-closed", "Echo", "<text/>")
    yield _call("text-missing", "Echo")
    yield _call("text-nil", "Echo", '<text i:nil="true"/>')
    yield _call("text-nil-1", "Echo", '<text i:nil="1"/>')
    yield _call("text-nil-with-content", "Echo", '<text i:nil="true">a</text>')
    yield _call("text-not-nil", "Echo", '<text i:nil="false">a</text>')
    yield _call("text-typed", "Echo", '<text i:type="d:string">a</text>')
    yield _call("text-typed-as-int", "Echo", '<text i:type="d:int">5</text>')
    yield _call("text-typed-as-nothing", "Echo", '<text i:type="d:canary">a</text>')
    yield _call("text-typed-with-unknown-prefix", "Echo", '<text i:type="zz:string">a</text>')
    yield _call("text-astral-1.2", "Echo", "<text>😀 &lt;</text>", version=V12)


def _results() -> Iterator[Case]:
    yield _call("result-null", "Nothing")
    yield _call("result-null-1.2", "Nothing", version=V12)
    for count in (-1, 0, 1, 3):
        yield _call(f"rows-{count}", "Rows", f"<count>{count}</count>")
    yield _call("rows-2-1.2", "Rows", "<count>2</count>", version=V12)


def _option_lists() -> Iterator[Case]:
    for name, content in {
        "missing": "",
        "empty": "<options/>",
        "nil": '<options i:nil="true"/>',
        "of-nil": '<options><Option i:nil="true"/></options>',
        "of-empty": "<options><Option/></options>",
        "untyped": "<options><Option><Key>k</Key><Value>v</Value></Option></options>",
        "string": '<options><Option><Key>k</Key><Value i:type="d:string">v</Value></Option></options>',
        "boolean": '<options><Option><Key>k</Key><Value i:type="d:boolean">true</Value></Option></options>',
        "int": '<options><Option><Key>k</Key><Value i:type="d:int">5</Value></Option></options>',
        "int-odd": '<options><Option><Key>k</Key><Value i:type="d:int">canary</Value></Option></options>',
        "value-empty": "<options><Option><Key>k</Key><Value/></Option></options>",
        "value-nil": '<options><Option><Key>k</Key><Value i:nil="true"/></Option></options>',
        "value-absent": "<options><Option><Key>k</Key></Option></options>",
        "value-cdata": "<options><Option><Key>k</Key><Value><![CDATA[<v>]]></Value></Option></options>",
        "value-elements": "<options><Option><Key>k</Key><Value>a<b>c</b></Value></Option></options>",
        "value-first": "<options><Option><Value>v</Value><Key>k</Key></Option></options>",
        "key-absent": "<options><Option><Value>v</Value></Option></options>",
        "two": "<options><Option><Key>k</Key></Option><Option><Key>l</Key></Option></options>",
        "with-others": "<options><x/><Option><Key>k</Key><x/></Option>x</options>",
        "twice": "<options><Option><Key>k</Key></Option></options><options><Option><Key>l</Key></Option></options>",
        "unqualified": '<options><Option xmlns=""><Key>k</Key></Option></options>',
        "typed": f'<options xmlns:t="{NAMESPACE}"><Option i:type="t:Option"><Key>k</Key></Option></options>',
        "typed-as-row": f'<options xmlns:t="{NAMESPACE}"><Option i:type="t:Row"><Key>k</Key></Option></options>',
        "typed-as-int": '<options><Option i:type="d:int">5</Option></options>',
    }.items():
        yield _call(f"options-{name}", "Options", content)


def _headers() -> Iterator[Case]:
    for name, header in {
        "absent": None,
        "empty": "",
        "full": CREDENTIALS.replace("</Auth", "<encType>e</encType></Auth"),
        "two-members": CREDENTIALS,
        "no-members": f'<Authentication xmlns="{NAMESPACE}"/>',
        "empty-member": f'<Authentication xmlns="{NAMESPACE}"><User/></Authentication>',
        "nil-member": f'<Authentication xmlns="{NAMESPACE}"><User i:nil="true"/></Authentication>',
        "other-order": f'<Authentication xmlns="{NAMESPACE}"><Password>p</Password><User>u</User></Authentication>',
        "unqualified-members": f'<a:Authentication xmlns:a="{NAMESPACE}"><User>u</User></a:Authentication>',
        "unknown-member": f'<Authentication xmlns="{NAMESPACE}"><x/><User>u</User></Authentication>',
        "attributes": CREDENTIALS.replace(" xmlns", ' x="y" xmlns'),
        "other-namespace": CREDENTIALS.replace(NAMESPACE, "ns1"),
        "no-namespace": CREDENTIALS.replace(f' xmlns="{NAMESPACE}"', ""),
        "twice": CREDENTIALS + CREDENTIALS.replace(">u<", ">second<"),
        "beside-another": f'<x xmlns="urn:x"/>{CREDENTIALS}',
        "must-be-understood": CREDENTIALS.replace(" xmlns", ' e:mustUnderstand="1" xmlns'),
        "need-not-be-understood": CREDENTIALS.replace(" xmlns", ' e:mustUnderstand="0" xmlns'),
        "actor": CREDENTIALS.replace(" xmlns", ' e:actor="urn:other" xmlns'),
        "actor-next": CREDENTIALS.replace(" xmlns", f' e:actor="{NEXT}" xmlns'),
        "unknown": '<x xmlns="urn:x"/>',
        "unknown-need-not": '<x xmlns="urn:x" e:mustUnderstand="0"/>',
        "unknown-must": '<x xmlns="urn:x" e:mustUnderstand="1"/>',
        "unknown-must-true": '<x xmlns="urn:x" e:mustUnderstand="true"/>',
        "unknown-must-for-another": '<x xmlns="urn:x" e:mustUnderstand="1" e:actor="urn:other"/>',
        "unknown-must-for-next": f'<x xmlns="urn:x" e:mustUnderstand="1" e:actor="{NEXT}"/>',
    }.items():
        yield _call(f"header-{name}", "HeaderUser", header=header)
    yield _call("header-1.2", "HeaderUser", header=CREDENTIALS, version=V12)
    must = '<x xmlns="urn:x" e:mustUnderstand="{}"/>'
    yield _call("header-unknown-must-1.2", "HeaderUser", header=must.format("true"), version=V12)
    yield _call("header-unknown-must-1.2-as-text", "HeaderUser", header=must.format(1), version=V12, content_type=TEXT)
    role = must.format(1).replace("/>", ' e:role="http://www.w3.org/2003/05/soap-envelope/role/none"/>')
    yield _call("header-unknown-must-of-no-role-1.2", "HeaderUser", header=role, version=V12)
    body, head = f"<e:Body>{payload('HeaderUser')}</e:Body>", f"<e:Header>{CREDENTIALS}</e:Header>"
    yield Case("header-after-body", f'<e:Envelope xmlns:e="{V11}">{body}{head}</e:Envelope>'.encode())


def _faults() -> Iterator[Case]:
    yield _call("exception", "Fail")
    yield _call("exception-1.2", "Fail", version=V12)
    yield _call("operation-unknown", "Canary")
    yield _call("operation-unknown-1.2", "Canary", version=V12)
    yield _call("operation-in-other-case", "echo", ECHO)
    yield Case("operation-unqualified", wrap("<Echo><text>a</text></Echo>"))
    yield Case("operation-of-another-namespace", wrap('<Echo xmlns="urn:x"><text>a</text></Echo>'))
    yield Case("body-empty", wrap(""))
    yield Case("body-empty-1.2", wrap("", V12), {"Content-Type": SOAP})
    yield Case("body-with-text", wrap("canary"))
    yield Case("body-absent", f'<e:Envelope xmlns:e="{V11}"/>'.encode())
    yield Case("body-only-header", f'<e:Envelope xmlns:e="{V11}"><e:Header/></e:Envelope>'.encode())
    fault = "<e:Fault><faultcode>e:Server</faultcode><faultstring>x</faultstring></e:Fault>"
    yield Case("body-with-fault", wrap(fault))


def _not_messages() -> Iterator[Case]:
    message = wrap(payload("Echo", ECHO)).decode()
    document_type = message.replace("?>", '?><!DOCTYPE x [<!ENTITY y "z">]>', 1).replace(">a<", ">&y;<")
    for name, body in {
        "root-wrong": b"<canary/>",
        "root-without-namespace": b"<Envelope><Body/></Envelope>",
        "root-of-another-namespace": b'<Envelope xmlns="urn:x"><Body/></Envelope>',
        "root-of-another-name": message.replace("e:Envelope", "e:Canary").encode(),
        "malformed": b"<e:Envelope",
        "malformed-tags": message.replace("</text>", "</txt>").encode(),
        "malformed-end": message[:-10].encode(),
        "malformed-after-end": message.encode() + b"<x/>",
        "malformed-prefix": message.replace("<text>", "<zz:text>").replace("</text>", "</zz:text>").encode(),
        "malformed-bytes": message.encode().replace(b">a<", b">\xff<"),
        "post-empty": b"",
        "post-blank": b" ",
        "post-text": b"canary",
        "document-type": document_type.encode(),
        "declaration-missing": message.partition("?>")[2].encode(),
        "blank-before-declaration": b"\n" + message.encode(),
        "blank-after-end": message.encode() + b"\n\n",
    }.items():
        yield Case(name, body)
    for name, body in {"root-wrong": b"<canary/>", "malformed": b"<e:Envelope", "post-empty": b""}.items():
        yield Case(f"{name}-1.2", body, {"Content-Type": SOAP})
    yield Case("malformed-with-action", b"<e:Envelope", {"Content-Type": TEXT, "SOAPAction": f'"{NAMESPACE}Echo"'})
    yield Case("post-empty-with-action", b"", {"Content-Type": TEXT, "SOAPAction": f'"{NAMESPACE}Echo"'})


def _other_methods() -> Iterator[Case]:
    message = wrap(payload("Echo", ECHO))
    for method in ("PUT", "DELETE", "PATCH"):
        yield Case(f"method-{method}", message, method=method)
    yield Case("method-OPTIONS", method="OPTIONS", headers={})
    yield Case("method-HEAD", method="HEAD", headers={})


def _pages() -> Iterator[Case]:
    for name, query in {
        "help": "",
        "operation": "?op=Echo",
        "operation-in-capitals": "?OP=Echo",
        "operation-unknown": "?op=Canary",
        "discovery": "?disco",
        "discovery-in-capitals": "?DISCO",
        "contract": "?wsdl",
        "contract-in-capitals": "?WSDL",
        "contract-with-value": "?wsdl=1",
        "other-query": "?canary",
    }.items():
        yield Case(f"page-{name}", method="GET", headers={}, path=PATH + query)
    yield Case("path-in-other-case", wrap(payload("Echo", ECHO)), path="/oracle.ASMX")
    yield Case("path-with-two-slashes", wrap(payload("Echo", ECHO)), path="//Oracle.asmx")
    yield Case("path-with-slash-after", wrap(payload("Echo", ECHO)), path=f"{PATH}/")
    yield Case("path-with-query", wrap(payload("Echo", ECHO)), path=f"{PATH}?wsdl")
    yield Case("path-of-operation", method="GET", headers={}, path=f"{PATH}/Echo?text=a")
    yield Case("path-unknown", wrap(payload("Echo", ECHO)), path="/Canary.asmx")
