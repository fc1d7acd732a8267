"""Turns the body of a call into parameters.

For each operation and type a table from element name to place and reader is made once, from the declarations; a
call is then one pass over its elements. Leniency follows ASMX: members in any order, unknown ones and those of
other name spaces ignored, the first of two counts, a missing number is 0, an empty or odd one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.soap.declarations import LargeText, Service
from services.soap.faults import SoapFault
from services.soap.reader import Node
from services.soap.types import (
    extensions_of,
    is_abstract,
    is_array,
    is_complex,
    is_nillable,
    is_optional,
    is_repeated,
    item_of,
    members_of,
    namespace_of,
    original,
)
from services.soap.values import SimpleType, find_simple_type

Reader = Callable[[Node], Any]


@dataclass(frozen=True, slots=True)
class _Member:
    """Where the value of an element goes, and how it is read."""

    place: int
    read: Reader
    repeated: bool


class MemberReader:
    """Reads the elements below a node into a list of values, one for each declared member, in their order."""

    def __init__(self, declared: Mapping[str, Any], namespace: str, reader_of: Callable[[Any], Reader]) -> None:
        self._defaults = [_default_of(kind) for kind in declared.values()]
        self._members = {
            f"{namespace} {name}": _Member(place, reader_of(kind), is_repeated(kind))
            for place, (name, kind) in enumerate(declared.items())
        }

    def read(self, parent: Node) -> list[Any]:
        """Return the values.

        Raises:
            SoapFault: one of them cannot be read.
        """
        values = self._defaults.copy()
        awaited = self._members.copy()
        for node in parent.children:
            member = awaited.get(node.tag)
            if member is None:
                continue
            if not member.repeated:
                del awaited[node.tag]
                values[member.place] = member.read(node)
            elif values[member.place] is None:
                values[member.place] = [member.read(node)]
            else:
                values[member.place].append(member.read(node))
        return values


class Decoder:
    """The tables of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._readers: dict[Any, Reader] = {}

    def operation_reader(self, method: Any) -> MemberReader:
        """Return the reader of the parameters of an operation, given as Spyne's method descriptor."""
        return MemberReader(members_of(method.in_message), self._service.namespace, self._parameter_reader)

    def _parameter_reader(self, declared: Any) -> Reader:
        return _read_large_text if issubclass(declared, LargeText) else self.reader_of(declared)

    def reader_of(self, declared: Any) -> Reader:
        """Return the reader of elements of a type."""
        if issubclass(declared, LargeText):
            raise TypeError("Only a parameter itself can be a large text.")
        if is_array(declared):
            return self._array_reader(declared)
        if is_complex(declared):
            return self._complex_reader(declared)
        simple = find_simple_type(declared)
        if simple is None:
            raise TypeError(f"{declared} cannot be a parameter.")
        return _simple_reader(simple, nillable=is_nillable(declared) or simple.default is None)

    def _array_reader(self, declared: Any) -> Reader:
        name, item = item_of(declared)
        tag = f"{namespace_of(declared, self._service)} {name}"
        read_item = self.reader_of(item)

        def read(node: Node) -> list[Any] | None:
            return None if node.is_nil else [read_item(child) for child in node.children if child.tag == tag]

        return read

    def _complex_reader(self, declared: Any) -> Reader:
        kind = original(declared)
        if kind not in self._readers:
            # A type may have members of its own kind, so it is known before its table is.
            self._readers[kind] = _DeferredReader(lambda: self._build_complex_reader(kind))
        return self._readers[kind]

    def _build_complex_reader(self, kind: Any) -> Reader:
        builders = {
            f"{namespace_of(extension, self._service)} {extension.get_type_name()}": self._builder(extension)
            for extension in extensions_of(kind, self._service)
        }
        own = None if is_abstract(kind) else self._builder(kind)

        def read(node: Node) -> Any:
            if node.is_nil:
                return None
            # Only a type that extends the declared one may take its place.
            build = own if node.type is None else builders.get(node.type)
            if build is None:
                raise refuse(node, "The specified type was not recognized or is abstract.")
            return build(node)

        return read

    def _builder(self, kind: Any) -> Reader:
        members = members_of(kind)
        names = tuple(members)
        reader = MemberReader(members, namespace_of(kind, self._service), self.reader_of)

        def build(node: Node) -> Any:
            # The constructor of Spyne's types would look at each member again.
            value = object.__new__(kind)
            value.__dict__.update(zip(names, reader.read(node), strict=True))
            return value

        return build


class _DeferredReader:
    """A reader that is made when it is first used."""

    def __init__(self, make: Callable[[], Reader]) -> None:
        self._make = make
        self._read: Reader | None = None

    def __call__(self, node: Node) -> Any:
        if self._read is None:
            self._read = self._make()
        return self._read(node)


def refuse(node: Node, reason: str) -> SoapFault:
    """Return the fault about an element that cannot be read; the reason has nothing of the message in it."""
    place = f"There is an error in XML document ({node.line}, {node.column + 1})."
    return SoapFault("Client", f"Server was unable to read request. ---> {place} ---> {reason}")


def _simple_reader(simple: SimpleType, *, nillable: bool) -> Reader:
    parse = simple.parse

    def read(node: Node) -> Any:
        if nillable and node.is_nil:
            return None
        try:
            return parse(node.text)
        except ValueError as error:
            raise refuse(node, str(error)) from None

    return read


def _read_large_text(node: Node) -> Any:
    return None if node.is_nil else node.large


def _default_of(declared: Any) -> Any:
    """Return what stands for a missing member."""
    simple = find_simple_type(declared)
    if simple is None or is_optional(declared) or is_nillable(declared):
        return None
    return simple.default
