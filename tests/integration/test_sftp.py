"""The SFTP and SCP door, over real connections: logging in, what is offered, and all that is done with files."""

from __future__ import annotations

import asyncio
import inspect
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import FXF_APPEND, FXF_CREAT, FXF_EXCL, FXF_WRITE
from ftp_doors import DEADLINE, USER, Office, wait_until
from ftp_doors import store as store_ftp
from sftp_doors import client, connect, open_sftp_office, run, store

from audience.ftp_users import FtpRights, add_key, set_rights
from ftp_server.ftp import FtpOptions, run_ftp_server
from ftp_server.host_keys import make_host_keys, read_host_keys
from ftp_server.sftp import MAX_FOLDERS, MAX_KEYS, MAX_PASSWORDS, SftpOptions
from ftp_server.sftp_files import MAX_FILES, Files
from ftp_server.sftp_uploads import MAX_AHEAD, MEASURED_EVERY
from jobs.storage import Storage

CONTENT = b"email\n" + b"ann@example.com\n" * 12_500
HALF = CONTENT[: len(CONTENT) // 2]
NAME = "people.csv"

Work = Callable[[asyncssh.SFTPClient], Awaitable[Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_sftp_office(tmp_path_factory.mktemp("sftp")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Iterator[Office]:
    yield server.with_list()
    give_rights(server)


def give_rights(office: Office, **rights: Any) -> None:
    with office.database.write() as connection:
        set_rights(connection, USER, FtpRights(**rights))


def with_client(office: Office, work: Work) -> Any:
    async def log_in_and_work() -> Any:
        async with client(office) as sftp:
            return await work(sftp)

    return run(log_in_and_work())


def refusal(office: Office, work: Work) -> asyncssh.SFTPError:
    with pytest.raises(asyncssh.SFTPError) as caught:
        with_client(office, work)
    return caught.value


# Uploads


def test_a_closed_file_is_imported_once(office: Office) -> None:
    with_client(office, lambda sftp: store(sftp, office.path(NAME), CONTENT))
    wait_until(office.imports)
    wait_until(office.is_idle)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.arrivals() == [(NAME, True, len(CONTENT))]
    assert office.doors() == ["sftp"]
    assert office.visible() == {NAME}
    assert office.reasons() == ["The client closed the file over SFTP."]


def test_parts_may_come_in_any_order(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        blocks = [(at, CONTENT[at : at + 10_000]) for at in range(0, len(CONTENT), 10_000)]
        async with sftp.open(office.path(NAME), "wb") as file:
            for at, block in blocks[1::2] + blocks[::2] + blocks[3:5]:
                await file.write(block, at)

    with_client(office, upload)
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_with_a_gap_is_put_aside(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open(office.path(NAME), "wb") as file:
            await file.write(CONTENT[:1000], 0)
            await file.write(CONTENT[1001:], 1001)

    assert "Parts in the middle of the file never came." in refusal(office, upload).reason
    assert office.arrivals() == [(NAME, False, len(CONTENT))]
    assert office.visible() == set()


def test_blocks_far_away_are_refused(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open(office.path(NAME), "wb") as file:
            with pytest.raises(asyncssh.SFTPFailure, match="no usable order"):
                await file.write(b"x", MAX_AHEAD + 1)
            with pytest.raises(asyncssh.SFTPFailure, match="no usable order"):
                for number in range(2000):
                    await file.write(b"x", 2 * number + 1)

    assert "Parts in the middle" in refusal(office, upload).reason


def test_a_refused_block_is_a_gap_even_if_nothing_else_shows_it(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open(office.path(NAME), "wb") as file:
            await file.write(CONTENT[:100], 0)
            with pytest.raises(asyncssh.SFTPFailure, match="no usable order"):
                await file.write(b"x", MAX_AHEAD + 1000)

    assert "Parts in the middle" in refusal(office, upload).reason
    assert office.arrivals() == [(NAME, False, 100)]
    assert office.imports() == []


def test_an_empty_file_that_is_closed_is_complete(office: Office) -> None:
    with_client(office, lambda sftp: store(sftp, office.path(NAME), b""))
    wait_until(office.arrivals)
    assert office.arrivals() == [(NAME, True, 0)]


def test_two_sessions_write_one_name_and_both_are_imported_or_put_aside(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        async with client(office) as other:
            first, second = [await session.open(office.path(NAME), "wb") for session in (sftp, other)]
            await first.write(CONTENT)
            await second.write(HALF)
            await second.close()
            await first.close()

    with_client(office, upload)
    wait_until(lambda: len(office.imports()) == 2)
    assert office.imports() == [(NAME, HALF), (NAME, CONTENT)]
    assert (office.folder / NAME).read_bytes() == CONTENT


def test_what_is_removed_or_renamed_during_an_upload_is_the_earlier_file(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        await store(sftp, office.path("a.part"), HALF)
        async with sftp.open(office.path("a.part"), "wb") as file:
            await file.write(CONTENT)
            await sftp.posix_rename(office.path("a.part"), office.path("earlier.csv"))
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.remove(office.path("a.part"))
        await sftp.posix_rename(office.path("a.part"), office.path(NAME))

    with_client(office, upload)
    wait_until(lambda: len(office.imports()) == 2)
    assert office.imports() == [("earlier.csv", HALF), (NAME, CONTENT)]


def test_a_session_opens_a_limited_number_of_files(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        for number in range(MAX_FILES):
            await sftp.open(office.path(f"{number}.part"), "wb")
        with pytest.raises(asyncssh.SFTPFailure, match="files open"):
            await sftp.open(office.path("more.part"), "wb")

    with_client(office, upload)
    wait_until(office.is_idle)


# Going on with an upload


def leave_half(office: Office) -> None:
    async def upload() -> None:
        async with connect(office) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(office.path(NAME), "wb")
            await file.write(HALF)
            connection.abort()

    run(upload())
    wait_until(office.arrivals)
    assert office.arrivals() == [(NAME, False, len(HALF))]
    assert office.incomplete() == {NAME: HALF}


@pytest.mark.parametrize("flags", [FXF_WRITE, FXF_WRITE | FXF_CREAT, FXF_WRITE | FXF_APPEND])
def test_an_incomplete_file_is_continued(office: Office, flags: int) -> None:
    leave_half(office)

    async def resume(sftp: asyncssh.SFTPClient) -> None:
        size = (await sftp.stat(office.path(NAME))).size or 0
        async with sftp.open(office.path(NAME), flags, encoding=None) as file:
            await file.write(CONTENT[size:], size)

    with_client(office, resume)
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.incomplete() == {}


@pytest.mark.parametrize("begin", [0, 1000])
def test_a_shorter_file_does_not_end_with_what_was_left_of_a_longer_one(office: Office, begin: int) -> None:
    leave_half(office)
    shorter = CONTENT[: len(HALF) // 2]

    async def upload(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open(office.path(NAME), FXF_WRITE | FXF_CREAT, encoding=None) as file:
            for at in range(begin, len(shorter), 10_000):
                await file.write(shorter[at : at + 10_000], at)

    with_client(office, upload)
    wait_until(office.imports)
    assert office.imports() == [(NAME, shorter)]


def test_a_file_that_is_being_imported_is_not_continued(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        await store(sftp, office.path(NAME), CONTENT)
        async with sftp.open(office.path(NAME), "ab") as file:
            await file.write(b"more")

    assert "is being imported" in refusal(office, upload).reason
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_file_that_ftp_has_still_to_judge_is_not_continued(office: Office) -> None:
    with office.client() as ftp:
        store_ftp(ftp, office.path(NAME), CONTENT)
        assert "being judged" in refusal(office, lambda sftp: sftp.open(office.path(NAME), "ab")).reason


def test_flags_of_opening(office: Office) -> None:
    async def upload(sftp: asyncssh.SFTPClient) -> None:
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await sftp.open(office.path("new.part"), FXF_WRITE)
        await store(sftp, office.path("new.part"), b"1")
        with pytest.raises(asyncssh.SFTPFailure, match="of that name already"):
            await sftp.open(office.path("new.part"), FXF_WRITE | FXF_CREAT | FXF_EXCL)
        async with sftp.open(office.path("other.part"), FXF_WRITE | FXF_CREAT | FXF_EXCL, encoding=None) as file:
            await file.write(b"2")
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await file.read()
        async with sftp.open(office.path("other.part"), "rb") as file:
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await file.write(b"3")

    with_client(office, upload)


# Rules


def test_the_rule_size_is_content_with_close(office: Office) -> None:
    office.set_profile(completeness="size")
    with_client(office, lambda sftp: store(sftp, office.path(NAME), CONTENT))
    wait_until(office.imports)


def test_the_rule_rename(office: Office) -> None:
    office.set_profile(completeness="rename")

    async def upload(sftp: asyncssh.SFTPClient) -> None:
        await store(sftp, office.path(NAME), CONTENT)
        assert office.imports() == []
        await sftp.rename(office.path(NAME), office.path("final.csv"))

    with_client(office, upload)
    wait_until(office.imports)
    assert office.imports() == [("final.csv", CONTENT)]
    assert office.doors() == ["sftp"]


@pytest.mark.parametrize("end", [b"", b"TRAILER 12500\n"])
def test_the_rule_trailer(office: Office, end: bytes) -> None:
    office.set_profile(completeness="trailer", trailer="TRAILER [0-9]+")
    if end:
        with_client(office, lambda sftp: store(sftp, office.path(NAME), CONTENT + end))
        wait_until(office.imports)
    else:
        reason = refusal(office, lambda sftp: store(sftp, office.path(NAME), CONTENT)).reason
        assert "not the trailer" in reason
    assert office.arrivals() == [(NAME, bool(end), len(CONTENT + end))]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("marker", [b"", f"size={len(CONTENT)}\n".encode()])
def test_the_rule_marker(office: Office, first: bool, marker: bytes) -> None:
    office.set_profile(completeness="marker")
    files = [(NAME, CONTENT), (f"{NAME}.done", marker)]

    async def upload(sftp: asyncssh.SFTPClient) -> None:
        for name, content in files[::-1] if first else files:
            assert office.imports() == []
            await store(sftp, office.path(name), content)

    with_client(office, upload)
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]


# Names, folders and their descriptions


def test_a_rename_replaces_only_where_the_protocol_says_so(office: Office) -> None:
    async def work(sftp: asyncssh.SFTPClient) -> None:
        await store(sftp, office.path("a.part"), b"a")
        await store(sftp, office.path("b.part"), b"b")
        with pytest.raises(asyncssh.SFTPFailure, match="of that name already"):
            await sftp.rename(office.path("a.part"), office.path("b.part"))
        await sftp.posix_rename(office.path("a.part"), office.path("b.part"))
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await sftp.posix_rename(office.path("a.part"), office.path("c.part"))

    with_client(office, work)
    assert (office.folder / "b.part").read_bytes() == b"a"


def test_folders(office: Office) -> None:
    async def work(sftp: asyncssh.SFTPClient) -> None:
        await sftp.mkdir("notes")
        await store(sftp, "notes/a.txt", b"1")
        with pytest.raises(asyncssh.SFTPFailure, match="not empty"):
            await sftp.rmdir("notes")
        await sftp.posix_rename("notes", "letters")
        assert [name for name in await sftp.listdir("letters") if not str(name).startswith(".")] == ["a.txt"]
        await sftp.remove("letters/a.txt")
        await sftp.rmdir("letters")
        assert not await sftp.exists("letters")

    with_client(office, work)


def test_folders_are_read_piece_by_piece_and_few_at_a_time(office: Office) -> None:
    names = {f"{number}.txt" for number in range(300)}
    (office.home / "many").mkdir()
    for name in names:
        (office.home / "many" / name).touch()

    async def work(sftp: asyncssh.SFTPClient) -> None:
        handles = [await sftp._handler.opendir(b"/many") for _number in range(MAX_FOLDERS)]
        assert len((await sftp._handler.readdir(handles[0]))[0]) < len(names)
        with pytest.raises(asyncssh.SFTPFailure, match="folders at a time"):
            await sftp._handler.opendir(b"/many")
        await sftp._handler.close(handles[0])
        assert {str(name) for name in await sftp.listdir("many")} - {".", ".."} == names

    with_client(office, work)


REFUSED_PLACES: list[tuple[str, Callable[[asyncssh.SFTPClient, str], Awaitable[Any]]]] = [
    ("remove the folder of a list", lambda sftp, folder: sftp.rmdir(folder)),
    ("remove import", lambda sftp, folder: sftp.rmdir("import")),
    ("remove a folder with remove", lambda sftp, folder: sftp.remove(folder)),
    ("rename the folder of a list", lambda sftp, folder: sftp.rename(folder, "mine")),
    ("rename into import", lambda sftp, folder: sftp.rename("letters", f"{folder}/letters")),
    ("make a list's folder", lambda sftp, folder: sftp.mkdir("import/999")),
    ("make a folder of the server", lambda sftp, folder: sftp.mkdir(f"{folder}/processed/x")),
    ("upload to export", lambda sftp, folder: store(sftp, "export/x.csv", b"")),
    ("upload to import", lambda sftp, folder: store(sftp, "import/x.csv", b"")),
    ("upload to incomplete", lambda sftp, folder: store(sftp, f"{folder}/incomplete/x.csv", b"")),
    ("upload to nowhere", lambda sftp, folder: store(sftp, "nowhere/x.csv", b"")),
    ("upload over a folder", lambda sftp, folder: store(sftp, folder, b"")),
    ("read a folder", lambda sftp, folder: sftp.open(folder, "rb")),
    ("truncate", lambda sftp, folder: sftp.truncate("letters/a.txt", 1)),
    ("make a symbolic link", lambda sftp, folder: sftp.symlink("letters", "link")),
    ("make a hard link", lambda sftp, folder: sftp.link("letters/a.txt", "letters/b.txt")),
    ("read a link", lambda sftp, folder: sftp.readlink("letters")),
]


@pytest.mark.parametrize(("about", "work"), REFUSED_PLACES, ids=[about for about, _work in REFUSED_PLACES])
def test_places_and_requests_that_are_refused(
    office: Office, about: str, work: Callable[[asyncssh.SFTPClient, str], Awaitable[Any]]
) -> None:
    (office.home / "letters").mkdir(exist_ok=True)
    (office.home / "letters" / "a.txt").write_bytes(b"12")
    refused = refusal(office, lambda sftp: work(sftp, office.path()))
    assert str(office.home) not in refused.reason
    assert office.folder.is_dir()
    assert {path.name for path in (office.home / "letters").iterdir()} == {"a.txt"}
    assert not (office.home / "link").exists()


def test_descriptions_say_nothing_about_the_machine(office: Office) -> None:
    (office.home / "letters").mkdir(exist_ok=True)
    (office.home / "letters" / "a.txt").write_bytes(b"12")
    (office.home / "letters" / "link").symlink_to("/etc/passwd")

    async def work(sftp: asyncssh.SFTPClient) -> tuple[Any, ...]:
        names = await sftp.readdir("letters")
        return await sftp.stat("letters/a.txt"), await sftp.realpath("letters/../letters/./x"), names

    attrs, path, names = with_client(office, work)
    assert (attrs.size, attrs.uid, attrs.gid, stat.filemode(attrs.permissions)) == (2, 0, 0, "-rw-------")
    assert path == "/letters/x"
    assert [name.filename for name in names] == ["a.txt"]
    assert " ftp      ftp " in names[0].longname
    (office.home / "letters" / "link").unlink()


def test_times_are_kept_and_modes_are_not(office: Office) -> None:
    async def work(sftp: asyncssh.SFTPClient) -> None:
        async with sftp.open(office.path("a.part"), "wb") as file:
            await file.write(b"1")
            await file.utime((1_000_000, 1_500_000))
        await sftp.chmod(office.path("a.part"), 0o4777)
        await sftp.chown(office.path("a.part"), 0, 0)

    with_client(office, work)
    found = (office.folder / "a.part").stat()
    assert found.st_mtime == 1_500_000
    assert stat.S_IMODE(found.st_mode) & 0o7133 == 0
    with_client(office, lambda sftp: sftp.utime(office.path("a.part"), (2_000_000, 2_500_000)))
    assert (office.folder / "a.part").stat().st_mtime == 2_500_000


def test_a_file_just_sent_is_described_when_its_import_has_moved_it(office: Office) -> None:
    async def work(sftp: asyncssh.SFTPClient) -> int | None:
        await store(sftp, office.path(NAME), CONTENT)
        (office.folder / NAME).rename(office.folder / "processed" / NAME)
        await sftp.utime(office.path(NAME), (1, 1))
        return (await sftp.stat(office.path(NAME))).size

    assert with_client(office, work) == len(CONTENT)
    assert isinstance(refusal(office, lambda sftp: sftp.stat(office.path(NAME))), asyncssh.SFTPNoSuchFile)


def test_files_are_read(office: Office) -> None:
    (office.home / "export" / "people.csv").write_bytes(CONTENT)

    async def work(sftp: asyncssh.SFTPClient) -> Any:
        async with sftp.open("export/people.csv", "rb", encoding=None) as file:
            assert (await file.stat()).size == len(CONTENT)
            return await file.read()

    assert with_client(office, work) == CONTENT
    assert with_client(office, lambda sftp: sftp.statvfs("."))


def test_every_request_of_the_library_is_answered_here() -> None:
    asked = {name for name, _ in inspect.getmembers(asyncssh.SFTPServer, inspect.isfunction) if name[0] != "_"}
    inherited = {"convert_attrs", "format_longname", "map_path", "reverse_map_path"}
    assert asked - set(vars(Files)) == inherited


# What is offered


async def refuse_all(connection: asyncssh.SSHClientConnection) -> None:
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: connection.create_process(),
        lambda: connection.create_process("id"),
        lambda: connection.create_process("scp"),
        lambda: connection.create_process("sh -c 'scp -t .'"),
        lambda: connection.create_process(term_type="xterm"),
        lambda: connection.create_process(subsystem="shell"),
        lambda: connection.open_connection("127.0.0.1", 22),
        lambda: connection.start_server(lambda *_: None, "127.0.0.1", 0),
        lambda: connection.open_unix_connection("/run/x"),
        lambda: connection.start_unix_server(lambda *_: None, "listbridge.socket"),
        lambda: connection.open_tun(),
    ]
    for attempt in attempts:
        with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ChannelListenError)):
            await attempt()


def test_nothing_but_sftp_and_scp_is_offered(office: Office) -> None:
    async def work() -> None:
        async with connect(office) as connection:
            await refuse_all(connection)
            assert connection.get_extra_info("server_version") == "SSH-2.0-Listbridge"
            process = await connection.create_process("scp -x; id > /tmp/x", encoding=None)
            assert (await process.wait()).stdout == b"\x02scp: This is no scp command of a client.\n"

    run(work())


def test_a_connection_has_a_limited_number_of_sessions(office: Office) -> None:
    async def work() -> None:
        async with connect(office) as connection:
            for _number in range(10):
                await connection.start_sftp_client()
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.start_sftp_client()

    run(work())


# Logging in


@asynccontextmanager
async def expect_denied() -> AsyncIterator[None]:
    with pytest.raises((asyncssh.PermissionDenied, asyncssh.DisconnectError, ConnectionResetError)):
        yield


WRONG_LOGINS: list[dict[str, Any]] = [
    {"password": "wrong"},
    {"username": "nobody"},
    {"username": "é" * 100},
    {"password": "x" * 5000},
]


def test_wrong_passwords_and_unknown_users_are_refused(office: Office) -> None:
    async def work() -> None:
        for wrong in WRONG_LOGINS:
            async with expect_denied(), connect(office, **wrong):
                pass

    run(work())
    with_client(office, lambda sftp: sftp.listdir("/"))


def test_public_keys(office: Office) -> None:
    mine, other = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    with office.database.write() as connection:
        add_key(connection, USER, mine.export_public_key().decode(), mine.get_fingerprint())

    wrong_logins: list[dict[str, Any]] = [{"client_keys": [other]}, {"client_keys": [mine], "username": "nobody"}]

    async def work() -> None:
        async with client(office, client_keys=[other, mine], password=None) as sftp:
            assert "import" in await sftp.listdir("/")
        for wrong in wrong_logins:
            async with expect_denied(), connect(office, **{"password": None, **wrong}):
                pass

    run(work())


def test_attempts_of_one_connection_are_limited(office: Office) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _number in range(MAX_KEYS + 1)]

    class Guesser(asyncssh.SSHClient):
        asked = 0

        def password_auth_requested(self) -> str:
            Guesser.asked += 1
            return "wrong"

    async def work() -> None:
        async with expect_denied():
            await asyncssh.connect(*office.sftp_addresses[-1], client_factory=Guesser, username="guess", **QUIETLY)
        async with expect_denied(), connect(office, client_keys=keys):
            pass

    run(work())
    assert Guesser.asked <= MAX_PASSWORDS


QUIETLY: dict[str, Any] = {"known_hosts": None, "client_keys": None, "config": None, "agent_path": None}


def test_rights(office: Office) -> None:
    (office.home / "export" / "people.csv").write_bytes(CONTENT)
    give_rights(office, may_write=False)
    writes: list[Work] = [
        lambda sftp: store(sftp, office.path(NAME), b""),
        lambda sftp: sftp.mkdir("new"),
        lambda sftp: sftp.remove("export/people.csv"),
        lambda sftp: sftp.rmdir("letters"),
        lambda sftp: sftp.utime("export/people.csv", (1, 1)),
        lambda sftp: sftp.posix_rename("export/people.csv", "export/other.csv"),
    ]
    for work in writes:
        assert isinstance(refusal(office, work), asyncssh.SFTPPermissionDenied)
    give_rights(office, may_read=False)
    assert isinstance(refusal(office, lambda sftp: sftp.open("export/people.csv")), asyncssh.SFTPPermissionDenied)
    with_client(office, lambda sftp: store(sftp, office.path(NAME), CONTENT))


def test_who_may_not_come_in_is_told_so(office: Office) -> None:
    for rights in ({"active": False}, {"networks": ("192.0.2.0/24",)}):
        give_rights(office, **rights)

        async def work() -> None:
            async with expect_denied(), connect(office):
                pass

        run(work())
    give_rights(office, max_sessions=1)

    async def twice() -> None:
        async with connect(office), expect_denied(), connect(office):
            pass
        async with connect(office):
            pass

    run(twice())


def test_a_user_who_is_changed_is_sent_away(office: Office) -> None:
    async def work() -> None:
        async with connect(office) as connection:
            give_rights(office, active=False)
            await asyncio.wait_for(connection.wait_closed(), DEADLINE)

    run(work())


def test_quotas(office: Office) -> None:
    give_rights(office, quota_files=1)
    assert "files and no more" in refusal(office, lambda sftp: store(sftp, office.path("b"), b"")).reason
    used = sum(path.stat().st_size for path in office.home.rglob("*") if path.is_file())
    give_rights(office, quota_bytes=used + len(HALF))
    assert "more than it may" in refusal(office, lambda sftp: store(sftp, office.path("b"), CONTENT)).reason
    assert not (office.folder / "b").exists()
    wait_until(office.is_idle)


def home_size(office: Office) -> int:
    return sum(path.stat().st_size for path in office.home.rglob("*") if path.is_file())


def test_files_of_one_session_share_its_quota(office: Office) -> None:
    give_rights(office, quota_bytes=home_size(office) + len(CONTENT) + len(HALF))

    async def work(sftp: asyncssh.SFTPClient) -> None:
        first, second = [await sftp.open(office.path(name), "wb") for name in ("a.part", "b.part")]
        await first.write(CONTENT)
        with pytest.raises(asyncssh.SFTPError, match="more than it may"):
            await second.write(CONTENT)
        with pytest.raises(asyncssh.SFTPError, match="more than it may"):
            await second.close()
        await first.close()

    with_client(office, work)
    assert office.visible() == {"a.part"}


def test_other_sessions_use_up_a_quota_as_well(office: Office) -> None:
    block = bytes(1024 * 1024)
    give_rights(office, quota_bytes=home_size(office) + MEASURED_EVERY + 2 * len(block))

    async def work(sftp: asyncssh.SFTPClient) -> int:
        async with client(office) as other:
            first, second = [await session.open(office.path(f"{session}.part"), "wb") for session in (sftp, other)]
            taken = 0
            with pytest.raises(asyncssh.SFTPError, match="more than it may"):
                for _number in range(10):
                    await first.write(block)
                    await second.write(block)
                    taken += 2
            return taken

    assert with_client(office, work) < 10
    wait_until(office.is_idle)


def test_rates(office: Office) -> None:
    give_rights(office, bytes_per_second=len(CONTENT) * 4)

    async def work(sftp: asyncssh.SFTPClient) -> float:
        began = asyncio.get_running_loop().time()
        for name in ("a", "b", "c"):
            await store(sftp, office.path(name), CONTENT)
        return asyncio.get_running_loop().time() - began

    assert with_client(office, work) > 0.25


# The server


def test_idle_and_slow_clients_are_sent_away(tmp_path: Path) -> None:
    limits = {"idle_seconds": 0.2, "login_seconds": 0.3}

    async def work(office: Office) -> None:
        reader, writer = await asyncio.open_connection(*office.sftp_addresses[-1])
        async with connect(office) as connection:
            await connection.wait_closed()
        while await reader.read(1000):
            pass
        writer.close()

    with open_sftp_office(tmp_path, sftp=limits) as office:
        run(work(office))


def test_connections_of_one_address_are_limited_over_all_doors(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        async with connect(office), expect_denied(), connect(office):
            pass

    with open_sftp_office(tmp_path, max_per_address=2) as office, office.client():
        run(work(office))


def test_a_stop_puts_aside_what_is_not_whole(tmp_path: Path) -> None:
    async def work(office: Office) -> None:
        async with connect(office) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(office.path(NAME), "wb")
            await file.write(HALF)
            await store(sftp, office.path("whole.csv"), CONTENT)
            await asyncio.get_running_loop().run_in_executor(None, office.halt)
            await connection.wait_closed()

    with open_sftp_office(tmp_path) as office:
        run(work(office))
        assert sorted(office.arrivals()) == [(NAME, False, len(HALF)), ("whole.csv", True, len(CONTENT))]
        assert "The server was stopped during the transfer." in office.reasons()
        assert office.incomplete() == {NAME: HALF}
        assert office.is_idle()


def test_host_keys_are_made_once_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert read_host_keys(storage) == []
    made = make_host_keys(storage)
    assert [key.kind for key in made] == ["ed25519", "rsa"]
    assert [key.fingerprint for key in make_host_keys(storage)] == [key.fingerprint for key in made]
    assert [key.fingerprint for key in read_host_keys(storage)] == [key.fingerprint for key in made]
    paths = list((tmp_path / "ssh").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert len(paths) == 2


def test_an_address_in_use_ends_the_server(office: Office, tmp_path: Path) -> None:
    options = FtpOptions(port=0, sftp=SftpOptions(port=office.sftp_addresses[-1][1]))
    with pytest.raises(OSError, match="in use"):
        run_ftp_server(office.database, Storage(tmp_path, 0), options, threading.Event())
