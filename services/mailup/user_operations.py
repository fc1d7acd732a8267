"""Users, as the services with an access key show them (specification §1.3, no. 4, 10; §8, no. 2, 11)."""

from __future__ import annotations

import hmac

from audience.accounts import Account
from audience.users import has_user, hash_user
from services.mailup.keyed_operations import key_holder, keyed_operation
from services.mailup.keyed_results import INVALID_PARAMETER, Failure
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call


@keyed_operation("GetIdUser", accessKey=STRING)
def get_user_id(call: Call, _account: Account) -> str:
    """Return the number of the user whose key it is."""
    return element("idUser", str(key_holder(call).user_number))


@keyed_operation("GetUserAccess", userId=INT, accessKey=STRING)
def get_user_access(call: Call, account: Account, user: int) -> str:
    """Tell that a user of the account may call."""
    with call.resources.database.read_once() as connection:
        known = has_user(connection, account.id, user)
    if not known:
        raise Failure(INVALID_PARAMETER, f"There is no user {user}.")
    return element("access", "1")


@keyed_operation("CheckUserHash", userID=INT, userHash=STRING, accessKey=STRING)
def check_user_hash(call: Call, account: Account, user: int, user_hash: str | None) -> str:
    """Tell that a hash is the one of a user of the account."""
    with call.resources.database.read() as connection:
        expected = hash_user(connection, account.id, user)
    given = (user_hash or "").strip().lower()
    # A user who is not there and a wrong hash are told apart by nothing.
    if expected is None or not hmac.compare_digest(expected.encode(), given.encode()):
        raise Failure(INVALID_PARAMETER, "User and hash do not belong together.")
    return element("valid", "1")
