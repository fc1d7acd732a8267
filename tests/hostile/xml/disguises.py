"""Hostile SOAP requests that say two things at once: about their encoding, their packing, or what they mean."""

from __future__ import annotations

import gzip
import zlib

from hostile.xml.attacks import (
    ADDRESS,
    ANSWERED,
    CANARY,
    LISTS,
    MALFORMED,
    NAMESPACE,
    NO_ACTION,
    NO_ENVELOPE,
    NO_OPERATION,
    NOT_UNDERSTOOD,
    SEND_NAMESPACE,
    SEND_PATH,
    SOAP,
    TEXT,
    UNKNOWN_ACTION,
    UNREADABLE,
    UNSUPPORTED,
    V11,
    V12,
    Attack,
    Expected,
    body_of,
    details,
    envelope,
)

M = 1_000_000
_BARE = "text/xml"
_ACCENT = details("<listGUID>Citt\u00e0</listGUID>")
_PACKED = Expected(415, "415 Unsupported Media Type")
_NO_BODY = NO_OPERATION


def _declared(encoding: str, body: str = LISTS) -> str:
    return envelope(body, prolog=f'<?xml version="1.0" encoding="{encoding}"?>').decode()


# A byte order mark outranks the word of the transport, and that the word of the document (RFC 7303 section 3); the
# bytes have to be what they are said to be. Version numbers of XML are not told apart: all are read as XML 1.0.
ENCODINGS = tuple(
    Attack(name, lambda content=content: content, expected, content_type)  # type: ignore[misc]
    for name, content, expected, content_type in (
        ("utf-16-declared", _declared("utf-16").encode(), MALFORMED, _BARE),
        ("utf-16-declared-and-denied", _declared("utf-16").encode(), ANSWERED, TEXT),
        ("utf-16-claimed", _declared("utf-8").encode(), MALFORMED, "text/xml; charset=utf-16"),
        ("utf-16-unclaimed", _declared("utf-16").encode("utf-16"), ANSWERED, _BARE),
        ("utf-16-without-mark", _declared("utf-16").encode("utf-16-le"), ANSWERED, _BARE),
        ("utf-16-denied", _declared("utf-16").encode("utf-16"), ANSWERED, TEXT),
        ("utf-16-as-utf-8-declared", _declared("utf-8").encode("utf-16"), MALFORMED, _BARE),
        ("utf-16-cut-in-a-character", _declared("utf-16").encode("utf-16") + b"\0", MALFORMED, _BARE),
        (
            "utf-16-half-pair",
            _declared("utf-16", _ACCENT).encode("utf-16").replace(b"\xe0\0", b"\0\xd8"),
            MALFORMED,
            _BARE,
        ),
        ("utf-32", _declared("utf-32").encode("utf-32"), MALFORMED, _BARE),
        ("utf-32-claimed", _declared("utf-32").encode("utf-32"), MALFORMED, "text/xml; charset=utf-32"),
        ("utf-7-declared", _declared("utf-7").encode("utf-7"), MALFORMED, _BARE),
        ("utf-7-claimed", _declared("utf-7").encode("utf-7"), MALFORMED, "text/xml; charset=utf-7"),
        ("utf-7-hidden-tags", envelope("+ADw-x+AD4-").replace(b"<e:Body>", b"<e:Body>"), NO_OPERATION, TEXT),
        ("ebcdic-declared", _declared("cp037").encode("cp037"), MALFORMED, _BARE),
        ("ebcdic-claimed", _declared("cp037").encode("cp037"), MALFORMED, "text/xml; charset=cp037"),
        ("ebcdic-in-name-only", _declared("cp037").encode(), MALFORMED, _BARE),
        ("unknown-declared", _declared(CANARY).encode(), MALFORMED, _BARE),
        ("unknown-claimed", _declared("utf-8").encode(), MALFORMED, f"text/xml; charset={CANARY}"),
        ("long-claimed", _declared("utf-8").encode(), UNSUPPORTED, f"text/xml; charset={CANARY * 500}"),
        ("crowd-claimed", _declared("utf-8").encode(), UNSUPPORTED, f'text/xml; action="{";" * 60_000}"'),
        ("path-claimed", _declared("utf-8").encode(), MALFORMED, "text/xml; charset=../../etc/passwd"),
        ("module-claimed", _declared("utf-8").encode(), MALFORMED, "text/xml; charset=aliases"),
        ("bytes-claimed", _declared("utf-8").encode(), MALFORMED, "text/xml; charset=hex"),
        ("packing-claimed", _declared("utf-8").encode(), MALFORMED, "text/xml; charset=zlib"),
        ("punycode-declared", _declared("punycode").encode(), MALFORMED, _BARE),
        ("idna-declared", _declared("idna").encode(), MALFORMED, _BARE),
        ("escapes-declared", _declared("unicode_escape").encode(), MALFORMED, _BARE),
        ("multi-byte-declared", _declared("shift_jis").encode(), MALFORMED, _BARE),
        ("quotes-claimed", _declared("utf-8").encode(), MALFORMED, 'text/xml; charset="\\"'),
        ("windows-1252-declared", _declared("windows-1252", _ACCENT).encode("cp1252"), ANSWERED, _BARE),
        (
            "windows-1252-after-mark",
            b"\xef\xbb\xbf" + _declared("windows-1252", _ACCENT).encode("cp1252"),
            ANSWERED,
            _BARE,
        ),
        ("windows-1252-as-utf-8", _declared("utf-8", _ACCENT).encode("cp1252"), MALFORMED, TEXT),
        ("windows-1252-denied", _declared("windows-1252", _ACCENT).encode("cp1252"), MALFORMED, TEXT),
        ("mark", b"\xef\xbb\xbf" + _declared("utf-8").encode(), ANSWERED, TEXT),
        ("mark-twice", b"\xef\xbb\xbf" * 2 + _declared("utf-8").encode(), MALFORMED, TEXT),
        ("mark-late", b" \xef\xbb\xbf" + envelope(LISTS), MALFORMED, TEXT),
        ("overlong-2", envelope(details("<listGUID>~</listGUID>")).replace(b"~", b"\xc0\xbc"), MALFORMED, TEXT),
        ("overlong-3", envelope(details("<listGUID>~</listGUID>")).replace(b"~", b"\xe0\x80\xbc"), MALFORMED, TEXT),
        ("overlong-nul", envelope(details("<listGUID>~</listGUID>")).replace(b"~", b"\xc0\x80"), MALFORMED, TEXT),
        (
            "surrogate-bytes",
            envelope(details("<listGUID>~</listGUID>")).replace(b"~", b"\xed\xa0\x80"),
            MALFORMED,
            TEXT,
        ),
        (
            "beyond-unicode",
            envelope(details("<listGUID>~</listGUID>")).replace(b"~", b"\xf4\x90\x80\x80"),
            MALFORMED,
            TEXT,
        ),
        ("cut-in-a-character", envelope(LISTS) + b"\xe2\x82", MALFORMED, TEXT),
        ("xml-1.1", envelope(LISTS, prolog='<?xml version="1.1"?>'), ANSWERED, TEXT),
        ("xml-2.0", envelope(LISTS, prolog='<?xml version="2.0"?>'), ANSWERED, TEXT),
        ("standalone", envelope(LISTS, prolog='<?xml version="1.0" standalone="yes"?>'), ANSWERED, TEXT),
        ("standalone-maybe", envelope(LISTS, prolog='<?xml version="1.0" standalone="maybe"?>'), MALFORMED, TEXT),
        ("declaration-twice", envelope(LISTS, prolog='<?xml version="1.0"?>' * 2), MALFORMED, TEXT),
        ("declaration-late", envelope(LISTS, prolog=' <?xml version="1.0"?>'), MALFORMED, TEXT),
    )
)

CHARACTERS = tuple(
    Attack(f"character-{name}", body_of(details(f"<listGUID>{CANARY}{text}</listGUID>")), MALFORMED)
    for name, text in {
        "nul": "\0",
        "nul-reference": "&#0;",
        "nul-hexadecimal": "&#x0;",
        "bell": "\x07",
        "escape": "\x1b[2J",
        "unit-separator": "\x1f",
        "control-reference": "&#1;",
        "surrogate-reference": "&#xD800;",
        "surrogate-pair": "&#xD83D;&#xDE00;",
        "not-a-character": "\ufffe",
        "not-a-character-reference": "&#xFFFF;",
        "beyond": "&#x110000;",
        "beyond-32-bits": "&#xFFFFFFFF;",
        "beyond-64-bits": "&#x10000000000000041;",
        "negative": "&#-1;",
        "empty-reference": "&#;",
        "section-end": "]]>",
        "left-angle": "<",
        "ampersand": "&",
    }.items()
)

_BOMB = b"\0" * 20 * M

PACKINGS = tuple(
    Attack(name, lambda content=content: content, expected, TEXT, headers=headers)  # type: ignore[misc]
    for name, content, expected, headers in (
        ("gzip", gzip.compress(envelope(LISTS)), _PACKED, {"Content-Encoding": "gzip"}),
        ("gzip-bomb", gzip.compress(_BOMB), _PACKED, {"Content-Encoding": "gzip"}),
        ("gzip-twice", gzip.compress(gzip.compress(_BOMB)), _PACKED, {"Content-Encoding": "gzip, gzip"}),
        ("gzip-unsaid", gzip.compress(envelope(LISTS)), MALFORMED, {}),
        ("gzip-only-said", envelope(LISTS), _PACKED, {"Content-Encoding": "x-gzip"}),
        ("deflate", zlib.compress(envelope(LISTS)), _PACKED, {"Content-Encoding": "deflate"}),
        ("deflate-unsaid", zlib.compress(envelope(LISTS)), MALFORMED, {}),
        ("brotli-said", envelope(LISTS), _PACKED, {"Content-Encoding": "br"}),
        ("canary-said", envelope(LISTS), _PACKED, {"Content-Encoding": CANARY}),
        ("identity", envelope(LISTS), ANSWERED, {"Content-Encoding": "identity"}),
    )
)

_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_WRAPPED = (
    f'<s:Security xmlns:s="urn:s"><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
    f'<ds:Reference URI="#one"/><e:Body Id="one">{details("<idList>x</idList>")}</e:Body></ds:Signature></s:Security>'
)


def _addressing(must_understand: str) -> str:
    return "".join(
        f'<a:{name} xmlns:a="{_ADDRESSING}" e:mustUnderstand="{must_understand}">{content}</a:{name}>'
        for name, content in (
            ("Action", f"{NAMESPACE}StartImportProcesses"),
            ("To", f"{ADDRESS}/{CANARY}"),
            ("ReplyTo", f"<a:Address>{ADDRESS}/{CANARY}</a:Address>"),
            ("FaultTo", f"<a:Address>{ADDRESS}/{CANARY}</a:Address>"),
        )
    )


def _raw(content: str) -> bytes:
    return f'<e:Envelope xmlns:e="{V11}"><!--{CANARY}-->{content}</e:Envelope>'.encode()


_NIL_OPTION = '<Option xsi:nil="1"/>'
_BODY = f"<e:Body>{LISTS}</e:Body>"
_OTHER_BODY = f"<e:Body>{details('<idList>x</idList>')}</e:Body>"

_MEANINGS = tuple(
    Attack(name, lambda content=content: content, expected)  # type: ignore[misc]
    for name, content, expected in (
        ("addressing", envelope(LISTS, header=_addressing("0")), ANSWERED),
        ("addressing-to-be-understood", envelope(LISTS, header=_addressing("1")), NOT_UNDERSTOOD),
        ("addressing-truly-to-be-understood", envelope(LISTS, header=_addressing("true")), NOT_UNDERSTOOD),
        ("envelope-in-envelope", _raw(envelope(_OTHER_BODY).decode() + _BODY), ANSWERED),
        ("envelope-in-body", envelope(envelope(LISTS).decode()), NO_ACTION),
        ("envelope-twice", _raw(_BODY) + _raw(_OTHER_BODY), MALFORMED),
        ("envelope-of-no-namespace", f"<Envelope><Body><!--{CANARY}-->{LISTS}</Body></Envelope>".encode(), NO_ENVELOPE),
        ("envelope-of-unknown-namespace", envelope(LISTS).replace(V11.encode(), CANARY.encode()), NO_ENVELOPE),
        ("body-twice", _raw(_BODY + _OTHER_BODY), ANSWERED),
        ("body-twice-bad-first", _raw(_OTHER_BODY + _BODY), UNREADABLE),
        (
            "body-of-1.2",
            _raw(_BODY.replace("e:Body", "f:Body").replace("<f:Body", f'<f:Body xmlns:f="{V12}"', 1)),
            _NO_BODY,
        ),
        ("body-before-header", _raw(_BODY + f"<e:Header>{CANARY}</e:Header>"), ANSWERED),
        ("body-empty", _raw("<e:Body/>"), _NO_BODY),
        ("body-of-text", _raw(f"<e:Body>{CANARY}</e:Body>"), _NO_BODY),
        ("body-nil", _raw(f'<e:Body xmlns:i="{V11}" i:nil="true"/>'), _NO_BODY),
        ("body-absent", _raw("<e:Header/>"), _NO_BODY),
        ("header-twice", _raw(f"<e:Header/><e:Header>{_addressing('1')}</e:Header>{_BODY}"), ANSWERED),
        ("header-after-body", _raw(f"{_BODY}<e:Header>{_addressing('1')}</e:Header>"), NOT_UNDERSTOOD),
        ("operation-twice", envelope(LISTS + details("<idList>x</idList>")), ANSWERED),
        ("operation-unknown", envelope(f'<{CANARY} xmlns="{NAMESPACE}"/>'), NO_ACTION),
        ("operation-of-another-service", envelope(f'<GetNlLists xmlns="{SEND_NAMESPACE}"/>'), NO_ACTION),
        ("operation-of-no-namespace", envelope("<GetNlLists/>"), NO_ACTION),
        ("operation-in-another-case", envelope(LISTS.replace("GetNl", "getnl")), NO_ACTION),
        ("operation-nil", envelope(LISTS.replace(" />", ' xsi:nil="true" />')), ANSWERED),
        ("fault-as-request", envelope("<e:Fault><faultcode>e:Server</faultcode></e:Fault>"), NO_ACTION),
        ("wrapped-body", envelope(LISTS, header=_WRAPPED), ANSWERED),
        ("wrapped-same-id", _raw(f'<e:Header>{_WRAPPED}</e:Header><e:Body Id="one">{LISTS}</e:Body>'), ANSWERED),
        (
            "wrapped-same-xml-id",
            envelope(LISTS.replace(" />", ' xml:id="one" ><a xml:id="one"/></GetNlLists>')),
            ANSWERED,
        ),
        ("type-unknown", envelope(details('<idList xsi:type="e:Body">1</idList>')), ANSWERED),
        ("type-undeclared", envelope(details(f'<idList xsi:type="{CANARY}:x">1</idList>')), ANSWERED),
        ("type-of-operation", envelope(details("", 'xsi:type="e:Envelope"')), ANSWERED),
        ("type-python", envelope(details('<listGUID xsi:type="os.system">id</listGUID>')), ANSWERED),
        ("nil-number", envelope(details('<idList xsi:nil="true"/>')), UNREADABLE),
        ("nil-text", envelope(details('<listGUID xsi:nil="true">text</listGUID>')), ANSWERED),
        ("nil-odd", envelope(details(f'<listGUID xsi:nil="{CANARY}"/>')), ANSWERED),
        ("reference-to-itself", envelope(details('<listGUID id="a" href="#a"/>')), ANSWERED),
        ("references-in-a-ring", envelope(details('<listGUID id="a" href="#b"/><x id="b" href="#a"/>')), ANSWERED),
        ("number-with-elements", envelope(details(f"<idList><{CANARY}>1</{CANARY}></idList>")), UNREADABLE),
        ("number-with-instruction", envelope(details(f"<idList>1<?{CANARY} 2?>3</idList>")), ANSWERED),
        ("number-odd", envelope(details(f"<idList>{CANARY}</idList>")), UNREADABLE),
        ("number-with-underscore", envelope(details("<idList>1_0</idList>")), UNREADABLE),
        ("number-of-other-digits", envelope(details("<idList>\u0661</idList>")), UNREADABLE),
        (
            "boolean-odd",
            envelope(f'<StartImportProcesses xmlns="{NAMESPACE}"><asOptOut>{CANARY}</asOptOut></StartImportProcesses>'),
            UNREADABLE,
        ),
    )
)

MEANINGS = (
    *_MEANINGS,
    Attack(
        "references-in-items",
        body_of(
            f'<CreateNewsletter xmlns="{SEND_NAMESPACE}"><options id="a" href="#a">'
            '<Option href="#a"/></options></CreateNewsletter>'
        ),
        Expected(200, "CreateNewsletterResult"),
        path=SEND_PATH,
    ),
    Attack(
        "nil-everywhere",
        body_of(
            f'<CreateNewsletter xmlns="{SEND_NAMESPACE}" xsi:nil="1"><subject xsi:nil="1"/>'
            '<options xsi:nil="1"><Option/></options></CreateNewsletter>'
        ),
        Expected(200, "CreateNewsletterResult"),
        path=SEND_PATH,
    ),
    Attack(
        "nil-items",
        body_of(f'<CreateNewsletter xmlns="{SEND_NAMESPACE}"><options>{_NIL_OPTION * 9}</options></CreateNewsletter>'),
        Expected(200, "CreateNewsletterResult"),
        path=SEND_PATH,
    ),
)

_REFUSED = (
    f"{NAMESPACE}StartImportProcesses",
    f"{NAMESPACE}{CANARY}",
    CANARY,
    CANARY * 500,
    f"{NAMESPACE}GetNlLists\t{CANARY}",
)

ACTIONS = (
    *tuple(
        Attack(f"action-{number}", body_of(LISTS), UNKNOWN_ACTION, headers={"SOAPAction": f'"{action}"'})
        for number, action in enumerate(_REFUSED)
    ),
    Attack(
        "action-of-media-type",
        body_of(LISTS, version=V12),
        Expected(500, "<soap:Value>soap:Sender</soap:Value>"),
        f'{SOAP}; action="{NAMESPACE}StartImportProcesses"',
    ),
    Attack(
        "action-said-twice",
        body_of(LISTS, version=V12),
        Expected(500, "<soap:Value>soap:Sender</soap:Value>"),
        f'{SOAP}; action="{NAMESPACE}{CANARY}"',
        headers={"SOAPAction": f"{NAMESPACE}GetNlLists"},
    ),
    Attack("type-of-1.2-for-1.1", body_of(LISTS), UNSUPPORTED, SOAP),
    Attack("type-of-forms", body_of(LISTS), UNSUPPORTED, "application/x-www-form-urlencoded"),
    Attack("type-of-json", body_of(LISTS), UNSUPPORTED, "application/json"),
    Attack("type-of-parts", body_of(LISTS), UNSUPPORTED, f"multipart/related; boundary={CANARY}"),
    Attack("type-odd", body_of(LISTS), UNSUPPORTED, "\x7f"),
)

DISGUISES = (*ENCODINGS, *CHARACTERS, *PACKINGS, *MEANINGS, *ACTIONS)
