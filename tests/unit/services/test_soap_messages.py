"""Envelopes, parameters and answers without a network."""

from __future__ import annotations

import pytest

from services.mailup.import_service import IMPORT_SERVICE, NAMESPACE
from services.mailup.results import describe_outcome, element, write_result
from services.soap.codec import ServiceCodec
from services.soap.envelope import Envelope, UnsupportedMediaType, open_envelope, read_header
from services.soap.faults import SoapFault, SoapVersion, encode_fault, wrap_body
from services.soap.limits import (
    LimitPassed,
    MessageTooLarge,
    NameTooLong,
    TagTooLong,
    TextTooLong,
    TooDeep,
    TooManyAttributes,
    TooManyNodes,
    XmlLimits,
)
from services.soap.reader import MalformedDocument, Node, read_tree

_LIMITS = XmlLimits(depth=10, nodes=50, attributes=5, name=100, tag=70_000, text=100_000, message=200_000)
_OPERATIONS = ServiceCodec(IMPORT_SERVICE).operations
_CODEC = _OPERATIONS[f"{NAMESPACE} GetProcessDetails"]
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def _body(content: str) -> Node:
    return read_tree([f'<GetProcessDetails xmlns="{NAMESPACE}" {_XSI}>{content}</GetProcessDetails>'.encode()], _LIMITS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [0, None, 0]),
        ("<idList>1</idList><listGUID>g</listGUID><idProcess>3</idProcess>", [1, "g", 3]),
        ("<idProcess>3</idProcess><idList>1</idList>", [1, None, 3]),
        ("<idList> +7\n</idList>", [7, None, 0]),
        ("<idList>-2147483648</idList>", [-(2**31), None, 0]),
        ('<idList xmlns="">5</idList>', [0, None, 0]),
        ("<idList>5</idList><idList>6</idList>", [5, None, 0]),
        ("<unknown>5</unknown>", [0, None, 0]),
        ('<idList xsi:type="x:int">5</idList>', [5, None, 0]),
        ("<listGUID/>", [0, "", 0]),
        ('<listGUID xsi:nil="true"/>', [0, None, 0]),
        ("<listGUID>a<![CDATA[<b>]]>c</listGUID>", [0, "a<b>c", 0]),
    ],
)
def test_parameters(content: str, expected: list[object]) -> None:
    assert _CODEC.decode(_body(content)) == expected


@pytest.mark.parametrize("value", ["", " ", "x", "1_000", "٣", "1.0", "2147483648", "-2147483649", "9" * 40, "0x1"])
def test_odd_numbers_are_client_faults(value: str) -> None:
    with pytest.raises(SoapFault) as caught:
        _CODEC.decode(_body(f"<idList>{value}</idList>"))
    assert caught.value.code == "Client"
    assert caught.value.text.startswith(
        "Server was unable to read request. ---> There is an error in XML document (1, "
    )
    assert not value.strip() or value not in caught.value.text


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("1", True), ("false", False), ("0", False), (" true ", True), ("", None), ("yes", None)],
)
def test_booleans(value: str, expected: bool | None) -> None:
    codec = _OPERATIONS[f"{NAMESPACE} StartImportProcesses"]
    root = read_tree([f'<S xmlns="{NAMESPACE}"><asOptOut>{value}</asOptOut></S>'.encode()], _LIMITS)
    if expected is None:
        with pytest.raises(SoapFault):
            codec.decode(root)
    else:
        assert codec.decode(root)[8] is expected


def test_results() -> None:
    start = f'<GetProcessDetailsResponse xmlns="{NAMESPACE}"'
    assert _CODEC.encode(None) == f"{start} />"
    assert _CODEC.encode("") == f"{start}><GetProcessDetailsResult /></GetProcessDetailsResponse>"
    assert '&lt;a b="c"&gt;&amp;' in _CODEC.encode('<a b="c">&')
    for text in ("a\0b", "a\ud800b", "a\uffffb", "a\x1fb"):
        assert "a\N{REPLACEMENT CHARACTER}b".encode() in wrap_body(SoapVersion.V11, _CODEC.encode(text))
    for text in ("한국어", "\t\r\n", "😀", "\x7f\x85"):
        assert text.encode() in wrap_body(SoapVersion.V11, _CODEC.encode(text))


@pytest.mark.parametrize(
    "document",
    [
        b"<a",
        b"<a></b>",
        b"text",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b"<a>&x;</a>",
        b"<a>\x00</a>",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b'<?xml version="1.0" encoding="none"?><a/>',
        b"",
        b" ",
    ],
)
def test_documents_refused(document: bytes) -> None:
    with pytest.raises(MalformedDocument):
        read_tree([document], _LIMITS)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"<a>" * 11 + b"</a>" * 11, TooDeep),
        (b"<a>" + b"<b/>" * 50 + b"</a>", TooManyNodes),
        (b"<a " + b" ".join(b'x%d=""' % number for number in range(6)) + b"/>", TooManyAttributes),
        (b"<a" + b"a" * 100 + b"/>", NameTooLong),
        (b"<a a" + b"a" * 100 + b"=''/>", NameTooLong),
        (b"<a xmlns='" + b"a" * 100 + b"'/>", NameTooLong),
        (b"<a" + b"a" * 180_000 + b"/>", TagTooLong),
        (b'<a b="' + b"a" * 180_000 + b'"/>', TagTooLong),
        (b"<a><!--" + b"a" * 180_000 + b"--></a>", TagTooLong),
        (b"<a>" + b"a" * 100_001 + b"</a>", TextTooLong),
        (b"<a>" + b"a<!-- -->" * 17_000 + b"<b>" + b"a" * 60_000 + b"</b></a>", MessageTooLarge),
        (b"<a>" + b"a" * 60_000 + b"<b>" + b"a" * 60_000 + b"</b></a>", TextTooLong),
        (b" " * 200_001, MessageTooLarge),
    ],
)
def test_limits(document: bytes, error: type[LimitPassed]) -> None:
    for size in (1000, 1 << 20):
        with pytest.raises(error) as caught:
            read_tree((document[start : start + size] for start in range(0, len(document), size)), _LIMITS)
        assert caught.value.code == "Client"
        assert caught.value.text.startswith("Server was unable to read request. ---> ")


@pytest.mark.parametrize("charset", ["none", "utf-7", "hex", "\0", "é", "utf-16"])
def test_charsets_that_lie(charset: str) -> None:
    with pytest.raises(MalformedDocument):
        read_tree([b"<a/>"], _LIMITS, charset)


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        (None, "<a>è</a>".encode()),
        (None, b"\xef\xbb\xbf" + "<a>è</a>".encode()),
        ("UTF-8", "<a>è</a>".encode()),
        ("utf8", "<a>è</a>".encode()),
        ("windows-1252", "<a>è</a>".encode("cp1252")),
        ("iso-8859-1", "<a>è</a>".encode("latin-1")),
        (None, '<?xml version="1.0" encoding="iso-8859-1"?><a>è</a>'.encode("latin-1")),
        (None, "<a>è</a>".encode("utf-16")),
        ("windows-1252", '<?xml version="1.0" encoding="utf-8"?><a>è</a>'.encode("cp1252")),
    ],
)
def test_charsets(charset: str | None, data: bytes) -> None:
    for size in (1, 7, 1000):
        root = read_tree((data[start : start + size] for start in range(0, len(data), size)), _LIMITS, charset)
        assert root.text == "è"


def _open(version: SoapVersion, header: str = "", media_type: str = "text/xml") -> Envelope:
    document = (
        f'<e:Envelope xmlns:e="{version.namespace}"><e:Header>{header}</e:Header><e:Body><x/></e:Body></e:Envelope>'
    )
    return open_envelope(read_tree([document.encode()], _LIMITS), media_type)


@pytest.mark.parametrize("namespace", [NAMESPACE, "http://tempuri.org/", ""])
def test_header_in_any_namespace(namespace: str) -> None:
    header = f'<Authentication xmlns="{namespace}"><User>a1</User><Password/></Authentication>'
    envelope = _open(SoapVersion.V11, header)
    expected = {"User": "a1", "Password": "", "encType": None}
    assert read_header(envelope, "Authentication", expected) == expected


def test_header_absent() -> None:
    envelope = _open(SoapVersion.V11, "<Other/>")
    assert read_header(envelope, "Authentication", ["User"]) is None


@pytest.mark.parametrize("version", SoapVersion)
def test_header_that_must_be_understood(version: SoapVersion) -> None:
    header = '<Other e:mustUnderstand="1"/>'
    envelope = _open(version, header, version.media_type)
    with pytest.raises(SoapFault) as caught:
        read_header(envelope, "Authentication", ["User"])
    assert caught.value.code == "MustUnderstand"


def test_versions() -> None:
    assert _open(SoapVersion.V12).version is SoapVersion.V12
    with pytest.raises(UnsupportedMediaType):
        _open(SoapVersion.V11, media_type="application/soap+xml")
    with pytest.raises(SoapFault) as caught:
        open_envelope(read_tree([b"<Envelope/>"], _LIMITS), "text/xml")
    assert caught.value.code == "VersionMismatch"


def test_faults() -> None:
    assert b"<faultcode>soap:Client</faultcode><faultstring>a &lt; b</faultstring><detail />" in encode_fault(
        SoapVersion.V11, SoapFault("Client", "a < b")
    )
    assert b"<soap:Value>soap:Receiver</soap:Value>" in encode_fault(SoapVersion.V12, SoapFault("Server", "x"))
    assert b"<soap:Detail />" in encode_fault(SoapVersion.V12, SoapFault("Client", "x"))
    assert b"<detail><a /></detail>" in encode_fault(SoapVersion.V11, SoapFault("Server", "x", "<a />"))
    # As in ASMX, whose faults about headers have none.
    assert b"etail" not in encode_fault(SoapVersion.V12, SoapFault("MustUnderstand", "x"))


def test_result_documents_are_ascii_without_spaces() -> None:
    result = write_result(0, element("Lists", element("List", listName='è & "<>')))
    assert result == (
        '<?xml version="1.0" encoding="windows-1252" ?><mailupMessage><mailupBody><ReturnCode>0</ReturnCode><Lists>'
        '<List listName="&#232; &amp; &quot;&lt;&gt;"></List></Lists></mailupBody></mailupMessage>'
    )


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (write_result(0), "ok"),
        (write_result(0, element("ReturnCode", "-101")), "partly"),
        (write_result(-101), "refused"),
        (write_result(-1002), "denied"),
        (None, "refused"),
    ],
)
def test_outcomes(result: str | None, expected: str) -> None:
    assert describe_outcome(result) == expected
