"""Turns a result into the body of an answer.

For each type a writer is made once, from the declarations. Values are written in the declared order; a list of flat
rows, the form of every large answer, is written by one format operation over a template of all its rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any
from xml.sax.saxutils import escape

from services.soap.declarations import Service
from services.soap.types import (
    extensions_of,
    is_array,
    is_complex,
    is_nillable,
    is_repeated,
    item_of,
    members_of,
    original,
)
from services.soap.values import find_simple_type

Writer = Callable[[Any], str]

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_ROWS = 1000
"""Rows that are written at once."""
# Two signs that XML cannot have, so that no value has them in earnest.
_MARK = "\0"
_MISSING = "\1"


class Encoder:
    """The writers of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._contents: dict[Any, Writer] = {}

    def result_writer(self, name: str, result: Any) -> Writer:
        """Return what writes the whole body of an operation's answer."""
        write_result = self._value_writer(f"{name}Result", result)
        start = f'<{name}Response xmlns="{self._service.namespace}"'
        empty, start, end = f"{start} />", f"{start}>", f"</{name}Response>"

        def write(value: Any) -> str:
            return empty if value is None else f"{start}{write_result(value)}{end}"

        return write

    def _element_writer(self, name: str, declared: Any) -> Writer:
        """Return what writes a member with its tags, or nothing when it has no value."""
        write_value = self._value_writer(name, declared)
        missing = _missing_form(name, declared)
        if is_repeated(declared):
            return _repeat(write_value, missing)

        def write(value: Any) -> str:
            return missing if value is None else write_value(value)

        return write

    def _value_writer(self, name: str, declared: Any) -> Writer:
        """Return what writes a value that is there, with its tags."""
        if is_array(declared):
            return _wrap(name, self._items_writer(*item_of(declared)))
        if is_complex(declared):
            return self._complex_writer(name, original(declared))
        simple = find_simple_type(declared)
        if simple is None:
            raise TypeError(f"{declared} cannot be a result.")
        write = simple.write
        return _wrap(name, lambda value: escape_text(write(value)))

    def _items_writer(self, name: str, item: Any) -> Writer:
        write_item = self._element_writer(name, item)
        if not is_complex(item) or len(list(extensions_of(item, self._service))) != 1:
            return write_item
        members = members_of(item)
        if any(find_simple_type(kind) is None or is_repeated(kind) for kind in members.values()):
            return write_item
        return RowsWriter(name, members, write_item)

    def _complex_writer(self, name: str, kind: Any) -> Writer:
        extensions = list(extensions_of(kind, self._service))
        starts = {
            extension: f'<{name} xsi:type="{extension.get_type_name()}"' if extension is not kind else f"<{name}"
            for extension in extensions
        }

        def write(value: Any) -> str:
            actual = type(value) if type(value) in starts else kind
            start, content = starts[actual], self._content_writer(actual)(value)
            return f"{start}>{content}</{name}>" if content else f"{start} />"

        return write

    def _content_writer(self, kind: Any) -> Writer:
        """Return what writes the members of a type; made when it is first used, since types may hold their own kind."""
        if kind not in self._contents:
            self._contents[kind] = self._build_content_writer(kind)
        return self._contents[kind]

    def _build_content_writer(self, kind: Any) -> Writer:
        members = members_of(kind)
        writers = [self._element_writer(name, member) for name, member in members.items()]
        take = _taker(tuple(members))

        def write(value: Any) -> str:
            row = value if isinstance(value, tuple) else take(value)
            return "".join([write_member(part) for write_member, part in zip(writers, row, strict=True)])

        return write


class RowsWriter:
    """Writes a list of items that have only simple members: objects, or tuples in the order of the members.

    Values are escaped by columns and put between their tags by one generated expression, which takes a small part
    of the time of writing them one by one.
    """

    def __init__(self, name: str, members: dict[str, Any], write_item: Writer) -> None:
        self._write_item = write_item
        self._take = _taker(tuple(members))
        self._columns = [_Column(member, kind) for member, kind in members.items()]
        self._fill = _row_template(name, tuple(members))
        self._empty = f"<{name}></{name}>", f"<{name} />"

    def __call__(self, rows: Iterable[Any] | None) -> str:
        rows = list(rows or ())
        return "".join([self._write_some(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)])

    def _write_some(self, rows: Sequence[Any]) -> str:
        if None in rows:
            return self._write_item(rows)
        if set(map(type, rows)) != {tuple}:
            rows = [row if isinstance(row, tuple) else self._take(row) for row in rows]
        columns = zip(*rows, strict=True)
        forms: list[tuple[str, str]] = []
        try:
            written = [column.write(values, forms) for column, values in zip(self._columns, columns, strict=True)]
        except _MarkInValue:
            return self._write_item(rows)
        text = self._fill(zip(*written, strict=True))
        for plain, form in (*forms, self._empty) if forms else ():
            text = text.replace(plain, form)
        return text


def _row_template(name: str, members: Sequence[str]) -> Callable[[Iterable[Any]], str]:
    """Return what puts rows of values between their tags.

    It is generated, as `dataclasses` generates constructors: a literal with the tags in it is by far the fastest way.
    """
    if not all(map(_NAME.fullmatch, (name, *members))):
        raise ValueError("A declared name is no name in XML.")
    values = [f"v{place}" for place in range(len(members))]
    pieces = "".join(f"<{member}>{{{value}}}</{member}>" for member, value in zip(members, values, strict=True))
    source = f"lambda rows: ''.join([f'<{name}>{pieces}</{name}>' for {', '.join(values)}, in rows])"
    fill: Callable[[Iterable[Any]], str] = eval(source, {})  # noqa: S307 - of names that were declared, and checked
    return fill


class _MarkInValue(Exception):
    """A value has one of the signs in it that mark places."""


class _Column:
    """One member of all rows."""

    def __init__(self, name: str, declared: Any) -> None:
        simple = find_simple_type(declared)
        assert simple is not None
        self._write = simple.write
        self._is_text = simple.name == "string"
        self._is_integer = simple.name in ("int", "long")
        self._missing = f"<{name}>{_MISSING}</{name}>", _missing_form(name, declared)
        self._empty = f"<{name}></{name}>", f"<{name} />"

    def write(self, values: Sequence[Any], forms: list[tuple[str, str]]) -> Sequence[Any]:
        """Return the values as they stand between their tags.

        Args:
            values: of the member, for each row.
            forms: gets what must be replaced in the outcome, and by what, for values that are missing or empty.

        Raises:
            _MarkInValue: see there.
        """
        if not self._is_text:
            return self._write_others(values, forms)
        try:
            return self._write_texts(values, forms)
        except TypeError:
            # Something is no text: it is missing, or a number that stands for one.
            return self._write_others(values, forms)

    def _write_texts(self, values: Sequence[str], forms: list[tuple[str, str]]) -> Sequence[str]:
        joined = _MARK.join(values)
        if _MISSING in joined or joined.count(_MARK) >= len(values):
            raise _MarkInValue
        if not all(values):
            forms.append(self._empty)
        escaped = escape_text(joined)
        return values if escaped is joined else escaped.split(_MARK)

    def _write_others(self, values: Sequence[Any], forms: list[tuple[str, str]]) -> Sequence[Any]:
        if self._is_integer and set(map(type, values)) == {int}:
            return values
        written = [None if value is None else escape_text(self._write(value)) for value in values]
        if any(mark in text for text in written if text is not None for mark in (_MARK, _MISSING)):
            raise _MarkInValue
        if None in values:
            forms.append(self._missing)
        if "" in written:
            forms.append(self._empty)
        return [_MISSING if text is None else text for text in written]


def escape_text(text: str) -> str:
    """Return text as the content of an element."""
    return escape(text) if "&" in text or "<" in text or ">" in text else text


def _taker(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the members of an object as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _wrap(name: str, write_content: Writer) -> Writer:
    start, end, empty = f"<{name}>", f"</{name}>", f"<{name} />"

    def write(value: Any) -> str:
        content = write_content(value)
        return f"{start}{content}{end}" if content else empty

    return write


def _repeat(write_value: Writer, missing: str) -> Writer:
    def write(values: Iterable[Any] | None) -> str:
        return "".join([missing if value is None else write_value(value) for value in values or ()])

    return write


def _missing_form(name: str, declared: Any) -> str:
    return f'<{name} xsi:nil="true" />' if is_nillable(declared) else ""
