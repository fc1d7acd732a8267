"""How the operations of the services that are called with an access key are declared.

Such an operation has a parameter `accessKey`, in whichever place, and a shape of its own for its results; its function
gets the account that the key opens in place of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from audience.access_keys import KeyHolder, find_key_holder
from audience.accounts import Account
from audience.errors import AudienceError, UnknownList
from audience.lists import MailingList, find_list
from audience.service_access import AccessRefused, Service, check_access
from db.retry import retry_on_conflict
from delivery.errors import DeliveryError
from services.http.failures import describe_failure
from services.mailup.authentication import AccountNotActive, check_state
from services.mailup.keyed_results import (
    ACCOUNT_NOT_ACTIVE,
    INVALID_KEY,
    NOT_ALLOWED_NOW,
    UNKNOWN_LIST,
    UNRECOGNISED,
    Failure,
    NumberShape,
    Shape,
    explain,
)
from services.soap.declarations import ANY_TEXT, STRING, Call, Operation, array_of, complex_type

log = structlog.get_logger()

NAMESPACE = "http://services.mailupnet.it/WS"
OPTIONS = array_of(complex_type("Option", NAMESPACE, Key=STRING, Value=ANY_TEXT), "ArrayOfOption")

_SERVICES: dict[str, Service] = {"MailupSend": "send", "MailupManage": "manage", "MailupReport": "report"}

AnyShape = Shape | NumberShape
Outcome = TypeVar("Outcome")
_HOLDER = "key_holder"


def shaped_operation(name: str, shape: AnyShape, /, **parameters: Any) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a function as an operation: it returns the payload of the result, or raises `Failure`.

    Args:
        name: on the wire.
        shape: of the result.
        parameters: their types by their names on the wire, in order.
    """

    def declare(function: Callable[..., Any]) -> Operation:
        def answer(call: Call, *values: Any) -> str | int:
            try:
                return shape.succeed(function(call, *values))
            except Failure as failure:
                return shape.fail(failure)
            except (AudienceError, DeliveryError) as error:
                return shape.fail(explain(error))
            except Exception as error:
                log.error("keyed_call_failed", operation=name, **describe_failure(error))
                return shape.fail(Failure(UNRECOGNISED, "Unrecognized error."))

        return Operation(name, shape.type, parameters, answer)

    return declare


def keyed_operation(
    name: str, shape: AnyShape | None = None, /, **parameters: Any
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a function as an operation: it gets a `Call`, the caller's account and the parameters without the key.

    Args:
        name: on the wire.
        shape: of the result; when None, a root named after the operation with code and description.
        parameters: their types by their names on the wire, in order; `accessKey` is one of them.
    """
    place = list(parameters).index("accessKey")

    def declare(function: Callable[..., Any]) -> Operation:
        def admit(call: Call, *values: Any) -> Any:
            account = find_caller(call, values[place])
            return function(call, account, *values[:place], *values[place + 1 :])

        return shaped_operation(name, shape or Shape(f"{name}Result"), **parameters)(admit)

    return declare


def find_caller(call: Call, key: str | None) -> Account:
    """Return the account that an access key opens.

    Raises:
        Failure: the key is not valid any more or never was, the account is not active, or the service is not for the
            caller.
    """
    with call.resources.database.read_once() as connection:
        holder = find_key_holder(connection, key or "", datetime.now(UTC))
        if holder is None:
            raise refuse_key()
        try:
            check_state(holder.account)
        except AccountNotActive:
            raise refuse_state() from None
        check_service(connection, call, holder.account)
    call.memo[_HOLDER] = holder
    return holder.account


def key_holder(call: Call) -> KeyHolder:
    """Return the user whose key a keyed operation was called with."""
    holder: KeyHolder = call.memo[_HOLDER]
    return holder


def check_service(connection: Connection, call: Call, account: Account) -> None:
    """Let callers pass whom the account's switches and rules for addresses let call this service.

    Raises:
        Failure: they do not.
    """
    try:
        check_access(connection, account.id, _SERVICES[call.service], call.address)
    except AccessRefused:
        raise Failure(NOT_ALLOWED_NOW, "The service is not open to this caller.") from None


def refuse_key() -> Failure:
    """Return what callers are told whose key is none."""
    return Failure(INVALID_KEY, "The access key is not valid or has expired.")


def change(call: Call, work: Callable[[Connection], Outcome]) -> Outcome:
    """Do work in one writing transaction and return what it returns; it is done again when others got in its way."""

    def attempt() -> Outcome:
        with call.resources.database.write() as connection:
            return work(connection)

    return retry_on_conflict(attempt)


def find_own_list(connection: Connection, account: Account, number: int) -> MailingList:
    """Return a list of the caller's account.

    Raises:
        Failure: there is none with this number.
    """
    try:
        return find_list(connection, account.id, number)
    except UnknownList:
        raise Failure(UNKNOWN_LIST, f"There is no list {number}.") from None


def option_pairs(options: Iterable[Any] | None) -> Iterator[tuple[str, str]]:
    """Yield keys and values of options; those that are nil or have no key are left out."""
    for option in options or ():
        if option is not None and option.Key:
            yield option.Key.strip(), option.Value or ""


def refuse_state() -> Failure:
    """Return what callers of an account that is not active are told."""
    return Failure(ACCOUNT_NOT_ACTIVE, "The account is not active.")
