"""Two contracts with what those of the real services have not: rows as results, faults with details, a family of types.

Their operations echo or describe what reached them, so that a test sees what a foreign program really sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.engine import Database
from jobs.storage import Storage
from services.http.application import HttpOptions, create_application
from services.resources import Resources
from services.soap.declarations import (
    INT,
    STRING,
    Call,
    Service,
    array_of,
    complex_type,
    header_type,
    nillable,
    operation,
)
from services.soap.endpoint import SoapEndpoint
from services.soap.faults import SoapFault

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NAMESPACE = "http://sample.example/"
WORDS = "Città – 東京 – 😀"
DETAIL = "Città – 東京"

ROW = complex_type("Row", NAMESPACE, number=INT, name=STRING, note=STRING)
ROWS = array_of(ROW, "ArrayOfRow")

SHAPE = complex_type("Shape", NAMESPACE, abstract=True, name=STRING, weight=nillable(INT), label=nillable(STRING))
CIRCLE = complex_type("Circle", NAMESPACE, SHAPE, radius=INT)
SQUARE = complex_type("Square", NAMESPACE, SHAPE, side=INT)
TILE = complex_type("Tile", NAMESPACE, SQUARE, colour=STRING)
SHAPES = array_of(SHAPE, "ArrayOfShape")


@operation("Echo", STRING, text=STRING)
def echo(_call: Call, text: str | None) -> str | None:
    """Return the text."""
    return text


@operation("Measure", STRING, text=STRING)
def measure(_call: Call, text: str | None) -> str:
    """Tell whether the text is null, or how many characters it has."""
    return "null" if text is None else str(len(text))


@operation("Add", INT, first=INT, second=INT)
def add(_call: Call, first: int, second: int) -> int:
    """Return the sum."""
    return first + second


@operation("Rows", ROWS, count=INT)
def list_rows(_call: Call, count: int) -> list[Any]:
    """Return rows; every other one has no note."""
    return [ROW(number=n, name=f"{WORDS} {n}", note=None if n % 2 else "") for n in range(1, count + 1)]


@operation("Join", STRING, rows=ROWS)
def join_rows(_call: Call, rows: Sequence[Any] | None) -> str:
    """Tell what the rows hold."""
    if rows is None:
        return "null"
    return ";".join(f"{row.number}={row.name}={row.note}" for row in rows)


@operation("Mirror", SHAPES, shapes=SHAPES)
def mirror_shapes(_call: Call, shapes: Sequence[Any] | None) -> list[Any]:
    """Return the shapes, the last first."""
    return list(reversed(shapes or ()))


@operation("Survey", STRING, shapes=SHAPES)
def survey_shapes(_call: Call, shapes: Sequence[Any] | None) -> str:
    """Tell which types the shapes have, and what is in them."""
    return ";".join(map(_describe_shape, shapes or ()))


def _describe_shape(shape: Any) -> str:
    kind = next(kind for kind in (TILE, SQUARE, CIRCLE) if isinstance(shape, kind))
    members = [f"{name}={getattr(shape, name)}" for name in kind.get_flat_type_info(kind)]
    return f"{kind.get_type_name()}({','.join(members)})"


@operation("WhoAmI", STRING)
def tell_caller(call: Call) -> str:
    """Return what the header says of the caller."""
    return "nobody" if call.header is None else f"{call.header['Owner']}/{call.header['Secret']}"


@operation("Fail", STRING, text=STRING)
def fail(_call: Call, _text: str | None) -> str:
    """Answer with a fault that has a detail."""
    detail = f'<Failure xmlns="{NAMESPACE}"><Code>42</Code><Text>{DETAIL}</Text></Failure>'
    raise SoapFault("Server", f"It failed: {DETAIL}", detail)


SAMPLE_SERVICE = Service(
    name="Sample",
    namespace=NAMESPACE,
    paths=("/Sample.asmx",),
    operations=(echo, measure, add, list_rows, join_rows, tell_caller, fail),
    documentation="What a contract can hold.",
    header=header_type("Ticket", NAMESPACE, "Owner", "Secret"),
)
SHAPES_SERVICE = Service(
    name="Shapes",
    namespace=NAMESPACE,
    paths=("/Shapes.asmx",),
    operations=(mirror_shapes, survey_shapes),
    documentation="A family of types, for stacks that know such things.",
    types=(CIRCLE, SQUARE, TILE),
)


def create_from_environment() -> WSGIApplication:
    """Return the application of a granian worker: all that the server serves, and these contracts."""
    database, storage = Database(os.environ["TEST_DATABASE"]), Storage(Path(os.environ["TEST_DATA"]), reserve=0)
    served, resources = create_application(database, storage, HttpOptions()), Resources(database, storage)
    samples = {
        service.paths[0]: SoapEndpoint(service, resources, HttpOptions())
        for service in (SAMPLE_SERVICE, SHAPES_SERVICE)
    }

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return samples.get(environ["PATH_INFO"], served)(environ, start_response)

    return answer
