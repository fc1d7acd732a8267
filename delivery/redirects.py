"""Where a link of a mail may lead: to the web, a file or a mailbox, and never to what a browser would run."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

import idna

MAX_REDIRECT = 8000
"""Characters."""
_LOCATED = ("http", "https", "ftp")
_OPAQUE = ("mailto", "news")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
# Reserved and unreserved characters (RFC 3986 section 2) without brackets, and what is encoded already.
_KEPT = "!#$%&'()*+,/:;=?@~"


@lru_cache(maxsize=1024)
def find_redirect(url: str) -> str | None:
    """Return an address as it stands in a Location header; None when readers are not led there.

    Characters that an address cannot have are encoded as browsers do. A name or password before the host is refused,
    except in FTP: it makes an address look like another one.

    Args:
        url: as it stands in the mail.
    """
    url = url.strip(" \t\r\n")
    if len(url) > MAX_REDIRECT or _CONTROL.search(url):
        return None
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme, parts.port
        rest = (quote(parts.path, _KEPT), quote(parts.query, _KEPT), quote(parts.fragment, _KEPT))
        if scheme in _OPAQUE:
            return urlunsplit((scheme, "", *rest)) if (parts.path or parts.query) and not parts.netloc else None
        host = _find_host(parts.netloc, port, scheme)
    except ValueError:
        # UnicodeError, of a name that is no host's or of half a character, is one.
        return None
    return urlunsplit((scheme, host, *rest)) if scheme in _LOCATED and host else None


def _find_host(place: str, port: int | None, scheme: str) -> str | None:
    """Return a host with what belongs to it, encoded; None when it is none."""
    user, at, host = place.rpartition("@")
    if at and scheme != "ftp":
        return None
    end = f":{port}" if port is not None else ""
    name = host.removesuffix(end).removesuffix(":")
    # The standard library knows IDNA 2003 alone, which takes `straße` for `strasse`: somebody else's domain.
    name = name if name.isascii() else idna.encode(name, uts46=True).decode()
    return f"{quote(user, '!$%&*+,:;=~')}{at}{name}{end}" if _HOST.fullmatch(name) else None
