"""The published contract: frozen, and as the specification has it."""

from __future__ import annotations

import pytest
from lxml import etree

from services.contracts import SERVICES
from services.soap.contract import build_contract, read_frozen
from services.soap.declarations import Service

_SPACES = {
    "w": "http://schemas.xmlsoap.org/wsdl/",
    "s": "http://www.w3.org/2001/XMLSchema",
    "soap": "http://schemas.xmlsoap.org/wsdl/soap/",
    "soap12": "http://schemas.xmlsoap.org/wsdl/soap12/",
    "http": "http://schemas.xmlsoap.org/wsdl/http/",
    "mime": "http://schemas.xmlsoap.org/wsdl/mime/",
}


def _find(path: str, service: Service = SERVICES[0]) -> list[etree._Element]:
    found = etree.fromstring(read_frozen(service)).xpath(path, namespaces=_SPACES)
    assert isinstance(found, list)
    return [node for node in found if isinstance(node, etree._Element)]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_declarations_give_the_frozen_file(service: Service) -> None:
    assert build_contract(service) == read_frozen(service)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_only_strings_are_optional_and_nothing_is_nillable(service: Service) -> None:
    members = _find("//s:sequence/s:element", service)
    assert members
    for member in members:
        assert member.get("minOccurs") == ("0" if member.get("type") == "s:string" else "1")
        assert member.get("maxOccurs") == "1"
        assert member.get("nillable") is None


def test_names() -> None:
    ports = [f"WSMailUpImport{suffix}" for suffix in ("Soap", "Soap12", "HttpGet", "HttpPost")]
    assert [port.get("name") for port in _find("//w:port")] == ports
    assert [port.get("binding") for port in _find("//w:port")] == [f"tns:{port}" for port in ports]
    assert [binding.get("name") for binding in _find("//w:binding")] == ports
    assert [kind.get("name") for kind in _find("//w:portType")] == [ports[0], *ports[2:]]
    assert [message.get("name") for message in _find("//w:message")][:3] == [
        "GetNlListsSoapIn",
        "GetNlListsAuthentication",
        "GetNlListsSoapOut",
    ]
    actions = {operation.get("soapAction") for operation in _find("//soap:operation | //soap12:operation")}
    names = ("GetNlLists", "StartImportProcesses", "GetProcessDetails")
    assert actions == {f"http://ws.mailupnet.it/{name}" for name in names}


def test_every_input_has_the_header() -> None:
    headers = _find("//w:input/soap:header | //w:input/soap12:header")
    assert len(headers) == 6
    assert {header.get("part") for header in headers} == {"Authentication"}


@pytest.mark.parametrize(
    ("suffix", "verb", "given"), [("HttpGet", "GET", "urlEncoded"), ("HttpPost", "POST", "content")]
)
def test_plain_bindings(suffix: str, verb: str, given: str) -> None:
    binding = f"//w:binding[@name='WSMailUpImport{suffix}']"
    (http,) = _find(f"{binding}/http:binding")
    assert http.get("verb") == verb
    names = ["GetNlLists", "StartImportProcesses", "GetProcessDetails"]
    assert [node.get("location") for node in _find(f"{binding}//http:operation")] == [f"/{name}" for name in names]
    assert [etree.QName(node).localname for node in _find(f"{binding}//w:input/*")] == [given] * 3
    assert [node.get("part") for node in _find(f"{binding}//w:output/mime:mimeXml")] == ["Body"] * 3
    for name in names:
        (answer,) = _find(f"//w:message[@name='{name}{suffix}Out']/w:part")
        assert (answer.get("name"), answer.get("element")) == ("Body", "tns:string")
        parts = _find(f"//w:message[@name='{name}{suffix}In']/w:part")
        members = _find(f"//s:schema/s:element[@name='{name}']//s:element")
        assert [part.get("name") for part in parts] == [member.get("name") for member in members]
        assert {part.get("type") for part in parts} <= {"s:string"}


def test_element_of_plain_answers() -> None:
    (element,) = _find("//s:schema/s:element[@name='string']")
    assert (element.get("nillable"), element.get("type")) == ("true", "s:string")
