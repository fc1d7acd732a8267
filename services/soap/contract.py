"""Writes the contract (WSDL 1.1) of a service the way ASMX publishes it.

Programs were generated from such documents, so names, order and optionality are kept to the letter (ASMX
notes §2); what Spyne writes by itself differs. The published form is frozen in `wsdl/`; a test
compares it with what the declarations give.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Any

from lxml import etree

from services.soap.declarations import Service
from services.soap.schema import SCHEMA, write_schema

ADDRESS = "http://localhost"
"""Stands in the frozen files where the served contract has the scheme and host of the request."""

_WSDL = "http://schemas.xmlsoap.org/wsdl/"
_SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
_SOAP12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
_HTTP = "http://schemas.xmlsoap.org/wsdl/http/"
_MIME = "http://schemas.xmlsoap.org/wsdl/mime/"
_TRANSPORT = "http://schemas.xmlsoap.org/soap/http"
_BINDINGS = (("Soap", _SOAP), ("Soap12", _SOAP12))
_PLAIN_BINDINGS = (("HttpGet", "GET"), ("HttpPost", "POST"))
_FORM = "application/x-www-form-urlencoded"


def read_contract(service: Service) -> bytes:
    """Return the contract of a service as it was published, or as its declarations say when it never was.

    Its address is still the placeholder.
    """
    published = files("wsdl").joinpath(f"{service.name}.wsdl")
    return published.read_bytes() if published.is_file() else build_contract(service)


def build_contract(service: Service) -> bytes:
    """Return the contract of a service as its declarations say."""
    return _ContractWriter(service).write()


def address_contract(contract: bytes, origin: str) -> bytes:
    """Return a contract with the address of the server in it.

    Args:
        contract: with the placeholder.
        origin: scheme and host.
    """
    return contract.replace(f'location="{ADDRESS}/'.encode(), f'location="{escape(origin)}/'.encode())


class _ContractWriter:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._methods = service.methods
        prefixes = {"soap": _SOAP, "soap12": _SOAP12, "tns": service.namespace, "s": SCHEMA, "wsdl": _WSDL}
        if service.plain_http:
            prefixes |= {"http": _HTTP, "mime": _MIME}
        self._plain_bindings = _PLAIN_BINDINGS if service.plain_http else ()
        self._root = etree.Element(_name(_WSDL, "definitions"), nsmap=prefixes)

    def write(self) -> bytes:
        self._root.set("targetNamespace", self._service.namespace)
        self._document(self._root)
        self._write_types()
        self._write_messages()
        self._write_port_type("Soap")
        for suffix, _ in self._plain_bindings:
            self._write_port_type(suffix)
        for suffix, namespace in _BINDINGS:
            self._write_binding(suffix, namespace)
        for suffix, verb in self._plain_bindings:
            self._write_plain_binding(suffix, verb)
        self._write_service()
        return etree.tostring(self._root, xml_declaration=True, encoding="utf-8", pretty_print=True)

    def _document(self, parent: etree._Element) -> None:
        _add(parent, _WSDL, "documentation").text = self._service.documentation

    def _write_types(self) -> None:
        types = _add(self._root, _WSDL, "types")
        write_schema(types, self._service, self._methods)

    def _write_messages(self) -> None:
        for name in self._methods:
            self._write_message(f"{name}SoapIn", "parameters", name)
            self._write_message(f"{name}SoapOut", "parameters", f"{name}Response")
            if self._service.header is not None:
                header = self._service.header.get_type_name()
                self._write_message(f"{name}{header}", header, header)
        for suffix, _ in self._plain_bindings:
            for name, method in self._methods.items():
                self._write_plain_messages(f"{name}{suffix}", method)

    def _write_plain_messages(self, name: str, method: Any) -> None:
        given = _add(self._root, _WSDL, "message", name=f"{name}In")
        for member in method.in_message.get_flat_type_info(method.in_message):
            _add(given, _WSDL, "part", name=member, type="s:string")
        self._write_message(f"{name}Out", "Body", "string")

    def _write_message(self, name: str, part: str, element: str) -> None:
        message = _add(self._root, _WSDL, "message", name=name)
        _add(message, _WSDL, "part", name=part, element=f"tns:{element}")

    def _write_port_type(self, suffix: str) -> None:
        port_type = _add(self._root, _WSDL, "portType", name=f"{self._service.name}{suffix}")
        for name in self._methods:
            operation = _add(port_type, _WSDL, "operation", name=name)
            _add(operation, _WSDL, "input", message=f"tns:{name}{suffix}In")
            _add(operation, _WSDL, "output", message=f"tns:{name}{suffix}Out")

    def _write_binding(self, suffix: str, soap: str) -> None:
        name = self._service.name
        binding = _add(self._root, _WSDL, "binding", name=f"{name}{suffix}", type=f"tns:{name}Soap")
        _add(binding, soap, "binding", transport=_TRANSPORT)
        for method in self._methods:
            operation = _add(binding, _WSDL, "operation", name=method)
            action = self._service.action(method)
            _add(operation, soap, "operation", soapAction=action, style="document")
            given = _add(operation, _WSDL, "input")
            _add(given, soap, "body", use="literal")
            if self._service.header is not None:
                header = self._service.header.get_type_name()
                _add(given, soap, "header", message=f"tns:{method}{header}", part=header, use="literal")
            _add(_add(operation, _WSDL, "output"), soap, "body", use="literal")

    def _write_plain_binding(self, suffix: str, verb: str) -> None:
        name = f"{self._service.name}{suffix}"
        binding = _add(self._root, _WSDL, "binding", name=name, type=f"tns:{name}")
        _add(binding, _HTTP, "binding", verb=verb)
        for method in self._methods:
            operation = _add(binding, _WSDL, "operation", name=method)
            _add(operation, _HTTP, "operation", location=f"/{method}")
            given = _add(operation, _WSDL, "input")
            if verb == "GET":
                _add(given, _HTTP, "urlEncoded")
            else:
                _add(given, _MIME, "content", type=_FORM)
            _add(_add(operation, _WSDL, "output"), _MIME, "mimeXml", part="Body")

    def _write_service(self) -> None:
        name = self._service.name
        service = _add(self._root, _WSDL, "service", name=name)
        self._document(service)
        for suffix, namespace in (*_BINDINGS, *((suffix, _HTTP) for suffix, _ in self._plain_bindings)):
            port = _add(service, _WSDL, "port", name=f"{name}{suffix}", binding=f"tns:{name}{suffix}")
            _add(port, namespace, "address", location=ADDRESS + self._service.paths[0])


def _add(parent: etree._Element, namespace: str, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, _name(namespace, tag), attributes)


def _name(namespace: str, tag: str) -> str:
    return f"{{{namespace}}}{tag}"
