"""Which lists and groups an import goes to: numbers, GUIDs and groups side by side (§2.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from import_calls import FLAGS, ImportOffice, open_import_office
from sqlalchemy import select

from audience.lists import add_group
from db.engine import Database
from db.tables import import_run
from jobs.storage import Storage

DOCUMENT = '<subscribers><subscriber email="ann@example.com"></subscriber></subscribers>'
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Case:
    """What is asked for, and the list and code of each answer, or the overall code alone.

    N, O and F in GUIDs stand for those of list 1, of list 2 and of a list of another account.
    """

    ids: str | None
    guids: str | None
    expected: list[tuple[int, int]] | int


LISTS = [
    Case("1", None, [(1, 0)]),
    Case("1", "", [(1, 0)]),
    Case(" 1 ", " ", [(1, 0)]),
    Case("01", None, [(1, 0)]),
    Case("1;2", None, [(1, 0), (2, 0)]),
    Case("2;1", None, [(2, 0), (1, 0)]),
    Case("1;2;", None, [(1, 0), (2, 0)]),
    Case(None, "N", [(1, 0)]),
    Case("", "O;N", [(2, 0), (1, 0)]),
    Case("1;2", "N;O", [(1, 0), (2, 0)]),
    Case("1;2", "N;O;", [(1, 0), (2, 0)]),
    Case("1;", "N;", [(1, 0)]),
    # Either may be left out for one list, while the semicolon stays.
    Case("1;2", ";O", [(1, 0), (2, 0)]),
    Case("1;", "N;O", -450),
    Case("1;;2", "N;O;O", [(1, 0), (2, 0), (2, 0)]),
    Case("1;;2", None, [(1, 0), (0, -101), (2, 0)]),
    Case("1;;9", None, [(1, 0), (0, -101), (9, -101)]),
    Case(";1", None, [(0, -101), (1, 0)]),
    # Neither at all.
    Case(None, None, -101),
    Case("", "", -101),
    Case(" ", ";", -101),
    # The numbers of items differ.
    Case("1;2", "N", -450),
    Case("1", "N;O", -450),
    Case("1;;2", "N;O", -450),
    # One is not what it should be, and the others are started.
    Case("1;9", None, [(1, 0), (9, -101)]),
    Case("9", None, [(9, -101)]),
    Case("0;-1;x;1.0;1,2", None, [(0, -101), (0, -101), (0, -101), (0, -101), (0, -101)]),
    Case("99999999999999999999;1", None, [(0, -101), (1, 0)]),
    Case("1;2", "O;N", [(1, -101), (2, -101)]),
    Case("1;2", "N;N", [(1, 0), (2, -101)]),
    Case("x;2", "N;O", [(0, -101), (2, 0)]),
    Case("1;2", f"{UNKNOWN};O", [(1, -101), (2, 0)]),
    Case("1;2", "no GUID;O", [(1, -102), (2, 0)]),
    Case(None, f"no GUID;N;{UNKNOWN}", [(0, -102), (1, 0), (0, -101)]),
    Case(None, "F", [(0, -101)]),
    Case("1", "F", [(1, -101)]),
]


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[ImportOffice]:
    with open_import_office(database, storage) as opened:
        yield opened


def test_lists(office: ImportOffice) -> None:
    guids = {"N": office.news.guid, "O": office.offers.guid, "F": office.foreign.guid}
    for case in LISTS:
        items = case.guids.split(";") if case.guids is not None else None
        given = ";".join(guids.get(item, item) for item in items) if items is not None else None
        answers = office.start(listsIDs=case.ids, listsGUIDs=given, xmlDoc=DOCUMENT)
        if isinstance(case.expected, int):
            assert answers == [(0, 0, case.expected)], case
        else:
            assert [answer[1:] for answer in answers] == case.expected, case
            # Only what was started has a number, and that of no other import.
            started = [process for process, _, code in answers if not code]
            assert [bool(process) for process, _, _ in answers] == [not code for _, _, code in answers], case
            assert office.import_all() == len(started) == len(set(started)), case


def test_guids_in_other_spellings(office: ImportOffice) -> None:
    guid = office.news.guid
    for spelling in (guid.upper(), f"{{{guid}}}", f"{{{guid.upper()}}}", f" {guid} "):
        for list_id in ("1", None):
            answers = office.start(listsIDs=list_id, listsGUIDs=spelling, xmlDoc=DOCUMENT)
            assert [answer[1:] for answer in answers] == [(1, 0)], spelling
            assert office.import_all() == 1
    for malformed in (guid.replace("-", ""), guid[:-1], f"{guid}0", "{}", "g" + guid[1:]):
        answers = office.start(listsIDs="1", listsGUIDs=malformed, xmlDoc=DOCUMENT)
        assert answers == [(0, 1, -102)], malformed


# G and H are groups of list 1, B one of list 2, X one of another account, 999 one that nobody has.
GROUPS: list[tuple[str | None, list[set[str]] | int]] = [
    (None, [set(), set()]),
    ("", [set(), set()]),
    ("G", [{"G"}, set()]),
    ("G,H", [{"G", "H"}, set()]),
    (" G , H ; B ", [{"G", "H"}, {"B"}]),
    ("G,H;B", [{"G", "H"}, {"B"}]),
    ("G;B;", [{"G"}, {"B"}]),
    (";B", [set(), {"B"}]),
    (";", [set(), set()]),
    ("G,,H,;", [{"G", "H"}, set()]),
    ("G,G", [{"G"}, set()]),
    # Groups of other lists and accounts, unknown ones and what is no number.
    ("B;G", [set(), set()]),
    ("X,G;X", [{"G"}, set()]),
    ("999,G,-1,x;0", [{"G"}, set()]),
    ("99999999999999999999,G", [{"G"}, set()]),
    # More items than lists.
    ("G;B;B", -450),
]


def test_groups(office: ImportOffice) -> None:
    with office.database.write() as connection:
        mates = add_group(connection, office.news, "Mates")
        # Groups count in their account, so the other one gets as many until it has a number of its own.
        others = [add_group(connection, office.foreign, f"Other {count}") for count in range(5)]
    ids = {"G": office.friends.number, "H": mates.number, "B": office.buyers.number, "X": others[-1].number}
    names = {"G": "Friends", "H": "Mates", "B": "Buyers"}
    assert others[-1].number not in [ids[name] for name in names]
    for row, (given, expected) in enumerate(GROUPS):
        email = f"row.{row}@example.com"
        text = None if given is None else "".join(str(ids.get(character, character)) for character in given)
        answers = office.start(listsIDs="1;2", groupsIDs=text, xmlDoc=DOCUMENT.replace("ann@example.com", email))
        if isinstance(expected, int):
            assert answers == [(0, 0, expected)], given
            continue
        assert [answer[1:] for answer in answers] == [(1, 0), (2, 0)], given
        assert office.import_all() == 2
        wanted = sorted(names[name] for groups in expected for name in groups)
        assert office.members().get(email, []) == wanted, given


def test_groups_of_one_list(office: ImportOffice) -> None:
    friends, buyers = office.friends.number, office.buyers.number
    cases = [(f"{friends}", ["Friends"]), (f" {friends} ,{buyers},999,x", ["Friends"]), ("", []), (None, [])]
    for row, (given, expected) in enumerate(cases):
        email = f"row.{row}@example.com"
        process = office.prepare(DOCUMENT.replace("ann@example.com", email), idGroups=given)
        where = {"idList": 1, "listGUID": office.news.guid, "idProcess": process}
        assert office.code("StartProcess", where) == 0
        assert office.import_all() == 1
        assert office.members().get(email, []) == expected, given


def test_no_list_is_found_in_a_call_that_leaves_nothing_behind(office: ImportOffice) -> None:
    body = office.call(
        "StartImportProcesses", {"listsIDs": "9;1", "listsGUIDs": ";no GUID", "xmlDoc": DOCUMENT, **FLAGS}
    )
    assert body.findtext("ReturnCode") == "0"
    found = [[child.text for child in node] for node in body.iter("process")]
    assert found == [["0", "9", "-101"], ["0", "1", "-102"]]
    with office.database.read() as connection:
        assert not connection.execute(select(import_run.c.id)).all()
    assert not list(office.storage.imports.iterdir())
