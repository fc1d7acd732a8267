"""The `Authentication` header of the import service, and the codes by which it refuses callers."""

from __future__ import annotations

from audience.accounts import Account
from services.mailup.authentication import (
    AccountNotActive,
    ChecksBusy,
    LoginRefused,
    MissingCredentials,
    UnknownUser,
    WrongPassword,
    check_login,
)
from services.mailup.results import Refusal
from services.soap.declarations import Call

UNRECOGNISED = -1000
_MEMO = "import_login"
_CODES = {MissingCredentials: -1013, UnknownUser: -1001, WrongPassword: -1002, ChecksBusy: UNRECOGNISED}
_STATE_CODES = {"suspended": -1003, "inactive": -1004, "expired": -1005}


def authenticate(call: Call) -> Account:
    """Return the account of the caller.

    Raises:
        Refusal: with the code of the first check that failed (specification §1.2, check order); -1002 too, without
            looking at the password, after too many wrong ones, and -1000 when too many passwords wait for their check.
    """
    # A large call is asked twice: before its document is kept, and by its operation.
    if _MEMO not in call.memo:
        call.memo[_MEMO] = _authenticate(call)
    outcome: Account | Refusal = call.memo[_MEMO]
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def admits(call: Call) -> bool:
    """Tell whether `authenticate` lets the caller in."""
    try:
        authenticate(call)
    except Refusal:
        return False
    return True


def _authenticate(call: Call) -> Account | Refusal:
    header = call.header or {}
    try:
        return check_login(call, header.get("User"), header.get("Password")).account
    except AccountNotActive as refused:
        return Refusal(_STATE_CODES.get(refused.state, UNRECOGNISED))
    except LoginRefused as refused:
        return Refusal(_CODES[type(refused)])
