"""Messages as web pages: HTML of others, of which the browser is told to run nothing, and to keep it apart."""

from __future__ import annotations

from flask import Blueprint, Response
from sqlalchemy import Connection

from delivery.errors import UnknownMessage
from delivery.links import read_token
from delivery.tracking_links import WEB_VERSION_PATH
from delivery.web_versions import Page, Viewing, show_to_recipient
from services.hosted.questions import LinkEnded
from services.resources import Resources

POLICY = "; ".join(
    (
        # Without scripts, forms, cookies or an origin; links may open windows as they do elsewhere.
        "sandbox allow-popups allow-popups-to-escape-sandbox",
        "default-src 'none'",
        "img-src * data:",
        "media-src *",
        "font-src * data:",
        "style-src * 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Of a page that somebody else has written (Content Security Policy Level 3)."""


def add_web_version(pages: Blueprint, resources: Resources, viewing: Viewing) -> None:
    """Add `/v/…` to the hosted pages, which answer what is wrong with a link.

    Args:
        pages: of the links in mails.
        resources: of the application.
        viewing: how messages are read.
    """

    @pages.get(f"{WEB_VERSION_PATH}<token>")
    def show(token: str) -> Response:
        def find(connection: Connection) -> Page:
            return show_to_recipient(connection, read_token(connection, token, "view"), viewing)

        try:
            return send_page(resources.read(find))
        except UnknownMessage:
            raise LinkEnded("gone_text", None) from None


def send_page(page: Page) -> Response:
    """Return a message as a response."""
    kind = "html" if page.is_html else "plain"
    response = Response(page.content.encode(errors="replace"), content_type=f"text/{kind}; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response
