"""What an operator can decide about the web application."""

from __future__ import annotations

from dataclasses import dataclass, field

from delivery.outgoing_http import Network
from delivery.sending_requests import SendingRules
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
    public_url: str = ""
    """Under which readers of mails reach the pages, without a slash at its end."""
    form_rate_per_address: float = 20.0
    """Requests per second that the pages for everybody take from one address; 0 is no limit."""
    content_networks: tuple[Network, ...] = ()
    """Networks that the pages and images of messages may lie in although they are not public."""
    sending_rules: SendingRules = field(default_factory=SendingRules)
    """What is demanded of all sendings."""
