"""Partners' servers that lie, stall and attack, and crashes at every step of a transfer."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from partner_servers import (
    LOOPBACK,
    PASSWORD,
    Data,
    Hang,
    HangUp,
    Partner,
    Script,
    ftp_partner,
    make_certificate,
    scripted_partner,
    sftp_partner,
)
from sqlalchemy import event
from transfer_world import World

from db.engine import Database
from db.leases import name_owner
from db.tables import transfer_run
from jobs.remote_access import Dialer
from jobs.remote_servers import Access
from jobs.remote_sessions import Patience, RemoteError, RemoteRefused, RemoteSession
from jobs.storage import Storage
from jobs.transfer_runs import run_next_transfer

ROWS = b"email\nann@example.com\n"
HASTY = Patience(connect=5.0, step=1.0, listing=5.0)
"""For servers that answer nothing; the others get all the time that a busy machine needs."""
BAD_NAMES = (
    b"../escape.csv",
    b"/etc/absolute.csv",
    b"sub/folder.csv",
    b"..\\windows.csv",
    b"..",
    b".hidden.csv",
    b"~root.csv",
    b"line\rbreak.csv",
    b"null\0byte.csv",
    b"escape\x1b[31m.csv",
    b"\xff\xfelatin.csv",
    b"over\xc0\xaflong.csv",
    b"a" * 201 + b".csv",
    "right\u202eleft.csv".encode(),
    b"",
)


@pytest.fixture
def world(sqlite_url: str, storage: Storage) -> Iterator[World]:
    database = Database(sqlite_url)
    yield World.make(database, storage, Patience())
    database.close()


def line(name: bytes, size: int = len(ROWS)) -> bytes:
    return b"type=file;size=%d;modify=20260101000000; %s\r\n" % (size, name)


# Names


def test_names_that_lead_elsewhere_are_left(world: World, tmp_path: Path) -> None:
    listing = [line(name) for name in BAD_NAMES] + [line(b"good.csv"), b"type=dir; sub\r\n", b"rubbish\r\n", b"\r\n"]
    script = Script(listing=[b"".join(listing)], files={"good.csv": ROWS}, answers={"DELE": b"250 Gone.\r\n"})
    with scripted_partner(script) as access:
        run = world.run(world.add_fetch(access, "out", after="delete", pattern="*"))
    assert [name for name, _ in world.imports()] == ["good.csv"]
    assert str(run.error_text).startswith(f"{len(BAD_NAMES)} names")
    named = {command.partition(" ")[2] for command in script.commands if command.split()[0] in ("RETR", "DELE", "MLST")}
    assert named == {"/out/good.csv"}
    assert not list(tmp_path.rglob("*escape*"))
    assert sorted(path.name for path in (world.home / "import/1").iterdir()) == ["failed", "incomplete", "processed"]


def test_names_of_a_hostile_sftp_server_are_left(world: World, tmp_path: Path) -> None:
    class Hostile(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            attributes = asyncssh.SFTPAttrs(size=len(ROWS), permissions=0o100644, mtime=1, atime=1)
            for name in (*BAD_NAMES, b"good.csv"):
                yield asyncssh.SFTPName(name, attrs=attributes)

    root = tmp_path / "home"
    with sftp_partner(root, lambda channel: Hostile(channel, chroot=os.fsencode(root))) as partner:
        path = partner.folder("out") / "good.csv"
        path.write_bytes(ROWS)
        os.utime(path, (1, 1))
        run = world.run(world.add_fetch(partner.access, "out", pattern="*"))
    assert (run.state, run.files) == ("completed", 1)
    assert str(run.error_text).startswith(f"{len(BAD_NAMES)} names")


def test_a_hundred_thousand_entries_are_listed(world: World) -> None:
    listing = (
        b"".join(line(b"%d.txt" % number) for number in range(first, first + 1000)) for first in range(0, 100_000, 1000)
    )
    script = Script(listing=itertools.chain(listing, [line(b"good.csv")]), files={"good.csv": ROWS})
    with scripted_partner(script) as access:
        assert world.run(world.add_fetch(access, "out", pattern="*.csv")).files == 1


# Sizes and endings


@pytest.mark.parametrize(
    ("listed", "text"), [(len(ROWS) - 1, "longer than it was listed"), (len(ROWS) + 1, "came instead of the")]
)
def test_a_size_that_lies_is_not_believed(world: World, listed: int, text: str) -> None:
    script = Script(listing=[line(b"lie.csv", listed)], files={"lie.csv": ROWS})
    with scripted_partner(script) as access:
        run = world.run(world.add_fetch(access, "out"))
    assert (run.state, run.files) == ("queued", 0)
    assert text in str(run.error_text)
    assert world.imports() == []
    assert world.spooled() == 0


def test_a_file_that_is_replaced_while_it_is_fetched_waits(world: World) -> None:
    script = Script(listing=[line(b"a.csv")], files={"a.csv": ROWS})
    script.answers["MLST"] = b"250-\r\n type=file;size=%d;modify=20270101000000; a.csv\r\n250 End\r\n" % len(ROWS)
    with scripted_partner(script) as access:
        run = world.run(world.add_fetch(access, "out"))
    assert "changed while it was fetched" in str(run.error_text)
    assert world.imports() == []


ENDLESS: dict[str, Callable[[], Data]] = {
    "entries": lambda: itertools.repeat(line(b"a.txt") * 2000),
    "line": lambda: itertools.repeat(b"x" * 65536),
}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (Script(greeting=Hang()), "did not answer in time"),
        (Script(greeting=HangUp()), "closed the connection"),
        (Script(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak FTP"),
        (Script(greeting=b"220-" + b"x" * 100_000), "does not speak FTP"),
        (Script(greeting=b"220 \xff\xfe\r\n"), "does not speak FTP"),
        (Script(answers={"PWD": b"257-more\r\n" * 5000}), "does not speak FTP"),
        (Script(answers={"CWD": b"421 Timeout.\r\n"}), "ended the session"),
        (Script(answers={"CWD": b"550 secret word is wrong.\r\n"}), "answer 550"),
        (Script(answers={"PASV": b"227 Nowhere.\r\n"}), "does not speak FTP"),
        (Script(answers={"PASV": b"227 (10,0,0,1,0,1).\r\n"}), "closed the connection"),
        (Script(answers={"MLSD": Hang()}), "did not answer in time"),
        (Script(answers={"RETR": HangUp()}, listing=[line(b"a.csv")]), "closed the connection"),
        (Script(listing=[line(b"a.csv")], files={"a.csv": ROWS}, cut_after=30), "closed the connection"),
        (Script(listing=[line(b"a.csv")], files={"a.csv": ROWS}, cut_after=9), "closed the connection"),
        pytest.param(Script(listing=ENDLESS["entries"]()), "more than 250000 entries", marks=pytest.mark.torture),
        (Script(listing=ENDLESS["line"]()), "did not list the folder"),
    ],
)
def test_a_server_that_fails_is_tried_again(world: World, script: Script, text: str) -> None:
    if any(isinstance(answer, Hang) for answer in (script.greeting, *script.answers.values())):
        world.dialer = Dialer(LOOPBACK, patience=HASTY)
    with scripted_partner(script) as access:
        run = world.run(world.add_fetch(access, "out"))
    assert (run.state, run.files) == ("queued", 0)
    assert text in str(run.error_text)
    assert PASSWORD not in str(run.error_text)
    assert world.imports() == []
    assert world.spooled() == 0


def test_an_answer_without_an_end_is_not_read_to_it(world: World) -> None:
    with scripted_partner(Script(answers={"USER": b"331-" + b"x" * 40_000})) as access, pytest.raises(RemoteError):
        world.dialer.open(access).__enter__()


# Who the server is


def refuse(access: Access, text: str) -> None:
    with pytest.raises(RemoteRefused, match=text), Dialer(LOOPBACK).open(access):
        pass


def test_another_host_key_is_refused_before_anything_secret_is_sent(world: World, tmp_path: Path) -> None:
    with sftp_partner(tmp_path / "home") as partner:
        other = partner.but(fingerprint="SHA256:" + "A" * 43)
        refuse(other, "another host key")
        run = world.run(world.add_fetch(other, "out"))
    assert run.state == "failed"
    assert str(partner.access.fingerprint) in str(run.error_text)


def test_another_or_an_expired_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expired = make_certificate(tmp_path / "expired", expired=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(expired.authority))
    with ftp_partner(tmp_path / "home", "ftps", expired) as partner:
        refuse(partner.but(fingerprint=None), "expired")
        refuse(partner.but(fingerprint="sha256:" + "0" * 64), "another certificate")
        with Dialer(LOOPBACK).open(partner.access) as session:
            assert session.fingerprint == expired.fingerprint


def test_a_server_without_tls_is_not_spoken_to_in_plain_text() -> None:
    script = Script(answers={"AUTH": b"502 No.\r\n"})
    with scripted_partner(script) as access:
        plain = Access(protocol="ftps", host=access.host, port=access.port, user_name="a", password="b")
        with pytest.raises(RemoteError), Dialer(LOOPBACK, patience=HASTY).open(plain):
            pass
    assert [command.split()[0] for command in script.commands] == ["AUTH"]


# Crashes


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Lets a number of steps pass, and ends the process at the next."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, *_arguments: Any) -> None:
        self.left -= 1
        if self.left == -1:
            raise Crash


class FusedDialer(Dialer):
    """Opens sessions in which each step may be the last, before the server does it and after."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__(LOOPBACK)
        self._fuse = fuse

    @contextmanager
    def open(self, access: Access) -> Iterator[RemoteSession]:
        with super().open(access) as session:
            for name in ("list_files", "find", "fetch", "put", "rename", "remove"):
                setattr(session, name, self._guard(getattr(session, name)))
            yield session

    def _guard(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self._fuse.step()
            result = method(*arguments, **options)
            self._fuse.step()
            return result

        return guarded


def run_and_crash(world: World, transfer_id: int, steps: int) -> bool:
    """Run a transfer until its step of that number, and let another process take over; tell whether it came so far."""
    world.request(transfer_id)
    fuse = Fuse(steps)
    event.listen(world.database.engine, "commit", fuse.step)
    try:
        run_next_transfer(world.database, world.storage, name_owner(), dialer=FusedDialer(fuse))
    except Crash:
        pass
    finally:
        event.remove(world.database.engine, "commit", fuse.step)
    with world.database.write() as connection:
        gone = {"lease_until": datetime.now(UTC) - timedelta(minutes=2)}
        connection.execute(transfer_run.update().where(transfer_run.c.state == "running").values(gone))
    for _ in range(3):
        world.work_off()
        world.make_due()
    return fuse.left < 0


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    with sftp_partner(tmp_path_factory.mktemp("crash")) as partner:
        yield partner


STRIDES = pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.torture)])


def walk_steps(sqlite_template: Path, tmp_path: Path, stride: int) -> Iterator[tuple[int, World]]:
    """Yield numbers of steps, each with a new world."""
    for steps in itertools.count(0, stride):
        place = tmp_path / str(steps)
        place.mkdir()
        (place / "listbridge.db").write_bytes(sqlite_template.read_bytes())
        database = Database(f"sqlite:///{place / 'listbridge.db'}")
        storage = Storage(place / "data", reserve=0)
        storage.prepare()
        yield steps, World.make(database, storage)
        database.close()


@STRIDES
@pytest.mark.parametrize("after", ["keep", "delete", "move:done"])
def test_a_crash_at_any_step_of_fetching(
    sqlite_template: Path, tmp_path: Path, sftp: Partner, after: str, stride: int
) -> None:
    for steps, world in walk_steps(sqlite_template, tmp_path, stride):
        name = f"{after[:4]}{stride}-{steps}"
        folder = sftp.folder(name)
        done = sftp.folder(f"{name}done")
        for file in ("a.csv", "b.csv"):
            (folder / file).write_bytes(file.encode())
        transfer_id = world.add_fetch(sftp.access, name, after=after.replace("done", f"{name}done"))
        crashed = run_and_crash(world, transfer_id, steps)
        assert sorted(world.imports()) == [("a.csv", b"a.csv"), ("b.csv", b"b.csv")], steps
        assert world.spooled() == 2
        assert sorted(path.name for path in folder.iterdir()) == (["a.csv", "b.csv"] if after == "keep" else []), steps
        assert sorted(path.name for path in done.iterdir()) == (["a.csv", "b.csv"] if after[0] == "m" else []), steps
        if not crashed:
            break
    assert steps > 10


@STRIDES
@pytest.mark.parametrize("replace", [False, True])
def test_a_crash_at_any_step_of_bringing(
    sqlite_template: Path, tmp_path: Path, sftp: Partner, replace: bool, stride: int
) -> None:
    for steps, world in walk_steps(sqlite_template, tmp_path, stride):
        name = f"in{replace}{stride}-{steps}"
        folder = sftp.folder(name)
        transfer_id = world.add_delivery(sftp.access, name, replace=replace)
        world.complete_export("a.csv", b"first")
        world.complete_export("b.csv", b"second")
        crashed = run_and_crash(world, transfer_id, steps)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.csv": b"first", "b.csv": b"second"}
        (folder / "a.csv").unlink()
        world.run(transfer_id)
        assert [path.name for path in folder.iterdir()] == ["b.csv"], steps
        if not crashed:
            break
    assert steps > 10


def test_a_file_is_never_half_visible_under_its_name(world: World, tmp_path: Path) -> None:
    seen: list[tuple[str, ...]] = []
    root = tmp_path / "home"

    class Watching(asyncssh.SFTPServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            seen.append(tuple(sorted(path.name for path in (root / "in").iterdir())))
            return super().write(file_obj, offset, data)  # type: ignore[return-value]

    with sftp_partner(root, lambda channel: Watching(channel, chroot=os.fsencode(root))) as partner:
        partner.folder("in")
        transfer_id = world.add_delivery(partner.access, "in")
        world.complete_export("big.csv", b"x" * 3_000_000)
        assert world.run(transfer_id).state == "completed"
    assert set(seen) == {(".big.csv.part",)}
    assert (root / "in/big.csv").stat().st_size == 3_000_000
