"""What a message may cost before it is refused, and how each refusal is called.

SoapFault
└── LimitPassed
    ├── TooDeep
    ├── TooManyNodes
    ├── TooManyAttributes
    ├── NameTooLong
    ├── TagTooLong
    ├── TextTooLong
    └── MessageTooLarge
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.soap.faults import SoapFault


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlLimits:
    """The most that is read of one message; each is a security limit."""

    depth: int = 100
    """Levels of elements."""
    nodes: int = 5_000
    """Elements and attributes of a message; as many name space declarations are allowed beside them."""
    attributes: int = 64
    """Attributes of one element, name space declarations not counted."""
    name: int = 1024
    """Characters of the name of an element or attribute, with its name space."""
    tag: int = 256 * 1024
    """Bytes of one tag, comment or processing instruction, give or take one piece of 64 KiB."""
    text: int = 1024 * 1024
    """Characters of all text of a message, without those parameters that the operation declares as large."""
    message: int = 2 * 1024 * 1024
    """Bytes of a message, without the large texts in it."""
    large_message: int = 512 * 1024 * 1024
    """Bytes of the large texts in a message."""

    def check_element(self, nodes: int, depth: int, tag: str, attributes: Mapping[str, str]) -> None:
        """Look closely at an element.

        Args:
            nodes: of the message so far.
            depth: elements around this one.
            tag: its name.
            attributes: of it.

        Raises:
            LimitPassed: see there.
        """
        if len(attributes) > self.attributes:
            raise TooManyAttributes(self.attributes)
        if nodes > self.nodes:
            raise TooManyNodes(self.nodes)
        if depth >= self.depth:
            raise TooDeep(self.depth)
        if max(map(len, (tag, *attributes))) > self.name:
            raise NameTooLong(self.name)


class LimitPassed(SoapFault):
    """The message passes a limit."""

    reason = "The message passes the limit of {limit}."
    status = 500

    def __init__(self, limit: int) -> None:
        super().__init__("Client", f"Server was unable to read request. ---> {self.reason.format(limit=limit)}")


class TooDeep(LimitPassed):
    """Elements are nested too deeply."""

    reason = "The message has more than {limit} levels of elements."


class TooManyNodes(LimitPassed):
    """There are too many elements and attributes, or name space declarations."""

    reason = "The message has more than {limit} elements and attributes, or name space declarations."


class TooManyAttributes(LimitPassed):
    """An element has too many attributes."""

    reason = "An element has more than {limit} attributes."


class NameTooLong(LimitPassed):
    """The name of an element or attribute is too long."""

    reason = "The name of an element or attribute has more than {limit} characters."


class TagTooLong(LimitPassed):
    """A tag, comment or processing instruction is too long."""

    reason = "A tag, comment or processing instruction has more than {limit} bytes."


class TextTooLong(LimitPassed):
    """There is too much text."""

    reason = "The message has more than {limit} characters of text."


class MessageTooLarge(LimitPassed):
    """The message is larger than its operation allows."""

    reason = "The message has more than {limit} bytes."
    status = 413
