"""The pages under `/frontend/` that programs call: one number as the whole answer (specification §3.1-3.4)."""

from __future__ import annotations

from flask import Blueprint, Response

from services.http.options import HttpOptions
from services.mailup.page_actions import check, subscribe, unsubscribe, update
from services.mailup.page_calls import (
    FAILED,
    Action,
    CallerRefused,
    PageCalls,
    Transact,
    allow_scripts,
    open_pages,
    send_code,
)
from services.mailup.page_parameters import InvalidParameters, PageParameters
from services.resources import Resources

ADDRESS_NOT_REGISTERED = -1011

TEXTS = {
    0: "Operation completed",
    1: "Generic error",
    2: "Invalid e-mail address or mobile number",
    3: "Already subscribed",
}
_FALSE = ("0", "false")


def create_pages(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return the pages for registered callers."""
    pages = open_pages("mailup", options.page_rate_per_address, options)
    # For all pages of the application, and for answers that come from none, such as to a method that none takes.
    pages.after_app_request(allow_scripts)
    calls = PageCalls(options)
    write, read = resources.write, resources.read

    def answer(action: Action[int], transact: Transact, parameters: PageParameters) -> int:
        if not parameters:
            return FAILED
        try:
            code = calls.run(action, transact, parameters)
        except CallerRefused:
            return ADDRESS_NOT_REGISTERED
        return FAILED if code is None else code

    @pages.route("/xmlsubscribe.aspx", methods=["GET", "POST"])
    def xmlsubscribe() -> Response:
        parameters = calls.read()
        code = answer(subscribe, write, parameters)
        return send_code(TEXTS.get(code, code) if _wants_text(parameters) else code)

    @pages.route("/xmlunsubscribe.aspx", methods=["GET", "POST"])
    def xmlunsubscribe() -> Response:
        return send_code(answer(unsubscribe, write, calls.read()))

    @pages.route("/xmlchksubscriber.aspx", methods=["GET", "POST"])
    def xmlchksubscriber() -> Response:
        return send_code(answer(check, read, calls.read()))

    @pages.route("/xmlupdsubscriber.aspx", methods=["GET", "POST"])
    @pages.route("/updsubscriber.aspx", methods=["GET", "POST"])
    def xmlupdsubscriber() -> Response:
        return send_code(answer(update, write, calls.read()))

    return pages


def _wants_text(parameters: PageParameters) -> bool:
    try:
        return parameters.text("retCode").lower() in _FALSE
    except InvalidParameters:
        return False
