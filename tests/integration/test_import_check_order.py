"""Which of several mistakes in one call to the import service is named: the list comes first (specification §1.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from import_calls import FLAGS, ImportOffice, open_import_office

from db.engine import Database
from jobs.storage import Storage

BAD_LISTS = [
    ({"idList": 1, "listGUID": "no GUID"}, -102),
    ({"idList": 9, "listGUID": "no GUID"}, -102),
    ({"idList": 9, "listGUID": ""}, -101),
    ({"idList": 1, "listGUID": "00000000-0000-4000-8000-000000000000"}, -101),
]
BAD_IMPORTS = [
    ({"xmlDoc": ""}, -401),
    ({}, -401),
    ({"xmlDoc": "<subscribers/>", "importType": 8}, -400),
    ({"xmlDoc": "<"}, -402),
]


@pytest.fixture
def office(database: Database, storage: Storage) -> Iterator[ImportOffice]:
    with open_import_office(database, storage) as opened:
        yield opened


def test_new_imports(office: ImportOffice) -> None:
    for bad, code in BAD_IMPORTS:
        given = {**FLAGS, "idConfirmNL": 0, **bad}
        assert office.code("NewImportProcess", {"idList": 1, **given}) == code, bad
        for where, list_code in BAD_LISTS:
            assert office.code("NewImportProcess", where | given) == list_code, (where, bad)
            assert office.code("NewImportProcess", where | given, password="wrong") == -1002


def test_new_groups(office: ImportOffice) -> None:
    for name in ("", " ", None):
        assert office.code("CreateGroup", {"idList": 1, "newGroupName": name}) == -302
        assert office.code("CreateGroup", {"idList": 0, "newGroupName": name}) == -301
        for where, code in BAD_LISTS:
            assert office.code("CreateGroup", where | {"newGroupName": name}) == code, (where, name)
            assert office.code("CreateGroup", where | {"newGroupName": name}, password="wrong") == -1002
