"""Login and Logout of the services that are called with an access key; one key is good for all of them (§1.3).

The address of the console that `Login` takes makes no difference: user names are unique on the server. So it may come
with or without a scheme, as old programs send both.
"""

from __future__ import annotations

from datetime import UTC, datetime

from audience.access_keys import issue_key, revoke_key
from audience.accounts import Login
from db.engine import Database
from db.retry import retry_on_conflict
from services.mailup.authentication import AccountNotActive, ChecksBusy, LoginRefused, check_login
from services.mailup.keyed_operations import find_caller, refuse_state, shaped_operation
from services.mailup.keyed_results import UNRECOGNISED, WRONG_CREDENTIALS, Failure, Shape, text_element
from services.mailup.results import element
from services.soap.declarations import INT, STRING, Call

# Both logins answer with the same root.
_LOGIN = Shape("LoginResult", element("accessKey"))


@shaped_operation("Login", _LOGIN, user=STRING, pwd=STRING, url=STRING)
def log_in(call: Call, user: str | None, password: str | None, _url: str | None) -> str:
    """Return a key for a user of whichever console."""
    return _give_key(call.resources.database, _check(call, user, password))


@shaped_operation("LoginFromId", _LOGIN, user=STRING, pwd=STRING, consoleId=INT)
def log_in_from_id(call: Call, user: str | None, password: str | None, console: int) -> str:
    """Return a key for a user of this console, whose number is that of the account."""
    login = _check(call, user, password)
    if login.account.number != console:
        raise _wrong_credentials()
    return _give_key(call.resources.database, login)


@shaped_operation("Logout", Shape("LogoutResult"), accessKey=STRING)
def log_out(call: Call, key: str | None) -> str:
    """End a key."""
    find_caller(call, key)

    def revoke() -> None:
        with call.resources.database.write() as connection:
            revoke_key(connection, key or "")

    retry_on_conflict(revoke)
    return ""


def _check(call: Call, user: str | None, password: str | None) -> Login:
    try:
        return check_login(call, user, password)
    except AccountNotActive:
        raise refuse_state() from None
    except ChecksBusy:
        raise Failure(UNRECOGNISED, "Too many logins at once; call again.") from None
    except LoginRefused:
        raise _wrong_credentials() from None


def _wrong_credentials() -> Failure:
    return Failure(WRONG_CREDENTIALS, "User, password or console are wrong.")


def _give_key(database: Database, login: Login) -> str:
    def issue() -> str:
        with database.write() as connection:
            return issue_key(connection, login, datetime.now(UTC))

    return text_element("accessKey", retry_on_conflict(issue))


LOGINS = (log_in, log_in_from_id, log_out)
