"""The life of a list through the clients of foreign SOAP stacks: made, filled by an import, changed and deleted.

Each stack sends options as its own programs would: with truths and numbers as the types that it knows for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from foreign_tools import Client, Request, Tool
from interop_server import PASSWORD, WORDS, Office, Server, serve_foreign_clients
from java_tools import Axis, JaxWs
from lxml import etree
from mono_tools import MonoWsdl, Svcutil
from node_tools import NodeSoap, StrongSoap
from perl_tools import SoapLite
from php_tools import Php
from python_tools import Suds, Zeep
from sqlalchemy import Row, select

from audience.lists import set_field
from db.leases import name_owner
from db.tables import group_member, list_group, mailing_list, recipient, subscription
from jobs.imports import run_next_import
from services.contracts import SERVICES

# The driver of gSOAP has C++ for each operation, so it is left to the calls that every stack makes.
TOOLS: tuple[Tool, ...] = (
    JaxWs(),
    Axis(),
    MonoWsdl(),
    Svcutil(),
    Zeep(),
    Suds(),
    NodeSoap(),
    StrongSoap(),
    Php(),
    SoapLite(),
)
IMPORT, MANAGE, SEND = "WSMailUpImport", "MailupManage", "MailupSend"
CONTRACTS = {service.name: service for service in SERVICES if service.name in (IMPORT, MANAGE, SEND)}

NAME = "Città – 東京"
GROUP_NAME = "Amis d'été – 友"
NOTES = "Söhne & <Töchter> – 東京"
NEW_LIST, NEW_GROUP = 2, 2
MADE = {"public": True, "default_prefix": "0044", "kbMax": 250, "optout_type": 2, "owneremail": "news@example.com"}
CHANGED = {"public": False, "tracking": False, "kbmax": 300, "headerreplyto": "answers@example.com"}
DOCUMENT = (
    '<subscribers><subscriber email="ada@example.com" Prefix="" Number="7911123456" Name="">'
    "<campo1>Ada – 東京 &amp; Co.</campo1></subscriber>"
    '<subscriber email="bob@example.com" Prefix="" Number="" Name=""><campo1>Bob</campo1></subscriber>'
    '<subscriber email="nobody" Prefix="" Number="" Name=""><campo1>x</campo1></subscriber></subscribers>'
)
SUBSCRIBED = 1


@dataclass
class _Caller:
    """Calls the services as one account through a stack."""

    client: Client
    office: Office
    key: str = ""

    def send(self, service: str, operation: str, header: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
        request = Request(service, CONTRACTS[service].namespace, operation, arguments, header)
        answer = self.client.call(request)
        assert set(answer) == {"value"}, (operation, answer)
        return etree.fromstring(re.sub(r"^<\?xml[^>]*>", "", answer["value"]))

    def keyed(self, service: str, operation: str, **arguments: Any) -> Any:
        """Return the result of a call that must come to a good end."""
        result = self.send(service, operation, accessKey=self.key, **arguments)
        assert (result.findtext("errorCode"), result.findtext("errorDescription")) == ("0", ""), operation
        return result

    def imports(self, operation: str, **arguments: Any) -> Any:
        """Return the body of an answer of the import service."""
        members = {"User": self.office.user, "Password": PASSWORD, "encType": "UTF-8"}
        header = {"name": "Authentication", "members": members}
        return self.send(IMPORT, operation, header, **arguments).find("mailupBody")


class _Workshop:
    """A running server with the clients that are built of its contracts."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._contracts = {name: f"{server.site.url}{service.paths[0]}?WSDL" for name, service in CONTRACTS.items()}

    @contextmanager
    def connect(self, tool: Tool, version: str) -> Iterator[_Caller]:
        """Call as a new account, whose first field has a name."""
        office = self._server.open_office()
        with office.database.write() as connection:
            set_field(connection, office.account.id, 1, "name")
        folder = self._folder / tool.name
        if not folder.exists():
            folder.mkdir()
            tool.build(folder, self._contracts)
        with tool.connect(folder, self._contracts, version) as client:
            yield _Caller(client, office)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Workshop]:
    folder = tmp_path_factory.mktemp("life-of-a-list")
    with serve_foreign_clients(folder) as server:
        yield _Workshop(server, folder)


def _require(tool: Tool) -> None:
    """Skip, or fail where no skip is allowed, when a stack is not installed."""
    if tool.is_installed:
        return
    reason = f"{tool.name} is not installed: {tool.packages}"
    if os.environ.get("LISTBRIDGE_INTEROP") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


CASES = [pytest.param(tool, version, id=f"{tool.name}-{version}") for tool in TOOLS for version in tool.versions]


@pytest.mark.parametrize(("tool", "version"), CASES)
def test_life_of_a_list(workshop: _Workshop, tool: Tool, version: str) -> None:
    _require(tool)
    with workshop.connect(tool, version) as caller:
        _log_in(caller)
        _make_list(caller)
        _make_group(caller)
        _import(caller)
        _update_list(caller)
        _read_lists_and_groups(caller)
        _identify(caller)
        _delete_group(caller)
        _delete_list(caller)
        _log_out(caller)


def _log_in(caller: _Caller) -> None:
    office = caller.office
    result = caller.send(MANAGE, "LoginFromId", user=office.user, pwd=PASSWORD, consoleId=office.account.number)
    assert result.findtext("errorCode") == "0"
    caller.key = result.findtext("accessKey")


def _options(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"of": "Option", "items": [{"Key": key, "Value": value} for key, value in values.items()]}


def _make_list(caller: _Caller) -> None:
    given = {"name": NAME, "defaultSettings": "default", "copyTemplate": True, "options": _options(MADE)}
    result = caller.keyed(MANAGE, "CreateList", **given)
    row = _find_list(caller.office)
    assert (result.findtext("list/listID"), result.findtext("list/listName")) == (str(NEW_LIST), NAME)
    assert result.findtext("list/listGUID") == row.guid
    assert (row.name, row.default_prefix, row.deleted_at) == (NAME, "+44", None)
    assert row.settings == {
        "public": True,
        "size_warning_kb": 250,
        "unsubscribe_mode": "preferences",
        "sender_email": "news@example.com",
    }


def _make_group(caller: _Caller) -> None:
    given = {"listID": NEW_LIST, "groupName": GROUP_NAME, "groupNotes": NOTES}
    for _ in range(2):
        # The second time, it finds the group that is there.
        result = caller.keyed(MANAGE, "CreateGroup", **given)
        assert result.findtext("list/listID") == str(NEW_LIST)
        (group,) = result.findall("list/groups/group")
        texts = [group.findtext(name) for name in ("groupID", "groupName", "groupNotes")]
        assert texts == [str(NEW_GROUP), GROUP_NAME, NOTES]


def _import(caller: _Caller) -> None:
    office = caller.office
    named = {"idList": NEW_LIST, "listGUID": _find_list(office).guid}
    flags = {"asPending": False, "ConfirmEmail": False, "asOptOut": False, "forceOptIn": True, "replaceGroups": False}
    given = {**named, "xmlDoc": DOCUMENT, "idGroups": str(NEW_GROUP), "importType": 3, "mobileInputType": 2}
    process = int(caller.imports("NewImportProcess", **given, **flags, idConfirmNL=0).findtext("ReturnCode"))
    assert process > 0
    named = {**named, "idProcess": process}
    assert _read_progress(caller, named) == {"StatusCode": "1", "IsRunning": "False", "TotalContacts": "0"}
    assert not run_next_import(office.database, office.storage, name_owner())
    assert caller.imports("StartProcess", **named).findtext("ReturnCode") == "0"
    while run_next_import(office.database, office.storage, name_owner()):
        pass
    assert _read_progress(caller, named) == {"StatusCode": "3", "IsRunning": "False", "TotalContacts": "3"}
    _check_imported(office)


def _read_progress(caller: _Caller, named: Mapping[str, Any]) -> Mapping[str, str]:
    body = caller.imports("GetProcessDetails", **named)
    assert body.findtext("ReturnCode") == "0"
    assert body.find("ImportProcess").get("idProcess") == str(named["idProcess"])
    return {name: body.findtext(f"ImportProcess/{name}") for name in ("StatusCode", "IsRunning", "TotalContacts")}


def _check_imported(office: Office) -> None:
    assert office.read_imported() == DOCUMENT
    mailing = _find_list(office)
    people = select(recipient).where(recipient.c.account_id == office.account.id).order_by(recipient.c.email)
    with office.database.read() as connection:
        ada, bob = connection.execute(people).all()
        status = select(subscription.c.recipient_id, subscription.c.channel, subscription.c.status)
        subscribed = connection.execute(status.where(subscription.c.list_id == mailing.id)).all()
        members = connection.execute(_members(office)).scalars().all()
    assert (ada.email, ada.mobile, ada.fields) == ("ada@example.com", "+447911123456", {"1": "Ada – 東京 & Co."})
    assert (bob.email, bob.mobile, bob.fields) == ("bob@example.com", None, {"1": "Bob"})
    assert {(person, state) for person, _channel, state in subscribed} == {(ada.id, SUBSCRIBED), (bob.id, SUBSCRIBED)}
    assert sorted(members) == sorted([ada.id, bob.id])


def _update_list(caller: _Caller) -> None:
    caller.keyed(MANAGE, "UpdateList", listID=NEW_LIST, options=_options(CHANGED))
    row = _find_list(caller.office)
    assert (row.name, row.default_prefix) == (NAME, "+44")
    assert row.settings == {
        "size_warning_kb": 300,
        "unsubscribe_mode": "preferences",
        "sender_email": "news@example.com",
        "track_opens": False,
        "reply_to": "answers@example.com",
    }


def _read_lists_and_groups(caller: _Caller) -> None:
    for service in (MANAGE, SEND):
        assert _read_lists(caller, service) == [("1", WORDS), (str(NEW_LIST), NAME)]
        assert _read_groups(caller, service) == [(str(NEW_GROUP), GROUP_NAME)]


def _read_lists(caller: _Caller, service: str) -> list[tuple[str, str]]:
    lists = caller.keyed(service, "GetLists").findall("lists/list")
    return [(one.findtext("listID"), one.findtext("listName")) for one in lists]


def _read_groups(caller: _Caller, service: str) -> list[tuple[str, str]]:
    groups = caller.keyed(service, "GetGroups", listID=NEW_LIST).findall("list/groups/group")
    return [(group.findtext("groupID"), group.findtext("groupName")) for group in groups]


def _identify(caller: _Caller) -> None:
    """Look for lists by another system's id: of the list above, which has none, and of one that is made for it."""
    assert caller.keyed(SEND, "GetListIdentity_st", autoId="shop-7").findall("Lists/List") == []
    (made,) = caller.keyed(SEND, "CreateList_st", name=GROUP_NAME, autoId="shop-7").findall("Lists/List")
    (found,) = caller.keyed(SEND, "GetListIdentity_st", autoId="shop-7").findall("Lists/List")
    assert found.attrib == made.attrib
    assert (found.get("Id"), found.get("Name")) == (str(NEW_LIST + 1), GROUP_NAME)
    assert found.get("Guid") == _find_list(caller.office, NEW_LIST + 1).guid
    (deleted,) = caller.keyed(SEND, "DeleteList_st", listId=0, autoId="shop-7").findall("Lists/List")
    assert deleted.get("Id") == str(NEW_LIST + 1)


def _delete_group(caller: _Caller) -> None:
    caller.keyed(MANAGE, "DeleteGroup", listID=NEW_LIST, groupID=NEW_GROUP, deleteUsers=False)
    assert _read_groups(caller, MANAGE) == []
    office = caller.office
    remaining = select(subscription.c.status).where(subscription.c.list_id == _find_list(office).id)
    with office.database.read() as connection:
        assert connection.execute(_members(office)).all() == []
        assert set(connection.execute(remaining).scalars()) == {SUBSCRIBED}


def _delete_list(caller: _Caller) -> None:
    caller.keyed(MANAGE, "DeleteList", listID=NEW_LIST)
    assert _read_lists(caller, MANAGE) == [("1", WORDS)]
    assert _find_list(caller.office).deleted_at is not None
    again = caller.send(MANAGE, "DeleteList", accessKey=caller.key, listID=NEW_LIST)
    unknown = caller.send(MANAGE, "DeleteList", accessKey=caller.key, listID=99)
    assert again.findtext("errorCode") == unknown.findtext("errorCode") != "0"


def _log_out(caller: _Caller) -> None:
    caller.keyed(MANAGE, "Logout")
    assert caller.send(SEND, "GetLists", accessKey=caller.key).findtext("errorCode") == "4"


def _find_list(office: Office, number: int = NEW_LIST) -> Row[Any]:
    of_account = mailing_list.c.account_id == office.account.id
    with office.database.read() as connection:
        return connection.execute(select(mailing_list).where(of_account, mailing_list.c.number == number)).one()


def _members(office: Office) -> Any:
    of_group = (group_member.c.group_id == list_group.c.id) & (list_group.c.number == NEW_GROUP)
    of_list = list_group.c.list_id == _find_list(office).id
    return select(group_member.c.recipient_id).join(list_group, of_group).where(of_list)
