"""How the operations of the services that are called with an access key are declared.

Such an operation has a parameter `accessKey`, in whichever place, and a shape of its own for its results; its function
gets the account that the key opens in place of the key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from audience.access_keys import find_key_account
from audience.accounts import Account
from services.http.failures import describe_failure
from services.mailup.authentication import AccountNotActive, check_state
from services.mailup.keyed_results import (
    ACCOUNT_NOT_ACTIVE,
    INVALID_KEY,
    UNRECOGNISED,
    Failure,
    NumberShape,
    Shape,
)
from services.mailup.operations_to_come import OperationToCome
from services.soap.declarations import ANY_TEXT, STRING, Call, Operation, array_of, complex_type

log = structlog.get_logger()

NAMESPACE = "http://services.mailupnet.it/WS"
OPTIONS = array_of(complex_type("Option", NAMESPACE, Key=STRING, Value=ANY_TEXT), "ArrayOfOption")

AnyShape = Shape | NumberShape


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


def keyed_operation_to_come(name: str, shape: AnyShape | None = None, /, **parameters: Any) -> OperationToCome:
    """Declare an operation that answers callers with a valid key that it is not available yet.

    Args:
        name: on the wire.
        shape: as in `keyed_operation`.
        parameters: as in `keyed_operation`.
    """

    def refuse(_call: Call, _account: Account, *_parameters: Any) -> str:
        log.info("operation_not_available", operation=name)
        raise Failure(UNRECOGNISED, f"{name} is not available on this server yet.")

    declared = keyed_operation(name, shape, **parameters)(refuse)
    return OperationToCome(declared.name, declared.result, declared.parameters, declared.function)


def find_caller(call: Call, key: str | None) -> Account:
    """Return the account that an access key opens.

    Raises:
        Failure: the key is not valid any more or never was, or the account is not active.
    """
    with call.resources.database.read_once() as connection:
        account = find_key_account(connection, key or "", datetime.now(UTC))
    if account is None:
        raise Failure(INVALID_KEY, "The access key is not valid or has expired.")
    try:
        check_state(account)
    except AccountNotActive:
        raise refuse_state() from None
    return account


def refuse_state() -> Failure:
    """Return what callers of an account that is not active are told."""
    return Failure(ACCOUNT_NOT_ACTIVE, "The account is not active.")
