"""Each operation stands in the documentation, refuses an unknown key in its own shape, and takes options and dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

import pytest
from keyed_calls import Keyed
from lxml import etree
from web_server import ROOT, Site, serve

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage
from services.contracts import SERVICES
from services.soap.declarations import BOOLEAN, DATETIME, INT, Operation, Service

BARE = ("GetFields", "CreateList", "DeleteList", "GetListIdentity")
"""Operations of MailupSend whose results have a root without `Result`, by this name and by the one with `_st`."""

ENVELOPE = '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{}</e:Body></e:Envelope>'
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:x="http://www.w3.org/2001/XMLSchema"'
VALUES = {INT: "1", BOOLEAN: "true", DATETIME: "2030-01-01T12:00:00"}


@dataclass(frozen=True)
class Office:
    """A server whose account has a list, and a key to it."""

    site: Site
    key: str

    def call(self, service: Service, operation: Operation, key: str | None = None) -> str:
        """Call an operation with some value for each parameter; return its result."""
        values = {name: VALUES.get(kind, "") for name, kind in operation.parameters.items()}
        if "accessKey" in values:
            values["accessKey"] = self.key if key is None else key
        content = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
        return self.send(service, operation.name, content)

    def send(self, service: Service, name: str, content: str) -> str:
        """Call an operation with parameters as XML; return its result."""
        body = f'<{name} xmlns="{service.namespace}">{content}</{name}>'
        envelope = ENVELOPE.format(body).encode()
        reply = self.site.request("POST", service.paths[0], envelope, {"Content-Type": "text/xml; charset=utf-8"})
        assert reply.status == 200, reply
        found = re.search(f"<{name}Result>(.*)</{name}Result>", reply.text)
        assert found is not None, reply
        return unescape(found[1])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder, reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    with serve(database, storage) as site:
        yield Office(site, Keyed(site).log_in())
    database.close()


KEYED = [
    pytest.param(service, operation, id=f"{service.name}.{operation.name}")
    for service in SERVICES
    for operation in service.operations
    if "accessKey" in operation.parameters
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_documentation_has_a_row_for_each_operation(service: Service) -> None:
    text = (ROOT / "docs/compatibility/mailup.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| {service.name} \| (\w+) \| (?:works|differs) \|", text, re.MULTILINE)
    assert rows == [operation.name for operation in service.operations]


@pytest.mark.parametrize(("service", "operation"), KEYED)
def test_an_unknown_key_is_refused_in_the_shape_of_the_operation(
    office: Office, service: Service, operation: Operation
) -> None:
    result = office.call(service, operation, "wrong")
    if operation.result is INT:
        assert result == "-1"
    else:
        _check_failure(service, operation, result, 4, "The access key is not valid or has expired.")


def _check_failure(service: Service, operation: Operation, result: str, code: int, text: str) -> None:
    assert "> " not in result and "\n" not in result and "<?xml" not in result
    root = etree.fromstring(result)
    assert root.tag == _root(service, operation)
    assert {name: root.findtext(name) for name in _texts(operation)} == dict.fromkeys(_texts(operation), text)
    assert {name: root.findtext(name) for name in _codes(operation)} == dict.fromkeys(_codes(operation), str(code))
    assert root[0].tag == _codes(operation)[0]


def _root(service: Service, operation: Operation) -> str:
    if operation.name == "CreateGroup":
        return "CreateGroupsResult"
    is_bare = service.name == "MailupSend" and operation.name.removesuffix("_st") in BARE
    return operation.name if is_bare else f"{operation.name}Result"


def _codes(operation: Operation) -> list[str]:
    if operation.name == "GetCreditsLists":
        return ["ErrorCode"]
    return ["errorCode", "erroCode"] if operation.name.endswith("DeliveryStatus") else ["errorCode"]


def _texts(operation: Operation) -> list[str]:
    return [name.replace("Code", "Description") for name in _codes(operation)]


@pytest.mark.parametrize(
    "options",
    [
        "",
        "<options/>",
        f'<options {XSI} xsi:nil="true"/>',
        f'<options {XSI}><Option xsi:nil="true"/></options>',
        "<options><Option><Key>note</Key><Value>Città – 東京 – 😀</Value></Option><Option/></options>",
        "<options><Option><Value>1</Value><Key>dyn_fld</Key></Option></options>",
        f'<options {XSI}><Option><Key>a</Key><Value xsi:type="x:boolean">true</Value></Option></options>',
        f'<options {XSI}><Option><Key>a</Key><Value xsi:type="x:int" xmlns="">7</Value></Option></options>',
    ],
)
def test_options_in_every_form(office: Office, options: str) -> None:
    content = f"<accessKey>{office.key}</accessKey><listID>1</listID><newsletterID>1</newsletterID>{options}"
    root = etree.fromstring(office.send(_service("MailupSend"), "SendNewsletter", content))
    assert root.findtext("errorDescription") == "send_to: It is ALL, RECIPIENTS or GROUPS."


@pytest.mark.parametrize("date", ["2030-01-01T12:00:00", "2030-01-01T12:00:00.5+02:00", "2030-01-01T12:00:00Z", None])
def test_dates(office: Office, date: str | None) -> None:
    content = f"<timeDateSending>{date}</timeDateSending>" if date else ""
    assert office.send(_service("MailupSend"), "SendMessageNL", content) == "-1"


def _service(name: str) -> Service:
    return next(service for service in SERVICES if service.name == name)
