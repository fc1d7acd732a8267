"""A contract with every kind of type, whose operations take a value and return it, and random values of its types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from services.soap.declarations import (
    BASE64,
    BOOLEAN,
    DATETIME,
    DECIMAL,
    DOUBLE,
    INT,
    LONG,
    STRING,
    Call,
    Operation,
    Service,
    array_of,
    complex_type,
    nillable,
    operation,
    optional,
    repeated,
)
from services.soap.types import (
    is_array,
    is_complex,
    is_nillable,
    is_optional,
    is_repeated,
    item_of,
    members_of,
    original,
)
from services.soap.values import find_simple_type

NAMESPACE = "urn:example:fuzz"

ROW = complex_type(
    "Row",
    NAMESPACE,
    Text=STRING,
    Note=nillable(STRING),
    Number=INT,
    Long=LONG,
    Active=BOOLEAN,
    Share=DOUBLE,
    Price=DECIMAL,
    At=DATETIME,
    Data=BASE64,
    Rank=nillable(INT),
)
PAIR = complex_type("Pair", NAMESPACE, Key=STRING, Value=STRING)
SINGLE = complex_type("Single", NAMESPACE, Key=STRING)
ANIMAL = complex_type("Animal", NAMESPACE, abstract=True, Name=STRING)
DOG = complex_type("Dog", NAMESPACE, ANIMAL, Age=INT)
HOUND = complex_type("Hound", NAMESPACE, DOG, Nose=optional(DOUBLE))
BOX = complex_type(
    "Box",
    NAMESPACE,
    Lid=optional(ROW),
    Pet=optional(ANIMAL),
    Tag=repeated(STRING),
    Numbers=array_of(INT, "ArrayOfInt", "int"),
    Pairs=array_of(PAIR, "ArrayOfPair"),
    Pets=array_of(ANIMAL, "ArrayOfAnimal"),
)


@dataclass(frozen=True)
class Kind:
    """A type with the operation that returns what it is given."""

    name: str
    declared: Any


KINDS = tuple(
    Kind(name, declared)
    for name, declared in {
        "Text": STRING,
        "Int": INT,
        "Long": LONG,
        "Double": DOUBLE,
        "Decimal": DECIMAL,
        "Boolean": BOOLEAN,
        "DateTime": DATETIME,
        "Data": BASE64,
        "OneRow": optional(ROW),
        "Rows": array_of(ROW, "ArrayOfRow"),
        "Pairs": array_of(PAIR, "ArrayOfPair"),
        "Singles": array_of(SINGLE, "ArrayOfSingle"),
        "Texts": array_of(STRING, "ArrayOfString", "string"),
        "OneBox": optional(BOX),
        "OneAnimal": optional(ANIMAL),
        "Animals": array_of(ANIMAL, "ArrayOfAnimal"),
    }.items()
)


def _declare(kind: Kind) -> Operation:
    def return_value(_call: Call, value: Any) -> Any:
        return value

    # Spyne tells the operations of a service apart by the names of their functions.
    return_value.__name__ = kind.name
    # The parameter is called as the result is, so that what was written can be read.
    return operation(kind.name, kind.declared, **{f"{kind.name}Result": kind.declared})(return_value)


SERVICE = Service(
    name="Fuzz",
    namespace=NAMESPACE,
    paths=("/Fuzz.asmx",),
    operations=tuple(map(_declare, KINDS)),
    documentation="Returns what it is given.",
    types=(DOG, HOUND),
)

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12)
ODD_TEXTS = st.sampled_from(
    ["", "None", "<", ">", "&", "%s", "%", "</Text>", "]]>", "\n", "\t", " a ", "\u00e8", "\U0001f600"]
)
_SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS | ODD_TEXTS,
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20),
    "dateTime": st.datetimes(),
    "base64Binary": st.binary(max_size=10),
}
_EXTENSIONS = {ANIMAL: (DOG, HOUND), DOG: (DOG, HOUND)}


def values_of(declared: Any) -> st.SearchStrategy[Any]:
    """Return random values of a type that are read as they were written."""
    if is_array(declared):
        item = item_of(declared)[1]
        return st.lists(_item(item), max_size=4)
    if is_complex(declared):
        kinds = _EXTENSIONS.get(original(declared), (original(declared),))
        return st.one_of([_objects(kind) for kind in kinds])
    simple = find_simple_type(declared)
    assert simple is not None
    return _SIMPLE[simple.name]


def _item(item: Any) -> st.SearchStrategy[Any]:
    return st.none() | values_of(item) if is_nillable(item) else values_of(item)


def _objects(kind: Any) -> st.SearchStrategy[Any]:
    members = {name: _member(declared) for name, declared in members_of(kind).items()}
    return st.fixed_dictionaries(members).map(lambda values: kind(**values))


def _member(declared: Any) -> st.SearchStrategy[Any]:
    if is_repeated(declared):
        return st.none() | st.lists(values_of(declared.customize(max_occurs=1)), min_size=1, max_size=3)
    values = values_of(declared)
    return st.none() | values if is_optional(declared) or is_nillable(declared) else values


def plain(value: Any) -> Any:
    """Return a value in a form that can be compared: objects as their type and members."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(type(value), "_type_info"):
        return (
            type(value).get_type_name(),
            {name: plain(getattr(value, name, None)) for name in members_of(type(value))},
        )
    return value
