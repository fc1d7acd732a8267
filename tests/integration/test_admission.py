"""Every code by which the SOAP services refuse callers, and in which order (specification §1.2, §1.6).

Each call comes from an address of its own, as a proxy would tell it, so that wrong passwords never lock anybody out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from keyed_calls import MANAGE, REPORT, SEND, Keyed
from web_server import Reply, Site, serve

from audience.accounts import Account, AccountState, add_account, add_host, change_password, set_account_state
from audience.lists import add_list
from audience.service_access import Service, allow_address, deny_address, set_service
from db.engine import Database
from db.migration import migrate
from db.tables import account as account_table
from db.tables import address_rule, service_access
from jobs.storage import Storage
from services.http.application import HttpOptions
from services.mailup.authentication import CHECK_PLACES, CHECKS, WAITING

DENIED = "203.0.113.0/24"
GUID = "66af9900-7dd7-4cca-9125-beadaf345659"

Fault = dict[str, Any]

# What can be wrong with a call of the import service, each with its code, in the order of the checks.
FAULTS: list[tuple[int, Fault]] = [
    (-1013, {"header": False}),
    (-1001, {"user": "a9"}),
    (-1002, {"password": "wrong"}),
    (-1003, {"state": "suspended"}),
    (-1004, {"state": "inactive"}),
    (-1005, {"state": "expired"}),
    (-1014, {"state": "unsigned"}),
    (-1006, {"enabled": False}),
    (-1007, {"active": False}),
    (-1011, {"restricted": True}),
    (-1012, {"address": "203.0.113.9"}),
    (-102, {"guid": "no GUID"}),
    (-101, {"guid": GUID}),
]


@dataclass(frozen=True)
class Forwarded(Site):
    """A site behind a proxy that tells another caller's address each time, unless one is set."""

    addresses: Iterator[int] = field(default_factory=itertools.count)
    fixed: list[str] = field(default_factory=list)

    def request(self, method: str, path: str, body: Any = None, headers: Any = None) -> Reply:
        number = next(self.addresses)
        address = self.fixed[-1] if self.fixed else f"10.0.{number // 256}.{number % 256}"
        return super().request(method, path, body, {**(headers or {}), "X-Forwarded-For": f"192.0.2.1, {address}"})


@dataclass(frozen=True)
class Office:
    """A served account with one list."""

    site: Forwarded
    database: Database
    account: Account

    @property
    def keyed(self) -> Keyed:
        return Keyed(self.site)

    def set_state(self, state: str) -> None:
        with self.database.write() as connection:
            connection.execute(account_table.update().where(account_table.c.number == 1).values(state=state))

    def switch(self, service: Service, **changes: bool) -> None:
        with self.database.write() as connection:
            set_service(connection, self.account.id, service, **changes)

    def deny(self, service: Service, network: str = DENIED) -> None:
        with self.database.write() as connection:
            deny_address(connection, self.account.id, service, network)

    def reset(self) -> None:
        """Open the account and everything of it."""
        self.set_state("active")
        with self.database.write() as connection:
            connection.execute(service_access.delete())
            connection.execute(address_rule.delete())
        self.site.fixed.clear()

    def call_import(self, fault: Fault) -> int:
        """Bring the account into a state and call the import service; return the code."""
        self.reset()
        self.set_state(fault.get("state", "active"))
        self.switch("import", **{name: fault[name] for name in ("enabled", "active", "restricted") if name in fault})
        self.deny("import")
        if "address" in fault:
            self.site.fixed.append(fault["address"])
        header = f"<User>{fault.get('user', 'a1')}</User><Password>{fault.get('password', 'secret')}</Password>"
        content = f"<idList>1</idList><listGUID>{fault.get('guid', '')}</listGUID><idProcess>1</idProcess>"
        return self.send_import("GetProcessDetails", content, header if fault.get("header", True) else None)

    def send_import(self, operation: str, content: str, header: str | None) -> int:
        """Call an operation of the import service; return the overall code."""
        head = f"<e:Header><Authentication>{header}</Authentication></e:Header>" if header is not None else ""
        body = f'<{operation} xmlns="http://ws.mailupnet.it/">{content}</{operation}>'
        envelope = f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/">{head}<e:Body>{body}</e:Body></e:Envelope>'
        path, headers = "/Services/WSMailUpImport.asmx", {"Content-Type": "text/xml"}
        reply = self.site.request("POST", path, envelope.encode(), headers)
        found = re.search(r"ReturnCode&gt;(-?\d+)&lt;", reply.text)
        assert reply.status == 200 and found, reply
        return int(found[1])


def _open_office(database: Database, storage: Storage) -> Iterator[Office]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        add_account(connection, 2, password="other")
        add_list(connection, account.id, "News")
    with serve(database, storage, HttpOptions(trust_forwarded=True)) as site:
        yield Office(Forwarded(site.host, site.port), database, account)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("admission")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    yield from _open_office(database, storage)
    database.close()


@pytest.fixture
def office(built: Office) -> Office:
    """One for all tests, on SQLite."""
    built.reset()
    with built.database.write() as connection:
        change_password(connection, built.account.id, "secret")
    return built


@pytest.fixture
def each_office(database: Database, storage: Storage) -> Iterator[Office]:
    """One for a test alone, on each database."""
    yield from _open_office(database, storage)


@pytest.mark.parametrize("place", range(len(FAULTS)), ids=[str(code) for code, _ in FAULTS])
def test_the_first_of_two_faults_is_told(office: Office, place: int) -> None:
    code, fault = FAULTS[place]
    assert office.call_import(fault) == code
    for later_code, later in FAULTS[place + 1 :]:
        # One account cannot have two states, nor an address two faults, nor a list two GUIDs.
        if not fault.keys() & later.keys() and {code, later_code} != {-1011, -1012}:
            assert office.call_import(later | fault) == code, later_code


def test_the_first_of_all_faults_is_told(office: Office) -> None:
    assert office.call_import({}) == -501
    for place, (code, _) in enumerate(FAULTS):
        everything: Fault = {}
        for later_code, fault in FAULTS[place:]:
            if code != -1011 or later_code != -1012:
                everything = fault | everything
        assert office.call_import(everything) == code


def test_codes_on_each_database(each_office: Office) -> None:
    assert [each_office.call_import(fault) for _, fault in FAULTS] == [code for code, _ in FAULTS]
    each_office.reset()
    key = each_office.keyed.log_in()
    each_office.switch("send", enabled=False)
    assert each_office.keyed.code(SEND, "GetLists", accessKey=key) == "12"
    assert each_office.keyed.code(MANAGE, "GetLists", accessKey=key) == "0"
    assert each_office.keyed.code(SEND, "Logout", accessKey=key) == "0"
    assert each_office.keyed.code(MANAGE, "GetLists", accessKey=key) == "4"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "<User>a1</User>",
        "<Password>secret</Password>",
        "<User></User><Password></Password>",
        "<User>a1</User><Password/>",
    ],
)
def test_headers_without_credentials(office: Office, header: str | None) -> None:
    assert office.send_import("GetNlLists", "", header) == -1013


def test_states_nobody_has_heard_of(office: Office) -> None:
    assert office.call_import({"state": "unheard of"}) == -1000


def test_a_crowd_of_passwords_is_not_told_from_other_failures(office: Office) -> None:
    with office.database.write() as connection:
        change_password(connection, office.account.id, "never checked before")
    header = "<User>a1</User><Password>never checked before</Password>"
    places = [CHECK_PLACES.take() for _ in range(CHECKS + WAITING)]
    for place in places:
        place.__enter__()
    try:
        assert office.send_import("GetNlLists", "", header) == -1000
    finally:
        for place in places:
            place.__exit__(None, None, None)
    assert office.send_import("GetNlLists", "", header) == 0


def test_large_documents_of_refused_callers_are_answered_with_the_code(office: Office) -> None:
    content = f"<listsIDs>1</listsIDs><xmlDoc>{escape('<x>') * 100_000}</xmlDoc>"
    header = "<User>a1</User><Password>secret</Password>"
    office.switch("import", restricted=True)
    assert office.send_import("NewImportProcess", content, header) == -1011
    office.switch("import", restricted=False, enabled=False)
    assert office.send_import("NewImportProcess", content, header) == -1006


@pytest.mark.parametrize("changes", [{"enabled": False}, {"active": False}, {"restricted": True}], ids=str)
@pytest.mark.parametrize(("path", "service"), [(SEND, "send"), (MANAGE, "manage"), (REPORT, "report")])
def test_services_that_are_switched_off(office: Office, path: str, service: Service, changes: dict[str, bool]) -> None:
    key = office.keyed.log_in()
    office.switch(service, **changes)
    credentials = {"user": "a1", "pwd": "secret"}
    assert office.keyed.code(path, "LoginFromId", **credentials, consoleId=1) == "12"
    assert office.keyed.code(path, "Login", **credentials, url="a.example.com") == "12"
    assert office.keyed.code(path, "LoginFromId", user="a1", pwd="wrong", consoleId=1) == "2"
    assert office.keyed.code(path, "LoginFromId", **credentials, consoleId=2) == "2"
    for other in (SEND, MANAGE, REPORT):
        operation = "ReportByMessage" if other == REPORT else "GetLists"
        wanted = {"listID": 1, "messageID": 1} if other == REPORT else {}
        closed = office.keyed.code(other, operation, accessKey=key, **wanted)
        assert (closed == "12") == (other == path), other
        assert office.keyed.code(other, operation, accessKey="A" * 64, **wanted) == "4"
    # Another account's services are its own.
    assert office.keyed.log_in(path, user="a2", pwd="other", console=2)
    office.switch(service, enabled=True, active=True, restricted=False)
    assert office.keyed.code(path, "Logout", accessKey=office.keyed.log_in(path)) == "0"
    office.switch(service, **changes)
    assert office.keyed.code(path, "Logout", accessKey=key) == "0"
    assert office.keyed.code(path, "Logout", accessKey=key) == "4"


def test_addresses_of_keyed_services(office: Office) -> None:
    key = office.keyed.log_in()
    office.deny("send")
    office.switch("manage", restricted=True)
    with office.database.write() as connection:
        allow_address(connection, office.account.id, "manage", DENIED)
    office.site.fixed.append("203.0.113.9")
    assert office.keyed.code(SEND, "GetLists", accessKey=key) == "12"
    assert office.keyed.code(MANAGE, "GetLists", accessKey=key) == "0"
    office.site.fixed.append("198.51.100.1")
    assert office.keyed.code(SEND, "GetLists", accessKey=key) == "0"
    assert office.keyed.code(MANAGE, "GetLists", accessKey=key) == "12"


@pytest.mark.parametrize("state", ["suspended", "inactive", "expired", "unsigned"])
def test_logout_ends_keys_of_closed_accounts(office: Office, state: AccountState) -> None:
    key, other = office.keyed.log_in(), office.keyed.log_in(user="m1")
    with office.database.write() as connection:
        set_account_state(connection, office.account.id, state)
    assert office.keyed.code(SEND, "LoginFromId", user="a1", pwd="secret", consoleId=1) == "3"
    assert office.keyed.code(SEND, "GetLists", accessKey=key) == "3"
    assert office.keyed.code(SEND, "Logout", accessKey=key) == "0"
    assert office.keyed.code(SEND, "Logout", accessKey=key) == "4"
    with office.database.write() as connection:
        set_account_state(connection, office.account.id, "active")
    assert office.keyed.code(SEND, "GetLists", accessKey=key) == "4"
    assert office.keyed.code(SEND, "GetLists", accessKey=other) == "0"


def test_a_new_password_ends_keys_of_its_user(office: Office) -> None:
    key, other = office.keyed.log_in(), office.keyed.log_in(user="m1")
    with office.database.write() as connection:
        change_password(connection, office.account.id, "secret", "a1")
    assert office.keyed.code(SEND, "GetLists", accessKey=key) == "4"
    assert office.keyed.code(REPORT, "Logout", accessKey=key) == "4"
    assert office.keyed.code(SEND, "GetLists", accessKey=other) == "0"
    with office.database.write() as connection:
        change_password(connection, office.account.id, "new")
    assert office.keyed.code(SEND, "GetLists", accessKey=other) == "4"
    assert office.keyed.code(SEND, "LoginFromId", user="m1", pwd="secret", consoleId=1) == "2"
    assert office.keyed.log_in(pwd="new")


def test_logins_by_host_name(office: Office) -> None:
    with office.database.write() as connection:
        add_host(connection, office.account.id, "one.example.com")
        add_host(connection, office.account.id + 1, "two.example.com")
    for start, end in itertools.product(("", "http://", "HTTPS://"), ("", "/", ":8080", ":8080/frontend/")):
        for name, code in (("one.example.com", "0"), ("Two.Example.com", "2"), ("three.example.com", "0")):
            url = start + name + end
            assert office.keyed.code(SEND, "Login", user="m1", pwd="secret", url=url) == code, url
    wrong = [office.keyed.result(SEND, "Login", user="a1", pwd=pwd, url=url) for pwd, url in WRONG]
    assert len(set(wrong)) == 1
    assert office.keyed.code(REPORT, "Login", user="a2", pwd="other", url="two.example.com") == "0"


WRONG = [("secret", "two.example.com"), ("wrong", "two.example.com"), ("wrong", "one.example.com"), ("wrong", "")]


PAGES = ("xmlSubscribe", "Xmlunsubscribe", "Xmlchksubscriber", "XmlUpdSubscriber", "Updsubscriber")


@pytest.mark.parametrize("state", ["suspended", "inactive", "expired", "unsigned", "unheard of"])
def test_closed_accounts_at_the_pages(office: Office, state: str) -> None:
    wanted = {"List": 1, "Email": "ada@example.com", "csvFldNames": "campo1", "csvFldValues": "Ada", "Confirm": 0}
    host = {"Host": "m1.example.com"}
    assert office.site.get("/frontend/xmlSubscribe.aspx", host, **wanted).text in ("0", "3")
    office.set_state(state)
    for page in PAGES:
        reply = office.site.get(f"/frontend/{page}.aspx", host, **wanted)
        assert (reply.status, reply.text) == (200, "1"), page
