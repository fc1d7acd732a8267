"""How files come in under each rule of completeness, and what a home allows."""

from __future__ import annotations

import errno
import ftplib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftp_doors import (
    Office,
    begin,
    close_quietly,
    open_temporary_office,
    reply_of,
    store,
    wait_until,
)

from ftp_server import desk

CONTENT = b"email\nann@example.com\n"
OTHER = b"email\nbob@example.com\n"
HALF = CONTENT[:10]
NAME = "people.csv"
TRAILED = CONTENT + b"#END 1\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("ftp")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list()


@pytest.fixture
def client(server: Office) -> Iterator[ftplib.FTP]:
    client = server.client()
    yield client
    if client.sock is not None:
        client.quit()


def cut(office: Office, client: ftplib.FTP, name: str, content: bytes) -> None:
    data = begin(client, office.path(name), content)
    wait_until(lambda: office.received() >= len(content))
    client.putcmd("ABOR")
    assert reply_of(client).startswith("426 ")
    assert reply_of(client).startswith("226 ")
    data.close()


def finish(office: Office, client: ftplib.FTP) -> None:
    """Go on after an upload, and wait until everything is judged."""
    client.voidcmd("NOOP")
    wait_until(office.is_idle)


# Renames


@pytest.mark.parametrize("rule", ["connection", "rename", "size"])
@pytest.mark.parametrize("temporary", ["people.csv.part", ".people.csv", "people.csv.filepart"])
def test_a_temporary_name_waits_for_its_rename(office: Office, client: ftplib.FTP, rule: str, temporary: str) -> None:
    office.set_profile(completeness=rule)
    store(client, office.path(temporary), CONTENT)
    finish(office, client)
    assert office.arrivals() == []
    assert client.rename(office.path(temporary), office.path(NAME)) == "250 Renamed; accepted for import."
    assert office.imports() == [(NAME, CONTENT)]
    assert office.reasons() == ["It was renamed to its final name."]
    assert office.visible() == {NAME}


def test_the_rename_rule_lets_a_direct_upload_wait(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="rename")
    assert "waits until the file is renamed" in store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert office.arrivals() == []
    assert office.visible() == {NAME}
    client.rename(office.path(NAME), office.path("final.csv"))
    assert office.imports() == [("final.csv", CONTENT)]


def test_an_unknown_temporary_name_is_renamed_before_it_is_judged(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path("people.csv.wip"), CONTENT)
    assert client.rename(office.path("people.csv.wip"), office.path(NAME)).startswith("250 ")
    wait_until(office.is_idle)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_being_imported_is_renamed_without_a_second_import(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert client.rename(office.path(NAME), office.path("other.csv")) == "250 Renamed."
    assert office.imports() == [(NAME, CONTENT)]


@pytest.mark.parametrize("folder", ["processed", "failed", "incomplete"])
def test_a_file_handed_back_can_be_imported_again(office: Office, client: ftplib.FTP, folder: str) -> None:
    (office.folder / folder).mkdir(exist_ok=True)
    (office.folder / folder / NAME).write_bytes(CONTENT)
    (office.storage.imports / f"{office.list_number}{folder}").hardlink_to(office.folder / folder / NAME)
    client.rename(office.path(f"{folder}/{NAME}"), office.path(NAME))
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_from_elsewhere_can_be_moved_in(office: Office, client: ftplib.FTP) -> None:
    store(client, "elsewhere.csv", CONTENT)
    client.rename("elsewhere.csv", office.path(NAME))
    assert office.imports() == [(NAME, CONTENT)]


def test_a_rename_to_a_temporary_name_waits_again(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path(NAME), CONTENT)
    client.rename(office.path(NAME), office.path(f"{NAME}.part"))
    finish(office, client)
    assert office.arrivals() == []
    assert office.visible() == {f"{NAME}.part"}


def test_a_deleted_file_is_not_judged(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path(NAME), CONTENT)
    client.delete(office.path(NAME))
    finish(office, client)
    assert office.arrivals() == []
    assert office.visible() == set()


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("export/x.csv", "550"),
        ("import/x.csv", "550"),
        ("import/999/x.csv", "550"),
        ("nowhere/x.csv", "550"),
        ("export", "550"),
    ],
)
def test_renames_are_refused_where_uploads_are(client: ftplib.FTP, target: str, code: str) -> None:
    store(client, "keep.csv", CONTENT)
    client.sendcmd("RNFR keep.csv")
    with pytest.raises(ftplib.error_perm, match=f"^{code} "):
        client.sendcmd(f"RNTO {target}")
    assert client.size("keep.csv") == len(CONTENT)


def test_a_file_cannot_be_renamed_to_itself(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path("x.part"), CONTENT)
    with pytest.raises(ftplib.error_perm, match=r"^553 "):
        client.rename(office.path("x.part"), office.path("x.part"))


# Markers


@pytest.mark.parametrize("content", [b"", f"size={len(CONTENT)}\n".encode()])
def test_a_marker_after_the_file_completes_it(office: Office, client: ftplib.FTP, content: bytes) -> None:
    office.set_profile(completeness="marker", pattern="*.csv")
    assert "waits for the marker" in store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert office.arrivals() == []
    assert store(client, office.path(f"{NAME}.done"), content) == "226 Transfer complete; accepted for import."
    assert office.imports() == [(NAME, CONTENT)]
    assert office.visible() == {NAME}


def test_a_marker_before_the_file_completes_it(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="marker")
    store(client, office.path(f"{NAME}.done"), f"size={len(CONTENT)}".encode())
    assert "accepted" in store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.visible() == {NAME}


def test_an_empty_marker_before_the_file_needs_the_connection_too(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="marker")
    store(client, office.path(f"{NAME}.done"), b"")
    store(client, office.path(NAME), CONTENT)
    assert office.arrivals() == []
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.visible() == {NAME}


def test_a_marker_comes_by_rename(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="marker")
    store(client, office.path(NAME), CONTENT)
    store(client, office.path("marker.tmp"), b"")
    client.rename(office.path("marker.tmp"), office.path(f"{NAME}.done"))
    assert office.imports() == [(NAME, CONTENT)]


def test_a_renamed_file_still_needs_its_marker(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="marker")
    store(client, office.path(f"{NAME}.part"), CONTENT)
    client.rename(office.path(f"{NAME}.part"), office.path(NAME))
    assert office.arrivals() == []
    store(client, office.path(f"{NAME}.done"), b"")
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_sent_again_before_its_marker_replaces_the_first(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="marker")
    store(client, office.path(NAME), OTHER)
    store(client, office.path(NAME), CONTENT)
    store(client, office.path(f"{NAME}.done"), b"")
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.incomplete() == {NAME: OTHER}


# Trailer, announced size


def test_a_trailer_completes_a_file(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="trailer")
    store(client, office.path(NAME), TRAILED)
    close_quietly(client)
    wait_until(office.imports)
    assert office.imports() == [(NAME, TRAILED)]


def test_refused_rows_come_back_without_their_trailer(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="trailer")
    repaired = b"error_line,error_code,error_text,email\n2,email,x,ann@example.com\n"
    store(client, office.path(NAME), repaired)
    client.voidcmd("NOOP")
    wait_until(office.imports)
    assert office.imports() == [(NAME, repaired)]


# A promise that has to wait


def test_an_accepted_file_that_waits_for_its_place_in_the_spool_is_imported_once(
    office: Office, client: ftplib.FTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "RETRY_SECONDS", 1.0)
    away = office.storage.imports.with_name("away")
    office.storage.imports.rename(away)
    store(client, office.path(NAME), CONTENT)
    client.voidcmd("NOOP")
    with pytest.raises(ftplib.error_temp, match=r"^451 "):
        store(client, office.path(NAME), OTHER)
    for line in (f"DELE {office.path(NAME)}", f"APPE {office.path(NAME)}"):
        client.makepasv()
        with pytest.raises(ftplib.error_temp, match=r"^450 "):
            client.sendcmd(line)
    client.sendcmd(f"RNFR {office.path(NAME)}")
    with pytest.raises(ftplib.error_perm, match=r"^550 "):
        client.sendcmd(f"RNTO {office.path('other.csv')}")
    away.rename(office.storage.imports)
    store(client, office.path(NAME), OTHER)
    client.voidcmd("NOOP")
    wait_until(lambda: len(office.imports()) == 2)
    wait_until(office.is_idle)
    assert sorted(office.imports()) == sorted([(NAME, CONTENT), (NAME, OTHER)])
    assert office.incomplete() == {NAME: OTHER}


def test_a_file_that_can_have_no_further_name_is_moved(
    office: Office, client: ftplib.FTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_names: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    monkeypatch.setattr(desk, "RETRY_SECONDS", 1.0)
    with monkeypatch.context() as patch:
        # No file system of a test machine has its links used up.
        patch.setattr(Path, "hardlink_to", refuse)
        store(client, office.path(NAME), CONTENT)
        client.voidcmd("NOOP")
        store(client, office.path(NAME), OTHER)
    client.voidcmd("NOOP")
    wait_until(lambda: len(office.imports()) == 2)
    assert sorted(office.imports()) == sorted([(NAME, CONTENT), (NAME, OTHER)])
    assert office.incomplete() == {}


def test_a_renamed_file_still_needs_its_trailer(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="trailer")
    store(client, office.path("a.part"), TRAILED)
    client.rename(office.path("a.part"), office.path("a.csv"))
    store(client, office.path("b.part"), CONTENT)
    with pytest.raises(ftplib.error_perm, match=r"^550 The last line"):
        client.rename(office.path("b.part"), office.path("b.csv"))
    assert office.arrivals() == [("a.csv", True, len(TRAILED)), ("b.csv", False, len(CONTENT))]
    assert office.incomplete() == {"b.csv": CONTENT}


def test_the_size_rule_asks_for_the_size(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(completeness="size")
    with pytest.raises(ftplib.error_perm, match=r"^550 Announce the size with ALLO first"):
        store(client, office.path(NAME), CONTENT)
    client.sendcmd(f"ALLO {len(CONTENT)}")
    store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]
    with pytest.raises(ftplib.error_perm, match=r"^501 "):
        client.sendcmd("ALLO much")


# Several uploads of one name


def test_every_complete_upload_of_a_name_is_imported(office: Office, client: ftplib.FTP) -> None:
    for content in (CONTENT, OTHER):
        store(client, office.path(NAME), content)
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT), (NAME, OTHER)]
    assert (office.folder / NAME).read_bytes() == OTHER


def test_an_unjudged_file_is_put_aside_when_another_client_takes_its_name(office: Office, client: ftplib.FTP) -> None:
    other = office.client()
    store(client, office.path(NAME), CONTENT)
    store(other, office.path(NAME), OTHER)
    other.quit()
    wait_until(office.imports)
    client.voidcmd("NOOP")
    wait_until(office.is_idle)
    assert office.imports() == [(NAME, OTHER)]
    assert office.incomplete() == {NAME: CONTENT}
    assert sorted(office.arrivals()) == [(NAME, False, len(CONTENT)), (NAME, True, len(OTHER))]


# Continued uploads


def test_a_cut_upload_can_be_continued(office: Office, client: ftplib.FTP) -> None:
    cut(office, client, NAME, HALF)
    client.voidcmd("TYPE I")
    assert client.size(office.path(NAME)) == len(HALF)
    client.storbinary(f"STOR {office.path(NAME)}", io.BytesIO(CONTENT[len(HALF) :]), rest=len(HALF))
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.incomplete() == {}


def test_a_cut_upload_can_be_appended_to(office: Office, client: ftplib.FTP) -> None:
    cut(office, client, NAME, HALF)
    client.storbinary(f"APPE {office.path(NAME)}", io.BytesIO(CONTENT[len(HALF) :]))
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_continued_upload_that_is_cut_again_stays_aside(office: Office, client: ftplib.FTP) -> None:
    cut(office, client, NAME, HALF)
    client.sendcmd(f"REST {len(HALF)}")
    cut(office, client, NAME, b"xy")
    assert office.incomplete() == {NAME: HALF + b"xy"}


def test_a_file_being_imported_cannot_be_continued(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path(NAME), CONTENT)
    finish(office, client)
    for command, rest in (("APPE", None), ("STOR", 3)):
        with pytest.raises(ftplib.error_perm, match=r"^550 The file is being imported"):
            client.storbinary(f"{command} {office.path(NAME)}", io.BytesIO(b"more"), rest=rest)
    assert office.imports() == [(NAME, CONTENT)]


def test_an_upload_cannot_be_continued_after_its_end(office: Office, client: ftplib.FTP) -> None:
    cut(office, client, NAME, HALF)
    with pytest.raises(ftplib.error_perm, match=r"^554 "):
        client.storbinary(f"STOR {office.path(NAME)}", io.BytesIO(b"x"), rest=len(HALF) + 1)
    assert office.incomplete() == {NAME: HALF}


# Ways to send


@pytest.mark.parametrize("passive", [True, False])
@pytest.mark.parametrize("ascii_type", [True, False])
def test_files_arrive_byte_for_byte(office: Office, client: ftplib.FTP, passive: bool, ascii_type: bool) -> None:
    content = bytes(range(256)) * 10 + b"\r\n\n\r"
    client.set_pasv(passive)
    client.voidcmd("TYPE A" if ascii_type else "TYPE I")
    data = client.transfercmd(f"STOR {office.path(NAME)}")
    data.sendall(content)
    data.close()
    client.voidresp()
    client.voidcmd("TYPE A" if ascii_type else "TYPE I")
    wait_until(office.imports)
    assert office.imports() == [(NAME, content)]


def test_an_empty_file_is_a_file(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path(NAME), b"")
    finish(office, client)
    assert office.imports() == [(NAME, b"")]


def test_a_unique_name_is_made_on_request(office: Office, client: ftplib.FTP) -> None:
    client.cwd(office.path())
    for command in ("STOU", "STOU daily.csv"):
        data = client.transfercmd(command)
        data.sendall(CONTENT)
        data.close()
        client.voidresp()
    finish(office, client)
    names = [name for name, _content in office.imports()]
    assert names[0].startswith("upload-")
    assert names[1].startswith("daily-") and names[1].endswith(".csv")


def test_a_client_may_send_everything_at_once(office: Office, client: ftplib.FTP) -> None:
    host, port = client.makepasv()
    data = client.sock.__class__(client.af)  # type: ignore[union-attr]
    data.connect((host, port))
    data.sendall(CONTENT)
    data.close()
    client.putcmd(f"STOR {office.path(NAME)}")
    assert reply_of(client).startswith("1")
    assert reply_of(client).startswith("226 ")
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]


def test_names_may_be_in_any_language(office: Office, client: ftplib.FTP) -> None:
    store(client, office.path("località-日本.csv"), CONTENT)
    client.encoding = "latin-1"
    store(client, office.path("città.csv"), OTHER)
    finish(office, client)
    assert [name for name, _content in office.imports()] == ["località-日本.csv", "città.csv"]


def test_only_names_that_match_the_pattern_are_imported(office: Office, client: ftplib.FTP) -> None:
    office.set_profile(pattern="*.csv")
    reply = store(client, office.path("notes.txt"), CONTENT)
    assert reply == "226 Stored. The name does not match the pattern of this folder, it is not imported."
    store(client, office.path(NAME), CONTENT)
    finish(office, client)
    assert [name for name, _content in office.imports()] == [NAME]
    assert office.visible() == {"notes.txt", NAME}


def test_other_folders_keep_files(office: Office, client: ftplib.FTP) -> None:
    client.mkd(f"notes{office.list_number}")
    reply = store(client, f"notes{office.list_number}/a.txt", CONTENT)
    assert reply == "226 Stored. Files in this folder are not imported."
    wait_until(office.is_idle)
    received = io.BytesIO()
    client.retrbinary(f"RETR notes{office.list_number}/a.txt", received.write)
    assert received.getvalue() == CONTENT
    client.delete(f"notes{office.list_number}/a.txt")
    client.rmd(f"notes{office.list_number}")


def test_a_folder_without_a_profile_says_that_it_imports_nothing(office: Office, client: ftplib.FTP) -> None:
    client.mkd(office.path("sub"))
    assert store(client, office.path("sub/a.csv"), CONTENT) == "226 Stored. Files in this folder are not imported."
    reply = client.rename(office.path("sub/a.csv"), office.path("sub/b.csv"))
    assert reply == "250 Renamed. Files in this folder are not imported."
    wait_until(office.is_idle)
    assert office.imports() == []


def test_a_temporary_name_is_told_that_it_waits(office: Office, client: ftplib.FTP) -> None:
    reply = store(client, office.path(f"{NAME}.part"), CONTENT)
    assert reply == "226 Stored. The name is a temporary one: the file waits to be renamed."


@pytest.mark.parametrize("folder", ["processed", "failed", "incomplete"])
def test_the_folders_of_outcomes_stay(office: Office, client: ftplib.FTP, folder: str) -> None:
    with pytest.raises(ftplib.error_perm, match=r"^550 This folder belongs to the server\.$"):
        client.rmd(office.path(folder))
    assert (office.folder / folder).is_dir()


def test_exports_are_read_and_deleted_and_nothing_else(office: Office, client: ftplib.FTP) -> None:
    (office.home / "export" / "out.csv").write_bytes(CONTENT)
    received = io.BytesIO()
    client.retrbinary("RETR export/out.csv", received.write)
    assert received.getvalue() == CONTENT
    with pytest.raises(ftplib.error_perm, match=r"^550 The export folder"):
        store(client, "export/mine.csv", CONTENT)
    client.delete("export/out.csv")
    assert client.nlst("export") == []


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("STOR import/999/x.csv", "550 There is no list 999 in this account; make the list first."),
        ("STOR import/abc/x.csv", "550 There is no list abc in this account; make the list first."),
        ("STOR import/01/x.csv", "550 There is no list 01 in this account; make the list first."),
        ("MKD import/999", "550 There is no list 999 in this account; make the list first."),
        ("STOR import/x.csv", "550 Files go into the folder of their list, import/<list number>/."),
        ("STOR import/1/processed/x.csv", "550 Folders named 'processed' are made and filled by the server."),
        ("STOR import", "550 There is a folder of that name."),
        ("STOR /", "550 This is a folder."),
        ("STOR nowhere/x.csv", "550 There is no such folder."),
        ("MKD import/1/failed", "550 Folders named 'failed' are made and filled by the server."),
        ("MKD export/x", "550 The export folder is written by the server."),
        ("RMD import/1", "550 This folder belongs to the server."),
        ("RMD export", "550 This folder belongs to the server."),
        ("RNFR import/1", "550 This folder cannot be renamed."),
        ("RNTO x", "503 Bad sequence of commands: use RNFR first."),
        ("SIZE nothing.csv", "550 There is no such file."),
        ("SITE CHMOD 777 x", '500 Command "SITE CHMOD" not understood.'),
    ],
)
def test_refusals_say_why(client: ftplib.FTP, command: str, text: str) -> None:
    with pytest.raises(ftplib.error_perm) as caught:
        client.sendcmd(command)
    assert str(caught.value) == text


def test_folders_are_renamed_outside_import_alone(client: ftplib.FTP) -> None:
    client.mkd("one")
    client.rename("one", "two")
    with pytest.raises(ftplib.error_perm, match=r"^550 Folders cannot be moved"):
        client.rename("two", "import/1/two")
    client.rmd("two")


def test_a_transfer_is_not_disturbed_by_other_commands(office: Office, client: ftplib.FTP) -> None:
    data = begin(client, office.path(NAME), HALF)
    for command in ("PASV", "STOR x.csv", "REIN"):
        with pytest.raises(ftplib.error_temp, match=r"^450 "):
            client.sendcmd(command)
    assert client.sendcmd("NOOP").startswith("200 ")
    assert client.sendcmd("STAT").startswith("211-")
    data.sendall(CONTENT[len(HALF) :])
    data.close()
    client.voidresp()
    finish(office, client)
    assert office.imports() == [(NAME, CONTENT)]


def test_an_upload_without_a_data_connection_is_dropped(office: Office, client: ftplib.FTP) -> None:
    client.makepasv()
    assert client.sendcmd(f"STOR {office.path(NAME)}").startswith("150 ")
    store(client, office.path("second.csv"), CONTENT)
    finish(office, client)
    client.makepasv()
    assert client.sendcmd(f"STOR {office.path(NAME)}").startswith("150 ")
    assert client.abort().startswith("225 ")
    finish(office, client)
    assert [name for name, _content in office.imports()] == ["second.csv"]
