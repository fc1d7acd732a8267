"""The oracle's contract of many types, `oracle/Types.asmx`, once more, declared with this server's engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from golden.cases import NAMESPACE
from golden.type_cases import PATH

from services.soap.declarations import (
    BASE64,
    BOOLEAN,
    DECIMAL,
    DOUBLE,
    INT,
    LONG,
    STRING,
    Call,
    Service,
    array_of,
    complex_type,
    nillable,
    operation,
    optional,
    repeated,
)
from services.soap.values import write_double

SHAPE = complex_type("Shape", NAMESPACE, abstract=True, Name=STRING)
CIRCLE = complex_type("Circle", NAMESPACE, SHAPE, Radius=DOUBLE)
RING = complex_type("Ring", NAMESPACE, CIRCLE, Hole=DOUBLE)
SQUARE = complex_type("Square", NAMESPACE, SHAPE, Side=LONG)
PARCEL = complex_type(
    "Parcel",
    NAMESPACE,
    Content=optional(SHAPE),
    Note=nillable(STRING),
    Weight=nillable(INT),
    Tag=repeated(STRING),
    Numbers=array_of(INT, "ArrayOfInt", "int"),
)
SHAPES = array_of(SHAPE, "ArrayOfShape")


@operation("Describe", STRING, shape=optional(SHAPE))
def describe(_call: Call, shape: Any) -> str:
    """Return `null`, or the type and the members, where null is ~."""
    if shape is None:
        return "null"
    members = [_or_tilde(shape.Name)]
    members += [write_double(getattr(shape, name)) for name in ("Radius", "Hole") if hasattr(shape, name)]
    members += [str(shape.Side)] if hasattr(shape, "Side") else []
    return " ".join([type(shape).get_type_name(), *members])


@operation("DescribeAll", STRING, shapes=SHAPES)
def describe_all(call: Call, shapes: Sequence[Any] | None) -> str:
    """Return `null`, or the descriptions of the shapes."""
    return "null" if shapes is None else "".join(f"[{describe.function(call, shape)}]" for shape in shapes)


@operation("DescribeParcel", STRING, parcel=optional(PARCEL))
def describe_parcel(call: Call, parcel: Any) -> str:
    """Return `null`, or the members, where null is ~."""
    if parcel is None:
        return "null"
    members = (parcel.Note, parcel.Weight, _join(parcel.Tag), _join(parcel.Numbers))
    return "/".join([describe.function(call, parcel.Content), *map(_or_tilde, members)])


def _or_tilde(value: object) -> str:
    return "~" if value is None else str(value)


def _join(values: Iterable[object] | None) -> str | None:
    return None if values is None else ",".join("" if value is None else str(value) for value in values)


@operation("Make", optional(SHAPE), kind=STRING)
def make(_call: Call, kind: str | None) -> Any:
    """Return a shape of that kind, or null."""
    match kind:
        case "Circle":
            return CIRCLE(Name="c", Radius=1.5)
        case "Ring":
            return RING(Name="r", Radius=2.0, Hole=0.25)
        case "Square":
            return SQUARE(Side=4)
    return None


@operation("MakeAll", SHAPES, kinds=STRING)
def make_all(call: Call, kinds: str | None) -> list[Any]:
    """Return one shape for each word."""
    return [make.function(call, kind) for kind in (kinds or "").split(" ")]


@operation("Pack", optional(PARCEL), full=BOOLEAN)
def pack(call: Call, full: bool) -> Any:
    """Return a parcel with everything in it or with nothing."""
    if not full:
        return PARCEL()
    return PARCEL(Content=make.function(call, "Ring"), Note="", Weight=3, Tag=["a", "", "b&c"], Numbers=[1, -2])


@operation("Count", LONG, number=LONG)
def count(_call: Call, number: int) -> int:
    """Return the number."""
    return number


@operation("Measure", DOUBLE, number=DOUBLE)
def measure(_call: Call, number: float) -> float:
    """Return the number."""
    return number


@operation("Price", DECIMAL, number=DECIMAL)
def price(_call: Call, number: Decimal) -> Decimal:
    """Return the number."""
    return number


@operation("Store", BASE64, data=BASE64)
def store(_call: Call, data: bytes | None) -> bytes | None:
    """Return the bytes."""
    return data


TYPES = Service(
    name="Types",
    namespace=NAMESPACE,
    paths=(PATH,),
    operations=(describe, describe_all, describe_parcel, make, make_all, pack, count, measure, price, store),
    documentation="Has every kind of type.",
    types=(CIRCLE, RING, SQUARE),
)
