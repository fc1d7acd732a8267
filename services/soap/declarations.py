"""How a SOAP service is declared: its operations, their parameters in order, its header, its name on the wire.

The declarations become a Spyne service. The contract (`contract`) and the codec (`codec`) are both made from
it, so what is published and what is understood cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.resources import Resources
from services.soap.spyne_types import Boolean, ComplexModel, Integer32, ServiceBase, Unicode, rpc

# Optionality as in ASMX contracts: strings may be absent, numbers and booleans must be there, nothing is nillable.
STRING = Unicode(min_occurs=0, nillable=False)
INT = Integer32(min_occurs=1, nillable=False)
BOOLEAN = Boolean(min_occurs=1, nillable=False)

Header = Mapping[str, str | None]
Result = str | int | None


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation knows beside its parameters."""

    resources: Resources
    header: Header | None
    """Members of the service's header by name; None when the caller sent none."""
    address: str
    """Network address of the caller."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its function takes a `Call` and the parameters in order."""

    name: str
    result: Any
    parameters: Mapping[str, Any]
    function: Callable[..., Result]


def operation(name: str, result: Any = STRING, /, **parameters: Any) -> Callable[[Callable[..., Result]], Operation]:
    """Declare a function as an operation.

    Args:
        name: on the wire.
        result: type of the result.
        parameters: their types by their names on the wire, in order.
    """

    def declare(function: Callable[..., Result]) -> Operation:
        return Operation(name, result, parameters, function)

    return declare


def header_type(name: str, namespace: str, *members: str) -> Any:
    """Declare a header of optional strings, as an element and a type of the same name."""
    body = {"__namespace__": namespace, "_type_info": [(member, STRING) for member in members]}
    return type(ComplexModel)(name, (ComplexModel,), body)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is published."""

    name: str
    namespace: str
    """Ends as the vendor's does; actions are joined to it by one slash."""
    paths: tuple[str, ...]
    """The first is the one the contract names; all are matched without case."""
    operations: tuple[Operation, ...]
    documentation: str
    header: Any = None
    describe_outcome: Callable[[Result], str] = lambda _result: "ok"
    """Returns the class of a result, one of few words, for counting."""
    plain_http: bool = False
    """Whether the operations have addresses of their own, for GET and form POST, by which no header can come."""

    def action(self, operation_name: str) -> str:
        """Return the SOAP action of an operation."""
        return f"{self.namespace.rstrip('/')}/{operation_name}"

    def methods(self) -> dict[str, Any]:
        """Return the operations as Spyne method descriptors by name."""
        members: dict[str, Any] = {operation.name: _spyne_method(operation) for operation in self.operations}
        members["__in_header__"] = self.header
        methods: dict[str, Any] = type(ServiceBase)(self.name, (ServiceBase,), members).public_methods
        return methods


def _spyne_method(declared: Operation) -> Any:
    decorate = rpc(
        *declared.parameters.values(),
        _args=tuple(declared.parameters),
        _operation_name=declared.name,
        _returns=declared.result,
    )
    return decorate(declared.function)
