"""Under which address the caller knows this server, and from which address he calls."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def request_host(environ: dict[str, Any], *, trust_forwarded: bool) -> str:
    """Return the host, with its port if one is given, that the caller asked for.

    Args:
        environ: of the request.
        trust_forwarded: believe X-Forwarded-Host; only behind a proxy that sets it itself.
    """
    candidates = [environ.get("HTTP_HOST", "")]
    if trust_forwarded:
        candidates.insert(0, environ.get("HTTP_X_FORWARDED_HOST", "").split(",")[0].strip())
    for host in candidates:
        if _HOST.fullmatch(host):
            return str(host)
    return f"{environ.get('SERVER_NAME', 'localhost')}:{environ.get('SERVER_PORT', '80')}"


def request_origin(environ: dict[str, Any], *, trust_forwarded: bool) -> str:
    """Return scheme and host, such as `https://example.com:8443`; the arguments are those of `request_host`."""
    scheme = environ.get("wsgi.url_scheme", "http")
    if trust_forwarded:
        forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")[0].strip().lower()
        scheme = forwarded if forwarded in ("http", "https") else scheme
    return f"{scheme}://{request_host(environ, trust_forwarded=trust_forwarded)}"


def caller_address(environ: dict[str, Any], *, trust_forwarded: bool) -> str:
    """Return the network address of the caller.

    Args:
        environ: of the request.
        trust_forwarded: believe the last address of X-Forwarded-For, which a proxy of ours has added; those before it
            are the caller's own words.
    """
    connected: str = environ.get("REMOTE_ADDR", "")
    if not trust_forwarded:
        return connected
    forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", 1)[-1].strip()
    try:
        return str(ipaddress.ip_address(forwarded))
    except ValueError:
        return connected
