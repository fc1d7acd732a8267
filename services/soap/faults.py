"""Faults: how a caller is told that his message was not a call, in both versions of SOAP."""

from __future__ import annotations

from enum import Enum
from typing import Literal
from xml.sax.saxutils import escape

FaultCode = Literal["Client", "Server", "VersionMismatch", "MustUnderstand"]
_SOAP_12_CODES = {"Client": "Sender", "Server": "Receiver"}


class SoapVersion(Enum):
    """A version of SOAP, with its envelope namespace and its media type."""

    V11 = ("http://schemas.xmlsoap.org/soap/envelope/", "text/xml")
    V12 = ("http://www.w3.org/2003/05/soap-envelope", "application/soap+xml")

    @property
    def namespace(self) -> str:
        return self.value[0]

    @property
    def media_type(self) -> str:
        return self.value[1]


class SoapFault(Exception):
    """The message is answered with a fault; the text is fixed and never has a part of the message in it."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def encode_fault(version: SoapVersion, fault: SoapFault) -> bytes:
    """Return the envelope of a fault (SOAP 1.1 §4.4, SOAP 1.2 part 1 §5.4), with an empty detail as ASMX has it."""
    text = escape(fault.text)
    if version is SoapVersion.V11:
        return wrap_body(
            version,
            f"<soap:Fault><faultcode>soap:{fault.code}</faultcode>"
            f"<faultstring>{text}</faultstring><detail /></soap:Fault>",
        )
    code = _SOAP_12_CODES.get(fault.code, fault.code)
    return wrap_body(
        version,
        f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="en">{text}</soap:Text></soap:Reason><soap:Detail /></soap:Fault>',
    )


def wrap_body(version: SoapVersion, body: str) -> bytes:
    """Return an envelope around the XML of a body."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{version.namespace}"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()
