"""What an operator can decide about the web application."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Limits and trust."""

    trust_forwarded: bool = False
    """Believe X-Forwarded-Host, -Proto and the last of -For; only behind a proxy that sets all of them itself."""
    max_body: int = 1024 * 1024
    """Most bytes of a request to a page."""
    max_import_body: int = 64 * 1024 * 1024
    """Most bytes of a SOAP request that may carry an import."""
