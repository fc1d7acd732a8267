"""Files that come to a folder by other means than a door: when they are taken, and when they are left."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ftp_doors import Office, begin, close_quietly, open_temporary_office, store, wait_until
from sqlalchemy import select

from db.tables import arrival, mailing_list
from exchange.profiles import Profile
from ftp_server.scanning import Lookout
from jobs.feeds import find_feed

CONTENT = b"email\nann@example.com\n"
OTHER = b"email\nbob@example.com\n"
NAME = "people.csv"
QUIET = 0.3
"""Seconds that a file must have stayed the same here; nothing depends on how long they really are."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_temporary_office(tmp_path_factory.mktemp("scan"), scan_pause_seconds=0.02) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list(scan_seconds=QUIET)


def put(office: Office, name: str = NAME, content: bytes = CONTENT) -> Path:
    path = office.folder / name
    path.write_bytes(content)
    return path


def wait_for_imports(office: Office, count: int = 1) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = wait_until(lambda: seen if len(seen := office.imports()) >= count else None)
    return found


def sees_all(office: Office) -> bool:
    """Put a file into a folder beside, and wait until it was taken: by then the first one has been looked at too."""
    other = office.with_list(scan_seconds=QUIET)
    put(other)
    return bool(wait_for_imports(other))


def test_a_file_that_stays_the_same_is_imported_once(office: Office) -> None:
    path = put(office)
    assert wait_for_imports(office) == [(NAME, CONTENT)]
    assert office.reasons() == [f"It was found in its folder, unchanged for {QUIET} seconds."]
    with office.database.read() as connection:
        doors = connection.execute(select(arrival.c.door).order_by(arrival.c.id.desc())).scalars().first()
    assert doors == "scan"
    assert sees_all(office)
    assert len(office.imports()) == 1
    assert path.exists()


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("options", [(), ("--inplace",), ("--times",)])
def test_rsync(office: Office, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "from").mkdir()
    for number in range(3):
        (tmp_path / "from" / f"{number}.csv").write_bytes(CONTENT + b"#" * number)
    subprocess.run(["rsync", "-r", *options, f"{tmp_path}/from/", f"{office.folder}/"], check=True)
    assert sorted(wait_for_imports(office, 3)) == [(f"{number}.csv", CONTENT + b"#" * number) for number in range(3)]


@pytest.fixture
def lookout(office: Office, tmp_path: Path) -> Lookout:
    """What is seen in a temporary folder, by a clock of the test."""
    with office.database.read() as connection:
        feed = find_feed(connection, office.account().id, office.path())
    assert feed is not None
    return Lookout(office.account(), replace(feed, profile=Profile(scan_seconds=60.0)), tmp_path)


def quiet(lookout: Lookout, clock: float) -> list[str]:
    return sorted(name for _, name, _ in lookout.look(clock))


def test_a_slow_writer_is_waited_for(lookout: Lookout, tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb", buffering=0) as out:
        for clock in range(0, 600, 50):
            out.write(b"%d@example.com\n" % clock)
            assert quiet(lookout, clock) == []
    assert quiet(lookout, 609.9) == []
    assert quiet(lookout, 610) == [NAME]


def test_a_file_that_is_replaced_renamed_or_gone_for_a_moment_waits_anew(lookout: Lookout, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    stamp = path.stat().st_mtime_ns
    assert quiet(lookout, 0) == []
    (tmp_path / "other").write_bytes(CONTENT)
    os.utime(tmp_path / "other", ns=(stamp, stamp))
    (tmp_path / "other").replace(path)
    assert quiet(lookout, 60) == []
    moved = path.rename(tmp_path / "moved.csv")
    assert quiet(lookout, 120) == []
    assert quiet(lookout, 180) == ["moved.csv"]
    moved.rename(path)
    assert quiet(lookout, 190) == []
    path.rename(moved)
    assert quiet(lookout, 200) == []
    assert quiet(lookout, 260) == ["moved.csv"]


def test_a_file_changed_between_look_and_judgement_is_not_taken(lookout: Lookout, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    lookout.look(0)
    assert quiet(lookout, 60) == [NAME]
    inode = path.stat().st_ino
    assert lookout.judge(NAME, set()) is not None
    assert lookout.judge(NAME, {inode}) is None
    path.write_bytes(CONTENT + OTHER)
    assert lookout.judge(NAME, set()) is None
    path.unlink()
    assert lookout.judge(NAME, set()) is None
    assert quiet(lookout, 120) == []


def test_what_is_no_file_to_import_is_left(office: Office, tmp_path: Path) -> None:
    office.set_profile(scan_seconds=QUIET, pattern="*.csv")
    (tmp_path / NAME).write_bytes(CONTENT)
    (office.folder / "link.csv").symlink_to(tmp_path / NAME)
    (office.folder / "hard.csv").hardlink_to(tmp_path / NAME)
    (office.folder / "folder.csv").mkdir()
    os.mkfifo(office.folder / "pipe.csv")
    for name in ("notes.txt", "x.csv.part", ".x.csv", "x.csv.ok", "x.csv.err"):
        put(office, name)
    future = put(office, "future.csv")
    os.utime(future, (time.time() + 9000, time.time() + 9000))
    assert sees_all(office)
    assert office.arrivals() == []
    os.utime(future)
    assert wait_for_imports(office) == [("future.csv", CONTENT)]


def test_names_that_no_partner_may_have_are_left_and_told_of_once(
    office: Office, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsencode(office.folder)
    for name in (b"a\nb.csv", b"a\x07.csv", b"\xff.csv", b"a\\b.csv", b"~a.csv", b"n" * 201 + b".csv"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(CONTENT)
    assert sees_all(office)
    assert office.arrivals() == []
    assert capfd.readouterr().out.count("found_file_left") == 6


def test_a_marker_is_waited_for_and_its_manifest_must_fit(office: Office) -> None:
    office.set_profile(scan_seconds=QUIET, completeness="marker")
    put(office)
    assert sees_all(office)
    assert office.arrivals() == []
    put(office, f"{NAME}.done", b"size=1\n")
    assert sees_all(office)
    assert office.arrivals() == []
    put(office, f"{NAME}.done", b"size=%d\n" % len(CONTENT))
    assert wait_for_imports(office) == [(NAME, CONTENT)]
    assert office.visible() == {NAME}


def test_a_trailer_is_waited_for(office: Office) -> None:
    office.set_profile(scan_seconds=QUIET, completeness="trailer")
    path = put(office)
    assert sees_all(office)
    assert office.arrivals() == []
    with path.open("ab") as out:
        out.write(b"#END 1\n")
    assert wait_for_imports(office) == [(NAME, CONTENT + b"#END 1\n")]


def test_the_size_is_as_good_as_the_quiet_time(office: Office) -> None:
    office.set_profile(scan_seconds=QUIET, completeness="size")
    put(office)
    assert wait_for_imports(office) == [(NAME, CONTENT)]


@pytest.mark.parametrize("profile", [{"scan_seconds": 0}, {"scan_seconds": QUIET, "completeness": "rename"}])
def test_folders_that_are_not_scanned(office: Office, profile: dict[str, object]) -> None:
    office.set_profile(**profile)
    put(office)
    assert sees_all(office)
    assert office.arrivals() == []


def test_folders_of_deleted_lists_are_left(server: Office, office: Office) -> None:
    other = office
    deleted = server.with_list(scan_seconds=QUIET)
    with server.database.write() as connection:
        here = mailing_list.c.number == deleted.list_number
        connection.execute(mailing_list.update().where(here).values(deleted_at=datetime.now(UTC)))
    put(deleted)
    assert sees_all(other)
    assert deleted.arrivals() == []


def test_an_upload_of_a_door_is_judged_by_that_door_alone(office: Office) -> None:
    client = office.client()
    store(client, office.path(NAME), CONTENT)
    assert office.visible() == {NAME}
    assert sees_all(office)
    # It is shown, and its control connection is silent.
    assert office.arrivals() == []
    close_quietly(client)
    wait_until(lambda: office.arrivals() == [(NAME, False, len(CONTENT))])
    assert sees_all(office)
    assert office.imports() == []


def test_an_upload_takes_the_place_of_a_file_that_was_found(office: Office) -> None:
    office.set_profile(scan_seconds=60.0)
    put(office, content=OTHER)
    client = office.client()
    data = begin(client, office.path(NAME), CONTENT)
    data.close()
    client.voidresp()
    client.voidcmd("NOOP")
    assert wait_for_imports(office) == [(NAME, CONTENT)]
    assert office.incomplete() == {NAME: OTHER}
    client.quit()


def test_what_the_server_says_of_a_file_is_never_imported(office: Office) -> None:
    office.set_profile(scan_seconds=QUIET, acknowledgements=("marker",))
    client = office.client()
    for name in (f"{NAME}.ok", f"{NAME}.err"):
        store(client, office.path(name), CONTENT)
    client.quit()
    assert office.visible() == {f"{NAME}.ok", f"{NAME}.err"}
    put(office)
    assert wait_for_imports(office) == [(NAME, CONTENT)]
    assert office.visible() == {NAME}


def test_files_that_came_while_the_server_was_down(tmp_path: Path) -> None:
    with open_temporary_office(tmp_path, scan_pause_seconds=0.02) as office:
        office.set_profile(scan_seconds=QUIET)
        office.halt()
        put(office)
        assert office.arrivals() == []
        office.start()
        assert wait_for_imports(office) == [(NAME, CONTENT)]
        office.halt()
        office.start()
        assert sees_all(office)
        assert len(office.imports()) == 1


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.torture)])
def test_many_files(office: Office, count: int) -> None:
    for number in range(count):
        put(office, f"{number:04}.csv", b"email\n%d@example.com\n" % number)
    deadline = time.monotonic() + 300
    while len(office.arrivals()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sees_all(office)
    found = office.imports()
    assert len({name for name, _ in found}) == len(found) == count


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.torture)])
def test_little_is_remembered_of_each_file(lookout: Lookout, tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"customers_of_the_day_{number:06}.csv").touch()
    tracemalloc.start()
    for clock in range(3):
        assert lookout.look(clock) == []
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Other threads of the test's process use memory too.
    assert kept < 500 * count + 2_000_000
    assert peak < 1000 * count + 2_000_000
