"""Files at a partner's that look like others: stale markers, the same name and size without a time, lost renamings."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from partner_servers import Partner, Script, scripted_partner, sftp_partner
from sqlalchemy import select
from transfer_world import World

from db.engine import Database
from db.tables import transferred_file
from jobs.storage import Storage

FIRST, SECOND = b"email\nann@example.com\n", b"email\nbob@example.com\n"
HOUR = 3600


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    yield database
    database.close()


@pytest.fixture
def world(database: Database, storage: Storage) -> World:
    return World.make(database, storage)


@pytest.fixture
def marked(database: Database, storage: Storage) -> World:
    """With a profile that takes a file when its marker is there."""
    return World.make(database, storage, completeness="marker")


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Partner]:
    with sftp_partner(tmp_path / "home") as partner:
        yield partner


Writing = list[tuple[Path, bytes]]


@pytest.fixture
def writing() -> Writing:
    """What the partner writes after the next listing."""
    return []


@pytest.fixture
def timeless(tmp_path: Path, writing: Writing) -> Iterator[Partner]:
    """A server that tells no time."""
    root = tmp_path / "timeless"

    def strip(name: bytes) -> asyncssh.SFTPAttrs:
        status = os.lstat(name)
        return asyncssh.SFTPAttrs(size=status.st_size, permissions=status.st_mode)

    class Timeless(asyncssh.SFTPServer):
        def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
            try:
                return strip(self.map_path(path))
            except OSError:
                raise asyncssh.SFTPNoSuchFile("gone") from None

        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            for entry in Path(os.fsdecode(self.map_path(path))).iterdir():
                yield asyncssh.SFTPName(os.fsencode(entry.name), attrs=strip(os.fsencode(entry)))
            if writing:
                file, content = writing.pop()
                file.write_bytes(content)

    with sftp_partner(root, lambda channel: Timeless(channel, chroot=os.fsencode(root))) as partner:
        yield partner


def touch(path: Path, content: bytes, at: int) -> None:
    """Write a file that was last changed at a time, in seconds."""
    path.write_bytes(content)
    os.utime(path, (at, at))


def contents(world: World) -> list[bytes]:
    return [content for _, content in world.imports()]


def forget_put_away(world: World) -> None:
    """Have the database as after a crash between removing a file and noting that down."""
    with world.database.write() as connection:
        for row in connection.execute(select(transferred_file)).all():
            before = row.modified.partition(":put-away:")[0]
            connection.execute(transferred_file.update().where(transferred_file.c.id == row.id).values(modified=before))


# Markers


def test_a_marker_that_is_older_than_its_file_proves_nothing(marked: World, sftp: Partner) -> None:
    folder = sftp.folder("out")
    touch(folder / "daily.csv", FIRST, HOUR)
    touch(folder / "daily.csv.done", b"", HOUR)
    transfer_id = marked.add_fetch(sftp.access, "out")
    assert marked.run(transfer_id).state == "completed"
    touch(folder / "daily.csv", SECOND[:9], 2 * HOUR)
    run = marked.run(transfer_id)
    assert (run.state, run.error_text) == ("queued", "daily.csv: its marker is older than itself.")
    assert contents(marked) == [FIRST]
    touch(folder / "daily.csv", SECOND, 2 * HOUR)
    touch(folder / "daily.csv.done", b"", 3 * HOUR)
    marked.make_due()
    marked.work_off()
    assert contents(marked) == [FIRST, SECOND]


def test_an_older_marker_that_names_the_content_is_proof(marked: World, sftp: Partner) -> None:
    folder = sftp.folder("out")
    touch(folder / "daily.csv", FIRST, 2 * HOUR)
    touch(folder / "daily.csv.done", b"size=%d\n" % len(FIRST), HOUR)
    assert marked.run(marked.add_fetch(sftp.access, "out")).state == "completed"
    assert contents(marked) == [FIRST]


@pytest.mark.parametrize(("marker", "taken"), [(b"", []), (b"size=%d\n" % len(FIRST), [FIRST])])
def test_without_times_an_empty_marker_needs_the_quiet_time(
    marked: World, timeless: Partner, writing: Writing, marker: bytes, taken: list[bytes]
) -> None:
    folder = timeless.folder("out")
    (folder / "daily.csv").write_bytes(FIRST[:9])
    (folder / "daily.csv.done").write_bytes(marker)
    transfer_id = marked.add_fetch(timeless.access, "out", quiet=0.01)

    writing.append((folder / "daily.csv", FIRST))
    run = marked.run(transfer_id)
    assert contents(marked) == taken
    if not taken:
        assert run.error_text == "daily.csv: it is still being written."
        marked.make_due()
        marked.work_off()
    assert contents(marked) == [FIRST]


@pytest.mark.parametrize("after", ["delete", "move:done"])
def test_the_marker_is_put_away_before_its_file(marked: World, sftp: Partner, tmp_path: Path, after: str) -> None:
    gone: list[bytes] = []

    class Watching(asyncssh.SFTPServer):
        def remove(self, path: bytes) -> None:
            gone.append(path.rpartition(b"/")[2])
            super().remove(path)

        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            gone.append(oldpath.rpartition(b"/")[2])
            super().rename(oldpath, newpath)

    root = tmp_path / "watched"
    with sftp_partner(root, lambda channel: Watching(channel, chroot=os.fsencode(root))) as partner:
        folder = partner.folder("out")
        partner.folder("done")
        touch(folder / "daily.csv", FIRST, HOUR)
        touch(folder / "daily.csv.done", b"", HOUR)
        assert marked.run(marked.add_fetch(partner.access, "out", after=after)).state == "completed"
    assert gone == [b"daily.csv.done", b"daily.csv"]
    assert list(folder.iterdir()) == []


# The same name, size and time


@pytest.mark.parametrize("after", ["delete", "move:done"])
def test_every_nightly_file_of_one_size_is_imported(world: World, timeless: Partner, after: str) -> None:
    folder, done = timeless.folder("out"), timeless.folder("done")
    transfer_id = world.add_fetch(timeless.access, "out", after=after)
    nights = [FIRST, SECOND, SECOND, FIRST]
    for content in nights:
        (folder / "daily.csv").write_bytes(content)
        assert world.run(transfer_id).state == "completed"
        assert list(folder.iterdir()) == []
    assert contents(world) == nights
    kept = sorted(path.read_bytes() for path in done.iterdir())
    assert kept == ([] if after == "delete" else sorted(nights))


def test_a_file_that_was_put_back_with_its_time_is_imported_again(world: World, sftp: Partner) -> None:
    folder = sftp.folder("out")
    transfer_id = world.add_fetch(sftp.access, "out", after="delete")
    for content in (FIRST, SECOND):
        touch(folder / "daily.csv", content, HOUR)
        assert world.run(transfer_id).state == "completed"
    assert contents(world) == [FIRST, SECOND]


@pytest.mark.parametrize(("content", "imported"), [(FIRST, [FIRST]), (SECOND, [FIRST, SECOND])])
def test_after_a_crash_the_content_tells_whether_it_is_the_file_that_was_fetched(
    world: World, timeless: Partner, content: bytes, imported: list[bytes]
) -> None:
    folder = timeless.folder("out")
    (folder / "daily.csv").write_bytes(FIRST)
    transfer_id = world.add_fetch(timeless.access, "out", after="delete")
    world.run(transfer_id)
    forget_put_away(world)
    (folder / "daily.csv").write_bytes(content)
    assert world.run(transfer_id).state == "completed"
    assert contents(world) == imported
    assert list(folder.iterdir()) == []


def test_another_file_after_a_crash_must_be_complete_too(marked: World, timeless: Partner) -> None:
    folder = timeless.folder("out")
    (folder / "daily.csv").write_bytes(FIRST)
    (folder / "daily.csv.done").write_bytes(b"")
    transfer_id = marked.add_fetch(timeless.access, "out", after="delete")
    marked.run(transfer_id)
    forget_put_away(marked)
    (folder / "daily.csv").write_bytes(SECOND)
    assert marked.run(transfer_id).state == "completed"
    assert contents(marked) == [FIRST]
    assert (folder / "daily.csv").read_bytes() == SECOND


def test_a_server_that_only_says_it_removed_a_file_gets_it_imported_once(world: World) -> None:
    listing = b"type=file;size=%d;modify=20260101000000; daily.csv\r\n" % len(FIRST)
    script = Script(listing=[listing], files={"daily.csv": FIRST}, answers={"DELE": b"250 Gone.\r\n"})
    with scripted_partner(script) as access:
        transfer_id = world.add_fetch(access, "out", after="delete")
        runs = [world.run(transfer_id) for _ in range(2)]
    assert contents(world) == [FIRST]
    assert {run.error_text for run in runs} == {"daily.csv is still there, though the server said that it is not."}


# Room


def test_a_file_without_room_does_not_keep_the_others(world: World) -> None:
    free = shutil.disk_usage(world.storage.root).free
    facts = b"type=file;size=%d;modify=%d; %s\r\n"
    listing = [facts % (2 * free, 20250101000000, b"a.csv"), facts % (len(FIRST), 20260101000000, b"b.csv")]
    with scripted_partner(Script(listing=listing, files={"a.csv": FIRST, "b.csv": FIRST})) as access:
        run = world.run(world.add_fetch(access, "out"))
    assert world.imports() == [("b.csv", FIRST)]
    assert (run.files, run.error_text) == (1, "a.csv: there is no room for it on the disk here.")


def test_the_reserve_of_the_disk_is_kept(world: World, sftp: Partner) -> None:
    (sftp.folder("out") / "daily.csv").write_bytes(FIRST)
    world.storage = replace(world.storage, reserve=shutil.disk_usage(world.storage.root).total)
    assert "no room" in str(world.run(world.add_fetch(sftp.access, "out")).error_text)
    assert world.spooled() == 0


# Renamings that were due


def begin_renaming(world: World, partner: Partner, **settings: Any) -> tuple[int, Path]:
    """Bring a file, and have the database as after a crash when its renaming was due; return transfer and file."""
    target = partner.folder("in") / "daily.csv"
    transfer_id = world.add_delivery(partner.access, "in", **settings)
    world.complete_export("daily.csv", FIRST)
    assert world.run(transfer_id).state == "completed"
    with world.database.write() as connection:
        modified = transferred_file.c.modified
        connection.execute(transferred_file.update().values(modified=modified.concat(":renaming")))
    return transfer_id, target


def test_a_file_whose_renaming_was_done_is_not_brought_again(world: World, sftp: Partner) -> None:
    transfer_id, target = begin_renaming(world, sftp)
    touch(target, FIRST, HOUR)
    assert world.run(transfer_id).state == "completed"
    assert target.stat().st_mtime == HOUR


@pytest.mark.parametrize("part", [None, FIRST[:5]])
def test_a_file_that_is_lost_before_its_renaming_is_brought_anew(
    world: World, sftp: Partner, part: bytes | None
) -> None:
    transfer_id, target = begin_renaming(world, sftp)
    target.unlink()
    if part is not None:
        (target.parent / ".daily.csv.part").write_bytes(part)
    assert world.run(transfer_id).state == "completed"
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"daily.csv": FIRST}


@pytest.mark.parametrize(("may_replace", "state", "left"), [(False, "queued", b"theirs"), (True, "completed", FIRST)])
def test_a_file_of_another_size_is_not_taken_for_the_renamed_one(
    world: World, sftp: Partner, may_replace: bool, state: str, left: bytes
) -> None:
    transfer_id, target = begin_renaming(world, sftp, replace=may_replace)
    target.write_bytes(b"theirs")
    assert world.run(transfer_id).state == state
    assert target.read_bytes() == left
