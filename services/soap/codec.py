"""Everything about a service that is prepared once, at the start, so that a call costs one pass over its elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from services.soap.declarations import LargeText, Operation, Service
from services.soap.decoding import Decoder, MemberReader
from services.soap.encoding import Encoder, Writer
from services.soap.large_text import Text
from services.soap.limits import XmlLimits
from services.soap.reader import Node, read_tree
from services.soap.types import base_of, is_complex, types_of


@dataclass(frozen=True, slots=True)
class OperationCodec:
    """One operation: how its parameters are read and its result is written."""

    name: str
    action: str
    function: Callable[..., Any]
    parameters: MemberReader
    write_result: Writer

    def decode(self, body: Node) -> list[Any]:
        """Return the parameters in order.

        Raises:
            SoapFault: one of them cannot be read.
        """
        return self.parameters.read(body)

    def encode(self, result: Any) -> str:
        """Return the XML of the answer's body; without a result (None) its element is left out."""
        return self.write_result(result)


class ServiceCodec:
    """The operations of a service by the name of their element, with its name space."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.operations = _build_operations(service)
        large = {f"{service.namespace} {one.name}": _large_parameters(service, one) for one in service.operations}
        self._large = {tag: parameters for tag, parameters in large.items() if parameters}
        self.takes_large = bool(self._large)
        self._resolve_types = any(is_complex(kind) and base_of(kind) is not None for kind in types_of(service))

    def read_message(
        self, chunks: Iterable[bytes], limits: XmlLimits, charset: str | None, open_text: Callable[[Node], Text] | None
    ) -> Node:
        """Read a message to this service; see `read_tree`."""
        return read_tree(
            chunks, limits, charset, large=self._large, open_text=open_text, resolve_types=self._resolve_types
        )

    def encode_plain(self, result: Any) -> str:
        """Return the XML of the answer to a call by plain HTTP: the result alone."""
        return f'<string xmlns="{self.service.namespace}">{escape("" if result is None else str(result))}</string>'


def _build_operations(service: Service) -> Mapping[str, OperationCodec]:
    decoder, encoder = Decoder(service), Encoder(service)
    methods = service.methods
    return {
        f"{service.namespace} {one.name}": OperationCodec(
            name=one.name,
            action=service.action(one.name),
            function=one.function,
            parameters=decoder.operation_reader(methods[one.name]),
            write_result=encoder.result_writer(one.name, one.result),
        )
        for one in service.operations
    }


def _large_parameters(service: Service, operation: Operation) -> frozenset[str]:
    return frozenset(
        f"{service.namespace} {name}" for name, kind in operation.parameters.items() if issubclass(kind, LargeText)
    )
