"""The `Authentication` header of the import service, and the codes by which it and the activation refuse callers."""

from __future__ import annotations

from audience.accounts import Account
from audience.service_access import (
    AccessRefused,
    AddressDenied,
    AddressUnknown,
    NotActive,
    NotEnabled,
    check_access,
)
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
_STATE_CODES = {"suspended": -1003, "inactive": -1004, "expired": -1005, "unsigned": -1014}
_ACCESS_CODES = {NotEnabled: -1006, NotActive: -1007, AddressUnknown: -1011, AddressDenied: -1012}


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
        login = check_login(call.resources, call.address, header.get("User"), header.get("Password"))
        with call.resources.database.read_once() as connection:
            check_access(connection, login.account.id, "import", call.address)
    except (LoginRefused, AccessRefused) as refused:
        return Refusal(refusal_code(refused))
    return login.account


def refusal_code(refused: LoginRefused | AccessRefused) -> int:
    """Return the code by which a caller is told why he is not let in (specification §1.2)."""
    if isinstance(refused, AccountNotActive):
        return _STATE_CODES.get(refused.state, UNRECOGNISED)
    return _ACCESS_CODES[type(refused)] if isinstance(refused, AccessRefused) else _CODES[type(refused)]
