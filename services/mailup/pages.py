"""The pages under `/frontend/`: one number as the whole answer, HTTP 200 whatever happens (specification §3)."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog
from flask import Blueprint, Response, request
from sqlalchemy import Connection
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from audience.errors import AudienceError
from db.retry import retry_on_conflict
from services.http.bodies import read_body
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import request_host
from services.mailup.page_actions import FAILED, check, subscribe, unsubscribe, update
from services.mailup.page_parameters import MAX_PARAMETERS, InvalidParameters, PageParameters, read_parameters
from services.resources import Resources

log = structlog.get_logger()

Action = Callable[[Connection, str, PageParameters], int]
Transaction = Callable[[], AbstractContextManager[Connection]]

TEXTS = {
    0: "Operation completed",
    1: "Generic error",
    2: "Invalid e-mail address or mobile number",
    3: "Already subscribed",
}
_FALSE = ("0", "false")


def create_pages(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return the pages; their paths are lower-cased before they come here."""
    pages = Blueprint("mailup", __name__, url_prefix="/frontend")
    write, read = resources.database.write, resources.database.read

    def answer(action: Action, transaction: Transaction, parameters: PageParameters) -> int:
        host = request_host(request.environ, trust_forwarded=options.trust_forwarded)

        def act() -> int:
            with transaction() as connection:
                return action(connection, host, parameters)

        try:
            # The transaction has been committed before the answer leaves.
            return retry_on_conflict(act) if parameters else FAILED
        except (AudienceError, InvalidParameters):
            return FAILED
        except Exception as error:
            log.error("page_failed", page=request.endpoint, **describe_failure(error))
            return FAILED

    @pages.route("/xmlsubscribe.aspx", methods=["GET", "POST"])
    def xmlsubscribe() -> Response:
        parameters = _read_request(options.max_body)
        code = answer(subscribe, write, parameters)
        return _respond(TEXTS[code] if _wants_text(parameters) else str(code))

    @pages.route("/xmlunsubscribe.aspx", methods=["GET", "POST"])
    def xmlunsubscribe() -> Response:
        return _respond(str(answer(unsubscribe, write, _read_request(options.max_body))))

    @pages.route("/xmlchksubscriber.aspx", methods=["GET", "POST"])
    def xmlchksubscriber() -> Response:
        return _respond(str(answer(check, read, _read_request(options.max_body))))

    @pages.route("/xmlupdsubscriber.aspx", methods=["GET", "POST"])
    @pages.route("/updsubscriber.aspx", methods=["GET", "POST"])
    def xmlupdsubscriber() -> Response:
        return _respond(str(answer(update, write, _read_request(options.max_body))))

    @pages.after_request
    def allow_scripts(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = "*"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type, X-Requested-With"
        return response

    return pages


def _read_request(limit: int) -> PageParameters:
    """Merge query and body; a request that cannot be read is as one without parameters.

    Raises:
        BodyRefused: the body cannot be taken.
    """
    body = b"".join(read_body(request.environ, limit))
    form, parts = "", {}
    if request.mimetype in ("", "application/x-www-form-urlencoded"):
        form = body.decode("latin-1")
    try:
        if request.mimetype == "multipart/form-data":
            parts = _read_parts(body)
        return read_parameters(request.environ.get("QUERY_STRING", ""), form, parts)
    except (InvalidParameters, RequestEntityTooLarge):
        return PageParameters(())


def _read_parts(body: bytes) -> dict[str, str]:
    """Return the texts of a multipart body.

    Raises:
        RequestEntityTooLarge: there are too many parts.
    """
    parser = FormDataParser(max_form_memory_size=len(body), max_form_parts=MAX_PARAMETERS)
    form = parser.parse(io.BytesIO(body), request.mimetype, len(body), dict(request.mimetype_params))[1]
    # A part may come without a name.
    return {name: value for name, value in form.items() if name}


def _wants_text(parameters: PageParameters) -> bool:
    try:
        return parameters.text("retCode").lower() in _FALSE
    except InvalidParameters:
        return False


def _respond(body: str) -> Response:
    return Response(body, content_type="text/html; charset=utf-8")
