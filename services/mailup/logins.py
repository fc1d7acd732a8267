"""Login and Logout of the services that are called with an access key; one key is good for all of them (§1.3).

The address of the console that `Login` takes may be any that is not registered for another account: user names are
unique on the server. It may come with or without a scheme, as old programs send both.
"""

from __future__ import annotations

from datetime import UTC, datetime

from audience.access_keys import find_key_holder, issue_key, revoke_key
from audience.accounts import Login
from db.retry import retry_on_conflict
from services.mailup.authentication import AccountNotActive, ChecksBusy, LoginRefused, check_login
from services.mailup.console_address import is_of_another_account
from services.mailup.keyed_operations import check_service, refuse_key, refuse_state, shaped_operation
from services.mailup.keyed_results import UNRECOGNISED, WRONG_CREDENTIALS, Failure, Shape, text_element
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call

# Both logins answer with the same root.
_LOGIN = Shape("LoginResult", element("accessKey"))


@shaped_operation("Login", _LOGIN, user=STRING, pwd=STRING, url=STRING)
def log_in(call: Call, user: str | None, password: str | None, url: str | None) -> str:
    """Return a key for a user of the console at this address."""
    login = _check(call, user, password)
    with call.resources.database.read_once() as connection:
        if is_of_another_account(connection, url or "", login.account):
            raise _wrong_credentials()
    return _give_key(call, login)


@shaped_operation("LoginFromId", _LOGIN, user=STRING, pwd=STRING, consoleId=INT)
def log_in_from_id(call: Call, user: str | None, password: str | None, console: int) -> str:
    """Return a key for a user of this console, whose number is that of the account."""
    login = _check(call, user, password)
    if login.account.number != console:
        raise _wrong_credentials()
    return _give_key(call, login)


@shaped_operation("Logout", Shape("LogoutResult"), accessKey=STRING)
def log_out(call: Call, key: str | None) -> str:
    """End a key, also one of an account or a service that is closed: it would open them again later."""
    database = call.resources.database
    with database.read_once() as connection:
        if find_key_holder(connection, key or "", datetime.now(UTC)) is None:
            raise refuse_key()

    def revoke() -> None:
        with database.write() as connection:
            revoke_key(connection, key or "")

    retry_on_conflict(revoke)
    return ""


def _check(call: Call, user: str | None, password: str | None) -> Login:
    try:
        return check_login(call.resources, call.address, user, password)
    except AccountNotActive:
        raise refuse_state() from None
    except ChecksBusy:
        raise Failure(UNRECOGNISED, "Too many logins at once; call again.") from None
    except LoginRefused:
        raise _wrong_credentials() from None


def _wrong_credentials() -> Failure:
    return Failure(WRONG_CREDENTIALS, "User, password or console are wrong.")


def _give_key(call: Call, login: Login) -> str:
    database = call.resources.database
    with database.read_once() as connection:
        check_service(connection, call, login.account)

    def issue() -> str:
        with database.write() as connection:
            return issue_key(connection, login, datetime.now(UTC))

    return text_element("accessKey", retry_on_conflict(issue))


LOGINS = (log_in, log_in_from_id, log_out)
