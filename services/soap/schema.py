"""Writes the types of a service as ASMX publishes them: one element for each message, each type after its first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import etree

from services.soap.declarations import AnyText, Service
from services.soap.spyne_types import EnumBase
from services.soap.types import (
    base_of,
    is_abstract,
    is_array,
    is_complex,
    is_nillable,
    is_optional,
    is_repeated,
    item_of,
    original,
    own_members_of,
)
from services.soap.values import find_simple_type

SCHEMA = "http://www.w3.org/2001/XMLSchema"


def write_schema(parent: etree._Element, service: Service, methods: Mapping[str, Any]) -> None:
    """Add the schema of a service below a node that has the prefixes `s` and `tns`.

    Args:
        parent: gets the schema.
        service: whose it is.
        methods: Spyne's descriptors of the operations by name.
    """
    _SchemaWriter(parent, service).write(methods)


class _SchemaWriter:
    def __init__(self, parent: etree._Element, service: Service) -> None:
        self._service = service
        self._schema = _add(parent, "schema", elementFormDefault="qualified", targetNamespace=service.namespace)
        self._written: set[Any] = set()
        self._reached: list[Any] = []

    def write(self, methods: Mapping[str, Any]) -> None:
        for number, (name, method) in enumerate(methods.items()):
            self._write_message(name, method.in_message)
            self._write_message(f"{name}Response", method.out_message)
            if number == 0 and self._service.header is not None:
                self._write_header(self._service.header)
        for declared in self._service.types:
            self._reach(declared)
        self._write_reached()
        if self._service.plain_http:
            _add(self._schema, "element", name="string", nillable="true", type="s:string")

    def _write_message(self, name: str, message: Any) -> None:
        kind = _add(_add(self._schema, "element", name=name), "complexType")
        self._write_members(kind, dict(message.get_flat_type_info(message)))
        self._write_reached()

    def _write_header(self, header: Any) -> None:
        name = header.get_type_name()
        _add(self._schema, "element", name=name, type=f"tns:{name}")
        kind = _add(self._schema, "complexType", name=name)
        self._write_members(kind, own_members_of(header))
        _add(kind, "anyAttribute")

    def _write_reached(self) -> None:
        while self._reached:
            self._write_type(self._reached.pop(0))

    def _write_type(self, declared: Any) -> None:
        name = declared.get_type_name()
        if issubclass(declared, EnumBase):
            self._write_enumeration(name, declared.__values__)
            return
        kind = _add(self._schema, "complexType", name=name)
        if is_array(declared):
            self._write_members(kind, dict([item_of(declared)]))
            return
        if is_abstract(declared):
            kind.set("abstract", "true")
        base = base_of(declared)
        if base is not None:
            kind = _add(_add(kind, "complexContent", mixed="false"), "extension", base=self._type_name(base))
        self._write_members(kind, own_members_of(declared))

    def _write_enumeration(self, name: str, words: tuple[str, ...]) -> None:
        restriction = _add(_add(self._schema, "simpleType", name=name), "restriction", base="s:string")
        for word in words:
            _add(restriction, "enumeration", value=word)

    def _write_members(self, kind: etree._Element, members: Mapping[str, Any]) -> None:
        """Write a sequence; nothing when there are no members."""
        if not members:
            return
        sequence = _add(kind, "sequence")
        for name, declared in members.items():
            attributes = {
                "minOccurs": "0" if is_optional(declared) else "1",
                "maxOccurs": "unbounded" if is_repeated(declared) else "1",
                "name": name,
            }
            if is_nillable(declared):
                attributes["nillable"] = "true"
            if not issubclass(declared, AnyText):
                attributes["type"] = self._type_name(declared)
            _add(sequence, "element", **attributes)

    def _type_name(self, declared: Any) -> str:
        if is_array(declared) or is_complex(declared) or issubclass(declared, EnumBase):
            self._reach(declared)
            return f"tns:{declared.get_type_name()}"
        simple = find_simple_type(declared)
        if simple is None:
            raise TypeError(f"{declared} has no name in a contract.")
        return f"s:{simple.name}"

    def _reach(self, declared: Any) -> None:
        kind = declared if is_array(declared) else original(declared)
        # Two arrays that were declared alike are one type.
        key = kind.get_type_name()
        if key not in self._written:
            self._written.add(key)
            self._reached.append(kind)


def _add(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{SCHEMA}}}{tag}", attributes)
