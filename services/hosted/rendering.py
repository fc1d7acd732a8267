"""Turns what a hosted page says into a response: HTML without scripts, and headers that let nothing else in."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial

from flask import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.hosted.looks import Look
from services.hosted.targets import Target
from services.hosted.texts import write_text

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Of every answer of these pages: the address in the browser's line is a secret, and what it shows is personal."""

_TEMPLATES = Environment(
    loader=PackageLoader("services.hosted"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    template: str,
    look: Look,
    title: str,
    *,
    status: int = 200,
    email: str = "",
    target: Target | None = None,
    **values: object,
) -> Response:
    """Return a page.

    Args:
        template: name of the file.
        look: of the page.
        title: key of its text.
        status: of the response.
        email: the reader's address, of which the page shows little.
        target: where the page's form leads to in the end.
        values: more of what the template needs.
    """
    nonce = secrets.token_urlsafe(16)
    text = partial(write_text, look.language, address=mask_address(email))
    content = _TEMPLATES.get_template(template).render(look=look, title=text(title), text=text, nonce=nonce, **values)
    response = Response(content, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Language"] = look.language
    response.headers["Content-Security-Policy"] = _write_policy(nonce, target)
    return response


def redirect(target: Target) -> Response:
    """Return the answer to a form that lets the browser go on by GET (RFC 9110 section 15.4.4)."""
    return Response(status=303, headers={"Location": target.url})


def complete_headers(response: Response) -> Response:
    """Give a response the headers of all these pages."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _join_policy(()))
    return response


def mask_address(email: str) -> str:
    """Return enough of an address for its owner to know it, and little for others: `j•••@example.com`."""
    local, at, domain = email.rpartition("@")
    return f"{local[:1]}•••{at}{domain}"


def _write_policy(nonce: str, target: Target | None) -> str:
    # Some browsers ask this rule about the redirect that answers a form as well.
    places = f"'self' {target.origin}" if target is not None else "'self'"
    return _join_policy((f"style-src 'nonce-{nonce}'", f"form-action {places}"))


def _join_policy(rules: Iterable[str]) -> str:
    return "; ".join(("default-src 'none'", *rules, "base-uri 'none'", "frame-ancestors 'none'"))
