"""Reads the XML of a message into a small tree while it arrives, and refuses what no honest caller sends.

Document types, deep nesting, crowds of elements or attributes and endless tags end the reading at once, before
memory or time is spent on them (reliability: XML attacks). The parser is Expat, which never opens anything. The
text of a parameter that an operation declares as large never is in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from xml.parsers import expat

from services.soap.faults import SoapFault, SoapVersion
from services.soap.large_text import Text
from services.soap.limits import (
    MessageTooLarge,
    TagTooLong,
    TextTooLong,
    TooManyNodes,
    XmlLimits,
)

INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
NIL = f"{INSTANCE} nil"
TYPE = f"{INSTANCE} type"

_SLICE = 64 * 1024
_OPERATION_DEPTH = 2
_PARAMETER_DEPTH = 3
"""Elements above a parameter: envelope, body, operation."""
_BODIES = frozenset((f"{version.namespace} Envelope", version.body_tag) for version in SoapVersion)
_ELEMENTS_IN_TEXT = "Server was unable to read request. ---> A parameter that is text has elements in it."
_ENCODINGS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("utf-16", "utf16"), "utf-16"),
    "utf-16le": "utf-16le",
    "utf-16be": "utf-16be",
    **dict.fromkeys(("us-ascii", "ascii"), "us-ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso_8859-1", "latin-1", "latin1", "l1"), "iso-8859-1"),
    **{name: name for name in (f"iso-8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16))},
    **{
        name: page for page in (f"cp{number}" for number in range(1250, 1259)) for name in (page, f"windows-{page[2:]}")
    },
    **{name: name for name in ("koi8-r", "koi8-u", "macintosh")},
}
_NOTHING_LARGE: Mapping[str, frozenset[str]] = MappingProxyType({})


class MalformedDocument(Exception):
    """The document is not well-formed, has a document type, or is in an encoding that is not known."""


class Node:
    """An element.

    Names have their name space and a space in front; without a name space they are bare.
    """

    __slots__ = ("attributes", "children", "column", "large", "line", "pieces", "tag", "type")

    def __init__(self, tag: str, attributes: dict[str, str], line: int, column: int) -> None:
        self.tag = tag
        self.attributes = attributes
        self.line = line
        self.column = column
        self.children: list[Node] = []
        self.pieces: list[str] = []
        self.large: Text | None = None
        """The text, where the operation declares it as large."""
        self.type: str | None = None
        """Name of the type that the caller says the element has; only read for services with extended types."""

    @property
    def text(self) -> str:
        """The element's own text, without that of its children."""
        return "".join(self.pieces)

    @property
    def name(self) -> str:
        """The name without its name space."""
        return self.tag.rpartition(" ")[2]

    @property
    def is_nil(self) -> bool:
        """Whether the caller says that there is no value."""
        return bool(self.attributes) and self.attributes.get(NIL, "").strip() in ("1", "true")


def read_tree(
    chunks: Iterable[bytes],
    limits: XmlLimits,
    charset: str | None = None,
    *,
    large: Mapping[str, frozenset[str]] = _NOTHING_LARGE,
    open_text: Callable[[Node], Text] | None = None,
    resolve_types: bool = False,
) -> Node:
    """Read a document and return its root.

    Args:
        chunks: the document, in pieces.
        limits: of the document.
        charset: what the transport says of the encoding; it outranks the document (RFC 7303 section 3.2).
        large: names of the parameters with large text by the name of their operation.
        open_text: makes the place for a large text, given the root of the document.
        resolve_types: whether `Node.type` is wanted.

    Raises:
        MalformedDocument: see there.
        LimitPassed: see there.
    """
    reader = _TreeReader(limits, charset, large, open_text, resolve_types)
    try:
        for chunk in chunks:
            reader.feed(chunk)
        return reader.close()
    finally:
        reader.release()


class _TreeReader:
    """One pass over a document."""

    def __init__(
        self,
        limits: XmlLimits,
        charset: str | None,
        large: Mapping[str, frozenset[str]],
        open_text: Callable[[Node], Text] | None,
        resolve_types: bool,
    ) -> None:
        self._root: Node | None = None
        self._limits = limits
        self._fed = 0
        self._declarations = 0
        self._large = _LargeTexts(large, open_text) if large else None
        self._scopes: dict[str, list[str]] = {}
        self._parser = expat.ParserCreate(find_encoding(charset), " ")
        self._prepare_parser(resolve_types)
        if charset is None:
            self._parser.XmlDeclHandler = _check_declaration

    def feed(self, data: bytes) -> None:
        """Read the next piece of the document."""
        if len(data) <= _SLICE:
            self._feed(data)
            return
        for start in range(0, len(data), _SLICE):
            self._feed(data[start : start + _SLICE])

    def close(self) -> Node:
        """Read to the end, after the last piece, and return the root."""
        self._parse(b"", True)
        assert self._root is not None
        return self._root

    def release(self) -> None:
        """Let the parser forget the functions, which know the parser: such circles wait long to be collected."""
        parser = self._parser
        parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = None
        parser.StartNamespaceDeclHandler = parser.EndNamespaceDeclHandler = None

    def _feed(self, data: bytes) -> None:
        self._fed += len(data)
        text = self._present_text()
        self._parse(data, False)
        if text is None or text is not self._present_text():
            self._count_declarations(data)
        position = self._parser.CurrentByteIndex
        # The parser looks again at an unfinished tag from its start with each slice.
        if self._fed - position > self._limits.tag:
            raise TagTooLong(self._limits.tag)
        if self._fed > self._limits.message:
            self._check_size(position)

    def _present_text(self) -> Text | None:
        return self._large.present if self._large is not None else None

    def _count_declarations(self, data: bytes) -> None:
        """Count what may be name space declarations.

        To be told of each by the parser would take far longer, in every message, than to look for the word.
        """
        # An encoding of two bytes has zeros in it.
        self._declarations += (data.replace(b"\0", b"") if b"\0" in data else data).count(b"xmlns")
        if self._declarations > self._limits.nodes:
            raise TooManyNodes(self._limits.nodes)

    def _check_size(self, position: int) -> None:
        large = self._large.size(position) if self._large is not None else 0
        if large > self._limits.large_message:
            raise MessageTooLarge(self._limits.large_message)
        if self._fed - large > self._limits.message:
            raise MessageTooLarge(self._limits.message)

    def _parse(self, data: bytes, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except (expat.ExpatError, ValueError, LookupError):
            # The latter two: an encoding declaration that names no encoding, or one that Expat cannot read.
            raise MalformedDocument from None

    def _prepare_parser(self, resolve_types: bool) -> None:
        """Set what the parser calls.

        These functions run for every element of every message, so they are closures over plain names, and what is
        rare stands elsewhere.
        """
        parser, limits, large = self._parser, self._limits, self._large
        max_depth, max_nodes, max_name, max_text = limits.depth, limits.nodes, limits.name, limits.text
        path: list[Node] = []
        nodes = 0
        characters = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal nodes
            nodes += 1
            depth = len(path)
            if attributes or nodes > max_nodes or depth >= max_depth or len(tag) > max_name:
                nodes += len(attributes)
                limits.check_element(nodes, depth, tag, attributes)
            node = Node(tag, attributes, parser.CurrentLineNumber, parser.CurrentColumnNumber)
            if depth:
                path[-1].children.append(node)
            else:
                self._root = node
            path.append(node)

        def start_closely(tag: str, attributes: dict[str, str]) -> None:
            start(tag, attributes)
            if resolve_types and attributes:
                path[-1].type = self._resolve_type(attributes.get(TYPE))
            if large is not None and len(path) > _OPERATION_DEPTH:
                large.enter(path, parser)

        def end(_tag: str) -> None:
            if path.pop().large is not None and large is not None:
                large.leave(parser)
                parser.CharacterDataHandler = append_text

        def append_text(text: str) -> None:
            nonlocal characters
            characters += len(text)
            if characters > max_text:
                raise TextTooLong(max_text)
            path[-1].pieces.append(text)

        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = start_closely if resolve_types or large is not None else start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = append_text
        if resolve_types:
            parser.StartNamespaceDeclHandler = self._open_scope
            parser.EndNamespaceDeclHandler = self._close_scope

    def _open_scope(self, prefix: str | None, namespace: str | None) -> None:
        self._scopes.setdefault(prefix or "", []).append(namespace or "")

    def _close_scope(self, prefix: str | None) -> None:
        self._scopes[prefix or ""].pop()

    def _resolve_type(self, qualified: str | None) -> str | None:
        """Return the name of a type with its name space instead of its prefix (XML Schema part 1 section 2.6.1)."""
        if qualified is None:
            return None
        prefix, _, name = qualified.strip().rpartition(":")
        namespaces = self._scopes.get(prefix)
        return f"{namespaces[-1]} {name}" if namespaces else name


class _LargeTexts:
    """Diverts the text of large parameters, of the first operation in the body alone, past the tree."""

    def __init__(self, declared: Mapping[str, frozenset[str]], open_text: Callable[[Node], Text] | None) -> None:
        self._declared = declared
        self._open_text = open_text
        self._entered = False
        self._awaited: frozenset[str] = frozenset()
        self._found: set[str] = set()
        self._start = 0
        self._size = 0
        self.present: Text | None = None
        """The large text that the document is inside of."""

    def size(self, position: int) -> int:
        """Return the bytes of the document that were large text, up to a position."""
        return self._size + (position - self._start if self.present is not None else 0)

    def enter(self, path: Sequence[Node], parser: expat.XMLParserType) -> None:
        """Look at an element that begins, the last of its path.

        Raises:
            SoapFault: it is inside of a large text.
        """
        if len(path) == _PARAMETER_DEPTH:
            self._awaited = self._find_awaited(*path)
        elif self.present is not None:
            raise SoapFault("Client", _ELEMENTS_IN_TEXT)
        elif path[-1].tag in self._awaited and len(path) == _PARAMETER_DEPTH + 1:
            self._divert(path[0], path[-1], parser)

    def leave(self, parser: expat.XMLParserType) -> None:
        """Count the text that ends."""
        self._size = self.size(parser.CurrentByteIndex)
        self.present = None

    def _find_awaited(self, envelope: Node, body: Node, operation: Node) -> frozenset[str]:
        if self._entered or (envelope.tag, body.tag) not in _BODIES:
            return frozenset()
        self._entered = True
        return self._declared.get(operation.tag, frozenset())

    def _divert(self, root: Node, node: Node, parser: expat.XMLParserType) -> None:
        assert self._open_text is not None
        # Of two the first counts, as for all parameters.
        self.present = node.large = self._open_text(root) if node.tag not in self._found else Text.nowhere()
        self._found.add(node.tag)
        self._start = parser.CurrentByteIndex
        parser.buffer_size = _SLICE
        parser.CharacterDataHandler = node.large.write


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    find_encoding(encoding)


def find_encoding(name: str | None) -> str | None:
    """Return the name by which Expat knows an encoding that messages may have.

    Only known names are looked up: Python remembers every other one for ever.

    Raises:
        MalformedDocument: it is none of them.
    """
    if not name:
        return None
    known = _ENCODINGS.get(name.lower())
    if known is None:
        raise MalformedDocument
    return known


def _refuse_document_type(*_declaration: object) -> None:
    raise MalformedDocument
