"""Faults: how a caller is told that his message was not a call, in both versions of SOAP."""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal
from xml.sax.saxutils import escape

FaultCode = Literal["Client", "Server", "VersionMismatch", "MustUnderstand"]
# XML 1.0 has no way to write these; the bytes are for a quick test.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r"))
_SOAP_12_CODES = {"Client": "Sender", "Server": "Receiver"}


class SoapVersion(Enum):
    """A version of SOAP, with its envelope namespace and its media type."""

    V11 = ("http://schemas.xmlsoap.org/soap/envelope/", "text/xml")
    V12 = ("http://www.w3.org/2003/05/soap-envelope", "application/soap+xml")

    def __init__(self, namespace: str, media_type: str) -> None:
        self.namespace = namespace
        self.media_type = media_type
        self.content_type = f"{media_type}; charset=utf-8"
        self.header_tag = f"{namespace} Header"
        self.body_tag = f"{namespace} Body"
        self.start = (
            f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{namespace}"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
            "<soap:Body>"
        )
        """What stands before the body of an answer."""


class SoapFault(Exception):
    """The message is answered with a fault; the text is fixed and never has a part of the message in it.

    Args:
        code: whose fault it is, as SOAP 1.1 says it.
        text: for people.
        detail: XML for programs, inside the detail element.
    """

    status = 500
    """Of the HTTP answer."""

    def __init__(self, code: FaultCode, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.detail = detail


def encode_fault(version: SoapVersion, fault: SoapFault) -> bytes:
    """Return the envelope of a fault (SOAP 1.1 §4.4, SOAP 1.2 part 1 §5.4), with an empty detail as ASMX has it."""
    text = escape(fault.text)
    detail = _encode_detail("detail" if version is SoapVersion.V11 else "soap:Detail", fault)
    if version is SoapVersion.V11:
        return wrap_body(
            version,
            f"<soap:Fault><faultcode>soap:{fault.code}</faultcode>"
            f"<faultstring>{text}</faultstring>{detail}</soap:Fault>",
        )
    code = _SOAP_12_CODES.get(fault.code, fault.code)
    return wrap_body(
        version,
        f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="en">{text}</soap:Text></soap:Reason>{detail}</soap:Fault>',
    )


def _encode_detail(name: str, fault: SoapFault) -> str:
    if fault.code == "MustUnderstand":
        return ""
    return f"<{name}>{fault.detail}</{name}>" if fault.detail else f"<{name} />"


def wrap_body(version: SoapVersion, body: str) -> bytes:
    """Return an envelope around the XML of a body; a replacement character stands for what XML cannot have."""
    text = f"{version.start}{body}</soap:Body></soap:Envelope>"
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = b""
    is_writable = content and len(content.translate(None, _CONTROLS)) == len(content)
    if is_writable and "\ufffe" not in text and "\uffff" not in text:
        return content
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text).encode()
