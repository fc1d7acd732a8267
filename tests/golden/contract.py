"""The oracle's contract, `oracle/Oracle.asmx`, once more, declared with this server's engine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from golden.cases import NAMESPACE, PATH

from services.soap.declarations import (
    ANY_TEXT,
    BOOLEAN,
    DATETIME,
    INT,
    STRING,
    Call,
    Service,
    array_of,
    complex_type,
    header_type,
    operation,
)

OPTION = complex_type("Option", NAMESPACE, Key=STRING, Value=ANY_TEXT)
ROW = complex_type("Row", NAMESPACE, Number=INT, Name=STRING, Note=STRING, At=DATETIME, Active=BOOLEAN)


@operation("Echo", STRING, text=STRING)
def echo(_call: Call, text: str | None) -> str | None:
    """Return the text."""
    return text


@operation("Add", INT, a=INT, b=INT)
def add(_call: Call, a: int, b: int) -> int:
    """Return the sum."""
    return a + b


@operation("Flag", BOOLEAN, flag=BOOLEAN)
def return_flag(_call: Call, flag: bool) -> bool:
    """Return the flag."""
    return flag


@operation("When", DATETIME, at=DATETIME)
def return_time(_call: Call, at: datetime) -> datetime:
    """Return the time."""
    return at


@operation("Options", STRING, options=array_of(OPTION, "ArrayOfOption"))
def describe_options(_call: Call, options: Sequence[Any] | None) -> str:
    """Return `null`, or the options as [key=value], where null is ~."""
    return "null" if options is None else "".join(map(_describe_option, options))


def _describe_option(option: Any) -> str:
    return "[~]" if option is None else f"[{_or_tilde(option.Key)}={_or_tilde(option.Value)}]"


def _or_tilde(text: str | None) -> str:
    return "~" if text is None else text


@operation("Rows", array_of(ROW, "ArrayOfRow"), count=INT)
def list_rows(_call: Call, count: int) -> list[Any] | None:
    """Return that many rows, null for a negative number."""
    return None if count < 0 else [_make_row(number) for number in range(count)]


def _make_row(number: int) -> Any:
    return ROW(
        Number=number,
        Name=f"Row <{number}>" if number else "",
        Note="Città" if number % 2 else None,
        At=datetime(2024, 2, 29, 12, 30) + timedelta(days=number),
        Active=number % 2 == 0,
    )


@operation("Fail", STRING)
def fail(_call: Call) -> str:
    """Fail."""
    raise RuntimeError("The oracle fails.")


@operation("Nothing", STRING)
def return_nothing(_call: Call) -> str | None:
    """Return null."""
    return None


@operation("HeaderUser", STRING)
def describe_header(call: Call) -> str:
    """Return `none`, or user, password and encType, where null is ~."""
    if call.header is None:
        return "none"
    return "/".join(_or_tilde(call.header[member]) for member in ("User", "Password", "encType"))


ORACLE = Service(
    name="Oracle",
    namespace=NAMESPACE,
    paths=(PATH,),
    operations=(
        echo,
        add,
        return_flag,
        return_time,
        describe_options,
        list_rows,
        fail,
        return_nothing,
        describe_header,
    ),
    documentation="Answers as the platform does.",
    header=header_type("Authentication", NAMESPACE, "User", "Password", "encType"),
)
