"""Appends many rows to one table the fastest way its database has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table

_MOST_VALUES = 30_000
"""In one statement; SQLite takes 32,766 (its limit SQLITE_MAX_VARIABLE_NUMBER)."""


def append_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Append rows, in a writing transaction; return how many there were.

    Args:
        connection: in a writing transaction.
        table: what they are appended to.
        columns: names of the columns that a row gives values for; others have their defaults in the database.
        rows: may be endless in number; they are not kept in memory.
    """
    if connection.dialect.name == "postgresql":
        return _copy(connection, table, columns, rows)
    return _insert(connection, table, columns, rows)


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Insert many rows with each statement: SQLite's driver hands the interpreter over to other threads at each one."""
    dialect = connection.dialect
    processors = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    names = ", ".join(f'"{table.c[name].name}"' for name in columns)
    start = f'INSERT INTO "{table.name}" ({names}) VALUES '
    place = f"({', '.join('?' * len(columns))})"
    count = 0
    remaining = iter(rows)
    while batch := list(islice(remaining, _MOST_VALUES // len(columns))):
        values = tuple(
            process(value) if process is not None else value
            for row in batch
            for process, value in zip(processors, row, strict=True)
        )
        connection.exec_driver_sql(start + ", ".join([place] * len(batch)), values)
        count += len(batch)
    return count


def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    driver = connection.connection.driver_connection
    assert driver is not None
    names = ", ".join(f'"{table.c[name].name}"' for name in columns)
    count = 0
    with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
        for row in _plain(rows):
            copy.write_row(row)
            count += 1
    return count


def _plain(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    # COPY would write the name of a member of an enumeration.
    for row in rows:
        yield [int(value) if isinstance(value, IntEnum) else value for value in row]
