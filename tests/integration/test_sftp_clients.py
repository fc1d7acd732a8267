"""Programs that partners use over SFTP and SCP: those of OpenSSH, and lftp."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftp_doors import DEADLINE, PASSWORD, USER, Office, wait_until
from sftp_doors import client, open_sftp_office, run

CONTENT = b"email\n" + b"ann@example.com\n" * 12_500
HALF = CONTENT[: len(CONTENT) // 2]
NAME = "people.csv"
NEEDED = ("sshpass", "sftp", "scp", "lftp")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_sftp_office(tmp_path_factory.mktemp("sftp")) as office:
        yield office


@pytest.fixture
def office(server: Office) -> Office:
    return server.with_list()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The folder that the client works in."""
    (tmp_path / NAME).write_bytes(CONTENT)
    return tmp_path


def openssh(office: Office, program: str, *arguments: str, folder: Path, script: str = "") -> str:
    """Run `sftp` or `scp`, which must succeed; return what it says."""
    port = str(office.sftp_addresses[-1][1])
    options = ["-P", port, "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"]
    options += ["-o", "PreferredAuthentications=password", "-o", "LogLevel=INFO"]
    return execute("sshpass", "-e", program, *options, *arguments, folder=folder, script=script)


def execute(*command: str, folder: Path, script: str = "") -> str:
    environment = {**os.environ, "SSHPASS": PASSWORD, "HOME": str(folder), "LFTP_PASSWORD": PASSWORD}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=script, capture_output=True, text=True, timeout=3 * DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def sftp(office: Office, folder: Path, *lines: str) -> str:
    # Not from a file with -b, which would switch passwords off.
    return openssh(office, "sftp", f"{USER}@127.0.0.1", folder=folder, script="\n".join(lines) + "\n")


def test_sftp(office: Office, desk: Path) -> None:
    (desk / "mine").mkdir()
    (desk / "mine" / "a.txt").write_bytes(b"a")
    (office.home / "export" / "out.csv").write_bytes(CONTENT)
    place = office.path()
    said = sftp(
        office,
        desk,
        f"put -p {NAME} {place}/{NAME}.part",
        f"rename {place}/{NAME}.part {place}/{NAME}",
        "get export/out.csv",
        "ls -l",
        "put -r mine",
        "ls mine",
        "rm mine/a.txt",
        "rmdir mine",
        "pwd",
        "df",
        "ln export/out.csv import/hard",
    )
    assert "drwx------    1 ftp      ftp " in said
    assert "mine/a.txt" in said
    assert "Remote working directory: /\n" in said
    assert (desk / "out.csv").read_bytes() == CONTENT
    assert not (office.home / "mine").exists() and not (office.home / "import" / "hard").exists()
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]


def test_sftp_goes_on_with_uploads_and_downloads(office: Office, desk: Path) -> None:
    async def leave_half() -> None:
        async with client(office) as session:
            file = await session.open(office.path(NAME), "wb")
            await file.write(HALF)

    run(leave_half())
    wait_until(office.incomplete)
    (office.home / "export" / "out.csv").write_bytes(CONTENT)
    (desk / "out.csv").write_bytes(HALF)
    sftp(office, desk, f"reput {NAME} {office.path(NAME)}", "reget export/out.csv out.csv")
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]
    assert (desk / "out.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(("option", "door"), [("-s", "sftp"), ("-O", "scp")])
def test_scp(office: Office, desk: Path, option: str, door: str) -> None:
    (office.home / "export" / "out.csv").write_bytes(CONTENT)
    remote = f"{USER}@127.0.0.1:"
    openssh(office, "scp", option, "-p", NAME, f"{remote}{office.path()}/", folder=desk)
    openssh(office, "scp", option, "-p", f"{remote}export/out.csv", "out.csv", folder=desk)
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]
    assert office.doors() == [door]
    assert (desk / "out.csv").read_bytes() == CONTENT
    sent = (office.folder / NAME).stat()
    assert int(sent.st_mtime) == int((desk / NAME).stat().st_mtime)


@pytest.mark.parametrize("option", ["-s", "-O"])
def test_scp_of_folders(office: Office, desk: Path, option: str) -> None:
    for name in ("tree/a.txt", "tree/below/b.txt", "tree/below/empty.txt"):
        (desk / name).parent.mkdir(parents=True, exist_ok=True)
        (desk / name).write_bytes(name.encode() if "empty" not in name else b"")
    remote = f"{USER}@127.0.0.1:"
    openssh(office, "scp", option, "-r", "tree", f"{remote}tree{option}", folder=desk)
    openssh(office, "scp", option, "-r", f"{remote}tree{option}", "back", folder=desk)
    for folder in (office.home / f"tree{option}", desk / "back"):
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {"a.txt": b"tree/a.txt", "below/b.txt": b"tree/below/b.txt", "below/empty.txt": b""}


def test_lftp(office: Office, desk: Path) -> None:
    (office.home / "export" / "out.csv").write_bytes(CONTENT)
    port = office.sftp_addresses[-1][1]
    script = f"""
        set sftp:auto-confirm yes
        set sftp:connect-program "ssh -a -x -F none -o UserKnownHostsFile={desk}/known"
        set net:max-retries 1
        set cmd:fail-exit yes
        open --env-password -u {USER} sftp://127.0.0.1:{port}
        put {NAME} -o {office.path(NAME)}
        get export/out.csv
        mkdir lftp
        mirror -R --no-perms . lftp/copy
        cls lftp/copy
    """
    said = execute("lftp", "--norc", "-c", script, folder=desk)
    assert "out.csv" in said
    assert (desk / "out.csv").read_bytes() == CONTENT
    assert (office.home / "lftp" / "copy" / NAME).read_bytes() == CONTENT
    wait_until(office.imports)
    assert office.imports() == [(NAME, CONTENT)]


def test_a_killed_client_leaves_an_incomplete_file(office: Office, desk: Path) -> None:
    port = str(office.sftp_addresses[-1][1])
    for option in ("-s", "-O"):
        big = desk / f"big{option}.csv"
        big.write_bytes(CONTENT * 50)
        command = ["sshpass", "-e", "scp", option, "-l", "8000", "-P", port, "-F", "none"]
        command += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={desk}/known"]
        environment = {**os.environ, "SSHPASS": PASSWORD, "HOME": str(desk)}
        with subprocess.Popen(
            [*command, str(big), f"{USER}@127.0.0.1:{office.path()}/"],
            env=environment,
            process_group=0,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            wait_until(lambda: office.received() > 100_000)
            os.killpg(process.pid, 9)
    wait_until(lambda: len(office.arrivals()) == 2)
    wait_until(office.is_idle)
    assert [complete for _name, complete, _size in office.arrivals()] == [False, False]
    assert office.imports() == []
