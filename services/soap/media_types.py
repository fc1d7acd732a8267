"""What the Content-Type of a request says: SOAP 1.1 or 1.2, in which encoding, with which action."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from functools import lru_cache

from services.soap.faults import SoapVersion

LENGTH_MOST = 1024
"""Characters of a Content-Type that is read; to take a long one apart takes a time that grows with its square."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """The parts that matter to SOAP."""

    media_type: str
    charset: str | None
    action: str
    version: SoapVersion | None
    """The version of SOAP that is sent as such; None for everything that is not SOAP."""


NOT_SOAP = ContentType("none/none", None, "", None)


def parse_content_type(header: str) -> ContentType:
    """Read a Content-Type (RFC 9110 section 8.3, for the action RFC 3902 section 2)."""
    return _parse(header) if 0 < len(header) <= LENGTH_MOST else NOT_SOAP


@lru_cache(maxsize=512)
def _parse(header: str) -> ContentType:
    message = Message()
    message["content-type"] = header
    media_type = message.get_content_type()
    version = next((version for version in SoapVersion if media_type == version.media_type), None)
    return ContentType(media_type, message.get_content_charset(), str(message.get_param("action") or ""), version)
