"""Finds the account and the list that a call without a login means, with all that decides about it, in one statement.

A host name means the account it is registered for, or the account whose number it tells; any other host name means the
account of a list that is named by its GUID, or the only account of the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, bindparam, case, cast, exists, func, select

from audience.accounts import Account, normalise_host
from audience.lists import LIST_COLUMNS, MailingList, is_here
from audience.service_access import Gate, Service, Switches
from db.tables import account, account_host, address_rule, mailing_list, service_access

_ACCOUNT = (account.c.id, account.c.number, account.c.name, account.c.time_zone, account.c.state)
_NO_NUMBER = -1


@dataclass(frozen=True, slots=True)
class Host:
    """What a host name says."""

    name: str
    """As the caller gave it, with a port or without."""
    account_number: int | None
    """The number of an account that the name tells, if it tells any."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call goes."""

    account: Account
    gate: Gate
    """Of the service that is called."""
    mailing: MailingList | None
    """None when none was named, or the account has no such list."""


def find_destination(
    connection: Connection, service: Service, host: Host, list_number: int | None = None
) -> Destination | None:
    """Return the account that a host name means and its list of this number; None when it means no account."""
    parameters = _parameters(service, host)
    parameters["list_number"] = _NO_NUMBER if list_number is None else list_number
    row = connection.execute(_BY_HOST, parameters).one_or_none()
    return _read(row, service) if row is not None else None


def find_destination_by_guid(connection: Connection, service: Service, host: Host, guid: str) -> Destination | None:
    """Return the list of this GUID and its account; None when there is none, or the host name means another account."""
    parameters = {**_parameters(service, host), "guid": guid.strip().strip("{}").lower()}
    row = connection.execute(_BY_GUID, parameters).one_or_none()
    return _read(row, service) if row is not None else None


def _parameters(service: Service, host: Host) -> dict[str, Any]:
    number = _NO_NUMBER if host.account_number is None else host.account_number
    return {"service": service, "host": normalise_host(host.name), "account_number": number}


def _read(row: Row[Any], service: Service) -> Destination:
    found = Account(*row[: len(_ACCOUNT)])
    enabled, active, restricted, has_rules = row[len(_ACCOUNT) : len(_ACCOUNT) + 4]
    switches = Switches() if enabled is None else Switches(enabled, active, restricted)
    columns = row[len(_ACCOUNT) + 4 :]
    mailing = MailingList(*columns) if columns[0] is not None else None
    return Destination(found, Gate(found.id, service, switches, has_rules), mailing)


def _named_by_host() -> ColumnElement[int]:
    registered = select(account_host.c.account_id).where(account_host.c.host == bindparam("host"))
    told = select(account.c.id).where(account.c.number == bindparam("account_number")).correlate(None)
    return func.coalesce(registered.scalar_subquery(), told.scalar_subquery())


def _meant_by_host() -> ColumnElement[int]:
    some = select(account.c.id).correlate(None).limit(2).subquery()
    only = select(func.min(some.c.id)).having(func.count() == 1).scalar_subquery()
    tells_none = cast(bindparam("account_number"), Integer) == _NO_NUMBER
    return func.coalesce(_named_by_host(), case((tells_none, only)))


def _select_destination(list_condition: ColumnElement[bool]) -> Select[Any]:
    gate = (service_access.c.account_id == account.c.id) & (service_access.c.service == bindparam("service"))
    rules = exists().where(address_rule.c.account_id == account.c.id, address_rule.c.service == bindparam("service"))
    here = (mailing_list.c.account_id == account.c.id) & list_condition & is_here()
    return (
        select(*_ACCOUNT, service_access.c.enabled, service_access.c.active, service_access.c.restricted)
        .add_columns(rules.correlate(account).label("has_rules"), *LIST_COLUMNS)
        .select_from(account)
        .outerjoin(service_access, gate)
        .outerjoin(mailing_list, here)
    )


# Asked by every call of a page, so made once: making them takes longer than asking them.
_BY_HOST = _select_destination(mailing_list.c.number == bindparam("list_number")).where(
    account.c.id == _meant_by_host()
)
_BY_GUID = _select_destination(mailing_list.c.guid == bindparam("guid")).where(
    account.c.id
    == select(mailing_list.c.account_id)
    .where(mailing_list.c.guid == bindparam("guid"), is_here())
    .correlate(None)
    .scalar_subquery(),
    func.coalesce(_named_by_host(), account.c.id) == account.c.id,
)
