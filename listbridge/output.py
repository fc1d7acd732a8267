"""What commands print: lines for people, and the same as JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer

Row = dict[str, Any]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The option that every listing has."""


def print_rows(rows: Sequence[Row], *, as_json: bool, nothing: str) -> None:
    """Print a listing.

    Args:
        rows: all with the same keys; the keys are stable names for programs.
        as_json: print one JSON array of objects instead of a table.
        nothing: the line for people when there are no rows.
    """
    if as_json:
        print_json(list(rows))
    elif rows:
        _print_table(rows)
    else:
        print(nothing)


def print_json(value: Any) -> None:
    """Print one JSON document; instants are ISO 8601 in UTC."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")


def print_values(values: Row) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{_label(name):<{width}}  {_show(value)}".rstrip())


def _print_table(rows: Sequence[Row]) -> None:
    lines = [[_label(name) for name in rows[0]], *([_show(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _label(name: str) -> str:
    return name.replace("_", " ")


def _show(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
