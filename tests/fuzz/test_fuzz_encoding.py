"""Whatever value of a declared type is written, XML comes out from which the same value is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from fuzz_contract import KINDS, NAMESPACE, ODD_TEXTS, PAIR, ROW, SERVICE, SINGLE, TEXTS, Kind, plain, values_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from services.soap.codec import ServiceCodec
from services.soap.encoding import Encoder, RowsWriter
from services.soap.envelope import open_envelope
from services.soap.faults import SoapVersion, wrap_body
from services.soap.large_text import Text
from services.soap.limits import XmlLimits
from services.soap.types import members_of

CODEC = ServiceCodec(SERVICE)
CONTROLS = "".join(map(chr, range(32))) + "\x7f\x85\ud800\ufffe\uffff"


class Named(NamedTuple):
    """A row that is a tuple with names, as databases return them."""

    Key: str | None
    Value: str | None


def _no_text() -> Text:
    raise AssertionError


@pytest.mark.parametrize("version", SoapVersion)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_round_trip(kind: Kind, version: SoapVersion) -> None:
    codec = CODEC.operations[f"{NAMESPACE} {kind.name}"]

    @settings(max_examples=25, deadline=None)
    @given(values_of(kind.declared))
    def check(value: Any) -> None:
        content = wrap_body(version, codec.encode(value))
        etree.fromstring(content)
        root = CODEC.read_message([content], XmlLimits(), None, _no_text)
        body = open_envelope(root, version.media_type).body
        assert body is not None
        assert plain(codec.decode(body)[0]) == plain(value)

    check()


CELLS = st.none() | TEXTS | ODD_TEXTS | st.text(st.sampled_from(CONTROLS), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.tuples(CELLS, CELLS), max_size=4), st.booleans(), st.booleans())
@example([("a", None)], True, False)
@example([("None", "")], False, True)
@example([("</Key><Key>", "></")], True, True)
def test_rows_at_once_are_rows_one_by_one(rows: list[Any], as_objects: bool, as_named: bool) -> None:
    if as_objects:
        rows = [row if row is None else PAIR(Key=row[0], Value=row[1]) for row in rows]
    elif as_named:
        rows = [row if row is None else Named(*row) for row in rows]
    _check_rows(PAIR, rows)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.tuples(CELLS), max_size=4))
def test_rows_of_one_member(rows: list[Any]) -> None:
    _check_rows(SINGLE, rows)


@settings(max_examples=100, deadline=None)
@given(st.lists(values_of(ROW), max_size=4), st.booleans())
def test_rows_of_all_types(rows: list[Any], as_tuples: bool) -> None:
    if as_tuples:
        rows = [tuple(getattr(row, name) for name in members_of(ROW)) for row in rows]
    _check_rows(ROW, rows)


def test_more_rows_than_are_written_at_once() -> None:
    _check_rows(PAIR, [(str(number), "<" if number % 999 == 0 else "a") for number in range(2500)])


@pytest.mark.parametrize("row", [("a",), ("a", "b", "c"), ()])
def test_rows_of_another_width(row: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        _writer(PAIR)([row])


def _check_rows(kind: Any, rows: list[Any]) -> None:
    writer = _writer(kind)
    written = writer(rows)
    assert written == writer._write_item(rows)
    content = wrap_body(SoapVersion.V11, written)
    body = etree.fromstring(content)[0]
    assert len(body) == len(rows)
    for element, row in zip(body, rows, strict=True):
        assert len(element) <= (0 if row is None else len(members_of(kind)))


def _writer(kind: Any) -> RowsWriter:
    name = kind.get_type_name()
    writer = Encoder(SERVICE)._items_writer(name, kind.customize(min_occurs=0, max_occurs="unbounded", nillable=True))
    assert isinstance(writer, RowsWriter)
    return writer
