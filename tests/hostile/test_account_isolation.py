"""An account that names things of another account learns and changes as much as if they did not exist.

The calls are made from the declarations of the services, so that an operation that is added is tried as well.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from html import unescape
from typing import Any
from xml.sax.saxutils import escape

import pytest
from sqlalchemy import select
from web_server import Site, serve

from audience.accounts import add_account
from audience.history import Cause
from audience.lists import MailingList, add_group, set_field
from audience.status_rules import SUBSCRIBE
from audience.subscriptions import ProfileChange, change_state, parse_address
from db.engine import Database
from db.tables import account_counter, api_user, import_run, mailing_list, metadata
from exchange.profiles import Profile
from jobs.feeds import open_list
from jobs.queue import ImportRequest, enqueue_import
from jobs.storage import Storage
from services.contracts import SERVICES
from services.soap.declarations import BOOLEAN, DATETIME, INT, Operation, Service

FIRST = 4815
"""The other account's numbers begin here; ours are far below."""
UNKNOWN = 4877
OTHER_USER, UNKNOWN_USER = "a2", "a8"
SYSTEM, UNKNOWN_SYSTEM = "unit-of-other", "unit-of-nobody"
PERSON, UNKNOWN_PERSON = "theirs@example.com", "nobody@example.com"
SECRETS = ("Theirs only", PERSON, SYSTEM)
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
LOGINS = ("Login", "LoginFromId", "Logout")
DOCUMENT = '<subscribers><subscriber email="new@example.com"/></subscribers>'

OURS = {
    "listsIDs": "1",
    "listId": "1",
    "groupsIDs": "1",
    "idGroups": "1",
    "userName": "a1",
    "xmlDoc": DOCUMENT,
    "defaultSettings": "default",
    "type": "HTML",
}
"""What the other parameters of a call are, so that it gets as far as possible."""
GUIDS = ("listguid", "listsguids")
NUMBERS = ("listsids", "groupsids", "idgroups", "listid", "defaultsettings", "messageid")
PAGES = ("xmlSubscribe", "Xmlchksubscriber", "Xmlunsubscribe", "XmlUpdSubscriber", "Subscribe")


class World:
    """Two accounts on one server; we are the first."""

    def __init__(self, database: Database, storage: Storage, site: Site) -> None:
        self.database, self.site = database, site
        self.unknown_guid = str(uuid.uuid4())
        self.other_id = 0
        with database.write() as connection:
            for number in (1, 2):
                account = add_account(connection, number, password="secret")
                for field in (1, 2):
                    set_field(connection, account.id, field, f"Field {field}")
                if number == 2:
                    self.other_id = account.id
                    connection.execute(
                        account_counter.insert(),
                        [
                            {"account_id": account.id, "kind": kind, "value": FIRST - 1}
                            for kind in ("list", "group", "import", "message", "template")
                        ],
                    )
                    here = api_user.c.account_id == account.id
                    connection.execute(api_user.update().where(here, api_user.c.name == "m2").values(number=FIRST))
                name = "Ours" if number == 1 else "Theirs only"
                mailing = open_list(connection, storage, account, name, {})
                self._fill(connection, mailing)
            self.guid = connection.execute(
                select(mailing_list.c.guid).where(mailing_list.c.account_id == self.other_id)
            ).scalar_one()
            connection.execute(mailing_list.update().where(mailing_list.c.guid == self.guid).values(external_id=SYSTEM))

    def _fill(self, connection: Any, mailing: MailingList) -> None:
        name = "theirs" if mailing.account_id == self.other_id else "ours"
        group = add_group(connection, mailing, f"{name.capitalize()} only")
        address = parse_address(mailing, email=f"{name}@example.com")
        profile = ProfileChange({1: f"{name.capitalize()} only"}, [group.number])
        change_state(connection, mailing, address, SUBSCRIBE, Cause("test"), profile)
        request = ImportRequest(
            account_id=mailing.account_id,
            list_id=mailing.id,
            profile=Profile(format="xml"),
            source="soap",
            file_name="test.xml",
            spool_name=uuid.uuid4().hex,
            size=1,
        )
        enqueue_import(connection, request, state="prepared")

    def their_rows(self) -> dict[str, list[Any]]:
        """Everything that belongs to the other account, counters and all."""
        with self.database.read() as connection:
            return {
                table.name: sorted(
                    map(repr, connection.execute(select(table).where(table.c.account_id == self.other_id)))
                )
                for table in metadata.sorted_tables
                if "account_id" in table.c and table.name != "access_key"
            }

    def settle(self) -> None:
        """End our own imports, so that the next call finds what the one before has found."""
        ours = import_run.c.account_id != self.other_id
        with self.database.write() as connection:
            connection.execute(
                import_run.update().where(ours, import_run.c.state == "queued").values(state="completed")
            )

    def send(self, service: Service, operation: Operation, values: dict[str, str]) -> str:
        self.settle()
        content = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        credentials = "<User>a1</User><Password>secret</Password>"
        header = f'<e:Header><Authentication xmlns="{service.namespace}">{credentials}</Authentication></e:Header>'
        body = f'<e:Body><{operation.name} xmlns="{service.namespace}">{content}</{operation.name}></e:Body>'
        envelope = f'<e:Envelope xmlns:e="{ENVELOPE}">{header}{body}</e:Envelope>'
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        reply = self.site.request("POST", service.paths[0], envelope.encode(), headers)
        assert reply.status == 200, (operation.name, values, reply)
        return unescape(reply.text)

    def log_in(self) -> str:
        service = next(service for service in SERVICES if service.name == "MailupManage")
        login = next(operation for operation in service.operations if operation.name == "LoginFromId")
        answer = self.send(service, login, {"user": "a1", "pwd": "secret", "consoleId": "1"})
        return re.findall(r"CDATA\[(\w+)\]", answer)[0]


@pytest.fixture
def world(database: Database, storage: Storage) -> Iterator[World]:
    with serve(database, storage) as site:
        yield World(database, storage, site)


def _ours(name: str, kind: Any, key: str) -> str:
    if name == "accessKey":
        return key
    if name in OURS:
        return OURS[name]
    if kind is BOOLEAN:
        return "false"
    if kind is DATETIME:
        return "2026-01-01T00:00:00"
    return "1" if kind is INT else ""


def _theirs(world: World, name: str, kind: Any) -> tuple[str, str] | None:
    """Return what names a thing of the other account in this parameter, and what names nothing."""
    lowered = name.lower()
    if lowered in GUIDS:
        return world.guid, world.unknown_guid
    if (kind is INT and "id" in lowered) or lowered in NUMBERS:
        return str(FIRST), str(UNKNOWN)
    others = {
        "username": (OTHER_USER, UNKNOWN_USER),
        "autoid": (SYSTEM, UNKNOWN_SYSTEM),
        "email": (PERSON, UNKNOWN_PERSON),
        "recipientemail": (PERSON, UNKNOWN_PERSON),
    }
    return others.get(lowered)


def _neutral(answer: str, world: World) -> str:
    """Take out of an answer what the caller himself has said, and numbers and times that differ in any case."""
    for theirs, unknown in (
        (str(FIRST), str(UNKNOWN)),
        (world.guid, world.unknown_guid),
        (OTHER_USER, UNKNOWN_USER),
        (SYSTEM, UNKNOWN_SYSTEM),
        (PERSON, UNKNOWN_PERSON),
    ):
        answer = answer.replace(theirs, "…").replace(unknown, "…")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b", "#", answer)


def _attempts(world: World, operation: Operation, key: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Return pairs of parameters: each names things of the other account in the first, and nothing in the second."""
    ours = {name: _ours(name, kind, key) for name, kind in operation.parameters.items()}
    naming = {
        name: found for name, kind in operation.parameters.items() if (found := _theirs(world, name, kind)) is not None
    }
    # One at a time beside our own; and all at once, as somebody would who knows the whole of the other account.
    for names in [*([name] for name in naming), list(naming)]:
        if names:
            yield (
                ours | {name: naming[name][0] for name in names},
                ours | {name: naming[name][1] for name in names},
            )


def _operations() -> list[tuple[Service, Operation]]:
    return [
        (service, operation) for service in SERVICES for operation in service.operations if operation.name not in LOGINS
    ]


def test_operations_answer_as_if_nothing_were_there(world: World) -> None:
    before, tried = world.their_rows(), 0
    key = world.log_in()
    for service, operation in _operations():
        for theirs, unknown in _attempts(world, operation, key):
            found = world.send(service, operation, theirs)
            expected = world.send(service, operation, unknown)
            assert _neutral(found, world) == _neutral(expected, world), (operation.name, theirs)
            sent = set(theirs.values())
            assert not [secret for secret in SECRETS if secret in found and secret not in sent], operation.name
            tried += 1
    assert tried >= 30
    assert world.their_rows() == before


def test_operations_without_names_show_only_our_own(world: World) -> None:
    before = world.their_rows()
    key = world.log_in()
    for service, operation in _operations():
        ours = {name: _ours(name, kind, key) for name, kind in operation.parameters.items()}
        answer = world.send(service, operation, ours)
        assert not [secret for secret in (*SECRETS, world.guid) if secret in answer], operation.name
        assert str(FIRST) not in answer, operation.name
    assert world.their_rows() == before


@pytest.mark.parametrize("page", PAGES)
def test_pages_answer_as_if_nothing_were_there(world: World, page: str) -> None:
    before = world.their_rows()
    host = {"Host": "m1.example.com"}
    base = {"Email": PERSON, "csvFldNames": "campo1", "csvFldValues": "x", "Group": str(FIRST)}
    for theirs, unknown in (
        ({"List": FIRST}, {"List": UNKNOWN}),
        ({"List": 1, "ListGuid": world.guid}, {"List": 1, "ListGuid": world.unknown_guid}),
        ({"ListGuid": world.guid}, {"ListGuid": world.unknown_guid}),
        ({"List": FIRST, "ListGuid": world.guid}, {"List": UNKNOWN, "ListGuid": world.unknown_guid}),
    ):
        found = world.site.get(f"/frontend/{page}.aspx", host, **base, **theirs)
        expected = world.site.get(f"/frontend/{page}.aspx", host, **base, **unknown)
        told = [_neutral(reply.text + reply.headers.get("Location", ""), world) for reply in (found, expected)]
        assert (found.status, told[0]) == (expected.status, told[1]), (theirs, unknown)
        assert not [secret for secret in ("Theirs only",) if secret in found.text]
    assert world.their_rows() == before
