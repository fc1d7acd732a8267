"""Which gateway for text messages a setting means."""

from __future__ import annotations

from urllib.parse import urlsplit

from delivery.handovers import Gateway
from delivery.http_gateway import make_http_gateway
from delivery.smpp_gateway import make_smpp_gateway


def make_gateway(url: str) -> Gateway | None:
    """Return the gateway of the setting `sms_gateway`, or None when it is empty; nothing is connected yet.

    Args:
        url: `smpp://USER:PASSWORD@HOST:PORT`, `smpps://…` (TLS), or an address with `https://` or `http://`.

    Raises:
        ValueError: it is none of these; the text does not show it, as it may have a password.
    """
    if not url:
        return None
    scheme = urlsplit(url).scheme
    if scheme in ("smpp", "smpps"):
        return make_smpp_gateway(url)
    if scheme in ("http", "https"):
        return make_http_gateway(url)
    raise ValueError("sms_gateway begins with smpp://, smpps:// or https://.")
