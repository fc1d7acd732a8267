"""The image that tells that a mail was opened, and the links that lead on from it and tell that they were clicked.

They are asked for as often as all other pages together, and bare WSGI answers several times as often as Flask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import structlog
from flask import Response
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from werkzeug.wrappers import Request

from audience.events import MailEventKind
from audience.list_settings import LANGUAGES
from db.engine import Database
from delivery.event_buffer import EventBuffer
from delivery.link_book import LinkBook
from delivery.redirects import find_redirect
from delivery.tokens import InvalidLink
from delivery.tracked_events import TrackedEvent
from delivery.tracking_links import CLICK_PATH, MAX_URL, OPEN_PATH, TrackedLink
from services.hosted.looks import plain_look
from services.hosted.rendering import HEADERS, complete_headers, render_page
from services.http.answers import RETRY_SECONDS
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import caller_address

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

MAX_AGENT = 300
"""Characters of a program's name that are kept."""
LOST = Counter("listbridge_tracked_events_lost_total", "Opens and clicks that could not be kept.")
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A transparent image of one point (GIF 89a)."""
PIXEL_HEADERS = [("Content-Type", "image/gif"), ("Content-Length", str(len(PIXEL))), *HEADERS.items()]
_METHODS = ("GET", "HEAD")


def create_tracking(database: Database, options: HttpOptions) -> dict[str, WSGIApplication]:
    """Return what answers below each path.

    Args:
        database: of the accounts and sendings.
        options: of the application.
    """
    desk = _Desk(database, options)
    return {OPEN_PATH: _Endpoint(desk.open), CLICK_PATH: _Endpoint(desk.click)}


class _Desk:
    """Checks links and keeps what they tell."""

    def __init__(self, database: Database, options: HttpOptions) -> None:
        self._book = LinkBook(database)
        self._events = EventBuffer(database, note_lost=LOST.inc)
        self._options = options

    def open(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token = environ["PATH_INFO"][len(OPEN_PATH) :].removesuffix(".gif")
        account_id, link = self._book.read(token, "open")
        self._note(environ, account_id, link, MailEventKind.OPENED)
        start_response("200 OK", PIXEL_HEADERS)
        return [PIXEL] if environ["REQUEST_METHOD"] == "GET" else []

    def click(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token, slash, place = environ["PATH_INFO"][len(CLICK_PATH) :].partition("/")
        if slash:
            account_id, link = self._book.read(token, "click")
            url = self._book.find_url(account_id, link.sending_id, _read_place(place))
        else:
            url = _read_url(environ)
            account_id, link = self._book.read_target(token, url)
        target = find_redirect(url) if url is not None else None
        if url is None or target is None:
            raise InvalidLink("It leads nowhere.")
        self._note(environ, account_id, link, MailEventKind.CLICKED, url)
        start_response("302 Found", [("Location", target), ("Content-Length", "0"), *HEADERS.items()])
        return []

    def _note(
        self, environ: WSGIEnvironment, account_id: int, link: TrackedLink, kind: Any, url: str | None = None
    ) -> None:
        # Whoever only asks whether the link is there has not seen anything.
        if environ["REQUEST_METHOD"] == "HEAD":
            return
        address = caller_address(environ, trust_forwarded=self._options.trust_forwarded)
        agent = _clean(environ.get("HTTP_USER_AGENT", "")[:MAX_AGENT])
        ids = (account_id, link.sending_id, link.recipient_id)
        self._events.add(TrackedEvent(*ids, kind, url, address or None, agent or None))


class _Endpoint:
    """Answers whatever is wrong with a request."""

    def __init__(self, answer: WSGIApplication) -> None:
        self._answer = answer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _METHODS:
            start_response("405 Method Not Allowed", [("Allow", ", ".join(_METHODS)), ("Content-Length", "0")])
            return []
        try:
            return self._answer(environ, start_response)
        except InvalidLink:
            return tell_caller(environ, "invalid", 404)(environ, start_response)
        except DBAPIError as error:
            log.error("tracking_failed", **describe_failure(error))
            response = tell_caller(environ, "failed", 503)
            response.headers["Retry-After"] = str(RETRY_SECONDS)
            return response(environ, start_response)


def tell_caller(environ: WSGIEnvironment, what: str, status: int) -> Response:
    """Return the page, in the caller's language, that says what is wrong with a link: `invalid` or `failed`."""
    language = Request(environ).accept_languages.best_match(LANGUAGES) or LANGUAGES[0]
    page = render_page(
        "message.html", plain_look(language), f"{what}_title", status=status, key=f"{what}_text", names=[]
    )
    return complete_headers(page)


def _read_place(place: str) -> int:
    # Only as it is written in links: `int` would take signs, blanks and digits of other scripts.
    return int(place) if place.isascii() and place.isdigit() and len(place) < 10 else -1


def _read_url(environ: WSGIEnvironment) -> str:
    query = environ.get("QUERY_STRING", "")
    if len(query) > 3 * MAX_URL + 100:
        raise InvalidLink("The address is too long.")
    try:
        values = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=10).get("u", [])
    except ValueError:
        values = []
    if len(values) != 1:
        raise InvalidLink("There is no address, or more than one.")
    return str(values[0])


def _clean(text: str) -> str:
    """Return a text without what a database or a terminal would not take."""
    return text if text.isprintable() else "".join(filter(str.isprintable, text))
