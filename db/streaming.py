"""Rows of one query in any number, the fastest way each database has, with memory that stays flat.

PostgreSQL makes the lines of a CSV file itself (`COPY … TO STDOUT`); where that would not give the same bytes as the
rows written by Python, and on SQLite, rows are read in batches as the driver gives them.
"""

from __future__ import annotations

import select
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import pq
from sqlalchemy import ColumnElement, Connection, Select, String, case, func
from sqlalchemy.exc import DBAPIError

from db.settled import READING
from db.types import UtcDateTime

BATCH_ROWS = 2_000
_BLOCK_BYTES = 128 * 1024
_TO_CHAR = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH24", "%M": "MI", "%S": "SS", "%%": '"%"'}
_COMPARED_YEARS = (1990, 2038)
_SHOWN = "SELECT array_agg(instant AT TIME ZONE %s ORDER BY instant) FROM unnest(%s::timestamptz[]) AS instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFormat:
    """How PostgreSQL writes the lines."""

    separator: str
    quote: str
    date_format: str
    """In the directives of `strftime`: Y, m, d, H, M, S and %."""
    time_zone: str
    """Name in the IANA database."""


def begin_reading(connection: Connection) -> None:
    """Have a transaction that has just begun see one state of the database in all its statements, and write nothing."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL application_name = '{READING}'")


def shape_text(query: Select[*tuple[Any, ...]], defused: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return a query with its texts as they are exported: no empty ones, and an apostrophe before some.

    Args:
        query: any.
        defused: first characters of texts that get an apostrophe in front.
    """
    shaped = [
        _shape(column, defused) if isinstance(column.type, String) else column for column in query.selected_columns
    ]
    return query.with_only_columns(*shaped, maintain_column_froms=True)


def date_positions(query: Select[*tuple[Any, ...]]) -> tuple[int, ...]:
    """Return at which positions, from 0, the rows of a query have instants."""
    return tuple(place for place, column in enumerate(query.selected_columns) if isinstance(column.type, UtcDateTime))


def read_batches(
    connection: Connection, query: Select[*tuple[Any, ...]]
) -> Generator[Sequence[Sequence[Any]], None, None]:
    """Yield the rows of a query, some thousand at a time, with values as the driver gives them.

    Instants are text in UTC (`2026-03-01 12:00:00.000000`) from SQLite, and aware from PostgreSQL.
    """
    if connection.dialect.name == "postgresql":
        with connection.execute(query, execution_options={"yield_per": BATCH_ROWS}) as streamed:
            yield from streamed.partitions()
        return
    with connection.execute(query) as result:
        # Not the result's own rows: converting their values costs more than reading them.
        cursor: Any = result.cursor
        while batch := cursor.fetchmany(BATCH_ROWS):
            yield batch


def can_copy(connection: Connection, query: Select[*tuple[Any, ...]], time_zone: str) -> bool:
    """Tell whether `copy_lines` gives what Python would write.

    PostgreSQL must have the same time zone with the same rules. It quotes some texts where they are the only cell.
    """
    if connection.dialect.name != "postgresql" or len(query.selected_columns) < 2:
        return False
    return not date_positions(query) or _agrees_about(connection, time_zone)


def copy_lines(
    connection: Connection, query: Select[*tuple[Any, ...]], line_format: LineFormat
) -> Generator[Sequence[bytes], None, None]:
    """Yield the lines of a CSV file in UTF-8, some thousand at a time, as PostgreSQL makes them.

    Lines end in LF, as do no others but those inside quotes. Whoever stops before the end loses the connection.

    Raises:
        DBAPIError: the database fails.
    """
    driver: Any = connection.connection.driver_connection
    # Cheaper than telling the zone for every date.
    connection.exec_driver_sql("SELECT set_config('TimeZone', %s, true)", (line_format.time_zone,))
    statement = _copy_statement(connection, driver, query, line_format)
    finished = False
    try:
        yield from _receive(driver, statement)
        finished = True
    except psycopg.Error as error:
        raise DBAPIError("COPY", None, error) from error
    finally:
        if not finished:
            connection.invalidate()


def _shape(column: ColumnElement[Any], defused: Sequence[str]) -> ColumnElement[Any]:
    text = func.nullif(column, "", type_=String())
    if not defused:
        return text
    return case((func.substr(column, 1, 1).in_(defused), "'" + column), else_=text)


def _agrees_about(connection: Connection, time_zone: str) -> bool:
    first, last = _COMPARED_YEARS
    zone = ZoneInfo(time_zone)
    day = datetime(first, 1, 1, tzinfo=UTC)
    # Rules differ for months, not for days.
    instants = [day + timedelta(days=15 * number) for number in range((last - first) * 24)]
    try:
        with connection.begin_nested():
            shown = connection.exec_driver_sql(_SHOWN, (time_zone, instants)).scalar_one()
    except DBAPIError:
        return False
    return list(shown) == [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]


def _copy_statement(
    connection: Connection, driver: Any, query: Select[*tuple[Any, ...]], line_format: LineFormat
) -> bytes:
    shown = [_show(column, line_format) for column in query.selected_columns]
    compiled = query.with_only_columns(*shown, maintain_column_froms=True).compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    # COPY takes no parameters, so the driver puts them in, quoted.
    values = {name: int(value) if isinstance(value, int) else value for name, value in compiled.params.items()}
    with psycopg.ClientCursor(driver) as cursor:
        selected = cursor.mogrify(compiled.string, values)
        options = cursor.mogrify("DELIMITER %s, QUOTE %s", (line_format.separator, line_format.quote))
    return f"COPY ({selected}) TO STDOUT WITH (FORMAT csv, ENCODING 'UTF8', {options})".encode()


def _show(column: ColumnElement[Any], line_format: LineFormat) -> ColumnElement[Any]:
    if not isinstance(column.type, UtcDateTime):
        return column
    return func.to_char(column, _to_char_pattern(line_format.date_format))


def _to_char_pattern(date_format: str) -> str:
    pattern = ""
    rest = date_format
    while rest:
        length = 2 if rest[0] == "%" else 1
        part, rest = rest[:length], rest[length:]
        literal = part.replace("\\", "\\\\").replace('"', '\\"')
        pattern += _TO_CHAR.get(part) or f'"{literal}"'
    return pattern


def _receive(driver: Any, statement: bytes) -> Iterator[Sequence[bytes]]:
    """Read what the server sends without waiting inside the library, which would keep other threads waiting too."""
    connection = driver.pgconn
    result = connection.exec_(statement)
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    arrival = select.poll()
    arrival.register(connection.socket, select.POLLIN)
    lines: list[bytes] = []
    size = 0
    while True:
        length, line = connection.get_copy_data(1)
        if length > 0:
            lines.append(line)
            size += length
            if size >= _BLOCK_BYTES:
                yield lines
                lines, size = [], 0
        elif length == 0:
            arrival.poll()
            connection.consume_input()
        else:
            break
    yield lines
    while (result := connection.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
