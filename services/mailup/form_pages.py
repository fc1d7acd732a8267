"""The pages under `/frontend/` that browsers open: the handler of subscription forms and the catalogue of public lists.

Specification §3.5 and §0.1. Everybody may open them.
"""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from audience.errors import AddressForgotten, InvalidAddress, UnknownList
from audience.list_settings import read_settings
from audience.lists import MailingList
from audience.subscriptions import Cause, ProfileChange
from delivery.errors import UnknownMessage
from delivery.web_versions import Page, Viewing, show_to_anybody
from services.hosted.rendering import complete_headers
from services.hosted.targets import find_target
from services.hosted.tracking import tell_caller
from services.hosted.web_versions import send_page
from services.http.options import HttpOptions
from services.mailup.catalogue import render_catalogue
from services.mailup.merge_tags import VOCABULARY
from services.mailup.page_calls import FAILED, PageCall, PageCalls, open_pages, send_code
from services.mailup.page_parameters import InvalidParameters, PageParameters
from services.mailup.page_subscriptions import Wish, read_sender, subscribe_to_lists
from services.mailup.page_targets import find_lists, find_owner, find_public_lists
from services.resources import Resources

RECEIVED_PATH = "/subscription-received/"
"""Of the hosted page that thanks for a request, or tells what is wrong with it; the GUID of a list follows."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"


def create_form_pages(resources: Resources, options: HttpOptions) -> Blueprint:
    """Return the public pages."""
    pages = open_pages("mailup_forms", options.form_rate_per_address, options)
    calls = PageCalls(options)

    @pages.route("/subscribe.aspx", methods=["GET", "POST"])
    @pages.route("/subscribe.asp", methods=["GET", "POST"])
    def subscribe() -> ResponseReturnValue:
        parameters = calls.read()
        location = calls.run_public(receive_form, resources.write, parameters) if parameters else None
        return send_code(FAILED) if location is None else redirect(location, 302)

    @pages.route("/nl_catalog.aspx", methods=["GET", "POST"])
    def nl_catalog() -> Response:
        lists = calls.run_public(find_public_lists, resources.read, calls.read()) or []
        response = Response(render_catalogue(lists), content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @pages.route("/nl_preview_window.aspx", methods=["GET", "POST"])
    def nl_preview_window() -> Response:
        viewing = Viewing(options.public_url, VOCABULARY)
        page = calls.run_public(partial(show_message, viewing), resources.read, calls.read())
        response = send_page(page) if page is not None else tell_caller(request.environ, "invalid", 404)
        return complete_headers(response)

    return pages


def show_message(viewing: Viewing, connection: Connection, call: PageCall) -> Page | None:
    """Return a message of the account that the host means, as anybody may see it; None when there is none (§6.2).

    Raises:
        InvalidParameters, UnknownList: the call means no account, or its number is none.
    """
    numbers = call.parameters.numbers("idNL")
    if len(numbers) != 1:
        return None
    try:
        return show_to_anybody(connection, find_owner(connection, call).account.id, numbers[0], viewing)
    except UnknownMessage:
        return None


def receive_form(connection: Connection, call: PageCall) -> str:
    """Subscribe whoever sent a form; return where his browser goes, which tells nothing of what is known of him.

    Raises:
        InvalidParameters, UnknownList: there is no list whose page could be shown, or a value is hostile.
    """
    try:
        found = find_lists(connection, call, call.parameters.repeated_numbers("list"))
    except (InvalidParameters, UnknownList):
        return _tell_problem(find_lists(connection, call, ())[0], "list")
    try:
        subscribe_to_lists(connection, found, _read_wish(call.parameters, found[0], call.address))
    except InvalidAddress:
        return _tell_problem(found[0], "address")
    except AddressForgotten:
        pass
    target = find_target(read_settings(found[0].settings).received_url)
    return target.url if target is not None else RECEIVED_PATH + found[0].guid


def _tell_problem(mailing: MailingList, problem: str) -> str:
    return f"{RECEIVED_PATH}{mailing.guid}?problem={problem}"


def _read_wish(parameters: PageParameters, first: MailingList, caller: str) -> Wish:
    email = parameters.text("email")
    if not email:
        raise InvalidAddress("A form asks for an e-mail address.")
    return Wish(
        email=email,
        mobile=parameters.form_mobile(),
        confirm=parameters.flag("confirm", True),
        profile=ProfileChange(
            {number: value for number, value in parameters.form_fields().items() if value},
            parameters.repeated_numbers("group"),
        ),
        sender=read_sender(parameters),
        layout=first,
        cause=Cause("page", actor=caller),
        public=True,
    )
