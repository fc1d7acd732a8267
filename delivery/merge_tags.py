"""Reads merge tags and special links: turns text into what is fixed and what each recipient has his own of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from delivery.sources import (
    Composite,
    FieldValue,
    Quoted,
    RowValue,
    Source,
    WholeAddress,
)
from delivery.vocabulary import TagNames

Text = list[str | Source]
"""Text with what is filled in."""

MAX_TAG = 200
"""Characters between the brackets."""
_TAG = re.compile(rf"(?P<scheme>https?://)?\[(?P<name>[^\[\]\r\n<>]{{1,{MAX_TAG}}})\](?P<slash>/?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TagReader:
    """Knows the tags of a message. Nothing in a tag is ever looked up anywhere else than here."""

    names: TagNames
    built_in: Mapping[str, Source | str]
    """By the names of the vocabulary's built-in tags; text is the same for all recipients."""
    links: Mapping[str, Source]
    """By the kinds of special links."""
    defaults: Mapping[int, str] = field(default_factory=dict)
    """Of personal data fields, for recipients who have nothing there."""
    replaces_tags: bool = True
    """Whether there are tags at all; special links are there always."""

    def split(self, text: str) -> Text:
        """Return text with tags and special links replaced; whatever else stands in brackets stays as it is."""
        pieces: Text = []
        start = 0
        for found in _TAG.finditer(text):
            name = found["name"]
            link = self._find_link(name) if found["scheme"] else None
            value = link or self.find(name)
            if value is None:
                continue
            # A special link is replaced as a whole, a tag between its brackets.
            begin, end = found.span() if link else (found.start("name") - 1, found.end("name") + 1)
            pieces += (text[start:begin], value)
            start = end
        return [piece for piece in (*pieces, text[start:]) if piece != ""]

    def find(self, name: str) -> Source | str | None:
        """Return what a tag stands for; None when there is no such tag.

        Args:
            name: what stands in the brackets.
        """
        folded = name.strip().casefold()
        built_in = self.names.vocabulary.built_in.get(folded)
        if not self.replaces_tags:
            return self.built_in["host"] if built_in == "host" else None
        if folded in self.names.values:
            return RowValue(self.names.values[folded], None if built_in else self._find_field(folded))
        if built_in is not None:
            return self.built_in[built_in]
        return self._find_field(folded)

    def _find_field(self, folded: str) -> Source | None:
        numbered = re.fullmatch(self.names.vocabulary.field_tag, folded, re.ASCII)
        number = int(numbered["number"]) if numbered else self.names.fields.get(folded)
        stored = FieldValue(str(number), self.defaults.get(number, "")) if number else None
        # What the row brings for a field goes before what is stored.
        own = self.names.values.get(f"field:{number}")
        return RowValue(own, stored) if own else stored

    def _find_link(self, name: str) -> Source | None:
        return self.links.get(self.names.vocabulary.link_hosts.get(name.strip().casefold(), ""))

    def split_address(self, url: str) -> Text:
        """Return a URL with tags replaced by values that cannot change where it leads, unless it begins with one."""
        pieces = self.split(url)
        special = tuple(self.links.values())
        return [
            piece if isinstance(piece, str) or piece in special else _enclose(piece, first=place == 0)
            for place, piece in enumerate(pieces)
        ]


def _enclose(source: Source, *, first: bool) -> Source:
    return WholeAddress(source) if first else Quoted(source)


def join_pieces(pieces: Text) -> Source:
    """Return the source of a text in one piece."""
    if len(pieces) == 1 and not isinstance(pieces[0], str):
        return pieces[0]
    return Composite(tuple(pieces))
