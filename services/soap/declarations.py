"""How a SOAP service is declared: its operations, their parameters in order, its header, its name on the wire.

The declarations become a Spyne service. The contract (`contract`), what is understood (`decoding`) and what is
answered (`encoding`) are all made from it, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from typing import Any

from services.resources import Resources
from services.soap.spyne_types import (
    Array,
    Boolean,
    ByteArray,
    ComplexModel,
    DateTime,
    Decimal,
    Double,
    Integer32,
    Integer64,
    ServiceBase,
    Unicode,
    rpc,
)


class AnyText(Unicode):  # type: ignore[misc]
    """An element without a type in the contract; its text counts, whatever type the caller names."""


class LargeText(Unicode):  # type: ignore[misc]
    """A string in the contract that reaches the function as a `services.soap.large_text.Text`, read in pieces."""


# Optionality as in ASMX contracts: strings may be absent, numbers and booleans must be there, nothing is nillable.
STRING = Unicode(min_occurs=0, nillable=False)
INT = Integer32(min_occurs=1, nillable=False)
LONG = Integer64(min_occurs=1, nillable=False)
DOUBLE = Double(min_occurs=1, nillable=False)
DECIMAL = Decimal(min_occurs=1, nillable=False)
BOOLEAN = Boolean(min_occurs=1, nillable=False)
DATETIME = DateTime(min_occurs=1, nillable=False)
BASE64 = ByteArray(min_occurs=0, nillable=False)
ANY_TEXT = AnyText(min_occurs=0, nillable=False)
LARGE_TEXT = LargeText(min_occurs=0, nillable=False)

Header = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation knows beside its parameters."""

    resources: Resources
    header: Header | None
    """Members of the service's header by name; None when the caller sent none."""
    address: str
    """Network address of the caller."""
    memo: dict[str, Any] = field(default_factory=dict)
    """For what was found out about the call and will be asked again."""
    service: str = ""
    """Name of the service that is called."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its function takes a `Call` and the parameters in order."""

    name: str
    result: Any
    parameters: Mapping[str, Any]
    function: Callable[..., Any]


def operation(name: str, result: Any = STRING, /, **parameters: Any) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a function as an operation.

    Args:
        name: on the wire.
        result: type of the result.
        parameters: their types by their names on the wire, in order.

    Raises:
        TypeError: the function does not take a `Call` and these parameters, or the result is a repeated element.
    """
    if result.Attributes.max_occurs > 1:
        raise TypeError("A result is one element; an array is one that has others in it.")

    def declare(function: Callable[..., Any]) -> Operation:
        # A function that takes another number of parameters is found out here, not by the first caller.
        signature(function, follow_wrapped=False).bind(None, *parameters)
        return Operation(name, result, parameters, function)

    return declare


def header_type(name: str, namespace: str, *members: str) -> Any:
    """Declare a header of optional strings, as an element and a type of the same name."""
    return complex_type(name, namespace, **dict.fromkeys(members, STRING))


def complex_type(
    name: str, namespace: str, base: Any = ComplexModel, /, *, abstract: bool = False, **members: Any
) -> Any:
    """Declare a type with members in this order, after those of its base.

    Args:
        name: on the wire.
        namespace: of the type and its members.
        base: the type it extends.
        abstract: whether only types that extend it can be sent.
        members: their types by their names on the wire.
    """
    body = {"__namespace__": namespace, "_type_info": list(members.items()), "is_abstract": abstract}
    return type(ComplexModel)(name, (base,), body)


def optional(declared: Any) -> Any:
    """Return a type as a member that may be absent."""
    return declared.customize(min_occurs=0, nillable=False)


def nillable(declared: Any) -> Any:
    """Return a type as a member that is always there, and empty with `xsi:nil` when it has no value."""
    return declared.customize(min_occurs=1, nillable=True)


def repeated(declared: Any) -> Any:
    """Return a type as a member that stands as often as its list has values, without an element around them."""
    return declared.customize(min_occurs=0, max_occurs="unbounded", nillable=False)


def array_of(item: Any, name: str, member: str | None = None) -> Any:
    """Declare a list as ASMX publishes it: an element around any number of items; all but numbers may be nil.

    Args:
        item: type of the items.
        name: of the array's type, such as `ArrayOfRow`.
        member: name of the items' elements; that of their type when None.
    """
    may_be_nil = issubclass(item, ComplexModel | Array | Unicode | ByteArray)
    items = item.customize(min_occurs=0, max_occurs="unbounded", nillable=may_be_nil)
    member = member or item.get_type_name()
    return Array(items, member_name=member, type_name=name, min_occurs=0, nillable=False)


@dataclass(frozen=True, eq=False)
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
    types: tuple[Any, ...] = ()
    """Types that no operation names, because they extend one that is named."""
    describe_outcome: Callable[[Any], str] = lambda _result: "ok"
    """Returns the class of a result, one of few words, for counting."""
    admits: Callable[[Call], bool] = lambda _call: True
    """Tells, before a large text is kept, whether the caller may send one; the operation still says what is wrong."""
    plain_http: bool = False
    """Whether the operations have addresses of their own, for GET and form POST, by which no header can come."""

    def __post_init__(self) -> None:
        names = [operation.name for operation in self.operations]
        if len(set(names)) < len(names):
            raise ValueError(f"Two operations of {self.name} have the same name.")

    def action(self, operation_name: str) -> str:
        """Return the SOAP action of an operation."""
        return f"{self.namespace.rstrip('/')}/{operation_name}"

    @cached_property
    def methods(self) -> dict[str, Any]:
        """The operations as Spyne's method descriptors by name."""
        methods: dict[str, Any] = self.spyne_class.public_methods
        return methods

    @cached_property
    def spyne_class(self) -> Any:
        """The operations as a service class of Spyne."""
        members: dict[str, Any] = {operation.name: _spyne_method(operation) for operation in self.operations}
        members["__in_header__"] = self.header
        return type(ServiceBase)(self.name, (ServiceBase,), members)


def _spyne_method(declared: Operation) -> Any:
    decorate = rpc(
        *declared.parameters.values(),
        _args=tuple(declared.parameters),
        _operation_name=declared.name,
        _returns=declared.result,
    )
    return decorate(declared.function)
