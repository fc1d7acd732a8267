"""Makes the text part of a message from its HTML, so that it reads well and its links are still there."""

from __future__ import annotations

import re
from urllib.parse import quote

import lxml.etree
import lxml.html
from inscriptis import Inscriptis
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

from delivery.merge_tags import MAX_TAG

_CONFIG = ParserConfig(css=CSS_PROFILES["strict"])
_BLANK_LINES = re.compile(r"\n{3,}")
# In addresses these are no references, though the parser takes `&copy=` for one.
_NO_REFERENCES = re.compile(r"&(?!(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);)")
# Where the address would end for whoever reads the text; merge tags stay.
_CUTS = re.compile(rf"(?P<tag>\[[^\[\]\r\n<>]{{1,{MAX_TAG}}}\])|[\s\"<>\[\]]")
_LINE_BREAKS = re.compile(r"[\t\r\n]")
# What the parser would end the text at, or refuse.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def make_text(html: str) -> str:
    """Return HTML as text; a link is its text and `<address>` after it, unless they are the same."""
    data = _NO_REFERENCES.sub("&amp;", _CONTROLS.sub("", html)).encode()
    try:
        tree = lxml.html.document_fromstring(data, parser=lxml.html.HTMLParser(encoding="utf-8", no_network=True))
    except lxml.etree.LxmlError:
        return ""
    for link in tree.iter("a"):
        _show_address(link)
    for element in tree.iter():
        _protect(element)
    text = Inscriptis(tree, _CONFIG).get_text()
    return _BLANK_LINES.sub("\n\n", "\n".join(map(str.rstrip, text.split("\n")))).strip()


def _protect(element: lxml.html.HtmlElement) -> None:
    """Keep ampersands from being taken for references a second time."""
    element.text = (element.text or "").replace("&", "&amp;")
    element.tail = (element.tail or "").replace("&", "&amp;")


def _encode_cut(found: re.Match[str]) -> str:
    return found[0] if found["tag"] else quote(found[0], safe="")


def _show_address(link: lxml.html.HtmlElement) -> None:
    address = _CUTS.sub(_encode_cut, _LINE_BREAKS.sub("", link.get("href") or "").strip())
    shown = link.text_content().strip()
    if not address or address.startswith("#") or shown in (address, address.removeprefix("mailto:")):
        return
    last = lxml.html.Element("span")
    last.text = f" <{address}>" if shown else f"<{address}>"
    link.append(last)
