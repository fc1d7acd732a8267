"""WSMailUpImport as programs use it: a zeep client made from the served contract, both versions of SOAP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import zeep
from lxml import etree
from sqlalchemy import func, select
from web_server import Site, serve

from audience.accounts import Account, add_account
from audience.lists import Group, MailingList, add_group, add_list, set_field
from db.engine import Database
from db.leases import name_owner
from db.migration import migrate
from db.tables import account as account_table
from db.tables import group_member, history, import_error, import_run, recipient, subscription
from jobs.imports import run_next_import
from jobs.storage import Storage

DOCUMENT = (
    '<subscribers><subscriber email="ada@example.com" Prefix="" Number="" Name=""><campo1>Ada</campo1></subscriber>'
    '<subscriber email="bob@example.com" Prefix="+39" Number="3401234567" Name=""><campo1>Bob</campo1></subscriber>'
    '<subscriber email="nonsense" Prefix="" Number="" Name=""><campo1>x</campo1></subscriber></subscribers>'
)
_NO_FLAGS = dict.fromkeys(("asPending", "ConfirmEmail", "asOptOut", "forceOptIn", "replaceGroups"), False)


@dataclass(frozen=True)
class Office:
    """A served account and its clients."""

    site: Site
    database: Database
    storage: Storage
    account: Account
    news: MailingList
    offers: MailingList
    group: Group
    clients: dict[str, Any]

    def call(
        self,
        operation: str,
        *,
        user: str | None = "a1234",
        password: str | None = "secret",
        soap: str = "1.1",
        **given: Any,
    ) -> str:
        client = self.clients[soap]
        credentials = {"Authentication": {"User": user, "Password": password}}
        headers = credentials if user is not None else None
        return str(client[operation](_soapheaders=headers, **given))

    def start(self, **given: Any) -> str:
        parameters = {"xmlDoc": DOCUMENT, "importType": 3, "mobileInputType": 2, **_NO_FLAGS, **given}
        return self.call("StartImportProcesses", **parameters)

    def details(self, process: int, **given: Any) -> dict[str, str]:
        answer = self.call("GetProcessDetails", **{"idList": 1, "listGUID": "", "idProcess": process, **given})
        return {str(node.tag): node.text or "" for node in _parse(answer).iter() if not len(node)}

    def import_all(self) -> None:
        while run_next_import(self.database, self.storage, name_owner()):
            pass

    def spooled(self) -> list[str]:
        return sorted(path.name for path in self.storage.imports.iterdir())


def _client(site: Site) -> Any:
    return zeep.Client(f"{site.url}/Services/WSMailUpImport.asmx?WSDL")  # type: ignore[no-untyped-call]


def _parse(result: str) -> etree._Element:
    assert result.isascii()
    assert result.startswith('<?xml version="1.0" encoding="windows-1252" ?><mailupMessage><mailupBody><ReturnCode>')
    assert not re.search(r">\s+<", result.split("?>", 1)[1])
    return etree.fromstring(result.encode())


def _codes(result: str) -> list[int]:
    return [int(node.text or "") for node in _parse(result).iter("ReturnCode")]


def _processes(result: str) -> list[tuple[int, int, int]]:
    return [
        tuple(int(node.findtext(name, "")) for name in ("processID", "listID", "ReturnCode"))  # type: ignore[misc]
        for node in _parse(result).iter("process")
    ]


@pytest.fixture(scope="module")
def only_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        account = add_account(connection, 1234, password="secret")
        add_list(connection, add_account(connection, 77, password="other").id, "Elsewhere")
        news, offers = add_list(connection, account.id, "Novità"), add_list(connection, account.id, "Offers")
        group = add_group(connection, news, "Friends")
        set_field(connection, account.id, 1, "nome")
    with serve(database, storage) as site, _client(site) as client:
        ports = {"1.1": "WSMailUpImportSoap", "1.2": "WSMailUpImportSoap12"}
        clients = {version: client.bind("WSMailUpImport", port) for version, port in ports.items()}
        yield Office(site, database, storage, account, news, offers, group, clients)
    database.close()


@pytest.fixture
def office(only_office: Office) -> Office:
    """The office of this module without recipients and imports."""
    with only_office.database.write() as connection:
        for table in (recipient, subscription, history, group_member, import_error, import_run):
            connection.execute(table.delete())
        connection.execute(account_table.update().values(state="active"))
    for path in only_office.storage.imports.iterdir():
        path.unlink()
    return only_office


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_lists(office: Office, soap: str) -> None:
    result = office.call("GetNlLists", soap=soap)
    assert result == (
        '<?xml version="1.0" encoding="windows-1252" ?><mailupMessage><mailupBody><ReturnCode>0</ReturnCode><Lists>'
        f'<List idList="1" listGUID="{office.news.guid}" listName="Novit&#224;"><Groups>'
        f'<Group idGroup="{office.group.number}" groupName="Friends"></Group></Groups></List>'
        f'<List idList="2" listGUID="{office.offers.guid}" listName="Offers"><Groups></Groups></List>'
        "</Lists></mailupBody></mailupMessage>"
    )


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        (None, None, -1013),
        ("", "", -1013),
        ("a1234", "", -1013),
        ("a1234", None, -1013),
        ("a9999", "secret", -1001),
        ("a1234", "wrong", -1002),
        ("a77", "secret", -1002),
        ("a77", "other", 0),
        ("m1234", "secret", 0),
    ],
)
def test_authentication(office: Office, soap: str, user: str | None, password: str | None, code: int) -> None:
    assert _codes(office.call("GetNlLists", user=user, password=password, soap=soap))[0] == code


@pytest.mark.parametrize(
    ("state", "code"), [("suspended", -1003), ("inactive", -1004), ("expired", -1005), ("something else", -1000)]
)
def test_accounts_that_are_not_active(office: Office, state: str, code: int) -> None:
    assert _codes(office.call("GetNlLists")) == [0]
    with office.database.write() as connection:
        connection.execute(account_table.update().values(state=state))
    assert _codes(office.call("GetNlLists")) == [code]
    assert _codes(office.call("GetNlLists", password="wrong")) == [-1002]


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_import_from_start_to_end(office: Office, soap: str) -> None:
    result = office.start(
        soap=soap,
        listsIDs="1;2",
        listsGUIDs=f"{office.news.guid};{office.offers.guid}",
        groupsIDs=f"{office.group.number}",
    )
    assert _codes(result) == [0, 0, 0]
    (first, listed, _), (second, _, _) = _processes(result)
    assert (listed, second) == (1, first + 1)
    before = office.details(first, listGUID=office.news.guid, soap=soap)
    assert (before["StatusCode"], before["IsRunning"], before["StartDate"]) == ("1", "False", "")
    office.import_all()
    after = office.details(first, soap=soap)
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d\.\d\d\.\d\d", after.pop("StartDate"))
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d\.\d\d\.\d\d", after.pop("EndDate"))
    assert after == {
        "ReturnCode": "0",
        "TotalContacts": "3",
        "NewMobile": "1",
        "NewEmail": "2",
        "OptOutMobile": "0",
        "OptOutEmail": "0",
        "ExistingMobile": "0",
        "ExistingEmail": "0",
        "StatusCode": "3",
        "IsRunning": "False",
        "ConfirmationEmail": "False",
        "ConfirmationSent": "",
    }
    assert office.details(second, idList=2)["StatusCode"] == "3"
    with office.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(recipient)).scalar_one() == 2
        assert connection.execute(select(func.count()).select_from(group_member)).scalar_one() == 2
        fields = connection.execute(select(recipient.c.fields).order_by(recipient.c.email)).scalars().all()
    assert fields == [{"1": "Ada"}, {"1": "Bob"}]


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ({"listsIDs": "1", "importType": 8}, [-400]),
        ({"listsIDs": "1", "importType": -1}, [-400]),
        ({"listsIDs": "", "listsGUIDs": ""}, [-101]),
        ({"listsIDs": "1;2", "listsGUIDs": "x"}, [-450]),
        ({"listsIDs": "99"}, [0, -101]),
        ({"listsIDs": "1", "listsGUIDs": "malformed"}, [0, -102]),
        ({"listsIDs": "1", "listsGUIDs": "66af9900-7dd7-4cca-9125-beadaf345659"}, [0, -101]),
        ({"listsGUIDs": "66af9900-7dd7-4cca-9125-beadaf345659"}, [0, -101]),
        ({"listsIDs": "1;;2"}, [0, 0, -101, 0]),
        ({"listsIDs": "1", "xmlDoc": "<subscribers>"}, [-402]),
        ({"listsIDs": "1", "xmlDoc": '<subscribers><subscriber email="a|b@example.com"/></subscribers>'}, [-402]),
        ({"listsIDs": "1", "xmlDoc": "<!DOCTYPE x><subscribers/>"}, [-402]),
        ({"listsIDs": "1", "xmlDoc": None}, [0]),
        ({"listsIDs": "1", "xmlDoc": ""}, [-401]),
        ({"listsIDs": "1", "xmlDoc": " "}, [-401]),
        ({"listsIDs": "1", "xmlDoc": "<?xml version='1.0' encoding='windows-1252'?><subscribers/>"}, [0, 0]),
    ],
)
def test_codes_of_starting(office: Office, given: dict[str, Any], codes: list[int]) -> None:
    result = office.start(**given)
    assert _codes(result) == codes
    started = [process for process, _, code in _processes(result) if code == 0]
    assert all(process > 0 for process in started)
    assert len(office.spooled()) == len(started)


def test_other_accounts_lists_are_unknown(office: Office) -> None:
    result = office.start(user="a77", password="other", listsGUIDs=office.news.guid)
    assert _processes(result) == [(0, 0, -101)]
    result = office.start(user="a77", password="other", listsIDs="1", listsGUIDs=office.news.guid)
    assert _processes(result) == [(0, 1, -101)]


def test_profile_of_an_import(office: Office) -> None:
    assert _codes(office.start(listsIDs="1", groupsIDs="3,4", importType=4, asOptOut=True, asPending=True)) == [0, 0]
    with office.database.read() as connection:
        run = connection.execute(select(import_run)).one()
    chosen = ("format", "channels", "empty_values", "status", "confirm", "change_pending", "groups")
    assert [run.profile[name] for name in chosen] == ["xml", "email", "clear", "unsubscribed", False, True, [3, 4]]
    assert run.source == "soap" and run.sha256 is None
    assert (office.storage.imports / run.spool_name).read_text() == DOCUMENT


def test_confirmation_is_told(office: Office) -> None:
    ((process, _, _),) = _processes(office.start(listsIDs="1", ConfirmEmail=True))
    assert (office.details(process)["ConfirmationEmail"], office.details(process)["ConfirmationSent"]) == (
        "True",
        "False",
    )


def test_busy(office: Office) -> None:
    assert _codes(office.start(listsIDs="1")) == [0, 0]
    assert _codes(office.start(listsIDs="1")) == [-601]
    assert _codes(office.start(listsIDs="2")) == [-602]
    assert _codes(office.start(user="a77", password="other", listsIDs="1")) == [0, 0]
    assert len(office.spooled()) == 2
    office.import_all()
    assert _codes(office.start(listsIDs="2")) == [0, 0]


def _record(office: Office, **values: Any) -> int:
    """Record an import that came by FTP; return its number."""
    fixed = {
        "account_id": office.account.id,
        "number": 5000,
        "list_id": office.news.id,
        "source": "ftp",
        "file_name": "daily.csv",
        "spool_name": "x",
        "profile": {},
        "size": 1,
        "state": "completed",
        "counters": {"total": 7, "new": 3, "existing_email": 4},
        "created_at": datetime(2026, 7, 1, tzinfo=UTC),
    }
    with office.database.write() as connection:
        connection.execute(import_run.insert().values(**(fixed | values)))
    return 5000


@pytest.mark.parametrize(
    ("state", "code", "running"),
    [
        ("prepared", "1", "False"),
        ("queued", "1", "False"),
        ("running", "2", "True"),
        ("completed", "3", "False"),
        ("skipped", "3", "False"),
        ("failed", "4", "False"),
        ("cancelled", "4", "False"),
    ],
)
def test_imports_by_ftp_are_visible(office: Office, state: str, code: str, running: str) -> None:
    started, finished = datetime(2026, 1, 31, 23, 5, 6, tzinfo=UTC), datetime(2026, 7, 1, 10, 0, 0, tzinfo=UTC)
    process = _record(office, state=state, started_at=started, finished_at=finished)
    details = office.details(process)
    assert (details["StatusCode"], details["IsRunning"]) == (code, running)
    assert (details["StartDate"], details["EndDate"]) == ("01/02/2026 00.05.06", "01/07/2026 12.00.00")
    assert (details["TotalContacts"], details["ExistingEmail"], details["NewEmail"]) == ("7", "4", "0")


def test_a_running_import_by_ftp_makes_busy(office: Office) -> None:
    _record(office, state="queued")
    assert _codes(office.start(listsIDs="2")) == [0, 0]
    with office.database.write() as connection:
        connection.execute(import_run.delete())
    _record(office, state="running")
    assert _codes(office.start(listsIDs="2")) == [-602]
    assert _codes(office.start(listsIDs="1")) == [-601]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"idProcess": 9999}, "-501"),
        ({"idProcess": -1}, "-501"),
        ({"idList": 2}, "-501"),
        ({"idList": 99}, "-101"),
        ({"idList": 0}, "-101"),
        ({"listGUID": "malformed"}, "-102"),
        ({"listGUID": "66af9900-7dd7-4cca-9125-beadaf345659"}, "-101"),
        ({"user": "a77", "password": "other"}, "-501"),
    ],
)
def test_codes_of_details(office: Office, given: dict[str, Any], code: str) -> None:
    assert office.details(_record(office), **given) == {"ReturnCode": code}


def test_no_room(office: Office) -> None:
    poor = Storage(office.storage.root, reserve=2**62)
    with serve(office.database, poor) as site, _client(site) as client:
        crowded = Office(
            site,
            office.database,
            poor,
            office.account,
            office.news,
            office.offers,
            office.group,
            {"1.1": client.service},
        )
        assert _codes(crowded.start(listsIDs="1")) == [-403]
    with office.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(import_run)).scalar_one() == 0


@pytest.mark.parametrize("port", ["WSMailUpImportHttpGet", "WSMailUpImportHttpPost"])
def test_plain_http_has_no_header(office: Office, port: str) -> None:
    with _client(office.site) as client:
        service = client.bind("WSMailUpImport", port)
        assert _codes(service.GetNlLists()) == [-1013]
        assert _codes(service.GetProcessDetails(idList="1", listGUID="", idProcess="1")) == [-1013]
