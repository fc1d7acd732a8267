"""Turns the body of a call into parameters and a result into the body of an answer.

For each operation a table from element name to place and converter is made once, from the Spyne declarations;
a call is then one pass over its elements. Leniency follows ASMX: parameters in any order, unknown ones and those
of other namespaces ignored, the first of two counts, a missing number is 0, an empty or odd one is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from services.soap.declarations import Result, Service
from services.soap.faults import SoapFault
from services.soap.spyne_types import Boolean, Integer32, Unicode
from services.soap.tree import Node

_NIL = "http://www.w3.org/2001/XMLSchema-instance nil"
_INT = re.compile(r"[+-]?[0-9]{1,32}")
_BLANK = " \t\r\n"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
# XML 1.0 has no way to write these.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Converter = Callable[[Node], Any]


@dataclass(frozen=True, slots=True)
class OperationCodec:
    """The tables of one operation."""

    name: str
    namespace: str
    places: dict[str, tuple[int, Converter]]
    defaults: tuple[Any, ...]
    function: Callable[..., Result]

    def decode(self, body: Node) -> list[Any]:
        """Return the parameters in order.

        Raises:
            SoapFault: a number or boolean is not one.
        """
        values: list[Any] = list(self.defaults)
        seen: set[str] = set()
        for node in body.children:
            place = self.places.get(node.name)
            if place is not None and node.namespace == self.namespace and node.name not in seen:
                seen.add(node.name)
                values[place[0]] = place[1](node)
        return values

    def encode(self, result: Result) -> str:
        """Return the XML of the answer's body; without a result (None) its element is left out."""
        start = f'<{self.name}Response xmlns="{self.namespace}"'
        if result is None:
            return f"{start} />"
        content = _escape(result)
        element = f"<{self.name}Result>{content}</{self.name}Result>" if content else f"<{self.name}Result />"
        return f"{start}>{element}</{self.name}Response>"

    def encode_plain(self, result: Result) -> str:
        """Return the XML of the answer to a call by plain HTTP: the result alone."""
        return f'<string xmlns="{self.namespace}">{_escape("" if result is None else result)}</string>'


def _escape(result: Result) -> str:
    return escape(_UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", str(result)))


def build_codecs(service: Service) -> dict[str, OperationCodec]:
    """Return the codec of each operation of a service by its name."""
    return {name: _build_codec(name, service.namespace, method) for name, method in service.methods().items()}


def _build_codec(name: str, namespace: str, method: Any) -> OperationCodec:
    types = method.in_message.get_flat_type_info(method.in_message)
    converters = [_converter(spyne_type) for spyne_type in types.values()]
    places = {member: (place, converters[place][0]) for place, member in enumerate(types)}
    return OperationCodec(name, namespace, places, tuple(default for _, default in converters), method.function)


def _converter(spyne_type: Any) -> tuple[Converter, Any]:
    """Return how a type is read, and what stands for a missing element."""
    for base, converter, default in _CONVERTERS:
        if issubclass(spyne_type, base):
            return converter, default
    raise TypeError(f"{spyne_type} cannot be a parameter.")


def _read_string(node: Node) -> str | None:
    return None if node.attributes.get(_NIL, "").strip() in ("1", "true") else node.text


def _read_int(node: Node) -> int:
    text = node.text.strip(_BLANK)
    if not _INT.fullmatch(text):
        raise _refuse(node, "Input string was not in a correct format.")
    value = int(text)
    if not -(2**31) <= value < 2**31:
        raise _refuse(node, "Value was either too large or too small for an Int32.")
    return value


def _read_boolean(node: Node) -> bool:
    value = _BOOLEANS.get(node.text.strip(_BLANK))
    if value is None:
        raise _refuse(node, "The string is not a valid Boolean value.")
    return value


def _refuse(node: Node, reason: str) -> SoapFault:
    place = f"There is an error in XML document ({node.line}, {node.column})."
    return SoapFault("Client", f"Server was unable to read request. ---> {place} ---> {reason}")


_CONVERTERS: tuple[tuple[Any, Converter, Any], ...] = (
    (Unicode, _read_string, None),
    (Integer32, _read_int, 0),
    (Boolean, _read_boolean, False),
)
