"""Envelopes, parameters and answers without a network."""

from __future__ import annotations

import pytest

from services.mailup.import_service import IMPORT_SERVICE, NAMESPACE
from services.mailup.results import describe_outcome, element, write_result
from services.soap.codec import build_codecs
from services.soap.envelope import UnsupportedMediaType, read_envelope, read_header
from services.soap.faults import SoapFault, SoapVersion, encode_fault
from services.soap.tree import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_TAG,
    MalformedDocument,
    Node,
    read_tree,
)

_CODEC = build_codecs(IMPORT_SERVICE)["GetProcessDetails"]
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def _body(content: str) -> Node:
    root = read_tree([f'<GetProcessDetails xmlns="{NAMESPACE}" {_XSI}>{content}</GetProcessDetails>'.encode()])
    assert root is not None
    return root


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
    codec = build_codecs(IMPORT_SERVICE)["StartImportProcesses"]
    root = read_tree([f'<S xmlns="{NAMESPACE}"><asOptOut>{value}</asOptOut></S>'.encode()])
    assert root is not None
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
    assert "\0" not in _CODEC.encode("a\0b")


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
        b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1),
        b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>",
        b"<a " + b" ".join(b'x%d=""' % number for number in range(MAX_ATTRIBUTES + 1)) + b"/>",
        b"<a" + b"a" * (2 * MAX_TAG) + b"/>",
        b'<a b="' + b"a" * (2 * MAX_TAG) + b'"/>',
    ],
)
def test_documents_refused(document: bytes) -> None:
    with pytest.raises(MalformedDocument):
        read_tree([document])


@pytest.mark.parametrize("charset", ["none", "utf-7", "hex", "\0", "é", "utf-16"])
def test_charsets_that_lie(charset: str) -> None:
    with pytest.raises(MalformedDocument):
        read_tree([b"<a/>"], charset)


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
        root = read_tree((data[start : start + size] for start in range(0, len(data), size)), charset)
        assert root is not None and root.text == "è"


def _envelope(version: SoapVersion, header: str = "", body: str = "<x/>") -> bytes:
    return (
        f'<e:Envelope xmlns:e="{version.namespace}"><e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>'
    ).encode()


@pytest.mark.parametrize("namespace", [NAMESPACE, "http://tempuri.org/", ""])
def test_header_in_any_namespace(namespace: str) -> None:
    header = f'<Authentication xmlns="{namespace}"><User>a1</User><Password/></Authentication>'
    envelope = read_envelope([_envelope(SoapVersion.V11, header)], "text/xml", None)
    expected = {"User": "a1", "Password": "", "encType": None}
    assert read_header(envelope, "Authentication", expected) == expected


def test_header_absent() -> None:
    envelope = read_envelope([_envelope(SoapVersion.V11, "<Other/>")], "text/xml", None)
    assert read_header(envelope, "Authentication", ["User"]) is None


@pytest.mark.parametrize("version", SoapVersion)
def test_header_that_must_be_understood(version: SoapVersion) -> None:
    header = '<Other e:mustUnderstand="1"/>'
    envelope = read_envelope([_envelope(version, header)], version.media_type, None)
    with pytest.raises(SoapFault) as caught:
        read_header(envelope, "Authentication", ["User"])
    assert caught.value.code == "MustUnderstand"


def test_versions() -> None:
    assert read_envelope([_envelope(SoapVersion.V12)], "text/xml", None).version is SoapVersion.V12
    with pytest.raises(UnsupportedMediaType):
        read_envelope([_envelope(SoapVersion.V11)], "application/soap+xml", None)
    with pytest.raises(SoapFault) as caught:
        read_envelope([b"<Envelope/>"], "text/xml", None)
    assert caught.value.code == "VersionMismatch"


def test_faults() -> None:
    assert b"<faultcode>soap:Client</faultcode><faultstring>a &lt; b</faultstring><detail />" in encode_fault(
        SoapVersion.V11, SoapFault("Client", "a < b")
    )
    assert b"<soap:Value>soap:Receiver</soap:Value>" in encode_fault(SoapVersion.V12, SoapFault("Server", "x"))
    assert b"<soap:Detail />" in encode_fault(SoapVersion.V12, SoapFault("MustUnderstand", "x"))


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
