"""WSActivation through a real socket: its codes, its document, and what it changes (specification §3.6)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from lxml import etree
from web_server import Reply, Site, serve
from werkzeug.test import Client

from audience.accounts import Account, add_account, add_host, change_password
from audience.lists import add_list
from audience.service_access import deny_address, rules_of, set_service, switches_of
from db.engine import Database
from db.migration import migrate
from db.tables import account as account_table
from db.tables import address_rule, service_access
from jobs.storage import Storage
from services.http.application import HttpOptions, create_application
from services.mailup.authentication import CHECK_PLACES, CHECKS, WAITING

PAGE = "/frontend/WSActivation.aspx"
GOOD = {"usr": "a1", "pwd": "secret", "nl_url": "one.example.com", "ws_name": "WSMailUpImport"}
_addresses = itertools.count(1)


@dataclass(frozen=True)
class Desk:
    """A served account, called from any address that a test likes."""

    site: Site
    database: Database
    account: Account

    def send(self, address: str = "", method: str = "GET", **parameters: str) -> Reply:
        number = next(_addresses)
        headers = {"X-Forwarded-For": address or f"10.1.{number // 256}.{number % 256}"}
        query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self.site.request("POST", PAGE, query.encode(), headers)
        return self.site.request(method, f"{PAGE}?{query}", None, headers)

    def code(self, address: str = "", **changes: str) -> int:
        """Call with good parameters but for some changes; return the code, with all else that must be true."""
        return check(self.send(address, **{name: value for name, value in (GOOD | changes).items() if value}))

    def rules(self) -> list[tuple[str, str, bool]]:
        with self.database.read() as connection:
            return [(rule.service, rule.network, rule.allowed) for rule in rules_of(connection, self.account.id)]


def check(reply: Reply) -> int:
    """Return the code in an answer of the right form."""
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    root = etree.fromstring(reply.body)
    assert root.tag == "mailupMessage" and not root.attrib and [child.tag for child in root] == ["mailupBody"]
    code = int(root.findtext("mailupBody/ReturnCode") or "")
    assert (root.find("mailupBody/WS_Activation") is not None) == (code == 0)
    return code


def _open_desk(database: Database, storage: Storage) -> Iterator[Desk]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        other = add_account(connection, 2, password="other")
        add_list(connection, account.id, "News")
        add_host(connection, account.id, "one.example.com")
        add_host(connection, other.id, "two.example.com")
    with serve(database, storage, HttpOptions(trust_forwarded=True)) as site:
        yield Desk(site, database, account)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("activation")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    yield from _open_desk(database, storage)
    database.close()


@pytest.fixture
def desk(built: Desk) -> Desk:
    """One for all tests, on SQLite, as new."""
    with built.database.write() as connection:
        connection.execute(service_access.delete())
        connection.execute(address_rule.delete())
        connection.execute(account_table.update().values(state="active"))
        change_password(connection, built.account.id, "secret")
    return built


@pytest.fixture
def each_desk(database: Database, storage: Storage) -> Iterator[Desk]:
    """One for a test alone, on each database."""
    yield from _open_desk(database, storage)


def test_document(desk: Desk) -> None:
    reply = desk.send(**GOOD)
    today = datetime.now(desk.account.zone).date()
    found = re.fullmatch(
        "<mailupMessage><mailupBody><ReturnCode>0</ReturnCode><WS_Activation><WS_Name>WS_MailUpImport</WS_Name>"
        r"<DateOfRequest>(\d{4}-\d{2}-\d{2})</DateOfRequest><User>a1</User></WS_Activation></mailupBody></mailupMessage>",
        reply.text,
    )
    # The day may have changed since.
    assert found and 0 <= (today - datetime.fromisoformat(found[1]).date()).days <= 1
    assert reply.headers["Cache-Control"] == "no-store"
    assert desk.send(**(GOOD | {"pwd": "wrong"})).text == (
        "<mailupMessage><mailupBody><ReturnCode>-1002</ReturnCode></mailupBody></mailupMessage>"
    )


MISSING = {"ws_name": -2, "usr": -4, "pwd": -8, "nl_url": -16}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_codes_of_missing_parameters_are_added_up(desk: Desk, size: int) -> None:
    for names in itertools.combinations(MISSING, size):
        expected = sum(MISSING[name] for name in names)
        assert desk.code(**dict.fromkeys(names, "")) == expected
        blank = GOOD | dict.fromkeys(names, " ") | {"user": "a1"}
        assert check(desk.send(**blank)) == expected
    assert desk.rules() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"usr": "a9"}, -1001),
        ({"usr": "A1 "}, -1001),
        ({"usr": "a1'; --"}, -1001),
        ({"usr": "a1\0"}, -1000),
        ({"usr": "x" * 10_000}, -1001),
        ({"usr": "<a1>&]]>"}, -1001),
        ({"pwd": "wrong"}, -1002),
        ({"pwd": "Città – 東京 – 😀"}, -1002),
        ({"pwd": "a\nb"}, -1000),
        ({"usr": "m1"}, 0),
        ({"ws_name": "wsmailupimport"}, 0),
        ({"ws_name": "WSMailupImport"}, 0),
        ({"ws_name": "frontend"}, 0),
        ({"ws_name": "FrontEnd"}, 0),
        ({"ws_name": "MailupSend"}, -1009),
        ({"ws_name": "import"}, -1009),
        ({"ws_name": "<x>"}, -1009),
        ({"ws_name": "a\x7f"}, -1000),
        ({"nl_url": "http://one.example.com/"}, 0),
        ({"nl_url": "HTTPS://One.Example.com:443"}, 0),
        ({"nl_url": "three.example.com"}, 0),
        ({"nl_url": "two.example.com"}, -1009),
        ({"nl_url": "http://TWO.example.com:8080/x"}, -1009),
        ({"nl_url": "' OR 1=1 --"}, 0),
        ({"nl_url": "a\r\nX: y"}, -1000),
        # The user is told first.
        ({"usr": "a9", "ws_name": "x"}, -1001),
        ({"pwd": "wrong", "ws_name": "x"}, -1002),
        ({"pwd": "wrong", "nl_url": "two.example.com"}, -1002),
    ],
)
def test_codes(desk: Desk, changes: dict[str, str], code: int) -> None:
    assert desk.code(**changes) == code
    assert len(desk.rules()) == (code == 0)


STATES = {"suspended": -1003, "inactive": -1004, "expired": -1005, "unsigned": -1014, "unheard of": -1000}


@pytest.mark.parametrize(("state", "code"), STATES.items())
def test_codes_of_closed_accounts(desk: Desk, state: str, code: int) -> None:
    with desk.database.write() as connection:
        connection.execute(account_table.update().where(account_table.c.number == 1).values(state=state))
        set_service(connection, desk.account.id, "import", enabled=False)
    assert desk.code() == code
    assert desk.code(pwd="wrong") == -1002
    assert desk.rules() == []


def test_registers_the_caller_and_activates(each_desk: Desk) -> None:
    desk = each_desk
    with desk.database.write() as connection:
        set_service(connection, desk.account.id, "import", active=False, restricted=True)
        deny_address(connection, desk.account.id, "import", "198.51.100.0/24")
    for address in ("192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"):
        assert desk.code(address) == 0
    assert desk.code("198.51.100.1") == -1012
    assert desk.rules() == [
        ("import", "192.0.2.7/32", True),
        ("import", "198.51.100.0/24", False),
        ("import", "2001:db8::7/128", True),
    ]
    with desk.database.write() as connection:
        switches = switches_of(connection, desk.account.id)["import"]
        assert (switches.enabled, switches.active, switches.restricted) == (True, True, True)
        set_service(connection, desk.account.id, "import", enabled=False)
    assert desk.code("192.0.2.7") == -1006


def test_pages_of_registered_callers(desk: Desk) -> None:
    def subscribe(address: str) -> str:
        query = "List=1&Email=ada@example.com&Confirm=0"
        headers = {"X-Forwarded-For": address, "Host": "one.example.com"}
        return desk.site.request("GET", f"/frontend/xmlSubscribe.aspx?{query}", None, headers).text

    with desk.database.write() as connection:
        set_service(connection, desk.account.id, "pages", restricted=True)
    assert subscribe("192.0.2.7") == "-1011"
    assert desk.code("192.0.2.7") == 0
    assert subscribe("192.0.2.7") == "-1011"
    assert desk.code("192.0.2.7", ws_name="FrontEnd") == 0
    assert (subscribe("192.0.2.7"), subscribe("192.0.2.8")) == ("0", "-1011")


@pytest.mark.parametrize("page", ["wsActivation.aspx", "WSACTIVATION.ASPX", "/WSActivation.aspx"])
def test_spellings_of_the_page(desk: Desk, page: str) -> None:
    assert check(desk.site.get(f"/frontend/{page}", {"X-Forwarded-For": "10.2.0.1"}, **GOOD)) == 0


def test_every_way_of_sending(desk: Desk) -> None:
    assert check(desk.send(method="POST", **GOOD)) == 0
    upper = {name.upper(): value for name, value in GOOD.items()}
    assert check(desk.send(method="POST", **upper)) == 0
    # The first of two counts, and the query comes before the form.
    query = "&".join(f"{name}={value}" for name, value in GOOD.items())
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "10.2.0.2"}
    assert check(desk.site.request("POST", f"{PAGE}?{query}", b"pwd=wrong&usr=a9", headers)) == 0
    assert check(desk.site.request("POST", f"{PAGE}?{query}&pwd=wrong", b"", headers)) == 0
    assert check(desk.site.request("POST", f"{PAGE}?pwd=wrong&{query}", b"", headers)) == -1002
    assert check(desk.site.get(PAGE)) == -30
    assert desk.site.request("HEAD", PAGE).status == 200
    assert desk.site.request("PUT", PAGE, b"").status == 405
    assert desk.site.request("POST", PAGE, b"x" * 2_000_000, headers).status == 413


def test_passwords_of_any_script(desk: Desk) -> None:
    with desk.database.write() as connection:
        change_password(connection, desk.account.id, "Città & 東京")
    assert desk.code(pwd="Città & 東京") == 0


def test_wrong_passwords_lock_out(desk: Desk) -> None:
    address = "10.3.0.1"
    assert [desk.code(address, pwd="wrong") for _ in range(5)] == [-1002] * 5
    assert desk.code(address) == -1002
    assert desk.code("10.3.0.2") == 0


def test_a_crowd_of_passwords(desk: Desk) -> None:
    with desk.database.write() as connection:
        change_password(connection, desk.account.id, "never checked before")
    with ExitStack() as crowd:
        for _ in range(CHECKS + WAITING):
            crowd.enter_context(CHECK_PLACES.take())
        assert desk.code(pwd="never checked before") == -1000
    assert desk.code(pwd="never checked before") == 0


def test_callers_without_an_address(desk: Desk, storage: Storage) -> None:
    client = Client(create_application(desk.database, storage, HttpOptions()))
    for address in ("", "<local>"):
        answer = client.get(PAGE, query_string=GOOD, environ_base={"REMOTE_ADDR": address})
        assert "<ReturnCode>-1010</ReturnCode>" in answer.text
    assert desk.rules() == []


def test_many_at_once(each_desk: Desk) -> None:
    def activate(number: int) -> int:
        return each_desk.code(f"192.0.2.{number % 4}")

    assert each_desk.code() == 0
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(activate, range(32))) == {0}
    assert len(each_desk.rules()) == 5


def test_a_failing_database_is_a_code(each_desk: Desk) -> None:
    assert each_desk.code() == 0
    with each_desk.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE address_rule RENAME TO gone")
    assert each_desk.code() == -1000
