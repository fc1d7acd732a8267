"""The page on which the owner of a sender address proves that it is his; only its button changes anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import Blueprint, Response, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import TooManyRequests

from audience.accounts import Account
from audience.list_settings import LANGUAGES
from db.retry import retry_on_conflict
from delivery.sender_addresses import PROOF_PATH, read_proof, verify_sender
from delivery.tokens import InvalidLink
from services.hosted.forms import read_form
from services.hosted.looks import Look, plain_look
from services.hosted.rendering import complete_headers, render_page
from services.http.answers import RETRY_SECONDS
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import caller_address
from services.http.rate_limits import RateLimit, network_of
from services.resources import Resources

log = structlog.get_logger()

Result = TypeVar("Result")


def create_sender_pages(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return `/verify-sender/…`."""
    pages = Blueprint("senders", __name__)
    limit = RateLimit(options.form_rate_per_address)

    @pages.before_request
    def count_caller() -> None:
        limit.count(network_of(caller_address(request.environ, trust_forwarded=options.trust_forwarded)))

    @pages.get(f"{PROOF_PATH}<token>")
    def ask_to_verify(token: str) -> Response:
        _, email = resources.read(lambda connection: read_proof(connection, token))
        return render_page("verify.html", _callers_look(), "verify_title", email=email)

    @pages.post(f"{PROOF_PATH}<token>")
    def verify(token: str) -> Response:
        read_form()
        # Whoever has no valid link does not get as far as waiting for his turn to write.
        resources.read(lambda connection: read_proof(connection, token))
        owner, email = _write(resources, lambda connection: _verify(connection, token))
        log.info("sender_verified", account=owner.number)
        return _tell("verified_title", "verified_text", email=email)

    @pages.errorhandler(InvalidLink)
    def tell_invalid(_error: InvalidLink) -> Response:
        return _tell("invalid_title", "invalid_text", status=404)

    @pages.errorhandler(DBAPIError)
    def tell_failure(error: DBAPIError) -> Response:
        log.error("page_failed", page=request.endpoint, **describe_failure(error))
        return _refuse_for_now(503, RETRY_SECONDS)

    @pages.errorhandler(TooManyRequests)
    def tell_limit(refusal: TooManyRequests) -> Response:
        return _refuse_for_now(429, refusal.retry_after)

    pages.after_request(complete_headers)
    return pages


def _verify(connection: Connection, token: str) -> tuple[Account, str]:
    owner, email = read_proof(connection, token)
    return owner, verify_sender(connection, owner.id, email)


def _write(resources: Resources, work: Callable[[Connection], Result]) -> Result:
    return retry_on_conflict(lambda: resources.write(work))


def _refuse_for_now(status: int, retry_after: object) -> Response:
    response = _tell("failed_title", "failed_text", status=status)
    response.headers["Retry-After"] = str(retry_after)
    return response


def _tell(title: str, key: str, *, status: int = 200, email: str = "") -> Response:
    return render_page("message.html", _callers_look(), title, status=status, email=email, key=key, names=())


def _callers_look() -> Look:
    return plain_look(request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0])
