"""The published contract: frozen, and as the specification has it."""

from __future__ import annotations

from importlib.resources import files

import pytest
from lxml import etree

from services.contracts import SERVICES
from services.soap.contract import build_contract, read_contract
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
    found = etree.fromstring(read_contract(service)).xpath(path, namespaces=_SPACES)
    assert isinstance(found, list)
    return [node for node in found if isinstance(node, etree._Element)]


def _names(path: str, service: Service) -> list[str]:
    return [node.get("name", "") for node in _find(path, service)]


_EACH = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
_IMPORT = SERVICES[0]


@_EACH
def test_declarations_give_the_frozen_file(service: Service) -> None:
    frozen = files("wsdl").joinpath(f"{service.name}.wsdl").read_bytes()
    # After a wanted change: `listbridge wsdl export`.
    assert build_contract(service) == frozen == read_contract(service)


@_EACH
def test_optionality(service: Service) -> None:
    """Strings and arrays may be absent, numbers must be there; only the items of arrays may be nil."""
    members = _find("//s:sequence/s:element", service)
    assert members
    for member in members:
        kind = member.get("type", "")
        item = (member.get("name"), kind) == ("Option", "tns:Option")
        assert member.get("minOccurs") == ("0" if kind in ("s:string", "", "tns:ArrayOfOption") or item else "1")
        assert member.get("maxOccurs") == ("unbounded" if item else "1")
        assert member.get("nillable") == ("true" if item else None)
    untyped = [member.get("name") for member in members if member.get("type") is None]
    assert untyped == (["Value"] if service.name in ("MailupSend", "MailupManage") else [])


@_EACH
def test_schema(service: Service) -> None:
    (schema,) = _find("//s:schema", service)
    assert schema.get("elementFormDefault") == "qualified"
    assert schema.get("targetNamespace") == service.namespace
    wrappers = [name for one in service.operations for name in (one.name, f"{one.name}Response")]
    extra = {"WSMailUpImport": ["Authentication", "string"]}.get(service.name, [])
    assert sorted(_names("//s:schema/s:element", service)) == sorted(wrappers + extra)
    types = {"WSMailUpImport": ["Authentication"], "MailupReport": []}.get(service.name, ["ArrayOfOption", "Option"])
    assert _names("//s:schema/s:complexType", service) == types


@_EACH
def test_names(service: Service) -> None:
    name = service.name
    plain = [f"{name}HttpGet", f"{name}HttpPost"] if name == "WSMailUpImport" else []
    ports = [f"{name}Soap", f"{name}Soap12", *plain]
    assert _names("//w:service", service) == [name]
    assert _names("//w:port", service) == ports == _names("//w:binding", service)
    assert [port.get("binding") for port in _find("//w:port", service)] == [f"tns:{port}" for port in ports]
    assert _names("//w:portType", service) == [f"{name}Soap", *plain]
    for version in ("soap", "soap12"):
        actions = [one.get("soapAction") for one in _find(f"//{version}:operation", service)]
        assert actions == [service.action(one.name) for one in service.operations]
        addresses = [node.get("location") for node in _find(f"//{version}:address", service)]
        assert addresses == [f"http://localhost{service.paths[0]}"]


@_EACH
def test_messages(service: Service) -> None:
    header = ["Authentication"] if service.name == "WSMailUpImport" else []
    suffixes = ["SoapIn", "SoapOut", *header]
    expected = [f"{one.name}{suffix}" for one in service.operations for suffix in suffixes]
    found = [name for name in _names("//w:message", service) if "Http" not in name]
    assert found == expected
    parts = _find("//w:message[contains(@name, 'Soap')]/w:part", service)
    assert {part.get("name") for part in parts} == {"parameters"}


def test_actions_are_joined_by_one_slash() -> None:
    assert [service.action("Login") for service in SERVICES] == [
        "http://ws.mailupnet.it/Login",
        *["http://services.mailupnet.it/WS/Login"] * 3,
    ]


@_EACH
def test_header_of_every_input(service: Service) -> None:
    headers = _find("//w:input/soap:header | //w:input/soap12:header", service)
    assert len(headers) == (18 if service is _IMPORT else 0)
    assert {header.get("part") for header in headers} <= {"Authentication"}


def test_documentation() -> None:
    (text,) = _find("//w:service/w:documentation", _IMPORT)
    assert text.text == "MailUp WebService for subscribers import."


@pytest.mark.parametrize(
    ("suffix", "verb", "given"), [("HttpGet", "GET", "urlEncoded"), ("HttpPost", "POST", "content")]
)
def test_plain_bindings(suffix: str, verb: str, given: str) -> None:
    binding = f"//w:binding[@name='WSMailUpImport{suffix}']"
    (http,) = _find(f"{binding}/http:binding")
    assert http.get("verb") == verb
    names = [one.name for one in _IMPORT.operations]
    assert [node.get("location") for node in _find(f"{binding}//http:operation")] == [f"/{name}" for name in names]
    assert [etree.QName(node).localname for node in _find(f"{binding}//w:input/*")] == [given] * len(names)
    assert [node.get("part") for node in _find(f"{binding}//w:output/mime:mimeXml")] == ["Body"] * len(names)
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
