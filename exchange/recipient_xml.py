"""Recipients as XML elements, read with flat memory and checked as a whole before the first row is given out.

Which words the elements and attributes bear is told by a grammar, since every vendor has its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

from exchange.batching import gather_batches
from exchange.columns import EMAIL_LENGTH, VALUE_LENGTH, join_mobile
from exchange.errors import FileRefused
from exchange.profiles import Profile
from exchange.rows import Batch, RowError, SourceRow

DEPTH_MOST = 20
"""Most levels of elements; a security limit."""

ATTRIBUTES_MOST = 50
"""Most attributes of one element; a security limit."""

NAMES_MOST = 1_000
"""Most names of elements whose meaning is remembered."""

RECORD_SIZE = 1 << 20
"""Most bytes of one record, tag or comment; a security limit."""

_BLOCK_SIZE = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlGrammar:
    """The words of one vendor's recipient XML; all are compared without case and name space prefix."""

    record_tag: str
    email: str
    """Attribute with the e-mail address."""
    prefix: str
    """Attribute with the international prefix."""
    number: str
    """Attribute with the mobile number, whole or without its prefix."""
    field_tag: str
    """Regular expression of a field's element, with its number as group `number`."""


class XmlRows:
    """Recipient XML as a `RowSource`.

    Args:
        open_stream: opens the document afresh as UTF-8 bytes, whatever encoding its prolog declares; what it
            returns is closed after use.
        profile: its `empty_values` says what empty elements do. A value of spaces alone always clears.
        field_numbers: name of each field of the account to its number as text; other fields are ignored.
        grammar: the words.
        is_checked: the whole document has been read before, and nothing was wrong with it.
    """

    header = ""

    def __init__(
        self,
        open_stream: Callable[[], BinaryIO],
        profile: Profile,
        field_numbers: Mapping[str, str],
        grammar: XmlGrammar,
        *,
        is_checked: bool = False,
    ) -> None:
        self._open_stream = open_stream
        self._clear = profile.empty_values == "clear"
        self._known = frozenset(field_numbers.values()) - {"0"}
        self._grammar = grammar
        self._checked = is_checked

    def batches(self, size: int, skip: int = 0) -> Generator[Batch, None, None]:
        """Read records in order; see `RowSource.batches`.

        Rows are refused with the code `value-too-long`.

        Raises:
            FileRefused: `empty-file`, `xml-malformed`, `xml-doctype` or `xml-separator`, before any row.
        """
        self._check()
        with self._open_stream() as stream:
            yield from gather_batches(islice(self._read(stream), skip, None), size, skip)

    def _check(self) -> None:
        """Read the whole document once, to find whatever is wrong with it."""
        if not self._checked:
            with self._open_stream() as stream:
                for _ in self._read(stream):
                    pass
        self._checked = True

    def _read(self, stream: BinaryIO) -> Iterator[SourceRow | RowError]:
        return _Parsing(self._grammar, self._known, self._clear).read(stream)


class _Name(NamedTuple):
    """What the name of an element means."""

    is_record: bool
    field: str | None
    """Number of a field."""


class _Parsing:
    """One pass over a document."""

    def __init__(self, grammar: XmlGrammar, known: frozenset[str], clear: bool) -> None:
        self._record_tag = grammar.record_tag.lower()
        self._attributes = tuple(name.lower() for name in (grammar.email, grammar.prefix, grammar.number))
        self._field_tag = re.compile(grammar.field_tag, re.IGNORECASE)
        self._known = known
        self._clear = clear
        self._names: dict[str, _Name] = {}
        self._rows: list[SourceRow | RowError] = []
        self._count = 0
        self._depth = 0
        self._record_depth = 0
        self._start = 0
        self._values = ("", "", "")
        self._fields: dict[str, str] = {}
        self._field: str | None = None
        self._field_depth = 0
        self._text: list[str] = []
        self._buffer = bytearray()
        self._offset = 0
        self._parser = self._prepare_parser()

    def read(self, stream: BinaryIO) -> Iterator[SourceRow | RowError]:
        """Yield the rows of a document."""
        block = _skip_blank_start(stream)
        if not block:
            raise FileRefused("empty-file", "The file has no content.")
        while block:
            self._buffer += block
            self._parse(block, last=False)
            yield from self._rows
            self._rows.clear()
            self._forget_bytes()
            block = stream.read(_BLOCK_SIZE)
        self._parse(b"", last=True)

    def _prepare_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start_element
        parser.EndElementHandler = self._end_element
        parser.CharacterDataHandler = self._add_text
        return parser

    def _parse(self, block: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(block, last)
        except expat.ExpatError as error:
            raise _malformed(f"at line {error.lineno}, column {error.offset + 1}") from None

    def _forget_bytes(self) -> None:
        """Drop the bytes that no unfinished record or tag needs any more."""
        keep = self._start if self._record_depth else max(self._parser.CurrentByteIndex, self._offset)
        del self._buffer[: keep - self._offset]
        self._offset = keep
        if len(self._buffer) > RECORD_SIZE + _BLOCK_SIZE:
            raise _malformed(f"at line {self._parser.CurrentLineNumber}: one element is too large")

    def _start_element(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MOST or len(attributes) > ATTRIBUTES_MOST:
            what = "nested too deeply" if self._depth > DEPTH_MOST else "with too many attributes"
            raise _malformed(f"at line {self._parser.CurrentLineNumber}: an element is {what}")
        name = self._names.get(tag)
        if name is None:
            name = self._learn_name(tag)
        if self._record_depth:
            self._start_field(name)
        elif name.is_record:
            self._start_record(attributes)

    def _learn_name(self, tag: str) -> _Name:
        local = tag.rpartition(":")[2].lower()
        match = self._field_tag.fullmatch(local)
        name = _Name(local == self._record_tag, match["number"].lstrip("0") if match else None)
        # A document has few names; one with many must not fill the memory.
        if len(self._names) < NAMES_MOST:
            self._names[tag] = name
        return name

    def _start_record(self, attributes: dict[str, str]) -> None:
        self._record_depth = self._depth
        self._start = self._parser.CurrentByteIndex
        given = {name.rpartition(":")[2].lower(): value for name, value in attributes.items()}
        email, prefix, number = (given.get(name, "").strip() for name in self._attributes)
        self._refuse_separator(email + prefix + number)
        self._values = email, prefix, number
        self._fields = {}

    def _start_field(self, name: _Name) -> None:
        if name.field is not None and self._depth == self._record_depth + 1:
            self._field = name.field
            self._field_depth = self._depth
            self._text = []

    def _add_text(self, text: str) -> None:
        if self._field is not None and self._depth == self._field_depth:
            self._text.append(text)

    def _end_element(self, tag: str) -> None:
        if self._field is not None and self._depth == self._field_depth:
            self._end_field(self._field)
        elif self._depth == self._record_depth:
            self._end_record(tag)
        self._depth -= 1

    def _end_field(self, number: str) -> None:
        text = "".join(self._text)
        self._refuse_separator(text)
        blank = bool(text) and not text.strip(" ")
        value = text.strip()
        if number in self._known and (value or blank or self._clear):
            self._fields[number] = value
        self._field = None

    def _end_record(self, tag: str) -> None:
        self._record_depth = 0
        self._count += 1
        raw = self._cut_record(b"</" + tag.encode())
        email, prefix, number = self._values
        if len(email) > EMAIL_LENGTH:
            text = f"The e-mail address is longer than {EMAIL_LENGTH} characters."
            self._rows.append(RowError(self._count, "value-too-long", text, raw))
        elif any(len(value) > VALUE_LENGTH for value in (prefix, number, *self._fields.values())):
            text = f"A value has more than {VALUE_LENGTH:,} characters."
            self._rows.append(RowError(self._count, "value-too-long", text, raw))
        else:
            mobile = join_mobile(prefix, number) if number else ""
            self._rows.append(SourceRow(self._count, raw, email, mobile, "", "", "", "", self._fields))

    def _cut_record(self, closing: bytes) -> str:
        """Return the record as it stands in the document.

        The parser points at the closing tag, or behind an element that closes itself.
        """
        end = self._parser.CurrentByteIndex - self._offset
        after = end + len(closing)
        if self._buffer.startswith(closing, end) and self._buffer[after] in b"> \t\r\n":
            end = self._buffer.index(b">", after) + 1
        return self._buffer[self._start - self._offset : end].decode()

    def _refuse_separator(self, value: str) -> None:
        if "|" in value:
            line = self._parser.CurrentLineNumber
            raise FileRefused("xml-separator", f'A value at line {line} has the character "|", which is not allowed.')


def _skip_blank_start(stream: BinaryIO) -> bytes:
    """Return the first block, without the byte order mark and blanks before the document."""
    block = stream.read(_BLOCK_SIZE).removeprefix(_BYTE_ORDER_MARK).lstrip()
    while not block and (more := stream.read(_BLOCK_SIZE)):
        block = more.lstrip()
    return block


def _refuse_doctype(name: str, system_id: str | None, public_id: str | None, has_internal_subset: bool) -> None:
    raise FileRefused("xml-doctype", "The document has a DOCTYPE, which is not allowed.")


def _malformed(where: str) -> FileRefused:
    return FileRefused("xml-malformed", f"The document is not well-formed {where}.")
