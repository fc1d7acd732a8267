"""Recipient XML: rows, refusals before the first row, and flat memory."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterable
from typing import Any, cast
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.recipient_xml import RECORD_SIZE, XmlGrammar, XmlRows
from exchange.rows import Batch, SourceRow

GRAMMAR = XmlGrammar(
    record_tag="person", email="email", prefix="Prefix", number="Number", field_tag=r"value(?P<number>\d+)"
)
FIELDS = {"name": "1", "city": "2", "company": "12"}


def open_rows(document: bytes, **settings: Any) -> XmlRows:
    return XmlRows(lambda: io.BytesIO(document), Profile(format="xml", **settings), FIELDS, GRAMMAR)


def read(document: str, **settings: Any) -> list[SourceRow]:
    batches = list(open_rows(document.encode(), **settings).batches(100))
    assert not any(batch.errors for batch in batches)
    return [row for batch in batches for row in batch.rows]


def test_document_is_read() -> None:
    first = (
        '<person email=" a@example.com " Prefix="+001" Number="8889624587" Name="x">\n'
        "<value1>Ann &amp; &#233;</value1><value2><![CDATA[<Rome>]]></value2></person>"
    )
    second = "<person email='b@example.com'/>"
    document = f"<people>\n{first}\n{second}</people>"
    assert read(document) == [
        SourceRow(1, first, "a@example.com", "+18889624587", "", "", "", "", {"1": "Ann & é", "2": "<Rome>"}),
        SourceRow(2, second, "b@example.com", "", "", "", "", "", {}),
    ]
    assert open_rows(document.encode()).header == ""


@pytest.mark.parametrize(
    "document",
    [
        '<?xml version="1.0"?><x><person email="é@example.com"/></x>',
        '<?xml version="1.0" encoding="windows-1252"?><x><person email="é@example.com"/></x>',
        '<?xml version="1.0" encoding="utf-16" standalone="yes"?><x><person email="é@example.com"/></x>',
        '\n <?xml version="1.0"?><x><person email="é@example.com"/></x>',
        '\N{BYTE ORDER MARK}<?xml version="1.0"?><x><person email="é@example.com"/></x>',
        '<x><PERSON EMAIL="é@example.com"></PERSON></x>',
        '<n:x xmlns:n="urn:x"><n:Person n:Email="é@example.com"></n:Person ></n:x>',
        '<!-- c --><x><y z="1">t</y><person email="é@example.com"/><?pi x?></x>',
        '<person email="é@example.com"/>',
        "<persons><person email='é@example.com'/></persons>",
        "<person-list><person email='é@example.com'/></person-list>",
        " " * 200_000 + "<x><person email='é@example.com'/></x>" + "\n" * 200_000,
        "<x>" + "<!-- comment -->" * 100_000 + "<person email='é@example.com'/></x>",
    ],
)
def test_same_row_in_every_form(document: str) -> None:
    [row] = read(document)
    assert row.email == "é@example.com"
    assert row.raw.lower().startswith(("<person email=", "<n:person n:email="))
    assert row.raw.endswith(">")
    assert row.raw.count("<") <= 2


@pytest.mark.parametrize(
    ("element", "keep", "clear"),
    [
        ("<value1>x</value1>", {"1": "x"}, {"1": "x"}),
        ("<VALUE1> x </VALUE1>", {"1": "x"}, {"1": "x"}),
        ("<value01>x</value01>", {"1": "x"}, {"1": "x"}),
        ("<value12>x</value12>", {"12": "x"}, {"12": "x"}),
        ("<value1></value1>", {}, {"1": ""}),
        ("<value1/>", {}, {"1": ""}),
        ("<value1>\n\t</value1>", {}, {"1": ""}),
        ("<value1> </value1>", {"1": ""}, {"1": ""}),
        ("<value1>   </value1>", {"1": ""}, {"1": ""}),
        ("<value0>x</value0>", {}, {}),
        ("<value3>x</value3>", {}, {}),
        ("<value>x</value><other/><valueX>x</valueX>", {}, {}),
        ("<other><value1>x</value1></other>", {}, {}),
        ("<value1>a<b>c</b>d</value1>", {"1": "ad"}, {"1": "ad"}),
        ("<person email='b'><value1>x</value1></person>", {}, {}),
        ("text", {}, {}),
    ],
)
def test_fields(element: str, keep: dict[str, str], clear: dict[str, str]) -> None:
    document = f"<x><person email='a'>{element}</person></x>"
    assert [row.fields for row in read(document)] == [keep]
    assert [row.fields for row in read(document, empty_values="clear")] == [clear]


@pytest.mark.parametrize(
    ("attributes", "mobile"),
    [
        ("Prefix='' Number='+39333'", "+39333"),
        ("Prefix='+39' Number=' 333 '", "+39333"),
        ("prefix='+39' number=''", ""),
        ("email='a'", ""),
    ],
)
def test_mobile_number_is_joined(attributes: str, mobile: str) -> None:
    assert [row.mobile for row in read(f"<x><person {attributes}/></x>")] == [mobile]


HEAD = "<x><person email='a@example.com'/>"
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "empty-file"),
        (" \n ", "empty-file"),
        ("no xml", "xml-malformed"),
        (HEAD, "xml-malformed"),
        (HEAD + "</y>", "xml-malformed"),
        (HEAD + "</x><x/>", "xml-malformed"),
        (HEAD + "&unknown;</x>", "xml-malformed"),
        (HEAD + "&#0;</x>", "xml-malformed"),
        (HEAD + "&#27;</x>", "xml-malformed"),
        (HEAD + "\0</x>", "xml-malformed"),
        (HEAD + "<a b='1' b='2'/></x>", "xml-malformed"),
        (HEAD + "<a>" * 20 + "</a>" * 20 + "</x>", "xml-malformed"),
        (HEAD + "<a " + " ".join(f"a{number}=''" for number in range(51)) + "/></x>", "xml-malformed"),
        (HEAD + "<!--" + "x" * 2 * RECORD_SIZE + "--></x>", "xml-malformed"),
        (HEAD + "<person><value1>" + "x" * 2 * RECORD_SIZE + "</value1></person></x>", "xml-malformed"),
        (HEAD + "<a" + "x" * 2 * RECORD_SIZE + "/></x>", "xml-malformed"),
        ("<!DOCTYPE x>" + HEAD + "</x>", "xml-doctype"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd">' + HEAD + "</x>", "xml-doctype"),
        (BOMB, "xml-doctype"),
        (HEAD + "<person email='a|b'/></x>", "xml-separator"),
        (HEAD + "<person Prefix='|'/></x>", "xml-separator"),
        (HEAD + "<person><value2>a|b</value2></person></x>", "xml-separator"),
        (HEAD + "<person><value2>a&#124;b</value2></person></x>", "xml-separator"),
    ],
)
def test_document_is_refused_before_the_first_row(document: str, code: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        next(open_rows(document.encode()).batches(1))
    assert refusal.value.code == code


def test_invalid_utf_8_is_malformed() -> None:
    with pytest.raises(FileRefused, match="not well-formed at line 1, column 4"):
        next(open_rows(b"<x>\xe9</x>").batches(1))


def test_depth_and_attributes_within_the_limits_pass() -> None:
    attributes = " ".join(f"a{number}=''" for number in range(50))
    assert len(read(HEAD + "<a>" * 19 + f"<!-- -->{'</a>' * 19}<b {attributes}/></x>")) == 1


@pytest.mark.parametrize(
    "record",
    [
        f"<person email='{'a' * 255}'/>",
        f"<person Number='{'1' * 10_001}'/>",
        f"<person email='a'><value1>{'x' * 10_001}</value1></person>",
    ],
)
def test_long_values_refuse_their_row(record: str) -> None:
    [batch] = open_rows(f"{HEAD}{record}<person email='b'/></x>".encode()).batches(10)
    assert [row.line for row in batch.rows] == [1, 3]
    assert [(error.line, error.code, error.raw) for error in batch.errors] == [(2, "value-too-long", record)]


TEXT = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="|\ufffe\uffff"),
    max_size=30,
)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=10), st.integers(1, 4), st.data())
def test_what_is_written_is_read(people: list[tuple[str, str]], size: int, data: st.DataObject) -> None:
    records = [f"<person email={quoteattr(email)}><value1>{escape(name)}</value1></person>" for email, name in people]
    source = open_rows(f"<x>{' '.join(records)}</x>".encode(), empty_values="clear")
    whole = list(source.batches(size))
    rows = [row for batch in whole for row in batch.rows]
    assert [row.raw for row in rows] == records
    assert [(row.email, row.fields["1"]) for row in rows] == [(email.strip(), name.strip()) for email, name in people]
    done = data.draw(st.integers(0, len(whole)))
    position = whole[done - 1].position if done else 0
    assert list(source.batches(size, position)) == whole[done:]


class Endless(io.RawIOBase):
    """A document made while it is read."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)

    def read(self, size: int = -1) -> bytes:
        return next(self._parts, b"")


def test_memory_is_flat() -> None:
    record = b"<person email='a@example.com'><value1>Ann</value1><!--%s--></person>\n" % (b"x" * 4000)

    def open_stream() -> Endless:
        return Endless([b"<x>", *[record * 10] * 500, b"</x>"])

    source = XmlRows(cast(Any, open_stream), Profile(), FIELDS, GRAMMAR)

    def consume(batches: Iterable[Batch]) -> int:
        return max(batch.position for batch in batches)

    tracemalloc.start()
    try:
        assert consume(source.batches(100)) == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_reading_can_be_abandoned() -> None:
    batches = open_rows((HEAD * 1 + "<person/>" * 10 + "</x>").encode()).batches(2)
    assert next(batches).position == 2
    batches.close()  # type: ignore[attr-defined]
