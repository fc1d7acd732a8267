"""Where a list leads its readers after they have answered, and whether a browser can be sent there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.urls import iri_to_uri

MAX_TARGET = 2000
"""Characters."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_URI = re.compile(r"[!#-&(-;=?-\[\]_a-z~']+")
"""The characters of RFC 3986: no spaces, controls, quotes, brackets or backslashes."""


@dataclass(frozen=True, slots=True)
class Target:
    """An absolute URL, fit for a Location header, and its origin, fit for a Content-Security-Policy."""

    url: str
    origin: str


def find_target(url: str) -> Target | None:
    """Return where a URL of a list's settings leads; None when there is none or it cannot be used.

    Args:
        url: as it is stored; whoever stored it may have meant harm.
    """
    if not url.isprintable() or " " in url:
        # Parsers remove such characters, so that they see another URL than a browser.
        return None
    try:
        encoded = iri_to_uri(url)
        parts = urlsplit(encoded)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return None
    if len(encoded) > MAX_TARGET or not _URI.fullmatch(encoded) or parts.scheme not in ("http", "https"):
        return None
    # A name or password before the host fits no host.
    host = parts.netloc.removesuffix(port)
    return Target(encoded, f"{parts.scheme}://{host}{port}") if _HOST.fullmatch(host) else None
