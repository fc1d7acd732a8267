"""What all pages share: reading a request, the limits, scripts of any origin, and an answer whatever happens."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from flask import Blueprint, Response, request
from sqlalchemy import Connection
from werkzeug.exceptions import RequestEntityTooLarge, TooManyRequests
from werkzeug.formparser import FormDataParser

from audience.destinations import Destination
from audience.errors import AudienceError
from db.retry import retry_on_conflict
from services.http.bodies import BodyRefused, read_body
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import caller_address, request_host
from services.http.rate_limits import RateLimit, limit_callers
from services.mailup.page_access import is_admitted
from services.mailup.page_parameters import MAX_PARAMETERS, InvalidParameters, PageParameters, read_parameters

log = structlog.get_logger()

FAILED = 1

Outcome = TypeVar("Outcome")
Transact = Callable[[Callable[[Connection], Any]], Any]
"""Does a piece of work with a connection and returns its result, such as `Database.write_shared`."""


class CallerRefused(Exception):
    """The account does not take calls of pages from this address."""


Admission = Callable[[Connection, Destination, str], None]
"""Lets a network address call the pages of an account, or raises."""


@dataclass(frozen=True, slots=True)
class PageCall:
    """Who calls, under which host name, and with what."""

    host: str
    address: str
    """Network address of the caller."""
    parameters: PageParameters
    admit: Admission
    """Asked as soon as it is known whose page is called; raises `CallerRefused` or `TooManyRequests`."""


Action = Callable[[Connection, PageCall], Outcome]


class PageCalls:
    """Runs what pages do, each call in one transaction that is committed before the answer leaves."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._accounts = RateLimit(options.page_rate_per_account)

    def run(self, action: Action[Outcome], transact: Transact, parameters: PageParameters) -> Outcome | None:
        """Run what a page for registered callers does; None when it cannot be done.

        Raises:
            CallerRefused: the account takes no calls from this address.
            TooManyRequests: the account is called too often.
        """
        return self._run(action, transact, parameters, self._admit_registered)

    def run_public(self, action: Action[Outcome], transact: Transact, parameters: PageParameters) -> Outcome | None:
        """Run what a page for everybody does; None when it cannot be done.

        Raises:
            TooManyRequests: the account is called too often.
        """
        return self._run(action, transact, parameters, self._admit)

    def _run(
        self,
        action: Action[Outcome],
        transact: Transact,
        parameters: PageParameters,
        admit: Admission,
    ) -> Outcome | None:
        trust = self._options.trust_forwarded
        host = request_host(request.environ, trust_forwarded=trust)
        call = PageCall(host, caller_address(request.environ, trust_forwarded=trust), parameters, _ask_once(admit))

        # The database may have another thread do it, together with other work: so nothing there may look at `request`.
        def work(connection: Connection) -> Outcome:
            return action(connection, call)

        try:
            outcome: Outcome = retry_on_conflict(lambda: transact(work))
        except (CallerRefused, TooManyRequests):
            raise
        except (AudienceError, InvalidParameters):
            return None
        except Exception as error:
            log.error("page_failed", page=request.endpoint, **describe_failure(error))
            return None
        return outcome

    def _admit(self, _connection: Connection, destination: Destination, _address: str) -> None:
        self._accounts.count(destination.account.id)

    def _admit_registered(self, connection: Connection, destination: Destination, address: str) -> None:
        if not is_admitted(connection, destination.gate, address):
            raise CallerRefused
        # After the others have been sent away, so that they cannot use up what the account may ask for.
        self._admit(connection, destination, address)

    def read(self) -> PageParameters:
        """Merge query and body of the request; one that cannot be read is as one without parameters.

        So is a HEAD request, which comes from those that look whether a page is there.

        Raises:
            BodyRefused: the body cannot be taken.
        """
        if request.method == "HEAD":
            return PageParameters(())
        body = b"".join(read_body(request.environ, self._options.max_body))
        form: str = ""
        parts: Iterable[tuple[str, str]] = ()
        if request.mimetype in ("", "application/x-www-form-urlencoded"):
            form = body.decode("latin-1")
        try:
            if request.mimetype == "multipart/form-data":
                parts = _read_parts(body)
            return read_parameters(request.environ.get("QUERY_STRING", ""), form, parts)
        except (InvalidParameters, RequestEntityTooLarge):
            return PageParameters(())


def _ask_once(admit: Admission) -> Admission:
    """Return what admits the caller of one call: neither a repetition nor another look counts as one more call."""
    admitted: set[int] = set()

    def admit_once(connection: Connection, destination: Destination, address: str) -> None:
        if destination.account.id not in admitted:
            admit(connection, destination, address)
            admitted.add(destination.account.id)

    return admit_once


def _read_parts(body: bytes) -> list[tuple[str, str]]:
    """Return the texts of a multipart body.

    Raises:
        RequestEntityTooLarge: there are too many parts.
    """
    parser = FormDataParser(max_form_memory_size=len(body), max_form_parts=MAX_PARAMETERS)
    form = parser.parse(io.BytesIO(body), request.mimetype, len(body), dict(request.mimetype_params))[1]
    # A part may come without a name.
    return [(name, value) for name, value in form.items(multi=True) if name]


def open_pages(name: str, rate: float, options: HttpOptions) -> Blueprint:
    """Return a blueprint for pages under `/frontend/`; their paths are lower-cased before they come here.

    Args:
        name: of the blueprint.
        rate: requests per second that one caller may send to these pages; 0 is no limit.
        options: of the application.
    """
    pages = Blueprint(name, __name__, url_prefix="/frontend")
    limit_callers(pages, rate, options)
    pages.register_error_handler(TooManyRequests, _refuse_for_now)
    pages.register_error_handler(BodyRefused, _refuse_body)
    return pages


def send_code(code: int | str) -> Response:
    """Return the answer of a page: the code, or its text, as the whole body."""
    return Response(str(code), content_type="text/html; charset=utf-8")


def _refuse_for_now(refusal: TooManyRequests) -> Response:
    return put_off(send_code(FAILED), refusal)


def put_off(response: Response, refusal: TooManyRequests) -> Response:
    """Tell in an answer that there were too many calls, and when the next one may come."""
    response.status_code = 429
    response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _refuse_body(refusal: BodyRefused) -> Response:
    response = Response(refusal.status, refusal.status, content_type="text/plain; charset=utf-8")
    response.headers.extend(refusal.headers)
    return response


def allow_scripts(response: Response) -> Response:
    """Let scripts of any origin call what is under `/frontend/`; no cookie is ever looked at."""
    if not request.path.startswith("/frontend/"):
        return response
    response.headers["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        # Browsers that are older than the asterisk know the names.
        response.headers["Access-Control-Allow-Headers"] = "*, Content-Type, X-Requested-With"
        response.headers["Access-Control-Max-Age"] = "86400"
    return response
