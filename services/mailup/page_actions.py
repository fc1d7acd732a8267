"""What the pages do: subscribe, unsubscribe, check and update one recipient (specification §3.1-3.4).

Each function takes a call, works in the caller's transaction and returns the code to answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import Connection

from audience.errors import InvalidAddress, UnknownList, UnknownRecipient
from audience.lists import MailingList, find_list
from audience.status_rules import KEEP, UNSUBSCRIBE, Channel, Reason, State
from audience.subscriptions import (
    Address,
    Cause,
    Change,
    ProfileChange,
    change_state,
    parse_address,
    state_in_list,
    update_profile,
)
from delivery.outbox import queue_follow_ups
from services.mailup.page_calls import FAILED, PageCall
from services.mailup.page_parameters import InvalidParameters, PageParameters
from services.mailup.page_subscriptions import Wish, read_sender, subscribe_to_lists
from services.mailup.page_targets import find_lists, find_one_list

DONE = 0
INVALID_ADDRESS = 2
ALREADY_SUBSCRIBED = 3
NOT_SUBSCRIBED = 3

CHECK_CODES = {State.NONE: 1, State.SUBSCRIBED: 2, State.UNSUBSCRIBED: 3, State.BLOCKED: 3, State.PENDING: 4}

_BADNESS = (DONE, ALREADY_SUBSCRIBED, FAILED)


def subscribe(connection: Connection, call: PageCall) -> int:
    """Subscribe somebody to one or several lists; of several codes the worst is returned.

    Raises:
        InvalidParameters, UnknownList: nothing can be done at all.
    """
    parameters = call.parameters
    numbers = parameters.numbers("List")
    found = find_lists(connection, call, numbers)
    wish = Wish(
        email=parameters.text("Email"),
        mobile=parameters.text("Sms"),
        confirm=parameters.flag("Confirm", True),
        # A form sends the boxes that nobody filled in as well, so empty values change nothing here.
        profile=ProfileChange(
            {number: value for number, value in parameters.fields().items() if value}, parameters.numbers("Group")
        ),
        sender=read_sender(parameters),
        layout=_find_layout(connection, found, parameters),
        cause=Cause("page", actor=_read_actor(call)),
    )
    try:
        changes = subscribe_to_lists(connection, found, wish)
    except InvalidAddress:
        return INVALID_ADDRESS
    codes = [_tell_change(change) for change in changes]
    if len(found) < len(numbers):
        codes.append(FAILED)
    return max(codes, key=_BADNESS.index)


def _tell_change(change: Change) -> int:
    if change.before == State.BLOCKED:
        return FAILED
    return ALREADY_SUBSCRIBED if change.before == State.SUBSCRIBED else DONE


def _find_layout(
    connection: Connection, found: Sequence[MailingList], parameters: PageParameters
) -> MailingList | None:
    """Return the list whose mail is to confirm all of them; None when each asks for itself.

    It is the first one when a list is named that is none of them; what names no list of the account counts as absent.
    """
    try:
        wanted = parameters.numbers("ConfirmListID") if len(found) > 1 else []
        layout = find_list(connection, found[0].account_id, wanted[0]) if wanted else None
    except (InvalidParameters, UnknownList):
        return None
    return layout if layout is None or layout in found else found[0]


def _read_actor(call: PageCall) -> str:
    """Return the address of the person in front of the shop if it tells it, or else the shop's own."""
    try:
        return str(ipaddress.ip_address(call.parameters.text("ipAddress")))
    except ValueError:
        return call.address


def unsubscribe(connection: Connection, call: PageCall) -> int:
    """Unsubscribe an address from a list.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress: nothing can be done.
    """
    mailing = find_one_list(connection, call)
    address = _read_address(mailing, call.parameters)
    try:
        change = change_state(connection, mailing, address, UNSUBSCRIBE, Cause("page", Reason.LINK, actor=call.address))
    except UnknownRecipient:
        return NOT_SUBSCRIBED
    if change.before == change.after:
        return NOT_SUBSCRIBED
    if address.channel == Channel.EMAIL:
        queue_follow_ups(connection, mailing, change)
    return DONE


def check(connection: Connection, call: PageCall) -> int:
    """Tell the status of an address in a list.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress: there is nothing to tell.
    """
    mailing = find_one_list(connection, call)
    return CHECK_CODES[state_in_list(connection, mailing, _read_address(mailing, call.parameters))]


def update(connection: Connection, call: PageCall) -> int:
    """Store personal data and groups of an address in a list, whatever its status.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress, UnknownRecipient: nothing was stored.
    """
    parameters = call.parameters
    mailing = find_one_list(connection, call)
    fields = parameters.fields()
    if "--" in parameters.line("csvFldValues"):
        return FAILED
    groups, replace = parameters.numbers("Group"), parameters.flag("Replace", False)
    cause, profile = Cause("page", actor=call.address), ProfileChange(fields, groups, replace)
    known = change_state(connection, mailing, _read_address(mailing, parameters), KEEP, cause, profile)
    if known.before == State.BLOCKED:
        # Whoever wants to subscribe him changes nothing; who knows him may.
        update_profile(
            connection, mailing, known.recipient_id, fields=fields, groups=groups, replace_groups=replace, cause=cause
        )
    return DONE


def _read_address(mailing: MailingList, parameters: PageParameters) -> Address:
    return parse_address(mailing, email=parameters.text("Email"), mobile=parameters.text("Sms"))
