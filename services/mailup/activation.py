"""WSActivation: programs register the address they call from, and make a service active (specification §3.6)."""

from __future__ import annotations

from datetime import datetime

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import TooManyRequests

from audience.service_access import AccessRefused, InvalidNetwork, Service, TooManyRules, activate
from db.retry import retry_on_conflict
from services.http.failures import describe_failure
from services.http.options import HttpOptions
from services.http.origins import caller_address
from services.mailup.authentication import LoginRefused, check_login
from services.mailup.console_address import is_of_another_account
from services.mailup.import_authentication import UNRECOGNISED, refusal_code
from services.mailup.page_calls import PageCalls, open_pages, put_off
from services.mailup.page_parameters import InvalidParameters, PageParameters
from services.mailup.results import Refusal, element, escape_value
from services.resources import Resources

log = structlog.get_logger()

ACTIVATION_FAILED = -1009
REGISTRATION_FAILED = -1010
# Added up when several are missing.
MISSING_CODES = {"ws_name": -2, "usr": -4, "pwd": -8, "nl_url": -16}

# Services by their names in lower case, each with the name that the answer gives it.
_SERVICES: dict[str, tuple[Service, str]] = {
    "wsmailupimport": ("import", "WS_MailUpImport"),
    "frontend": ("pages", "FrontEnd"),
}


def create_activation(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return the page; its path is lower-cased before it comes here."""
    pages = open_pages("mailup_activation", options.page_rate_per_address, options)
    pages.register_error_handler(TooManyRequests, _refuse_for_now)
    calls = PageCalls(options)

    @pages.route("/wsactivation.aspx", methods=["GET", "POST"])
    def wsactivation() -> Response:
        parameters = calls.read()
        address = caller_address(request.environ, trust_forwarded=options.trust_forwarded)
        return _send(_answer(resources, address, parameters))

    return pages


def _refuse_for_now(refusal: TooManyRequests) -> Response:
    return put_off(_send(_write(UNRECOGNISED)), refusal)


def _send(document: str) -> Response:
    response = Response(document, content_type="text/xml; charset=utf-8")
    # The address of the request has a password in it.
    response.headers["Cache-Control"] = "no-store"
    return response


def _answer(resources: Resources, address: str, parameters: PageParameters) -> str:
    try:
        missing = sum(code for name, code in MISSING_CODES.items() if not parameters.text(name))
        return _write(missing) if missing else _write(0, _activate(resources, address, parameters))
    except (LoginRefused, AccessRefused) as refused:
        return _write(refusal_code(refused))
    except Refusal as refusal:
        return _write(refusal.code)
    except InvalidParameters:
        return _write(UNRECOGNISED)
    except Exception as error:
        log.error("activation_failed", **describe_failure(error))
        return _write(UNRECOGNISED)


def _activate(resources: Resources, address: str, parameters: PageParameters) -> str:
    """Activate a service and return what the answer says of it, as XML.

    Raises:
        LoginRefused, AccessRefused, Refusal, InvalidParameters: nothing was changed.
    """
    user = parameters.text("usr")
    account = check_login(resources, address, user, parameters.text("pwd")).account
    service, name = _SERVICES.get(parameters.text("ws_name").lower(), (None, ""))
    if service is None:
        raise Refusal(ACTIVATION_FAILED)

    def act() -> None:
        with resources.database.write() as connection:
            if is_of_another_account(connection, parameters.text("nl_url"), account):
                raise Refusal(ACTIVATION_FAILED)
            activate(connection, account.id, service, address)

    try:
        retry_on_conflict(act)
    except (InvalidNetwork, TooManyRules):
        raise Refusal(REGISTRATION_FAILED) from None
    log.info("service_activated", account=account.number, service=service)
    today = datetime.now(account.zone).date().isoformat()
    said = {"WS_Name": name, "DateOfRequest": today, "User": user}
    return element("WS_Activation", "".join(element(tag, escape_value(text)) for tag, text in said.items()))


def _write(code: int, content: str = "") -> str:
    return element("mailupMessage", element("mailupBody", element("ReturnCode", str(code)) + content))
