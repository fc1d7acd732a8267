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
    assert [port.get("name") for port in _find("//w:port")] == ["WSMailUpImportSoap", "WSMailUpImportSoap12"]
    assert [kind.get("name") for kind in _find("//w:portType")] == ["WSMailUpImportSoap"]
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
