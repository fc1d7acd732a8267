"""Import processes as old programs follow them: prepared, started one by one or at once, and after a restart (§2.5).

What the service tells about users, lists and groups is here as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from import_calls import FLAGS, PROLOG, ImportOffice, open_import_office
from lxml import etree
from sqlalchemy import select
from web_server import serve

from audience.list_changes import delete_list
from audience.lists import MailingList, groups_of
from db.engine import Database
from db.leases import RunTable, name_owner
from db.tables import api_user, import_run, outbox
from exchange.profiles import Profile
from jobs.queue import ImportRequest, ImportState, enqueue_import
from jobs.storage import Storage

NOTHING = (
    f"{PROLOG}<mailupMessage><mailupBody><ReturnCode>0</ReturnCode><processes></processes></mailupBody></mailupMessage>"
)
OTHER_ACCOUNT = {"user": "a2", "password": "other"}
NIL = '<xmlDoc xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[ImportOffice]:
    with open_import_office(database, storage) as opened:
        yield opened


def _document(name: str, value: str = "") -> str:
    row = f'<subscriber email="{name}@example.com"><campo1>{value}</campo1></subscriber>'
    return f"<subscribers>{row}</subscribers>"


def _start_one(office: ImportOffice, process: int, list_id: int = 1, guid: str = "", **login: str) -> int:
    return office.code("StartProcess", {"idList": list_id, "listGUID": guid, "idProcess": process}, **login)


def _start_all(office: ImportOffice) -> list[tuple[int, int, int]]:
    return office.start(listsIDs=None)


def _status(office: ImportOffice, process: int, list_id: int = 1) -> tuple[str, str]:
    details = office.details(process, list_id)
    return details["StatusCode"], details["IsRunning"]


def _enqueue(office: ImportOffice, source: str, state: ImportState) -> int:
    request = ImportRequest(
        account_id=office.account.id,
        list_id=office.news.id,
        profile=Profile(),
        source=source,
        file_name="people.csv",
        spool_name="not-there",
        size=0,
    )
    with office.database.write() as connection:
        run_id = enqueue_import(connection, request, state=state)
        return int(connection.execute(select(import_run.c.number).where(import_run.c.id == run_id)).scalar_one())


def test_a_prepared_import_waits_until_it_is_started(office: ImportOffice) -> None:
    process = office.prepare(_document("ann"))
    assert process > 0
    assert office.import_all() == 0
    details = office.details(process)
    assert {name: details[name] for name in ("ReturnCode", "StatusCode", "IsRunning", "StartDate", "EndDate")} == {
        "ReturnCode": "0",
        "StatusCode": "1",
        "IsRunning": "False",
        "StartDate": "",
        "EndDate": "",
    }
    assert not office.people()
    assert _start_one(office, process) == 0
    assert _status(office, process) == ("1", "False")
    assert office.import_all() == 1
    assert _status(office, process) == ("3", "False")
    assert list(office.people()) == ["ann@example.com"]


def test_refused_starts(office: ImportOffice) -> None:
    first = office.prepare(_document("ann"))
    second = office.prepare(_document("bob"), idList=2)
    for process, list_id in ((999, 1), (0, 1), (-1, 1), (first, 2), (second, 1)):
        assert _start_one(office, process, list_id) == -603, (process, list_id)
    # The other account has a list 1 too, and no list 2.
    assert _start_one(office, first, 1, **OTHER_ACCOUNT) == -603
    assert _start_one(office, second, 2, **OTHER_ACCOUNT) == -101
    assert _start_one(office, first, 1, office.offers.guid) == -101
    assert _start_one(office, first, 1, "no GUID") == -102
    assert office.import_all() == 0

    assert _start_one(office, first, 1, office.news.guid) == 0
    _check_busy(office, first, second)
    runs = RunTable(import_run)
    with office.database.write() as connection:
        claimed = runs.claim(connection, owner := name_owner())
    assert claimed is not None
    assert _status(office, first) == ("2", "True")
    _check_busy(office, first, second)
    with office.database.write() as connection:
        runs.requeue(connection, claimed, owner)
    assert office.import_all() == 1

    assert _start_one(office, first) == -604
    assert _start_one(office, second, 2) == 0
    assert office.import_all() == 1


def _check_busy(office: ImportOffice, busy: int, other: int) -> None:
    """While an import into list 1 waits or runs, nothing else is started, and preparing goes on."""
    assert _start_one(office, busy) == -601
    assert _start_one(office, other, 2) == -602
    assert _start_all(office) == [(0, 0, -602)]
    assert office.start(xmlDoc=_document("eve")) == [(0, 0, -601)]
    assert office.start(xmlDoc=_document("eve"), listsIDs="2;1") == [(0, 0, -601)]
    assert office.start(xmlDoc=_document("eve"), listsIDs="2") == [(0, 0, -602)]
    assert office.prepare(_document("eve"), idList=2) > 0


def test_imports_through_other_doors(office: ImportOffice) -> None:
    prepared = _enqueue(office, "command-line", "prepared")
    assert _start_one(office, prepared) == -604
    waiting = _enqueue(office, "ftp", "queued")
    assert _start_one(office, waiting) == -601
    # Only those that were started by SOAP keep others back before they run.
    process = office.prepare(_document("ann"))
    assert _start_all(office) == [(process, 1, 0)]
    assert office.import_all() == 2
    assert _start_one(office, waiting) == -604
    assert (_status(office, prepared)[0], _status(office, waiting)[0], _status(office, process)[0]) == ("1", "4", "3")


def test_nothing_is_prepared(office: ImportOffice) -> None:
    flags = "".join(f"<{name}>{value}</{name}>" for name, value in FLAGS.items())
    for content in (flags, flags + NIL, f"<listsIDs>1;2</listsIDs>{flags}"):
        assert office.result("StartImportProcesses", content) == NOTHING
    busy = office.start(xmlDoc=_document("ann"))
    assert busy[0][2] == 0
    assert office.result("StartImportProcesses", flags) == NOTHING


def test_all_prepared_survive_a_restart_and_are_done_once_each_in_order(database_url: str, storage: Storage) -> None:
    database = Database(database_url)
    with open_import_office(database, storage) as office:
        numbers = [office.prepare(_document("ann", f"value {turn}"), idList=turn % 2 + 1) for turn in range(5)]
        assert numbers == sorted(set(numbers))
        foreign = office.code(
            "NewImportProcess", {"idList": 1, "xmlDoc": _document("foe"), **FLAGS, "idConfirmNL": 0}, **OTHER_ACCOUNT
        )
        assert foreign > 0
    database.close()

    database = Database(database_url)
    with serve(database, storage) as site:
        office = replace(office, site=site, database=database)
        assert office.import_all() == 0
        # The result's shape is that of the specification, one `process` for each.
        assert _start_all(office) == [(number, turn % 2 + 1, 0) for turn, number in enumerate(numbers)]
        assert office.import_all() == 5
        assert office.import_all() == 0
        assert _start_all(office) == []
        assert office.people() == {"ann@example.com": (None, {"1": "value 4"})}
        assert _finished(office) == numbers
        details = [office.details(number, turn % 2 + 1) for turn, number in enumerate(numbers)]
        assert [item["TotalContacts"] for item in details] == ["1"] * 5
        assert [item["NewEmail"] for item in details] == ["1", "1", "0", "0", "0"]
    database.close()


def _finished(office: ImportOffice) -> list[int]:
    """Return the numbers of the account's completed imports in the order in which they were begun."""
    mine = (import_run.c.account_id == office.account.id) & (import_run.c.state == "completed")
    query = select(import_run.c.number).where(mine).order_by(import_run.c.started_at, import_run.c.id)
    with office.database.read() as connection:
        return list(connection.execute(query).scalars())


def test_shape_of_what_was_started(office: ImportOffice) -> None:
    numbers = [office.prepare(_document("ann"), idList=list_id) for list_id in (2, 1)]
    described = "".join(
        f"<process><processID>{number}</processID><listID>{list_id}</listID><ReturnCode>0</ReturnCode></process>"
        for number, list_id in zip(numbers, (2, 1), strict=True)
    )
    flags = "".join(f"<{name}>{value}</{name}>" for name, value in FLAGS.items())
    wanted = NOTHING.replace("</processes>", f"{described}</processes>")
    assert office.result("StartImportProcesses", flags + NIL) == wanted


def test_a_list_that_was_deleted_after_its_import_was_prepared(office: ImportOffice) -> None:
    gone, kept = office.prepare(_document("ann"), idList=2), office.prepare(_document("bob"))
    with office.database.write() as connection:
        delete_list(connection, office.offers)
    assert _start_one(office, gone, 2) == -101
    assert _start_all(office) == [(gone, 0, -101), (kept, 1, 0)]
    assert office.import_all() == 1
    assert _start_all(office) == []
    assert list(office.people()) == ["bob@example.com"]


def test_the_message_that_asks_for_confirmation(office: ImportOffice) -> None:
    wanted = [(7, 7), (0, None), (-1, None), (999_999, 999_999)]
    for row, (given, _) in enumerate(wanted):
        process = office.prepare(_document(f"row.{row}"), ConfirmEmail="true", idConfirmNL=given)
        details = office.details(process)
        assert (details["ConfirmationEmail"], details["ConfirmationSent"]) == ("True", "False")
        assert _start_one(office, process) == 0
        assert office.import_all() == 1
        assert office.details(process)["ConfirmationSent"] == "True"
    query = select(outbox.c.kind, outbox.c.message_number, outbox.c.list_id).order_by(outbox.c.id)
    with office.database.read() as connection:
        mails = [tuple(mail) for mail in connection.execute(query)]
    assert mails == [("confirmation", kept, office.news.id) for _, kept in wanted]


def test_no_confirmation_is_asked_for(office: ImportOffice) -> None:
    process = office.prepare(_document("ann"), idConfirmNL=7)
    assert _start_one(office, process) == 0
    assert office.import_all() == 1
    with office.database.read() as connection:
        assert not connection.execute(select(outbox.c.id)).all()
    details = office.details(process)
    assert (details["ConfirmationEmail"], details["ConfirmationSent"]) == ("False", "")


def test_groups_are_made(office: ImportOffice) -> None:
    def create(name: str | None, list_id: int = 1, guid: str | None = "", **login: str) -> int:
        given = {"idList": list_id, "listGUID": guid, "newGroupName": name}
        return office.code("CreateGroup", given, **login)

    assert create("Friends") == office.friends.number
    assert create(" Friends ", 1, office.news.guid) == office.friends.number
    assert create("Friends", 0, office.news.guid) == -101
    long = create("é" * 51, guid=None)
    assert long not in (office.friends.number, office.buyers.number) and long > 0
    assert create("é" * 50) == create("é" * 60) == long
    # The same name in another list is another group.
    assert create("Friends", 2) not in (office.friends.number, long)
    assert _group_names(office, office.news) == ["Friends", "é" * 50]
    refused = [("New", 0, -301), ("", 0, -301), ("", 1, -302), (" ", 1, -302), (None, 1, -302), ("New", 9, -101)]
    refused += [(f"a{character}b", 1, -300) for character in ("&", '"', "<", ">", "\t", "\n")]
    assert [(name, list_id, create(name, list_id)) for name, list_id, _ in refused] == refused
    assert create("New", 2, **OTHER_ACCOUNT) == -101
    assert create("New", 1, office.foreign.guid) == -101
    assert _group_names(office, office.news) == ["Friends", "é" * 50]


def _group_names(office: ImportOffice, mailing: MailingList) -> list[str]:
    with office.database.read() as connection:
        return sorted(group.name for group in groups_of(connection, [mailing.id]))


def test_users(office: ImportOffice) -> None:
    with office.database.read() as connection:
        rows = connection.execute(select(api_user.c.name, api_user.c.number, api_user.c.account_id)).all()
    numbers = {name: number for name, number, account_id in rows if account_id == office.account.id}
    assert set(numbers) == {"a1", "m1"}
    for name, number in numbers.items():
        assert office.result("GetIdUser", f"<userName> {name} </userName>") == _user_result(number)
    assert office.result("GetIdWsUser", "") == _user_result(numbers["a1"])
    unknown = f"{PROLOG}<mailupMessage><mailupBody><ReturnCode>-200</ReturnCode></mailupBody></mailupMessage>"
    for content in ("<userName>a9</userName>", "<userName>m2</userName>", "<userName/>", ""):
        assert office.result("GetIdUser", content) == unknown, content


def _user_result(number: int) -> str:
    content = f"<ReturnCode>{number}</ReturnCode><idUser>{number}</idUser>"
    return f"{PROLOG}<mailupMessage><mailupBody>{content}</mailupBody></mailupMessage>"


def test_lists_of_users(office: ImportOffice) -> None:
    whole = office.result("GetNlLists", "")
    with office.database.read() as connection:
        mine = set(connection.execute(_user_numbers(office.account.id)).scalars())
    for number in mine:
        assert office.result("GetNlListsUser", f"<userId>{number}</userId>") == whole
    nothing = NOTHING.replace("processes", "Lists")
    for number in (0, -1, 2_147_483_647, max(mine) + 1):
        assert office.result("GetNlListsUser", f"<userId>{number}</userId>") == nothing
    found = etree.fromstring(whole.removeprefix(PROLOG).encode())[0].find("Lists")
    assert found is not None
    assert [_read_list(node) for node in found] == [
        (("1", office.news.guid, "News"), [(str(office.friends.number), "Friends")]),
        (("2", office.offers.guid, "Offers"), [(str(office.buyers.number), "Buyers")]),
    ]


def _user_numbers(account_id: int) -> Any:
    return select(api_user.c.number).where(api_user.c.account_id == account_id)


def _read_list(node: etree._Element) -> tuple[tuple[str | None, ...], list[tuple[str | None, ...]]]:
    names = tuple(node.get(name) for name in ("idList", "listGUID", "listName"))
    return names, [(group.get("idGroup"), group.get("groupName")) for group in node[0]]
