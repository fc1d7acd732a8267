"""How simple values are written: the words of XML Schema part 2, read as strictly as ASMX reads them."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal as DecimalValue
from typing import Any

from services.soap.spyne_types import (
    Boolean,
    ByteArray,
    DateTime,
    Decimal,
    Double,
    EnumBase,
    Integer32,
    Integer64,
    Unicode,
)

_BLANK = " \t\r\n"
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,60}(\.[0-9]{0,60})?|\.[0-9]{1,60})")
_DOUBLE = re.compile(rf"{_DECIMAL.pattern}([eE][+-]?[0-9]{{1,4}})?|-?INF|NaN")
_DATETIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(T(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(\.(?P<fraction>[0-9]{1,12}))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?"
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MINUTE = timedelta(minutes=1)
_FIRST_INSTANT = datetime(1, 1, 1)


@dataclass(frozen=True, slots=True)
class SimpleType:
    """A type whose values are text in an element.

    `parse` raises ValueError, with a text for the caller that has nothing of the value in it.
    """

    name: str
    """In XML Schema."""
    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    default: Any = None
    """Stands for a missing element."""


def find_simple_type(declared: Any) -> SimpleType | None:
    """Return how values of a declared type are read and written; None when it is not a simple one."""
    if issubclass(declared, EnumBase):
        return _enumeration(declared)
    return next((simple for base, simple in _SIMPLE_TYPES if issubclass(declared, base)), None)


def parse_string(text: str) -> str:
    """Return the text."""
    return text


def parse_boolean(text: str) -> bool:
    """Read xsd:boolean."""
    value = _BOOLEANS.get(text.strip(_BLANK))
    if value is None:
        raise ValueError("The string is not a valid Boolean value.")
    return value


def _integer_parser(bits: int) -> Callable[[str], int]:
    most = 1 << (bits - 1)

    def parse_integer(text: str) -> int:
        text = text.strip(_BLANK)
        if not _INTEGER.fullmatch(text):
            raise ValueError("Input string was not in a correct format.")
        value = int(text)
        if not -most <= value < most:
            raise ValueError(f"Value was either too large or too small for an Int{bits}.")
        return value

    return parse_integer


def parse_double(text: str) -> float:
    """Read xsd:double."""
    text = text.strip(_BLANK)
    if not _DOUBLE.fullmatch(text):
        raise ValueError("Input string was not in a correct format.")
    value = float(text)
    if math.isinf(value) and not text.endswith("INF"):
        raise ValueError("Value was either too large or too small for a Double.")
    return value


def parse_decimal(text: str) -> DecimalValue:
    """Read xsd:decimal."""
    text = text.strip(_BLANK)
    if not _DECIMAL.fullmatch(text):
        raise ValueError("Input string was not in a correct format.")
    return DecimalValue(text)


def parse_datetime(text: str) -> datetime:
    """Read xsd:dateTime or a date alone; without a zone the result has none. Finer than microseconds is cut off."""
    match = _DATETIME.fullmatch(text.strip(_BLANK))
    if match is None:
        raise ValueError("The string is not a valid DateTime value.")
    fraction = (match["fraction"] or "").ljust(6, "0")[:6]
    zone = match["zone"] or ""
    try:
        return datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00:00'}.{fraction}{zone}")
    except ValueError:
        raise ValueError("The string is not a valid DateTime value.") from None


def parse_base64(text: str) -> bytes:
    """Read xsd:base64Binary."""
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("The string is not valid Base64.") from None


def write_integer(value: int) -> str:
    """Write xsd:int or xsd:long."""
    return str(int(value))


def write_boolean(value: bool) -> str:
    """Write xsd:boolean."""
    return "true" if value else "false"


def write_double(value: float) -> str:
    """Write xsd:double as .NET does: without a point where none is needed, with an exponent from 1E+15 and 1E-05."""
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    if math.isnan(value):
        return "NaN"
    number = DecimalValue(repr(float(value)))
    exponent = number.adjusted() if number else 0
    if -5 < exponent < 15:
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa = format(number.scaleb(-exponent), "f")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}E{exponent:+03}"


def write_decimal(value: DecimalValue) -> str:
    """Write xsd:decimal, which knows no exponents."""
    return format(DecimalValue(value), "f")


def write_datetime(value: datetime) -> str:
    """Write xsd:dateTime with as much of a second as there is, UTC as `Z`, offsets in whole minutes."""
    offset = value.utcoffset()
    if offset is not None and offset % _MINUTE:
        value = value.astimezone(timezone(round(offset / _MINUTE) * _MINUTE))
    text = value.isoformat()
    body, sign, zone = text[:19], text[19:], ""
    if value.tzinfo is not None:
        sign, zone = text[19:-6], "Z" if text.endswith("+00:00") else text[-6:]
    return f"{body}{sign.rstrip('0')}{zone}"


def write_base64(value: bytes) -> str:
    """Write xsd:base64Binary."""
    return base64.b64encode(value).decode("ascii")


def _enumeration(declared: Any) -> SimpleType:
    words = frozenset(declared.__values__)

    def parse_word(text: str) -> str:
        text = text.strip(_BLANK)
        if text not in words:
            raise ValueError("The string is not one of the allowed values.")
        return text

    return SimpleType("string", parse_word, str)


_SIMPLE_TYPES: tuple[tuple[Any, SimpleType], ...] = (
    (Unicode, SimpleType("string", parse_string, str)),
    (Integer32, SimpleType("int", _integer_parser(32), write_integer, 0)),
    (Boolean, SimpleType("boolean", parse_boolean, write_boolean, False)),
    (DateTime, SimpleType("dateTime", parse_datetime, write_datetime, _FIRST_INSTANT)),
    (Integer64, SimpleType("long", _integer_parser(64), write_integer, 0)),
    (Double, SimpleType("double", parse_double, write_double, 0.0)),
    (Decimal, SimpleType("decimal", parse_decimal, write_decimal, DecimalValue(0))),
    (ByteArray, SimpleType("base64Binary", parse_base64, write_base64)),
)
