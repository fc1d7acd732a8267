"""Finds out where in a piece of HTML something stands, since what is filled in must be escaped for its place.

The HTML is left as its author wrote it, with whatever is wrong in it: only places are told apart, as browsers do it
(HTML Living Standard, section 13.2.5). The time taken is linear in the length.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterator, Mapping
from typing import Literal, NamedTuple

Place = Literal["text", "tag", "value", "link", "source", "style", "sheet", "script"]
"""In running text; inside a tag, without quotes; inside a quoted value; an address to go to; one to load from; a quoted
style attribute; what an element `style` has in it; the same of `script`."""


class Stretch(NamedTuple):
    """Neighbouring characters at one kind of place."""

    place: Place
    text: str
    """As it stands in the HTML."""


# A tag that begins with a merge tag is none to a browser before that is replaced, and may be one afterwards.
_ELEMENT = re.compile(r"<(?:/?(?P<name>[a-zA-Z][^\s/>]*+)|(?=/?\[))")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?P<name>[^\s/>=][^\s/>=]*+)"""
    r"""(?:\s*+=\s*+(?:"(?P<double>[^"]*+)|'(?P<single>[^']*+)|(?P<bare>[^\s>"'][^\s>]*+)))?+"""
)
_NO_LINKS = ("link", "base")
_LINKS = ("href", "xlink:href")
_SOURCES = ("src", "background", "action", "poster", "formaction", "data")
# Between these tags there are no references, and nothing could be escaped (section 13.1.2, raw text elements).
_RAW: Mapping[str, tuple[Place, re.Pattern[str]]] = {
    "style": ("sheet", re.compile(r"</style(?=[\s/>])", re.IGNORECASE)),
    "script": ("script", re.compile(r"</script(?=[\s/>])", re.IGNORECASE)),
}
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def scan(source: str) -> Iterator[Stretch]:
    """Cut HTML into stretches, which are all of it together."""
    position = 0
    is_comment = False
    while found := _ELEMENT.search(source, position):
        before = source[position : found.start()]
        if before:
            yield Stretch("text", before)
            is_comment = _ends_in_comment(before, is_comment)
        position = yield from _scan_tag(source, found)
        name = found[0].removeprefix("<").lower()
        if name in _RAW and not is_comment:
            position = yield from _scan_raw(source, name, position)
    if position < len(source):
        yield Stretch("text", source[position:])


def _ends_in_comment(text: str, is_comment: bool) -> bool:
    begin, end = text.rfind("<!--"), text.rfind("-->")
    return begin > end if begin != end else is_comment


def _scan_raw(source: str, name: str, begin: int) -> Generator[Stretch, None, int]:
    """Return where a raw text element has ended; one without an end tag goes on to the end."""
    place, end_tag = _RAW[name]
    found = end_tag.search(source, begin)
    end = found.start() if found is not None else len(source)
    if end > begin:
        yield Stretch(place, source[begin:end])
    return end


def _scan_tag(source: str, element: re.Match[str]) -> Generator[Stretch, None, int]:
    """Cut a tag; return where it has ended."""
    name = (element["name"] or "").lower()
    begun, position = element.start(), element.end()
    while position < len(source) and source[position] != ">":
        attribute = _ATTRIBUTE.match(source, position)
        if attribute is None:
            position += 1
            continue
        position = attribute.end()
        value = attribute.lastgroup
        if value in ("double", "single", "bare"):
            yield Stretch("tag", source[begun : attribute.start(value)])
            begun = attribute.end(value)
            place = _place_of(name, attribute["name"].lower(), quoted=value != "bare")
            yield Stretch(place, attribute[value])
            # The quotation mark that ends the value.
            position += value != "bare"
    position = min(position + 1, len(source))
    yield Stretch("tag", source[begun:position])
    return position


def _place_of(element: str, attribute: str, *, quoted: bool) -> Place:
    if attribute in _LINKS and element not in _NO_LINKS:
        return "link"
    if attribute in _SOURCES or attribute in _LINKS:
        return "source"
    if not quoted:
        return "tag"
    return "style" if attribute == "style" else "value"


def read_value(text: str) -> str:
    """Return an attribute's value with character references resolved; those without a semicolon are no references."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)


def escape_text(text: str) -> str:
    """Return text for running text, and for values in quotation marks of either kind."""
    return html.escape(text)


def escape_bare(text: str) -> str:
    """Return text for inside a tag without quotation marks: all but letters and digits as references."""
    return _NOT_PLAIN.sub(lambda found: f"&#{ord(found[0])};", text)


_NOT_PLAIN = re.compile(r"[^\w.]|_")
