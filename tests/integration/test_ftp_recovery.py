"""What a killed server left is finished by the next one, however often that is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from ftp_doors import Office, open_temporary_office

from ftp_server.journal import Note, write_note
from ftp_server.records import record_complete
from ftp_server.recovery import recover
from jobs.feeds import find_feed

CONTENT = b"email\nann@example.com\n"
NAME = "people.csv"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        office.halt()
        yield office


@pytest.fixture
def office(stopped: Office) -> Office:
    return stopped.with_list()


def note(office: Office, name: str = NAME, inode: int = 0) -> str:
    key = uuid4().hex
    write_note(office.storage, key, Note(1, office.path(), name, inode))
    return key


def show(office: Office, name: str = NAME, content: bytes = CONTENT) -> Path:
    path = office.folder / name
    path.write_bytes(content)
    return path


def recover_twice(office: Office) -> None:
    recover(office.database, office.storage)
    before = (office.arrivals(), office.imports(), office.incomplete(), office.visible())
    recover(office.database, office.storage)
    assert (office.arrivals(), office.imports(), office.incomplete(), office.visible()) == before
    assert office.is_idle()


def test_a_half_upload_is_put_aside(office: Office) -> None:
    key = note(office)
    (office.storage.receiving / key).write_bytes(CONTENT[:5])
    recover_twice(office)
    assert office.incomplete() == {NAME: CONTENT[:5]}
    assert office.arrivals() == [(NAME, False, 5)]


def test_a_half_upload_that_was_continued_keeps_its_place(office: Office) -> None:
    aside = office.folder / "incomplete" / NAME
    aside.parent.mkdir()
    aside.write_bytes(CONTENT[:5])
    (office.storage.receiving / note(office)).hardlink_to(aside)
    recover_twice(office)
    assert office.incomplete() == {NAME: CONTENT[:5]}
    assert aside.stat().st_nlink == 1


def test_a_note_without_a_file_is_forgotten(office: Office) -> None:
    note(office)
    (office.storage.receiving / f"{uuid4().hex}.json").write_bytes(b'{"account": 1, "fol')
    write_note(office.storage, uuid4().hex, Note(999, "import/1", NAME))
    recover_twice(office)
    assert office.arrivals() == []


@pytest.mark.parametrize(
    ("rule", "content", "imported", "aside"),
    [
        ("connection", CONTENT, True, False),
        ("size", CONTENT, True, False),
        ("rename", CONTENT, False, False),
        ("marker", CONTENT, False, False),
        ("trailer", CONTENT + b"#END 1\n", True, False),
        ("trailer", CONTENT, False, True),
    ],
)
def test_a_file_shown_and_not_judged_follows_its_rule(
    office: Office, rule: str, content: bytes, imported: bool, aside: bool
) -> None:
    office.set_profile(completeness=rule)
    show(office, content=content)
    show(office, "other.csv.part")
    recover_twice(office)
    assert office.imports() == ([(NAME, content)] if imported else [])
    assert office.incomplete() == ({NAME: content} if aside else {})
    assert office.visible() == {"other.csv.part"} | (set() if aside else {NAME})


@pytest.mark.parametrize(("marker", "imported"), [(b"", True), (b"size=22", True), (b"size=21", False)])
def test_a_file_with_its_marker_is_judged_by_it(office: Office, marker: bytes, imported: bool) -> None:
    office.set_profile(completeness="marker")
    show(office)
    show(office, f"{NAME}.done", marker)
    recover_twice(office)
    assert office.imports() == ([(NAME, CONTENT)] if imported else [])
    assert f"{NAME}.done" not in office.visible()


def test_a_file_judged_before_the_crash_is_imported_whatever_its_rule(office: Office) -> None:
    office.set_profile(completeness="rename")
    inode = show(office).stat().st_ino
    note(office, inode=inode)
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_replaced_since_it_was_judged_is_not_taken_for_it(office: Office) -> None:
    office.set_profile(completeness="rename")
    inode = show(office).stat().st_ino
    note(office, inode=inode + 1)
    recover_twice(office)
    assert office.imports() == []


def test_a_link_in_the_spool_is_finished_even_when_its_name_is_gone(office: Office) -> None:
    office.set_profile(completeness="marker")
    path = show(office)
    show(office, f"{NAME}.done", b"")
    key = note(office, inode=path.stat().st_ino)
    (office.storage.imports / key).hardlink_to(path)
    path.unlink()
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.visible() == set()


def test_an_import_already_recorded_is_left_alone(office: Office) -> None:
    path = show(office)
    key = note(office, inode=path.stat().st_ino)
    (office.storage.imports / key).hardlink_to(path)
    with office.database.read() as connection:
        feed = find_feed(connection, office.account().id, office.path())
    assert feed is not None
    record_complete(office.database, office.storage, feed, key, NAME, "said so")
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_link_without_note_or_import_is_made_anew(office: Office) -> None:
    (office.storage.imports / uuid4().hex).hardlink_to(show(office))
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]


def test_other_doors_files_in_the_spool_stay(office: Office) -> None:
    spooled = office.storage.imports / uuid4().hex
    spooled.write_bytes(b"of another door")
    recover_twice(office)
    assert spooled.exists()
