"""What an operator can decide about the web application."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.soap.limits import XmlLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Limits and trust."""

    trust_forwarded: bool = False
    """Believe X-Forwarded-Host, -Proto and the last of -For; only behind a proxy that sets all of them itself."""
    max_body: int = 1024 * 1024
    """Most bytes of a request to a page."""
    xml: XmlLimits = field(default_factory=XmlLimits)
    """Limits of SOAP messages."""
    body_seconds: float = 30.0
    """Within which each piece of 64 KiB of a request's body, or its shorter rest, has to come."""
    page_rate_per_address: float = 0.0
    """Calls per second that the pages for registered callers take from one address; 0 is no limit."""
    page_rate_per_account: float = 0.0
    """Calls per second that the pages of one account take; 0 is no limit."""
    form_rate_per_address: float = 20.0
    """Requests per second that the pages for everybody take from one address; 0 is no limit."""
