"""Which account and which lists the call of a page means, by host name, list number and GUID (specification §3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from audience.destinations import Destination, Host, find_destination, find_destination_by_guid
from audience.errors import UnknownList
from audience.lists import MailingList, lists_of
from audience.service_access import Service
from services.mailup.page_calls import PageCall

log = structlog.get_logger()

_SERVICE: Service = "pages"
_ACCOUNT_LABEL = re.compile(r"[am]?([0-9]{1,9})", re.IGNORECASE | re.ASCII)


def find_lists(connection: Connection, call: PageCall, numbers: Sequence[int]) -> list[MailingList]:
    """Return the lists meant by numbers, in their order, or without numbers by a GUID; unknown numbers are left out.

    A GUID that does not fit the numbers is only noted: programs in use send the one of another list.

    Raises:
        UnknownList: none can be found.
        CallerRefused, TooManyRequests: the account does not admit the caller.
    """
    guid = call.parameters.text("ListGuid")
    named = _find_named(connection, call, guid)
    meant = named or find_destination(connection, _SERVICE, _host(call), numbers[0] if numbers else None)
    owner = _admit(connection, call, meant)
    found = _known_lists(connection, owner, numbers)
    if guid and named is None:
        log.info("page_list_guid_unknown")
    if named is not None and found and named.mailing not in found:
        log.info("page_list_guid_of_another_list", account=owner.account.number)
    if named is not None and named.mailing is not None and not numbers:
        found = [named.mailing]
    if not found:
        raise UnknownList("There is no such list.")
    return found


def _find_named(connection: Connection, call: PageCall, guid: str) -> Destination | None:
    return find_destination_by_guid(connection, _SERVICE, _host(call), guid) if guid else None


def _known_lists(connection: Connection, owner: Destination, numbers: Sequence[int]) -> list[MailingList]:
    if not numbers:
        return []
    known = owner.mailing
    if len(numbers) == 1 and known is not None and known.number == numbers[0]:
        return [known]
    by_number = {mailing.number: mailing for mailing in lists_of(connection, owner.account.id)}
    return [by_number[number] for number in numbers if number in by_number]


def find_one_list(connection: Connection, call: PageCall) -> MailingList:
    """Return the list meant by number, by GUID or by both, which then must fit.

    Raises:
        InvalidParameters: the number is none.
        UnknownList: there is no such list, or several are named.
        CallerRefused, TooManyRequests: the account does not admit the caller.
    """
    numbers, guid = call.parameters.numbers("List"), call.parameters.text("ListGuid")
    if len(numbers) > 1 or not (numbers or guid):
        raise UnknownList("One list must be named.")
    named = _find_named(connection, call, guid)
    # Whom the host's account does not admit is told so, whatever list he names.
    meant = named or find_destination(connection, _SERVICE, _host(call), numbers[0] if numbers else None)
    mailing = _admit(connection, call, meant).mailing
    if mailing is None or (guid and named is None) or (numbers and numbers[0] != mailing.number):
        raise UnknownList("There is no such list, or the GUID is another one's.")
    return mailing


def find_public_lists(connection: Connection, call: PageCall) -> list[MailingList]:
    """Return all lists of the account that the host name, or else the GUID of one of its lists, means.

    Raises:
        UnknownList: neither means an account.
        TooManyRequests: the account does not admit the caller.
    """
    return lists_of(connection, find_owner(connection, call).account.id)


def find_owner(connection: Connection, call: PageCall) -> Destination:
    """Return the account that the host name, or else the GUID of one of its lists, means.

    Raises:
        UnknownList: neither means one.
        TooManyRequests: the account does not admit the caller.
    """
    named = _find_named(connection, call, call.parameters.text("ListGuid"))
    return _admit(connection, call, named or find_destination(connection, _SERVICE, _host(call)))


def _host(call: PageCall) -> Host:
    return Host(call.host, account_number(call.host))


def _admit(connection: Connection, call: PageCall, meant: Destination | None) -> Destination:
    if meant is None or meant.account.state != "active":
        raise UnknownList("No account that is active is meant.")
    call.admit(connection, meant, call.address)
    return meant


def account_number(host: str) -> int | None:
    """Return the number that the first label of a host name says: `m1234`, `a1234` or `1234`; IP addresses say none."""
    name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        found = _ACCOUNT_LABEL.fullmatch(name.split(".", 1)[0])
        return int(found[1]) if found else None
    return None
