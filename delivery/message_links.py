"""The links of a message: which of them are tracked, under which place, and what stands there instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from delivery.merge_tags import TagReader, Text, join_pieces
from delivery.messages import MessageSettings
from delivery.redirects import find_redirect
from delivery.sources import ClickLink, Source, read_web_version_url

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*(?=:)", re.IGNORECASE)
_TRACKABLE = ("http", "https", "mailto", "ftp", "news")
_IN_TEXT = re.compile(r"(?:https?://|ftp://|mailto:|news:)(?:\[[^\[\]\r\n<>]{1,200}\]|[^\s<>\"\[\]])+", re.IGNORECASE)
_AFTER_LINKS = ".,;:!?'\u2026"
# Browsers leave them out of addresses, which authors break over lines (URL Living Standard, section 4.4).
_LINE_BREAKS = str.maketrans("", "", "\t\r\n")


@dataclass(slots=True)
class Places:
    """The tracked links of a message, which both of its parts share."""

    urls: dict[str, int] = field(default_factory=dict)

    def place_of(self, url: str) -> int:
        """Return the place of an address, the next one if it is new."""
        return self.urls.setdefault(url, len(self.urls))


@dataclass(frozen=True, slots=True)
class LinkReader:
    """Replaces links."""

    tags: TagReader
    settings: MessageSettings
    places: Places
    has_sending: bool
    """Whether there is one that the links can be of."""
    tracks: bool
    """Whether clicks are counted; they can be only for a sending."""

    def read(self, url: str) -> Text | None:
        """Return what stands in place of a link; None when it stays as it is.

        Args:
            url: as the message means it: without character references.
        """
        url = url.translate(_LINE_BREAKS).strip()
        special = self._find_special(url)
        if special is not None:
            return [special]
        target, forced = self._strip_track(url)
        pieces = self.tags.split_address(target)
        tracked = self._track(target) if self._is_tracked(target, pieces, forced=forced) else None
        if tracked is not None:
            return [tracked]
        unchanged = pieces == [target] and not forced
        return None if unchanged or not target else pieces

    def _find_special(self, url: str) -> Source | None:
        pieces = self.tags.split(url)
        if pieces and pieces[0] in self.tags.links.values():
            return pieces[0] if not isinstance(pieces[0], str) else None
        leads_here = self.tags.names.vocabulary.web_version_path in url.lower()
        return read_web_version_url if leads_here and self.has_sending else None

    def _strip_track(self, url: str) -> tuple[str, bool]:
        """Return a link without the mark that it is tracked, and whether it had one."""
        for host, kind in self.tags.names.vocabulary.link_hosts.items():
            mark = re.match(rf"https?://\[{re.escape(host)}\]/", url, re.IGNORECASE) if kind == "track" else None
            if mark is not None:
                return url[mark.end() :], True
        return url, False

    def _is_tracked(self, target: str, pieces: Sequence[str | Source], *, forced: bool) -> bool:
        if not self.tracks or not pieces:
            return False
        scheme = _scheme_of(target, pieces)
        chosen = self.settings.track_links and scheme in self.settings.tracked_schemes
        return scheme in _TRACKABLE and (forced or chosen)

    def _track(self, target: str) -> Source | None:
        """Return what leads to an address and counts it; None when readers would not be led there."""
        target = self._add_parameters(target)
        pieces = self.tags.split_address(target)
        fixed = [piece for piece in pieces if isinstance(piece, str)]
        if len(fixed) < len(pieces):
            return ClickLink(self.places.place_of(target), join_pieces(pieces))
        address = "".join(fixed)
        return ClickLink(self.places.place_of(address), None) if find_redirect(address) is not None else None

    def _add_parameters(self, target: str) -> str:
        parameters = self.settings.link_parameters.strip().lstrip("?&")
        if not parameters or _scheme_of(target, [target]) not in ("http", "https"):
            return target
        address, hash_mark, fragment = target.partition("#")
        joint = ("" if address.endswith(("?", "&")) else "&") if "?" in address else "?"
        return f"{address}{joint}{parameters}{hash_mark}{fragment}"

    def split_text(self, text: str) -> Text:
        """Return running text with its links and tags replaced."""
        pieces: Text = []
        start = 0
        for found in _IN_TEXT.finditer(text):
            url = _trim(found[0])
            replaced = self.read(url)
            if replaced is not None:
                pieces += (*self.tags.split(text[start : found.start()]), *replaced)
                start = found.start() + len(url)
        return pieces + self.tags.split(text[start:])


def _scheme_of(target: str, pieces: Sequence[str | Source]) -> str:
    # An address that begins with a tag is somebody's own web page.
    found = _SCHEME.match(target)
    return found[0].lower() if found else "" if isinstance(pieces[0], str) else "http"


def _trim(url: str) -> str:
    """Return a link without what belongs to the sentence around it."""
    end, unopened = len(url), url.count(")") - url.count("(")
    while url[end - 1] in _AFTER_LINKS or (url[end - 1] == ")" and unopened > 0):
        unopened -= url[end - 1] == ")"
        end -= 1
    return url[:end]
