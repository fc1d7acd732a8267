"""The Python stacks: zeep and suds, both of which read the contract while they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import suds
import suds.client
import suds.sax.text
import suds.sudsobject
import zeep
from foreign_tools import Answer, Client, Contracts, Request, Tool
from lxml import etree
from zeep.helpers import serialize_object
from zeep.xsd import CompoundValue


class _Zeep:
    def __init__(self, contracts: Contracts, version: str) -> None:
        self._clients: dict[str, Any] = {
            name: zeep.Client(address)  # type: ignore[no-untyped-call]
            for name, address in contracts.items()
        }
        self._port = "Soap" if version == "1.1" else "Soap12"

    def call(self, request: Request) -> Answer:
        client = self._clients[request.service]
        service = client.bind(request.service, request.service + self._port)
        if request.address:
            service._binding_options["address"] = request.address
        header = request.header and {request.header["name"]: request.header["members"]}
        arguments = {name: _to_zeep(client, value) for name, value in request.arguments.items()}
        try:
            value = service[request.operation](_soapheaders=header, **arguments)
        except zeep.exceptions.Fault as fault:
            detail = fault.detail if fault.detail is None else "".join(fault.detail.itertext())
            return {"fault": {"code": fault.code, "text": fault.message, "detail": detail or None}}
        return {"value": serialize_object(_name_types(value), dict)}  # type: ignore[no-untyped-call]


def _to_zeep(client: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "of" in value:
        return {value["of"]: [_to_zeep(client, item) for item in value["items"]]}
    members = dict(value)
    kind = members.pop("xsi:type", None)
    if kind is None:
        return members
    namespace = next(schema for schema in client.wsdl.types.namespaces if not schema.startswith("http://www.w3.org/"))
    return client.get_type(f"{{{namespace}}}{kind}")(**members)


def _name_types(value: Any) -> Any:
    """Replace the objects of zeep by mappings that tell their types."""
    if isinstance(value, list):
        return [_name_types(item) for item in value]
    if not isinstance(value, CompoundValue):
        return value
    members = {name: _name_types(value[name]) for name in value}
    return {"xsi:type": value._xsd_type.name, **members}


class Zeep(Tool):
    name = "zeep"
    packages = "make setup"

    @contextmanager
    def connect(self, folder: Path, contracts: Contracts, version: str) -> Iterator[Client]:
        yield _Zeep(contracts, version)


class _Suds:
    def __init__(self, contracts: Contracts) -> None:
        self._clients: dict[str, Any] = {
            name: suds.client.Client(address, cache=None) for name, address in contracts.items()
        }

    def call(self, request: Request) -> Answer:
        client = self._clients[request.service]
        client.set_options(port=f"{request.service}Soap", location=request.address, soapheaders=())
        if request.header:
            header = client.factory.create(f"ns0:{request.header['name']}")
            for name, value in request.header["members"].items():
                setattr(header, name, value)
            client.set_options(soapheaders=header)
        arguments = [_to_suds(client, value) for value in request.arguments.values()]
        try:
            value = getattr(client.service, request.operation)(*arguments)
        except suds.WebFault as error:
            fault = error.fault
            detail = error.document.getChild("Envelope").getChild("Body").getChild("Fault").getChild("detail")
            text = "".join(etree.fromstring(detail.plain()).itertext()) if detail else None
            return {"fault": {"code": fault.faultcode, "text": fault.faultstring, "detail": text or None}}
        return {"value": _from_suds(value)}


def _to_suds(client: Any, value: Any) -> Any:
    if isinstance(value, str) and "&" in value:
        # Suds takes an ampersand for the start of a reference and leaves it as it is.
        return suds.sax.text.Raw(escape(value))
    if not isinstance(value, dict):
        return value
    if "of" in value:
        return {value["of"]: [_to_suds(client, item) for item in value["items"]]}
    members = dict(value)
    kind = members.pop("xsi:type", None)
    if kind is None:
        return members
    made = client.factory.create(f"ns0:{kind}")
    for name, member in members.items():
        setattr(made, name, member)
    return made


def _from_suds(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_suds(item) for item in value]
    if isinstance(value, suds.sudsobject.Object):
        members = {name: _from_suds(member) for name, member in suds.sudsobject.items(value)}
        return {"xsi:type": value.__class__.__name__, **members}
    return str(value) if isinstance(value, suds.sax.text.Text) else value


class Suds(Tool):
    name = "suds"
    versions = ("1.1",)
    packages = "make setup"

    @contextmanager
    def connect(self, folder: Path, contracts: Contracts, version: str) -> Iterator[Client]:
        yield _Suds(contracts)
