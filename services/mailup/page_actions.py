"""What the pages do: subscribe, unsubscribe, check and update one recipient (specification §3.1-3.4).

Each function takes the parameters of a call, works in the caller's transaction and returns the code to answer.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import structlog
from sqlalchemy import Connection, select

from audience.accounts import Account, find_account, load_account
from audience.errors import InvalidAddress, UnknownAccount, UnknownList, UnknownRecipient
from audience.lists import MailingList, find_list, find_list_by_guid
from audience.status_rules import KEEP, REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Reason, State
from audience.subscriptions import Address, Cause, change_state, parse_address, state_in_list, update_profile
from db.tables import account
from services.mailup.page_parameters import PageParameters

log = structlog.get_logger()

DONE = 0
FAILED = 1
INVALID_ADDRESS = 2
ALREADY_SUBSCRIBED = 3
NOT_SUBSCRIBED = 3

CHECK_CODES = {State.NONE: 1, State.SUBSCRIBED: 2, State.UNSUBSCRIBED: 3, State.BLOCKED: 3, State.PENDING: 4}

_BADNESS = (DONE, ALREADY_SUBSCRIBED, INVALID_ADDRESS, FAILED)
_ACCOUNT_LABEL = re.compile(r"[am]?([0-9]{1,9})", re.IGNORECASE | re.ASCII)


def subscribe(connection: Connection, host: str, parameters: PageParameters) -> int:
    """Subscribe an address to one or several lists; of several codes the worst is returned.

    Raises:
        InvalidParameters, UnknownList: nothing can be done at all.
    """
    numbers, guid = parameters.numbers("List"), parameters.text("ListGuid")
    found = _find_lists(connection, host, numbers, guid)
    codes = [_subscribe_to(connection, mailing, parameters) for mailing in found]
    if len(found) < len(numbers):
        codes.append(FAILED)
    return max(codes, key=_BADNESS.index)


def _subscribe_to(connection: Connection, mailing: MailingList, parameters: PageParameters) -> int:
    transition = REQUEST_CONFIRMATION if parameters.flag("Confirm", True) else SUBSCRIBE
    # A form sends the boxes that nobody filled in as well, so empty values change nothing here.
    fields = {number: value for number, value in parameters.fields().items() if value}
    groups = parameters.numbers("Group")
    try:
        address = _read_address(mailing, parameters)
    except InvalidAddress:
        return INVALID_ADDRESS
    change = change_state(connection, mailing, address, transition, Cause("page"))
    if change.before == State.BLOCKED:
        return FAILED
    update_profile(connection, mailing, change.recipient_id, fields=fields, groups=groups, cause=Cause("page"))
    return ALREADY_SUBSCRIBED if change.before == State.SUBSCRIBED else DONE


def unsubscribe(connection: Connection, host: str, parameters: PageParameters) -> int:
    """Unsubscribe an address from a list.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress: nothing can be done.
    """
    mailing = _find_list(connection, host, parameters)
    cause = Cause("page", Reason.LINK)
    try:
        change = change_state(connection, mailing, _read_address(mailing, parameters), UNSUBSCRIBE, cause)
    except UnknownRecipient:
        return NOT_SUBSCRIBED
    return DONE if change.before in (State.SUBSCRIBED, State.PENDING) else NOT_SUBSCRIBED


def check(connection: Connection, host: str, parameters: PageParameters) -> int:
    """Tell the status of an address in a list.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress: there is nothing to tell.
    """
    mailing = _find_list(connection, host, parameters)
    return CHECK_CODES[state_in_list(connection, mailing, _read_address(mailing, parameters))]


def update(connection: Connection, host: str, parameters: PageParameters) -> int:
    """Store personal data and groups of an address in a list, whatever its status.

    Raises:
        InvalidParameters, UnknownList, InvalidAddress, UnknownRecipient: nothing was stored.
    """
    mailing = _find_list(connection, host, parameters)
    fields = parameters.fields()
    if "--" in parameters.text("csvFldValues"):
        return FAILED
    groups, replace = parameters.numbers("Group"), parameters.flag("Replace", False)
    known = change_state(connection, mailing, _read_address(mailing, parameters), KEEP, Cause("page"))
    update_profile(
        connection,
        mailing,
        known.recipient_id,
        fields=fields,
        groups=groups,
        replace_groups=replace,
        cause=Cause("page"),
    )
    return DONE


def _read_address(mailing: MailingList, parameters: PageParameters) -> Address:
    return parse_address(mailing, email=parameters.text("Email"), mobile=parameters.text("Sms"))


def _find_lists(connection: Connection, host: str, numbers: Iterable[int], guid: str) -> list[MailingList]:
    """Return the lists meant by numbers or, without numbers, by a GUID; unknown numbers are left out.

    A GUID that does not fit the number is only noted: programs in use send the one of another list.

    Raises:
        UnknownList: none can be found.
    """
    named: MailingList | None = None
    try:
        named = find_list_by_guid(connection, guid) if guid else None
    except UnknownList:
        log.info("page_list_guid_unknown")
    owner = load_account(connection, named.account_id) if named is not None else _find_owner(connection, host)
    _check_active(owner)
    found = [mailing for number in sorted(numbers) for mailing in _known_list(connection, owner, number)]
    if named is not None and found and named not in found:
        log.info("page_list_guid_of_another_list", account=owner.number)
    if not found and named is not None and not numbers:
        found = [named]
    if not found:
        raise UnknownList("There is no such list.")
    return found


def _known_list(connection: Connection, owner: Account, number: int) -> list[MailingList]:
    try:
        return [find_list(connection, owner.id, number)]
    except UnknownList:
        return []


def _find_list(connection: Connection, host: str, parameters: PageParameters) -> MailingList:
    """Return the list meant by number, by GUID or by both, which then must fit.

    Raises:
        InvalidParameters: the number is none, or there are several.
        UnknownList: there is no such list.
    """
    numbers, guid = parameters.numbers("List"), parameters.text("ListGuid")
    if len(numbers) > 1 or not (numbers or guid):
        raise UnknownList("One list must be named.")
    if not guid:
        owner = _find_owner(connection, host)
        mailing = find_list(connection, owner.id, numbers[0])
    else:
        mailing = find_list_by_guid(connection, guid)
        owner = load_account(connection, mailing.account_id)
        if numbers and numbers[0] != mailing.number:
            raise UnknownList("The GUID is another list's.")
    _check_active(owner)
    return mailing


def _find_owner(connection: Connection, host: str) -> Account:
    """Return the account that a host name means, or the only one of the server.

    Raises:
        UnknownList: neither is to be found.
    """
    number = account_number(host)
    try:
        if number is not None:
            return find_account(connection, number)
    except UnknownAccount:
        raise UnknownList("The host name is of no account.") from None
    ids = connection.execute(select(account.c.id).limit(2)).scalars().all()
    if len(ids) != 1:
        raise UnknownList("Which account is meant cannot be found out.")
    return load_account(connection, ids[0])


def account_number(host: str) -> int | None:
    """Return the number that the first label of a host name says: `m1234`, `a1234` or `1234`; IP addresses say none."""
    name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        found = _ACCOUNT_LABEL.fullmatch(name.split(".", 1)[0])
        return int(found[1]) if found else None
    return None


def _check_active(owner: Account) -> None:
    if owner.state != "active":
        raise UnknownList("The account is not active.")
