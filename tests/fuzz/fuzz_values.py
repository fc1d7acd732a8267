"""Feeds any text to the readers of values: a value comes out that is written as it is read, or a ValueError.

    python tests/fuzz/fuzz_values.py -runs=1000000

Needs atheris.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["services.soap"]):
        import services.soap.codec  # noqa: F401 - before the others import it

from services.soap.declarations import BASE64, BOOLEAN, DATETIME, DECIMAL, DOUBLE, INT, LONG, STRING  # noqa: E402
from services.soap.spyne_types import Enum  # noqa: E402
from services.soap.values import SimpleType, find_simple_type  # noqa: E402

KINDS = tuple(
    simple
    for declared in (
        STRING,
        INT,
        LONG,
        BOOLEAN,
        DOUBLE,
        DECIMAL,
        DATETIME,
        BASE64,
        Enum("Red", "Green", type_name="Colour"),
    )
    if (simple := find_simple_type(declared)) is not None
)
_ALPHABET = "0123456789+-.:TZeEINFa trueflsGd=/\t\n_\u0661\u00a0\x00"


def run_values(data: bytes) -> None:
    """Read a text as each type."""
    texts = (data.decode("utf-8", "surrogateescape"), "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in data))
    for kind in KINDS:
        for text in texts:
            check_value(kind, text)


def check_value(kind: SimpleType, text: str) -> None:
    """Read a text as a type; what is read must be read back from what is written."""
    try:
        value = kind.parse(text)
    except ValueError as error:
        assert type(error) is ValueError, f"{error!r} is not meant for callers"
        assert len(text) < 10 or text not in str(error)
        return
    again = kind.parse(kind.write(value))
    assert again == value or (isinstance(value, float) and math.isnan(value) and math.isnan(again))


if __name__ == "__main__":
    atheris.Setup(sys.argv, run_values)
    atheris.Fuzz()
