"""The life of an access key: from login to logout, expiry or a change of password, over the wire."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from keyed_calls import MANAGE, NAMESPACE, REPORT, SEND, Keyed
from sqlalchemy import func, select
from web_server import serve, serve_with_granian

from audience.access_keys import KEY_LIFETIME, KeyHolder, find_key_holder, issue_key, revoke_key
from audience.accounts import Login, add_account, find_api_login
from audience.passwords import hash_password
from db.engine import Database
from db.tables import access_key, account, api_user
from jobs.storage import Storage
from services.mailup.authentication import CHECK_PLACES, CHECKS, WAITING
from services.throttle import MAX_FAILURES

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


@pytest.fixture
def keyed(database: Database, storage: Storage) -> Iterator[Keyed]:
    with database.write() as connection:
        add_account(connection, 1, password="secret")
        add_account(connection, 2, password="other")
    with serve(database, storage) as site:
        yield Keyed(site)


def _count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(access_key)).scalar_one())


def _login(database: Database, user: str = "a1") -> Login:
    with database.read() as connection:
        login = find_api_login(connection, user)
    assert login is not None
    return login


def test_one_key_for_all_services(keyed: Keyed) -> None:
    for path in (SEND, MANAGE, REPORT):
        key = keyed.log_in(path)
        assert re.fullmatch("[A-Za-z0-9]{64}", key)
        assert keyed.code(SEND, "GetLists", accessKey=key) == "0"
        assert keyed.code(MANAGE, "GetLists", accessKey=key) == "0"
        assert keyed.code(REPORT, "ReportByMessage", accessKey=key, listID=1, messageID=1) in ("5", "7")
        assert keyed.code(REPORT, "Logout", accessKey=key) == "0"
        for other in (SEND, MANAGE, REPORT):
            assert keyed.code(other, "Logout", accessKey=key) == "4"


def test_each_login_has_a_key_of_its_own(keyed: Keyed) -> None:
    first, second = keyed.log_in(), keyed.log_in()
    assert first != second
    assert keyed.code(SEND, "Logout", accessKey=first) == "0"
    assert keyed.code(SEND, "GetLists", accessKey=second) == "0"


def test_form_of_login_results(keyed: Keyed) -> None:
    good = keyed.result(SEND, "LoginFromId", user="a1", pwd="secret", consoleId=1)
    assert re.fullmatch(
        r"<LoginResult><errorCode>0</errorCode><errorDescription></errorDescription>"
        r"<accessKey><!\[CDATA\[[A-Za-z0-9]{64}\]\]></accessKey></LoginResult>",
        good,
    )
    bad = keyed.result(SEND, "Login", user="a1", pwd="wrong", url="a.example.com")
    assert bad == (
        "<LoginResult><errorCode>2</errorCode>"
        "<errorDescription><![CDATA[User, password or console are wrong.]]></errorDescription>"
        "<accessKey></accessKey></LoginResult>"
    )
    key = keyed.log_in()
    assert keyed.result(MANAGE, "Logout", accessKey=key) == (
        "<LogoutResult><errorCode>0</errorCode><errorDescription></errorDescription></LogoutResult>"
    )


def test_login_takes_any_address_of_the_console(keyed: Keyed) -> None:
    scheme = ("http://", "https://", "")
    for url in (*(f"{start}m1.example.com{end}" for start in scheme for end in ("", "/")), "127.0.0.1:8080", "", "<&>"):
        assert keyed.code(SEND, "Login", user="m1", pwd="secret", url=url) == "0", url
    assert keyed.code(REPORT, "Login", user="a1", pwd="secret") == "0"


@pytest.mark.parametrize(
    ("user", "password", "console", "code"),
    [
        ("a1", "secret", "1", "0"),
        ("m1", "secret", "1", "0"),
        ("m2", "other", "2", "0"),
        ("a1", "secret", "2", "2"),
        ("a1", "secret", "-1", "2"),
        ("a2", "secret", "2", "2"),
        ("a3", "secret", "3", "2"),
        ("", "secret", "1", "2"),
        ("a1", "", "1", "2"),
        ("a1'; --", "secret", "1", "2"),
        ("a1", "Città – 東京 – 😀", "1", "2"),
        ("<a1>&]]>", "]]><accessKey>", "1", "2"),
        ("a" * 100_000, "p" * 100_000, "1", "2"),
    ],
)
def test_logins_by_console(keyed: Keyed, user: str, password: str, console: str, code: str) -> None:
    root = keyed.call(MANAGE, "LoginFromId", user=user, pwd=password, consoleId=console)
    assert root.findtext("errorCode") == code
    assert [child.tag for child in root] == ["errorCode", "errorDescription", "accessKey"]
    assert bool(root.findtext("accessKey")) == (code == "0")


def test_logins_without_parameters(keyed: Keyed) -> None:
    assert keyed.code(SEND, "LoginFromId", consoleId=1) == "2"
    assert keyed.code(SEND, "Login") == "2"
    assert keyed.code(SEND, "Logout") == "4"


def test_passwords_of_any_script(keyed: Keyed, database: Database) -> None:
    password = "Città – 東京 – 😀 & <b>]]>"
    with database.write() as connection:
        connection.execute(api_user.update().values(password_hash=hash_password(password)))
    assert keyed.code(SEND, "LoginFromId", user="a1", pwd=password, consoleId=1) == "0"


def test_keys_that_never_were(keyed: Keyed) -> None:
    for key in ("", "x", "A" * 64, "A" * 100_000, "' OR 1=1 --", "é" * 64, "]]>", "%" * 64):
        assert keyed.code(SEND, "GetLists", accessKey=key) == "4", key
        assert keyed.code(SEND, "Logout", accessKey=key) == "4", key


def test_keys_are_told_apart_by_case(keyed: Keyed) -> None:
    assert keyed.code(SEND, "GetLists", accessKey=keyed.log_in().swapcase()) == "4"


def test_keys_are_stored_as_digests(keyed: Keyed, database: Database) -> None:
    key = keyed.log_in(user="m1")
    with database.read() as connection:
        (row,) = connection.execute(select(access_key)).all()
    assert row.key_digest == hashlib.sha256(key.encode()).hexdigest()
    assert key not in str(tuple(row))
    login = _login(database, "m1")
    assert (row.account_id, row.api_user_id) == (login.account.id, login.user_id)
    assert login.password_hash not in str(tuple(row))
    assert row.expires_at - row.created_at == timedelta(minutes=60) == KEY_LIFETIME


def test_keys_expire_and_use_does_not_extend_them(keyed: Keyed, database: Database) -> None:
    key = keyed.log_in()
    with database.read() as connection:
        before = connection.execute(select(access_key.c.expires_at)).scalar_one()
    assert keyed.code(SEND, "GetLists", accessKey=key) == "0"
    with database.read() as connection:
        assert connection.execute(select(access_key.c.expires_at)).scalar_one() == before
    with database.write() as connection:
        connection.execute(access_key.update().values(expires_at=datetime.now(UTC)))
    assert keyed.code(SEND, "GetLists", accessKey=key) == "4"
    assert keyed.code(MANAGE, "Logout", accessKey=key) == "4"


def test_the_hour_of_a_key(keyed: Keyed, database: Database) -> None:
    login = _login(database)
    with database.write() as connection:
        key = issue_key(connection, login, NOW)
    last = NOW + KEY_LIFETIME - timedelta(microseconds=1)
    with database.read() as connection:
        assert find_key_holder(connection, key, last) == KeyHolder(login.account, 2, "a1")
        assert find_key_holder(connection, key, NOW + KEY_LIFETIME) is None
    with database.write() as connection:
        revoke_key(connection, key)
        assert find_key_holder(connection, key, NOW) is None


def test_logins_remove_expired_keys_of_everybody(keyed: Keyed, database: Database) -> None:
    for user in ("a1", "m1", "a2"):
        with database.write() as connection:
            issue_key(connection, _login(database, user), NOW)
    assert _count(database) == 3
    with database.write() as connection:
        issue_key(connection, _login(database), NOW + KEY_LIFETIME)
    assert _count(database) == 1


def test_a_changed_password_ends_keys(keyed: Keyed, database: Database) -> None:
    key, other = keyed.log_in(), keyed.log_in(user="m1")
    with database.write() as connection:
        changed = api_user.update().where(api_user.c.name == "a1")
        connection.execute(changed.values(password_hash=hash_password("secret")))
    assert keyed.code(SEND, "GetLists", accessKey=key) == "4"
    assert keyed.code(SEND, "GetLists", accessKey=other) == "0"
    assert keyed.code(SEND, "GetLists", accessKey=keyed.log_in()) == "0"


@pytest.mark.parametrize("state", ["suspended", "inactive", "expired", "unheard of"])
def test_accounts_that_are_not_active(keyed: Keyed, database: Database, state: str) -> None:
    key, other = keyed.log_in(), keyed.log_in(user="a2", pwd="other", console=2)

    def set_state(value: str) -> None:
        with database.write() as connection:
            connection.execute(account.update().where(account.c.number == 1).values(state=value))

    set_state(state)
    assert keyed.code(SEND, "LoginFromId", user="a1", pwd="secret", consoleId=1) == "3"
    assert keyed.code(SEND, "LoginFromId", user="a1", pwd="wrong", consoleId=1) == "2"
    assert keyed.code(SEND, "GetLists", accessKey=key) == "3"
    assert keyed.code(SEND, "GetCredits", accessKey=key) == "3"
    assert keyed.code(SEND, "GetLists", accessKey=other) == "0"
    set_state("active")
    assert keyed.code(SEND, "GetLists", accessKey=key) == "0"


def test_wrong_passwords_lock_out_of_all_services(keyed: Keyed) -> None:
    key = keyed.log_in()
    for path in (SEND, MANAGE, REPORT, *[SEND] * (MAX_FAILURES - 3)):
        assert keyed.code(path, "LoginFromId", user="a1", pwd="wrong", consoleId=1) == "2"
    for path in (SEND, MANAGE, REPORT):
        assert keyed.code(path, "LoginFromId", user="a1", pwd="secret", consoleId=1) == "2"
    header = "<Authentication><User>a1</User><Password>secret</Password></Authentication>"
    envelope = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/">'
        f'<e:Header>{header}</e:Header><e:Body><GetNlLists xmlns="http://ws.mailupnet.it/" /></e:Body></e:Envelope>'
    )
    reply = keyed.site.request("POST", "/Services/WSMailUpImport.asmx", envelope.encode(), {"Content-Type": "text/xml"})
    assert "ReturnCode&gt;-1002&lt;" in reply.text
    # Who has a key already goes on working, and so does the other user.
    assert keyed.code(SEND, "GetLists", accessKey=key) == "0"
    assert keyed.log_in(user="m1")


def test_a_crowd_of_passwords(keyed: Keyed) -> None:
    with ExitStack() as crowd:
        for _ in range(CHECKS + WAITING):
            crowd.enter_context(CHECK_PLACES.take())
        assert keyed.code(SEND, "LoginFromId", user="m2", pwd="other", consoleId=2) == "1"
    assert keyed.code(SEND, "LoginFromId", user="m2", pwd="other", consoleId=2) == "0"


def test_many_at_once(keyed: Keyed, database: Database) -> None:
    keyed.log_in()
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: keyed.log_in(), range(24)))
        assert len(set(keys)) == 24
        assert set(pool.map(lambda key: keyed.code(SEND, "Logout", accessKey=key), keys)) == {"0"}
    assert _count(database) == 1


def test_keys_are_good_in_other_servers(keyed: Keyed, database: Database, storage: Storage) -> None:
    second = Database(database.url)
    with serve(second, storage) as site:
        other = Keyed(site)
        key = keyed.log_in()
        assert other.code(MANAGE, "GetLists", accessKey=key) == "0"
        assert other.code(MANAGE, "Logout", accessKey=key) == "0"
        assert keyed.code(SEND, "GetLists", accessKey=key) == "4"
    second.close()


def test_keys_are_good_in_every_process(keyed: Keyed, database: Database, storage: Storage) -> None:
    with serve_with_granian(database, storage, workers=2) as (site, _process):
        workers = Keyed(site)
        for number in range(10):
            key = (keyed, workers)[number % 2].log_in()
            assert [workers.code(MANAGE, "GetLists", accessKey=key) for _ in range(4)] == ["0"] * 4
            assert workers.code(SEND, "Logout", accessKey=key) == "0"
            assert {door.code(SEND, "GetLists", accessKey=key) for door in (keyed, workers, workers)} == {"4"}


def test_a_failing_database_is_an_error_code(keyed: Keyed, database: Database) -> None:
    key = keyed.log_in()
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE list_group")
        connection.exec_driver_sql("ALTER TABLE mailing_list RENAME TO gone")
    assert keyed.code(SEND, "GetLists", accessKey=key) == "1"


def test_headers_are_ignored(keyed: Keyed) -> None:
    header = "<Authentication><item><key>User</key><value>a1</value></item></Authentication>"
    envelope = (
        f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>{header}</e:Header><e:Body>'
        f'<GetLists xmlns="{NAMESPACE}"><accessKey>{keyed.log_in()}</accessKey></GetLists></e:Body></e:Envelope>'
    )
    reply = keyed.site.request("POST", REPORT, envelope.encode(), {"Content-Type": "text/xml"})
    assert reply.status == 500
    reply = keyed.site.request("POST", SEND, envelope.encode(), {"Content-Type": "text/xml"})
    assert "errorCode&gt;0&lt;" in reply.text
