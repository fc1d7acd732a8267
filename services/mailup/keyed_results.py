"""The documents inside the results of the services that are called with an access key (specification §1.1, §1.6).

Free text stands in CDATA, because old clients decode entities once more before they parse; there is no prolog and
no white space between elements, and containers are there even when nothing is in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from audience.errors import (
    AddressForgotten,
    AudienceError,
    InvalidAddress,
    InvalidName,
    InvalidSetting,
    ListBusy,
    UnknownGroup,
    UnknownList,
)
from delivery.errors import (
    DeliveryError,
    InvalidMessage,
    InvalidTarget,
    NotAllowedNow,
    NotEnoughCredits,
    SenderNotVerified,
    UnknownFilter,
    UnknownMessage,
    UnknownSending,
)
from services.mailup.results import element
from services.soap.declarations import INT, STRING

OK = 0
UNRECOGNISED = 1
WRONG_CREDENTIALS = 2
ACCOUNT_NOT_ACTIVE = 3
INVALID_KEY = 4
UNKNOWN_LIST = 5
UNKNOWN_GROUP = 6
UNKNOWN_MESSAGE = 7
UNKNOWN_SENDING = 8
INVALID_PARAMETER = 9
INVALID_OPTION = 10
NOT_ENOUGH_CREDITS = 11
NOT_ALLOWED_NOW = 12

_REFUSALS: Mapping[type[AudienceError | DeliveryError], int] = {
    UnknownList: UNKNOWN_LIST,
    UnknownGroup: UNKNOWN_GROUP,
    InvalidName: INVALID_PARAMETER,
    InvalidSetting: INVALID_OPTION,
    InvalidAddress: INVALID_PARAMETER,
    AddressForgotten: INVALID_PARAMETER,
    ListBusy: NOT_ALLOWED_NOW,
    UnknownMessage: UNKNOWN_MESSAGE,
    UnknownSending: UNKNOWN_SENDING,
    UnknownFilter: INVALID_OPTION,
    InvalidMessage: INVALID_PARAMETER,
    InvalidTarget: INVALID_OPTION,
    SenderNotVerified: INVALID_OPTION,
    NotAllowedNow: NOT_ALLOWED_NOW,
    NotEnoughCredits: NOT_ENOUGH_CREDITS,
}

_DENIED = (WRONG_CREDENTIALS, ACCOUNT_NOT_ACTIVE, INVALID_KEY)
_CODE = re.compile(r"<[eE]rrorCode>(\d+)</")

CodeNames = tuple[str, str]
"""Names of the elements for the error's code and its description."""
CODE_NAMES: CodeNames = ("errorCode", "errorDescription")


class Failure(Exception):
    """The call is answered with an error code and its description."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(code)
        self.code = code
        self.description = description


def explain(error: AudienceError | DeliveryError) -> Failure:
    """Return what callers are told of something that the audience or the delivery cannot do."""
    return Failure(_REFUSALS.get(type(error), UNRECOGNISED), str(error))


class Told(NamedTuple):
    """A payload with a description, which sending operations have when nothing went wrong, too (§8, no. 20)."""

    description: str
    payload: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How the results of one operation look."""

    root: str
    empty: str = ""
    """The containers that stand in the place of the payload when the call fails."""
    code_names: tuple[CodeNames, ...] = (CODE_NAMES,)
    codes_success: bool = True
    """Whether code and description are there when nothing went wrong."""
    names_error: bool = False
    """Whether a failure has an `Error` element with the description, too."""
    type: ClassVar[Any] = STRING

    def succeed(self, payload: str | Told) -> str:
        """Return the result of a call that worked; the payload is XML."""
        description, content = payload if isinstance(payload, Told) else ("", payload)
        return element(self.root, (self._describe(OK, description) if self.codes_success else "") + content)

    def fail(self, failure: Failure) -> str:
        """Return the result of a call that did not."""
        error = text_element("Error", failure.description) if self.names_error else ""
        return element(self.root, self._describe(failure.code, failure.description) + error + self.empty)

    def _describe(self, code: int, description: str) -> str:
        return "".join(
            element(code_name, str(code)) + text_element(text_name, description)
            for code_name, text_name in self.code_names
        )


@dataclass(frozen=True, slots=True)
class NumberShape:
    """Results that are a bare number: an id, or -1 for every failure."""

    type: ClassVar[Any] = INT

    def succeed(self, payload: int) -> int:
        """Return the id."""
        return payload

    def fail(self, _failure: Failure) -> int:
        """Return -1."""
        return -1


def text_element(name: str, text: str) -> str:
    """Return an element with free text in it, as CDATA unless it is empty."""
    # The end of a CDATA section cannot stand in one, so it is divided between two.
    inner = text.replace("]]>", "]]]]><![CDATA[>")
    return element(name, f"<![CDATA[{inner}]]>" if text else "")


def describe_outcome(result: object) -> str:
    """Return the class of a result for counting: `ok`, `refused` or `denied`."""
    if isinstance(result, int):
        return "ok" if result >= 0 else "refused"
    found = _CODE.search(str(result))
    code = int(found[1]) if found else OK
    if code == OK:
        return "ok"
    return "denied" if code in _DENIED else "refused"
