"""How the operations of the import service are declared: each has a code of its own for what it cannot explain."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog

from services.http.failures import describe_failure
from services.mailup.import_authentication import authenticate
from services.mailup.results import Refusal, write_result
from services.soap.declarations import STRING, Call, Operation, operation

log = structlog.get_logger()


def import_operation(name: str, failure: int, /, **parameters: Any) -> Callable[[Callable[..., str]], Operation]:
    """Declare a function as an operation: it gets a `Call`, the caller's account and the parameters in order.

    Args:
        name: on the wire.
        failure: code of the operation's "unrecognized error"; the function raises `Refusal` for all others.
        parameters: their types by their names on the wire, in order.
    """

    def declare(function: Callable[..., str]) -> Operation:
        @wraps(function)
        def answer(call: Call, *values: Any) -> str:
            try:
                return function(call, authenticate(call), *values)
            except Refusal as refusal:
                return write_result(refusal.code)
            except Exception as error:
                log.error("import_call_failed", operation=name, **describe_failure(error))
                return write_result(failure)

        return operation(name, STRING, **parameters)(answer)

    return declare
