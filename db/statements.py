"""Makes the statements of a module: written once for both kinds of database, with words for their differences."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import TextClause, bindparam, text

from db.types import UtcDateTime


def prepare_statements(module: Mapping[str, Any], words: Mapping[str, str]) -> SimpleNamespace:
    """Return each statement of a module by its name in lower case.

    Args:
        module: its names and values; a statement's name is all capitals and does not begin with an underscore.
        words: what stands for each `{name}` in a statement.
    """
    return SimpleNamespace(
        **{
            name.lower(): _prepare(value.format(**words))
            for name, value in module.items()
            if name.isupper() and name[0] != "_"
        }
    )


def _prepare(statement: str) -> TextClause:
    clause = text(statement)
    return clause.bindparams(bindparam("now", type_=UtcDateTime)) if ":now" in statement else clause
