"""Files fetched from partners' real servers and brought to them, over every protocol."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from partner_servers import (
    LOOPBACK,
    SSHD,
    VSFTPD,
    Certificate,
    Partner,
    ftp_partner,
    make_certificate,
    openssh_partner,
    sftp_partner,
    vsftpd_partner,
)
from sqlalchemy import select
from transfer_world import FEED, World

from audience.notices import set_contact
from db.engine import Database
from db.leases import name_owner
from db.tables import import_run, notice, schedule, transfer_run
from jobs.imports import run_next_import
from jobs.remote_access import Dialer
from jobs.remote_servers import (
    Access,
    RemoteServerError,
    UnknownRemoteServer,
    find_remote_server,
    remove_remote_server,
)
from jobs.remote_sessions import RemoteError, RemoteRefused
from jobs.schedules import enqueue_run, set_schedule
from jobs.storage import Storage
from jobs.transfers import (
    RUNS,
    TransferError,
    TransferSettings,
    UnknownTransfer,
    change_transfer,
    enqueue_deliveries,
    find_transfer,
    remove_transfer,
    transferred_files,
)

ROWS = b"email\nann@example.com\nbob@example.com\n"
_folders = itertools.count(1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


Opener = Callable[[Path, Certificate], AbstractContextManager[Partner]]
OPENERS: dict[str, Opener] = {
    "ftp": lambda path, _certificate: ftp_partner(path / "home"),
    "ftps": lambda path, certificate: ftp_partner(path / "home", "ftps", certificate),
    "ftps-implicit": lambda path, certificate: ftp_partner(path / "home", "ftps-implicit", certificate),
    "sftp": lambda path, _certificate: sftp_partner(path / "home"),
    "openssh": lambda path, _certificate: openssh_partner(path / "home", path / "work"),
    "vsftpd": lambda path, certificate: vsftpd_partner(path / "home", path / "work", certificate),
}
FOREIGN = {"openssh": SSHD, "vsftpd": VSFTPD if os.geteuid() == 0 else None}


@pytest.fixture(scope="module", params=OPENERS)
def partner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Partner]:
    """A server of each kind; a test uses a folder of its own there."""
    if request.param in FOREIGN and FOREIGN[request.param] is None:
        pytest.skip(f"{request.param} is not installed")
    path = tmp_path_factory.mktemp("partner")
    for folder in (path, *path.parents[:2]):
        folder.chmod(0o755)
    with OPENERS[request.param](path, certificate) as partner:
        yield partner


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    with sftp_partner(tmp_path_factory.mktemp("sftp")) as partner:
        yield partner


@pytest.fixture
def world(sqlite_url: str, storage: Storage) -> Iterator[World]:
    database = Database(sqlite_url)
    yield World.make(database, storage)
    database.close()


def open_folder(partner: Partner, sub: str = "") -> tuple[str, Path]:
    """Return the name of a new folder on a server, and where it is."""
    name = f"out{next(_folders)}{sub}"
    path = partner.folder(name)
    path.chmod(0o777)
    return name, path


def test_files_are_fetched_once(partner: Partner, world: World) -> None:
    name, folder = open_folder(partner)
    (folder / "people.csv").write_bytes(ROWS)
    (folder / "empty.csv").write_bytes(b"")
    (folder / "half.csv.part").write_bytes(b"half")
    (folder / "sub").mkdir()
    transfer_id = world.add_fetch(partner.access, name)
    run = world.run(transfer_id)
    assert (run.state, run.files, run.bytes, run.error_text) == ("completed", 2, len(ROWS), None)
    assert sorted(world.imports()) == [("empty.csv", b""), ("people.csv", ROWS)]
    assert world.doors() == {"remote"}
    assert world.run(transfer_id).files == 0
    (folder / "people.csv").write_bytes(ROWS + b"eve@example.com\n")
    assert world.run(transfer_id).files == 1
    assert world.imports()[-1] == ("people.csv", ROWS + b"eve@example.com\n")
    assert (folder / "people.csv").exists()


@pytest.mark.parametrize("after", ["delete", "move:done"])
def test_fetched_files_are_removed_or_moved(partner: Partner, world: World, after: str) -> None:
    name, folder = open_folder(partner)
    (folder / "done").mkdir()
    (folder / "done").chmod(0o777)
    (folder / "people.csv").write_bytes(ROWS)
    after = after.replace("done", f"{name}/done")
    transfer_id = world.add_fetch(partner.access, name, after=after)
    assert world.run(transfer_id).state == "completed"
    (folder / "people.csv").write_bytes(b"email\n")
    assert world.run(transfer_id).state == "completed"
    assert not (folder / "people.csv").exists()
    moved = sorted(path.name for path in (folder / "done").iterdir())
    assert moved == ([] if after == "delete" else ["people-1.csv", "people.csv"])
    assert [content for _, content in world.imports()] == [ROWS, b"email\n"]


def test_files_are_brought_once(partner: Partner, world: World) -> None:
    name, folder = open_folder(partner)
    transfer_id = world.add_delivery(partner.access, name)
    big = bytes(range(256)) * 4096
    world.complete_export("first.csv", big)
    world.complete_export("second.csv", b"")
    run = world.run(transfer_id)
    assert (run.state, run.files, run.bytes, run.error_text) == ("completed", 2, len(big), None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"first.csv": big, "second.csv": b""}
    (folder / "first.csv").unlink()
    assert world.run(transfer_id).files == 0
    assert [path.name for path in folder.iterdir()] == ["second.csv"]
    with world.database.read() as connection:
        files = transferred_files(connection, transfer_id)
    assert [file["sha256"] for file in files][-1] == hashlib.sha256(big).hexdigest()


def test_a_file_in_the_way_is_left_or_replaced(partner: Partner, world: World) -> None:
    name, folder = open_folder(partner)
    transfer_id = world.add_delivery(partner.access, name)
    (folder / "daily.csv").write_bytes(b"theirs")
    (folder / "daily.csv").chmod(0o666)
    world.complete_export("daily.csv", b"ours")
    world.complete_export("other.csv", b"other")
    run = world.run(transfer_id)
    assert (run.state, run.files) == ("queued", 1)
    assert "a file of that name already" in str(run.error_text)
    assert (folder / "daily.csv").read_bytes() == b"theirs"
    with world.database.write() as connection:
        change_transfer(connection, transfer_id, replace=True)
    world.make_due()
    world.work_off()
    assert world.load(run.id).state == "completed"
    if partner.access.user_name != "anonymous":
        assert (folder / "daily.csv").read_bytes() == b"ours"
    assert (folder / "other.csv").read_bytes() == b"other"


def test_on_both_databases(database: Database, storage: Storage, sftp: Partner) -> None:
    world = World.make(database, storage)
    name, folder = open_folder(sftp)
    (folder / "people.csv").write_bytes(ROWS)
    fetch = world.add_fetch(sftp.access, name, after="delete")
    assert world.run(fetch).state == "completed"
    assert run_next_import(database, storage, name_owner())
    processed = world.home / FEED / "processed"
    assert (processed / "people.csv").read_bytes() == ROWS
    assert not (world.home / FEED / "people.csv").exists()
    with database.write() as connection:
        remove_transfer(connection, fetch)
        remove_remote_server(connection, world.account.id, "partner")
    delivery = world.add_delivery(sftp.access, name)
    world.complete_export("gone.csv", b"x")
    assert enqueue_deliveries(database) == 1
    assert enqueue_deliveries(database) == 0
    world.work_off()
    assert (folder / "gone.csv").exists()
    with database.write() as connection:
        set_schedule(
            connection,
            world.account.id,
            "transfer",
            delivery,
            {"kind": "daily", "at": "02:30"},
            time_zone="UTC",
            missed="last",
        )
    world.complete_export("later.csv", b"x")
    assert enqueue_deliveries(database) == 0


# What counts as complete


def test_a_file_that_changes_in_the_quiet_time_waits(world: World, tmp_path: Path) -> None:
    root = tmp_path / "home"
    writing = [b"more", b""]

    class Writing(asyncssh.SFTPServer):
        """The file grows after the first listing."""

        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            async for entry in super().scandir(path):
                yield entry
            if writing:
                with (root / "out/people.csv").open("ab") as file:
                    file.write(writing.pop(0))

    with sftp_partner(root, lambda channel: Writing(channel, chroot=os.fsencode(root))) as partner:
        (partner.folder("out") / "people.csv").write_bytes(ROWS)
        transfer_id = world.add_fetch(partner.access, "out", quiet=0.01)
        run = world.run(transfer_id)
        assert (run.state, run.files) == ("queued", 0)
        assert "still being written" in str(run.error_text)
        assert world.imports() == []
        assert world.spooled() == 0
        world.make_due()
        world.work_off()
        assert world.load(run.id).state == "completed"
    assert world.imports() == [("people.csv", ROWS + b"more")]


TRAILED = b"email\nann@example.com\n#END 1\n"
SUM = hashlib.sha256(ROWS).hexdigest()


@pytest.mark.parametrize(
    ("profile", "files", "fetched"),
    [
        ({"completeness": "trailer"}, {"a.csv": TRAILED, "b.csv": ROWS}, ["a.csv"]),
        ({"completeness": "marker"}, {"a.csv": ROWS, "a.csv.done": b"", "b.csv": ROWS}, ["a.csv"]),
        ({"completeness": "marker"}, {"a.csv": ROWS, "a.csv.done": f"size={len(ROWS)}\n".encode()}, ["a.csv"]),
        ({"completeness": "marker"}, {"a.csv": ROWS, "a.csv.done": f"{SUM}  a.csv\n".encode()}, ["a.csv"]),
        ({"completeness": "marker"}, {"a.csv": ROWS, "a.csv.done": b"size=7\n"}, []),
        ({"completeness": "rename"}, {"a.csv": ROWS, "b.csv.tmp": ROWS}, ["a.csv"]),
        ({"pattern": "people_*.csv"}, {"people_1.csv": ROWS, "other.csv": ROWS}, ["people_1.csv"]),
    ],
)
def test_the_rule_of_the_profile_counts(
    sqlite_url: str,
    storage: Storage,
    sftp: Partner,
    profile: dict[str, Any],
    files: dict[str, bytes],
    fetched: list[str],
) -> None:
    database = Database(sqlite_url)
    world = World.make(database, storage, **profile)
    name, folder = open_folder(sftp)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    transfer_id = world.add_fetch(sftp.access, name, after="delete")
    world.run(transfer_id)
    assert [file for file, _ in world.imports()] == fetched
    assert world.spooled() == len(fetched)
    assert not any((folder / f"{file}.done").exists() for file in fetched)
    database.close()


def test_a_pattern_of_the_transfer_takes_the_place_of_the_profiles(world: World, sftp: Partner) -> None:
    name, folder = open_folder(sftp)
    for file in ("one.txt", "two.csv"):
        (folder / file).write_bytes(ROWS)
    world.run(world.add_fetch(sftp.access, name, pattern="*.TXT"))
    assert [file for file, _ in world.imports()] == ["one.txt"]


def test_only_new_files_are_brought_when_asked(world: World, sftp: Partner) -> None:
    name, folder = open_folder(sftp)
    transfer_id = world.add_delivery(sftp.access, name, new_only=True)
    world.complete_export("old.csv", b"old")
    with world.database.write() as connection:
        from db.tables import export_run

        earlier = datetime.now(UTC) - timedelta(days=1)
        connection.execute(export_run.update().values(finished_at=earlier))
    world.complete_export("new.csv", b"new")
    world.complete_export("lost.csv", b"lost")
    (world.home / "export/lost.csv").unlink()
    (world.home / "export/lost.csv").symlink_to("/etc/passwd")
    run = world.run(transfer_id)
    assert (run.state, run.error_text) == ("completed", "lost.csv is not in the home any more.")
    assert [path.name for path in folder.iterdir()] == ["new.csv"]


# Who the server is


def test_a_private_key_logs_in(world: World, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode().split()[1]
    with sftp_partner(tmp_path / "home", public_key=public) as partner:
        partner.folder("out")
        access = partner.but(password=None, private_key=key.export_private_key().decode())
        assert world.run(world.add_fetch(access, "out")).state == "completed"


def test_any_of_several_host_keys_can_be_pinned(tmp_path: Path) -> None:
    with sftp_partner(tmp_path / "home", host_keys=("ssh-rsa", "ssh-ed25519")) as partner:
        shown = Dialer(LOOPBACK).see_fingerprint(partner.access)
        assert shown not in (None, partner.access.fingerprint)
        for fingerprint in (shown, partner.access.fingerprint):
            with Dialer(LOOPBACK).open(partner.but(fingerprint=fingerprint)) as session:
                assert session.fingerprint == fingerprint


def test_an_ordinary_certificate_needs_no_pin(
    tmp_path: Path, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ftp_partner(tmp_path / "home", "ftps", certificate) as partner:
        assert Dialer(LOOPBACK).see_fingerprint(partner.access) == certificate.fingerprint
        unpinned = partner.but(fingerprint=None, host="localhost")
        with pytest.raises(RemoteRefused, match="certificate is not accepted"), Dialer(LOOPBACK).open(unpinned):
            pass
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        resolve = lambda _host, _port: ["127.0.0.1"]  # noqa: E731
        with Dialer(LOOPBACK, resolver=resolve).open(unpinned) as session:
            assert session.fingerprint == certificate.fingerprint
            assert session.list_files("", lambda _name: True).files == ()
        wrong_name = partner.but(fingerprint=None, host="other.example.com")
        with pytest.raises(RemoteRefused, match="mismatch"), Dialer(LOOPBACK, resolver=resolve).open(wrong_name):
            pass


def test_private_networks_are_refused_unless_allowed(sftp: Partner) -> None:
    with pytest.raises(RemoteRefused, match="not a public one"), Dialer().open(sftp.access):
        pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"protocol": "scp"}, "none of ftp"),
        ({"host": "a b"}, "name or address"),
        ({"host": "[::1]"}, "name or address"),
        ({"port": 0}, "1 to 65535"),
        ({"user_name": "a\r\nb"}, "control characters"),
        ({"user_name": ""}, "user name is needed"),
        ({"password": None}, "user name is needed"),
        ({"private_key": "no key"}, "cannot be read"),
        ({"fingerprint": "SHA256:short"}, "43 characters"),
        ({"protocol": "ftps", "fingerprint": "SHA256:" + "A" * 43}, "64 hex digits"),
        ({"protocol": "ftp"}, "Plain ftp has no fingerprint"),
        ({"protocol": "ftp", "fingerprint": None, "private_key": "x"}, "Only sftp"),
    ],
)
def test_what_cannot_be_an_access_is_refused(change: dict[str, Any], text: str) -> None:
    values: dict[str, Any] = {
        "protocol": "sftp",
        "host": "files.example.com",
        "port": 22,
        "user_name": "partner",
        "password": "secret word",
        "fingerprint": "SHA256:" + "A" * 43,
    }
    assert "secret" not in repr(Access(**values))
    with pytest.raises(RemoteServerError, match=text):
        Access(**values | change)


@pytest.mark.parametrize(
    "settings", [{"after": "burn"}, {"after": "move:"}, {"after": "move:../x"}, {"quiet": -1}, {"quiet": 9999}]
)
def test_what_cannot_be_settings_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TransferError):
        TransferSettings(**settings)


def test_ids_of_other_accounts_are_unknown(world: World, sftp: Partner) -> None:
    transfer_id = world.add_fetch(sftp.access, "x")
    with world.database.write() as connection:
        with pytest.raises(UnknownTransfer):
            find_transfer(connection, transfer_id, account_id=world.account.id + 1)
        with pytest.raises(UnknownRemoteServer):
            find_remote_server(connection, world.account.id + 1, "partner")
        with pytest.raises(RemoteServerError, match="Remove them first"):
            remove_remote_server(connection, world.account.id, "partner")
        with pytest.raises(TransferError, match="leads upwards"):
            change_transfer(connection, transfer_id, folder="a/../b")


# Runs


def fail_once(world: World, **changes: Any) -> tuple[int, int]:
    """Add a transfer from a server that nobody answers at; return it and its run, which waits."""
    access = Access(protocol="ftp", host="127.0.0.1", port=1, user_name="a", password="b", **changes)
    transfer_id = world.add_fetch(access, "out")
    return transfer_id, world.run(transfer_id).id


def test_a_run_is_tried_again_with_growing_pauses_for_a_day(world: World) -> None:
    with world.database.write() as connection:
        set_contact(connection, world.account.id, "ops@example.com")
    _, run_id = fail_once(world)
    pauses = []
    for hours in (0, 0.1, 1, 25):
        now = datetime.now(UTC)
        with world.database.write() as connection:
            values = {"lease_until": None, "started_at": now - timedelta(hours=hours)}
            connection.execute(transfer_run.update().values(values))
        world.work_off()
        run = world.load(run_id)
        if run.not_before is not None:
            pauses.append(round((run.not_before - now).total_seconds() / 30) * 30)
    assert pauses == [30, 360, 900]
    assert run.state == "failed"
    assert run.error_text == "It was tried for a day. The connection was not accepted."
    with world.database.read() as connection:
        found = connection.execute(select(notice.c.key, notice.c.address, notice.c.text)).one()
    assert (found.key, found.address) == (f"transfer:{run_id}", "ops@example.com")
    assert "not accepted" in found.text


def test_due_times_of_a_failing_transfer_wait_for_its_next_attempt(world: World) -> None:
    transfer_id, run_id = fail_once(world)
    with world.database.write() as connection:
        due = enqueue_run(connection, "transfer", transfer_id, datetime.now(UTC), scheduled=True)
    assert due is not None
    world.work_off()
    assert world.load(due).state == "queued"
    asked = world.run(transfer_id)
    assert asked.error_text == "The connection was not accepted."
    assert [world.load(each).state for each in (run_id, due)] == ["skipped", "skipped"]


def test_a_refused_login_is_given_up_at_once(world: World, sftp: Partner) -> None:
    run = world.run(world.add_fetch(sftp.access, "out"))
    assert run.state == "queued"  # no such folder: it may come
    with world.database.write() as connection:
        set_contact(connection, world.account.id, None)
    other = world.add_fetch(sftp.but(password="wrong"), "out", name="other")
    refused = world.run(other)
    assert (refused.state, refused.error_text) == (
        "failed",
        "The server refused the user name, the password or the key.",
    )


def test_a_run_can_be_cancelled(world: World, sftp: Partner) -> None:
    name, folder = open_folder(sftp)
    (folder / "people.csv").write_bytes(ROWS)
    transfer_id = world.add_fetch(sftp.access, name, quiet=600)
    run_id = world.request(transfer_id)
    working = threading.Thread(target=world.work_off)
    working.start()
    asked = False
    while working.is_alive():
        if not asked and world.load(run_id).state == "running":
            with world.database.write() as connection:
                asked = RUNS.request_cancel(connection, run_id)
        working.join(0.05)
    assert world.load(run_id).state == "cancelled"
    assert world.imports() == []


def test_a_worker_that_stops_puts_its_run_back(world: World, sftp: Partner) -> None:
    name, folder = open_folder(sftp)
    (folder / "people.csv").write_bytes(ROWS)
    run_id = world.request(world.add_fetch(sftp.access, name))
    stopping = threading.Event()
    stopping.set()
    from jobs.transfer_runs import run_next_transfer

    assert run_next_transfer(world.database, world.storage, name_owner(), stopping, dialer=world.dialer)
    assert world.load(run_id).state == "queued"
    world.work_off()
    assert world.load(run_id).state == "completed"


def test_one_run_at_a_time_goes_to_a_server(world: World, sftp: Partner) -> None:
    first = world.add_fetch(sftp.access, "a")
    with world.database.write() as connection:
        from jobs.transfers import add_fetch

        settings = TransferSettings(quiet=0)
        second = add_fetch(connection, world.account, "partner", folder="b", into=FEED, settings=settings)
    world.request(first)
    waiting = world.request(second)
    with world.database.write() as connection:
        assert RUNS.claim(connection, name_owner()) is not None
    world.work_off()
    assert world.load(waiting).state == "queued"


def test_removing_a_transfer_forgets_all_of_it(world: World, sftp: Partner) -> None:
    name, folder = open_folder(sftp)
    (folder / "people.csv").write_bytes(ROWS)
    transfer_id = world.add_fetch(sftp.access, name)
    world.run(transfer_id)
    with world.database.write() as connection:
        remove_transfer(connection, transfer_id)
        assert connection.execute(select(transfer_run.c.id)).all() == []
        assert connection.execute(select(schedule.c.id)).all() == []
        assert len(connection.execute(select(import_run.c.id)).all()) == 1
        with pytest.raises(UnknownTransfer):
            remove_transfer(connection, transfer_id)


def test_no_sftp_without_a_pinned_key(sftp: Partner) -> None:
    with pytest.raises(RemoteError, match="pinned host key"), Dialer(LOOPBACK).open(sftp.but(fingerprint=None)):
        pass
