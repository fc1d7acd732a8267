"""What a killed server left is finished by the next one, however often that is interrupted."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from ftp_doors import Office, begin, close_quietly, open_temporary_office, store, wait_until
from structlog.testing import capture_logs

from ftp_server.journal import Note, Standing, read_notes, write_note
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


def note(
    office: Office, name: str = NAME, inode: int = 0, standing: Standing = "complete", rule: str = "connection"
) -> str:
    key = uuid4().hex
    write_note(office.storage, key, Note(1, office.path(), name, inode, rule, standing))
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
    aside.parent.mkdir(exist_ok=True)
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


@pytest.mark.parametrize("rule", ["connection", "size", "rename", "marker", "trailer"])
@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"#END 1\n"])
def test_a_file_without_a_note_stays_and_is_reported(office: Office, rule: str, content: bytes) -> None:
    office.set_profile(completeness=rule)
    inode = show(office, content=content).stat().st_ino
    show(office, "other.csv.part")
    show(office, f"{NAME}.done", b"")
    if rule != "marker":
        (office.folder / f"{NAME}.done").unlink()
    with capture_logs() as logs:
        recover_twice(office)
    assert office.arrivals() == []
    assert NAME in office.visible()
    events = [event for event in logs if event["event"] == "file_not_judged" and event["inode"] == inode]
    assert len(events) == 2  # one for each start


def test_a_file_that_waited_is_not_imported_because_the_profile_changes(office: Office) -> None:
    for name, rule in (("a.csv", "marker"), ("b.csv", "rename")):
        office.set_profile(completeness=rule)
        upload(office, name)
    office.set_profile(pattern="*.none")
    upload(office, "c.csv")
    office.set_profile()
    recover_twice(office)
    assert office.arrivals() == []
    assert office.visible() == {"a.csv", "b.csv", "c.csv"}


def upload(office: Office, name: str) -> None:
    """Run a server for one upload, stopped in the order of things."""
    office.start()
    try:
        with office.client() as client:
            assert store(client, office.path(name), CONTENT).startswith("226 ")
        wait_until(office.is_idle)
    finally:
        office.halt()


def test_what_was_acknowledged_has_a_note_until_it_is_judged(office: Office) -> None:
    office.start()
    try:
        with office.client() as client:
            begin(client, office.path(NAME), CONTENT).close()
            assert client.getmultiline().startswith("226 ")
            inode = (office.folder / NAME).stat().st_ino
            noted = [note for _key, note in read_notes(office.storage)]
            assert noted == [Note(1, office.path(), NAME, inode, "connection", "watched", "ftp")]
            assert office.arrivals() == []
        wait_until(office.is_idle)
    finally:
        office.halt()
    assert office.imports() == [(NAME, CONTENT)]


@pytest.mark.parametrize("rule", ["connection", "size", "rename", "marker", "trailer"])
def test_a_file_in_its_quiet_time_is_imported_whatever_its_rule_is_now(office: Office, rule: str) -> None:
    office.set_profile(completeness=rule)
    note(office, inode=show(office).stat().st_ino, standing="watched")
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.reasons() == ["It had been received with a living control connection before the server stopped."]


def test_a_file_judged_incomplete_is_put_aside(office: Office) -> None:
    note(office, inode=show(office).stat().st_ino, standing="incomplete")
    recover_twice(office)
    assert office.incomplete() == {NAME: CONTENT}
    assert office.arrivals() == [(NAME, False, len(CONTENT))]


def test_a_file_that_could_not_be_put_aside_is_not_taken_for_complete(office: Office) -> None:
    shutil.rmtree(office.folder / "incomplete")
    (office.folder / "incomplete").write_bytes(b"in the way")
    office.start()
    try:
        client = office.client()
        store(client, office.path(NAME), CONTENT)
        close_quietly(client)
        wait_until(lambda: [note.standing for _key, note in read_notes(office.storage) if note] == ["incomplete"])
    finally:
        office.halt()
    (office.folder / "incomplete").unlink()
    recover_twice(office)
    assert office.imports() == []
    assert office.incomplete() == {NAME: CONTENT}


@pytest.mark.parametrize("of", [NAME, f"{NAME}.done"])
@pytest.mark.parametrize(("marker", "imported"), [(b"", True), (b"size=22", True), (b"size=21", False)])
def test_a_pair_that_was_not_answered_is_judged(office: Office, of: str, marker: bytes, imported: bool) -> None:
    office.set_profile(completeness="marker")
    show(office)
    show(office, f"{NAME}.done", marker)
    note(office, of, (office.folder / of).stat().st_ino, "waiting", "marker")
    recover_twice(office)
    assert office.imports() == ([(NAME, CONTENT)] if imported else [])
    assert office.arrivals() == [(NAME, imported, len(CONTENT))]
    assert f"{NAME}.done" not in office.visible()


def test_a_pair_is_judged_once_when_both_notes_are_there(office: Office) -> None:
    office.set_profile(completeness="marker")
    inode = show(office).stat().st_ino
    marker = show(office, f"{NAME}.done", b"size=22").stat().st_ino
    for _number in range(4):
        note(office, f"{NAME}.done", marker, "waiting", "marker")
    note(office, inode=inode)
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]


@pytest.mark.parametrize(("then", "now"), [("marker", "connection"), ("rename", "marker"), ("", "connection")])
def test_a_file_that_waits_goes_on_waiting_when_its_rule_has_changed(office: Office, then: str, now: str) -> None:
    office.set_profile(completeness=now)
    note(office, inode=show(office).stat().st_ino, standing="waiting", rule=then)
    show(office, f"{NAME}.done.part", b"")
    recover_twice(office)
    assert office.arrivals() == []
    assert NAME in office.visible()


def test_a_folder_without_a_profile_keeps_its_files(office: Office) -> None:
    folder = office.folder / "sub"
    folder.mkdir()
    path = folder / NAME
    path.write_bytes(CONTENT)
    key = uuid4().hex
    write_note(office.storage, key, Note(1, office.path("sub"), NAME, path.stat().st_ino, "connection", "complete"))
    (office.storage.imports / key).hardlink_to(path)
    recover_twice(office)
    assert path.read_bytes() == CONTENT
    assert not (office.storage.imports / key).exists()


def test_an_upload_that_cannot_be_dealt_with_does_not_stop_the_rest(office: Office) -> None:
    key = note(office, "stuck.csv", standing="receiving")
    (office.storage.receiving / key).write_bytes(CONTENT[:5])
    shutil.rmtree(office.folder / "incomplete")
    (office.folder / "incomplete").write_bytes(b"in the way")
    note(office, inode=show(office).stat().st_ino)
    recover(office.database, office.storage)
    assert office.imports() == [(NAME, CONTENT)]
    assert not office.is_idle()
    (office.folder / "incomplete").unlink()
    recover_twice(office)
    assert office.incomplete() == {"stuck.csv": CONTENT[:5]}


def test_a_note_that_was_being_written_is_removed(office: Office) -> None:
    (office.storage.receiving / f"{uuid4().hex}.note").write_bytes(b'{"acc')
    (office.storage.receiving / f"{uuid4().hex}.json").write_bytes(b'{"account": "1", "folder": 3, "name": null}')
    (office.storage.receiving / f"{uuid4().hex}.json").write_bytes(
        b'{"account": 1, "folder": "import/1", "name": "x", "standing": "sitting"}'
    )
    recover_twice(office)
    assert office.arrivals() == []


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
    record_complete(office.database, office.storage, feed, key, NAME, "said so", "ftp")
    recover_twice(office)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_link_without_note_or_import_is_removed(office: Office) -> None:
    link = office.storage.imports / uuid4().hex
    link.hardlink_to(show(office))
    recover_twice(office)
    assert office.imports() == []
    assert not link.exists()
    assert office.visible() == {NAME}


def test_other_doors_files_in_the_spool_stay(office: Office) -> None:
    spooled = office.storage.imports / uuid4().hex
    spooled.write_bytes(b"of another door")
    # Another door links one document for each list before its imports are in the database.
    other = office.storage.imports / uuid4().hex
    other.hardlink_to(spooled)
    recover_twice(office)
    assert spooled.exists()
    assert other.exists()


def test_files_may_vanish_while_a_server_starts(office: Office) -> None:
    """Another process hands back and removes files all the while."""
    ended = threading.Event()
    spooled = [office.storage.imports / uuid4().hex for _number in range(20)]
    visible = [office.folder / f"v{number}.csv" for number in range(20)]

    def churn() -> None:
        while not ended.is_set():
            for link, path in zip(spooled, visible, strict=True):
                path.write_bytes(CONTENT)
                with suppress(FileExistsError):
                    link.hardlink_to(path)
                path.unlink()
                link.unlink(missing_ok=True)

    other = threading.Thread(target=churn)
    other.start()
    try:
        for _start in range(20):
            recover(office.database, office.storage)
    finally:
        ended.set()
        other.join()
    assert office.arrivals() == []


def test_a_note_of_a_version_without_doors_is_recovered(office: Office) -> None:
    office.folder.joinpath(NAME).write_bytes(CONTENT)
    inode = (office.folder / NAME).stat().st_ino
    note = {"account": 1, "folder": office.path(), "name": NAME, "inode": inode, "rule": "connection"}
    old = orjson.dumps({**note, "standing": "watched"})
    (office.storage.receiving / f"{uuid4().hex}.json").write_bytes(old)
    recover(office.database, office.storage)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.doors() == [None]


def test_a_note_of_an_unknown_door_is_no_promise(office: Office) -> None:
    office.folder.joinpath(NAME).write_bytes(CONTENT)
    inode = (office.folder / NAME).stat().st_ino
    note = {"account": 1, "folder": office.path(), "name": NAME, "inode": inode, "standing": "complete", "door": "x"}
    (office.storage.receiving / f"{uuid4().hex}.json").write_bytes(orjson.dumps(note))
    recover(office.database, office.storage)
    assert office.imports() == []
    assert office.is_idle()
