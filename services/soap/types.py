"""What the engine asks about declared types, in one place, since Spyne answers in many ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.soap.declarations import Service
from services.soap.spyne_types import Array, ComplexModel


def is_array(declared: Any) -> bool:
    """Tell whether a type is an element around any number of items."""
    return issubclass(declared, Array)


def is_complex(declared: Any) -> bool:
    """Tell whether a type has members."""
    return issubclass(declared, ComplexModel)


def is_repeated(declared: Any) -> bool:
    """Tell whether a member may stand more than once."""
    return bool(declared.Attributes.max_occurs > 1)


def is_optional(declared: Any) -> bool:
    """Tell whether a member may be left out."""
    return bool(declared.Attributes.min_occurs == 0)


def is_nillable(declared: Any) -> bool:
    """Tell whether a member without a value is written with `xsi:nil`; only if it was declared so."""
    undecided = is_complex(declared) and declared.__orig__ is None
    return bool(declared.Attributes.nillable) and not undecided


def is_abstract(declared: Any) -> bool:
    """Tell whether only types that extend this one have values."""
    return bool(vars(original(declared)).get("is_abstract"))


def original(declared: Any) -> Any:
    """Return the type as it was declared first, before it became a member with its own optionality."""
    return declared.__orig__ or declared


def item_of(array: Any) -> tuple[str, Any]:
    """Return the name and type of the items of an array."""
    ((name, item),) = array._type_info.items()
    return str(name), item


def members_of(declared: Any) -> dict[str, Any]:
    """Return all members of a type in their order, those of its base first."""
    return dict(declared.get_flat_type_info(declared))


def own_members_of(declared: Any) -> dict[str, Any]:
    """Return the members that a type adds to its base."""
    return dict(original(declared)._type_info)


def base_of(declared: Any) -> Any | None:
    """Return the type that this one extends."""
    base = original(declared).__extends__
    return original(base) if base is not None else None


def namespace_of(declared: Any, service: Service) -> str:
    """Return the name space of a type's members."""
    return str(original(declared).get_namespace() or service.namespace)


def types_of(service: Service) -> list[Any]:
    """Return every complex and array type of a service, bases before what extends them, in order of first use."""
    found: dict[Any, None] = {}
    for operation in service.operations:
        for declared in (*operation.parameters.values(), operation.result):
            _collect(declared, found)
    for declared in service.types:
        _collect(declared, found)
    return list(found)


def extensions_of(declared: Any, service: Service) -> Iterator[Any]:
    """Return the concrete types of a service that a value of this type may have, itself among them."""
    kind = original(declared)
    for known in types_of(service):
        if issubclass(known, kind) and not is_abstract(known):
            yield known


def _collect(declared: Any, found: dict[Any, None]) -> None:
    if is_array(declared):
        if declared not in found:
            found[declared] = None
            _collect(item_of(declared)[1], found)
    elif is_complex(declared):
        kind = original(declared)
        if kind not in found:
            base = base_of(kind)
            if base is not None:
                _collect(base, found)
            found[kind] = None
            for member in own_members_of(kind).values():
                _collect(member, found)
