"""What SQLite and PostgreSQL spell differently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Select, String, Table, cast, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from db.types import JsonObject


def insert_into(connection: Connection, table: Table) -> Any:
    """Return an INSERT in the dialect of a connection, which has `on_conflict_do_nothing` and its like."""
    return inserts_into(table)[connection.dialect.name]


def inserts_into(table: Table) -> Mapping[str, Any]:
    """Return the same for both dialects, by their names, for statements that are made once."""
    return {"sqlite": sqlite.insert(table), "postgresql": postgresql.insert(table)}


def select_texts(connection: Connection, texts: Iterable[str]) -> Select[tuple[str]]:
    """Return a query for texts as rows; they are one parameter, however many they are."""
    document = literal(orjson.dumps(list(texts)).decode(), String)
    if connection.dialect.name == "sqlite":
        rows = func.json_each(document).table_valued("value")
    else:
        rows = func.json_array_elements_text(cast(document, postgresql.JSON)).table_valued("value")
    return select(cast(rows.c.value, String))


class merge_json(FunctionElement[Any]):  # noqa: N801  (an SQL function)
    """`merge_json(stored, patch)`: the stored object with the patch's keys put in, null ones taken out (RFC 7396)."""

    name = "merge_json"
    type = JsonObject
    inherit_cache = True


@compiles(merge_json, "sqlite")
def _merge_json_sqlite(element: merge_json, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_patch({compiler.process(element.clauses, **options)})"


@compiles(merge_json, "postgresql")
def _merge_json_postgresql(element: merge_json, compiler: SQLCompiler, **options: Any) -> str:
    stored, patch = (compiler.process(clause, **options) for clause in element.clauses)
    return f"jsonb_strip_nulls({stored} || CAST({patch} AS jsonb))"


class join_json(FunctionElement[Any]):  # noqa: N801  (an SQL function)
    """`join_json(stored)`: the texts of a JSON array in their order, between commas; NULL when it is empty."""

    name = "join_json"
    type = String()
    inherit_cache = True


@compiles(join_json, "sqlite")
def _join_json_sqlite(element: join_json, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT group_concat(value, ',') FROM json_each({compiler.process(element.clauses, **options)}))"


@compiles(join_json, "postgresql")
def _join_json_postgresql(element: join_json, compiler: SQLCompiler, **options: Any) -> str:
    stored = compiler.process(element.clauses, **options)
    return (
        "(SELECT string_agg(item.value, ',' ORDER BY item.place)"
        f" FROM json_array_elements_text({stored}) WITH ORDINALITY AS item (value, place))"
    )
