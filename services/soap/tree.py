"""Reads the XML of a message into a small tree while it arrives, and refuses what no honest caller sends.

Document types, deep nesting, crowds of elements or attributes and endless tags end the reading at once, before
memory or time is spent on them (reliability: XML attacks). The parser is Expat, which never opens anything.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

MAX_DEPTH = 100
MAX_ELEMENTS = 20_000
MAX_ATTRIBUTES = 64
MAX_TAG = 256 * 1024
"""Most bytes of one tag, comment or processing instruction, give or take one slice."""
_SLICE = 64 * 1024


class MalformedDocument(Exception):
    """The document is not well-formed, has a document type, or passes a limit."""


@dataclass(slots=True)
class Node:
    """An element."""

    namespace: str
    name: str
    attributes: dict[str, str]
    """By name, with `namespace` and a space in front where there is one."""
    line: int
    column: int
    children: list[Node] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The element's own text, without that of its children."""
        return "".join(self.pieces)

    def child(self, name: str, namespace: str | None = None) -> Node | None:
        """Return the first child of that name, in that namespace or in any."""
        return next(
            (node for node in self.children if node.name == name and namespace in (None, node.namespace)),
            None,
        )


def read_tree(chunks: Iterable[bytes], charset: str | None = None) -> Node | None:
    """Read a document and return its root; None when there is not one byte.

    Args:
        chunks: the document, in pieces.
        charset: what the transport says of the encoding; it outranks the document (RFC 7303 §3.2).

    Raises:
        MalformedDocument: see there.
    """
    reader = _Reader(charset)
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE):
            reader.feed(chunk[start : start + _SLICE])
    return reader.close()


def _name_encoding(charset: str | None) -> str | None:
    """Return the name by which Expat knows an encoding."""
    try:
        return codecs.lookup(charset).name if charset is not None else None
    except (LookupError, ValueError):
        raise MalformedDocument from None


class _Reader:
    def __init__(self, charset: str | None) -> None:
        self._parser = parser = expat.ParserCreate(_name_encoding(charset), " ")
        parser.buffer_text = True
        parser.buffer_size = _SLICE
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._append_text
        self._open: list[Node] = []
        self._root: Node | None = None
        self._elements = 0
        self._fed = 0

    def feed(self, data: bytes) -> None:
        self._fed += len(data)
        self._parse(data, False)
        # The parser looks again at an unfinished tag from its start with each slice.
        if self._fed - self._parser.CurrentByteIndex > MAX_TAG:
            raise MalformedDocument

    def close(self) -> Node | None:
        if self._fed:
            self._parse(b"", True)
        return self._root

    def _parse(self, data: bytes, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except (expat.ExpatError, ValueError, LookupError):
            # The latter two: an encoding declaration that names no encoding, or one that Expat cannot read.
            raise MalformedDocument from None

    def _refuse_document_type(self, *_declaration: object) -> None:
        raise MalformedDocument

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH or len(attributes) > MAX_ATTRIBUTES:
            raise MalformedDocument
        namespace, _, name = qualified.rpartition(" ")
        parser = self._parser
        node = Node(namespace, name, attributes, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _append_text(self, text: str) -> None:
        self._open[-1].pieces.append(text)
