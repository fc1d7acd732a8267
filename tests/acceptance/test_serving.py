"""Starting, stopping, dying and coming back of the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from installations import Installation, read_until, stop

DEADLINE = 60.0
ROLES = ("web", "ftp", "worker", "mail")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def find_descendants(process_id: int) -> dict[int, str]:
    """Return the processes below this one with their command lines."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    found: set[int] = set()
    pending = {process_id}
    while pending:
        pending = {child for child, parent in parents.items() if parent in pending}
        found |= pending
    return {child: commands[child] for child in found}


def is_running(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def fetch(installation: Installation, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{installation.http}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_serve_runs_all_roles_and_stops_cleanly(installation: Installation) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    server = installation.start("serve", "--http", address, "--workers", "2")
    assert f"http://{address}/" in "".join(read_until(server, "ftp://"))
    installation.http = address
    status, checks = fetch(installation, "/readyz")
    assert status == 200
    assert set(json.loads(checks).values()) == {"ok"}
    descendants = find_descendants(server.pid) if sys.platform == "linux" else {}
    code, rest = stop(server, signal.SIGTERM)
    assert code == 0, rest
    assert "Traceback" not in rest
    assert "role_killed" not in rest
    assert not [child for child in descendants if is_running(child)]


@on_linux
def test_a_killed_server_leaves_nothing_behind_and_starts_again(installation: Installation) -> None:
    server = installation.serve()
    descendants = find_descendants(server.pid)
    assert len(descendants) >= 4
    server.kill()
    server.wait()
    wait_for(lambda: not any(map(is_running, descendants)), "children of a killed server are still there")
    again = installation.serve()
    assert fetch(installation, "/readyz")[0] == 200
    code, rest = stop(again, signal.SIGINT)
    assert code == 0, rest


@on_linux
def test_roles_that_die_are_started_again(installation: Installation) -> None:
    server = installation.serve()

    def find_roles() -> dict[str, int]:
        found = find_descendants(server.pid).items()
        return {role: child for child, command in found for role in ROLES if f"listbridge {role} " in command}

    before = find_roles()
    assert set(before) == set(ROLES)
    for child in before.values():
        os.kill(child, signal.SIGKILL)
    wait_for(
        lambda: set(find_roles()) == set(ROLES) and not set(find_roles().values()) & set(before.values()),
        "the roles were not started again",
    )
    wait_for(lambda: fetch(installation, "/readyz")[0] == 200, "the server is not ready again")
    code, rest = stop(server)
    assert code == 0
    assert "role_died" in rest


def test_each_role_runs_alone(installation: Installation) -> None:
    refused = installation.run("worker")
    assert refused.returncode == 1
    assert "run `listbridge migrate` first" in refused.stderr
    assert installation.run("migrate").returncode == 0
    processes = [installation.start(role) for role in ROLES]
    wait_for(lambda: fetch(installation, "/readyz")[0] == 200, "the roles together are no ready server")
    for process in processes:
        code, rest = stop(process)
        assert code == 0, rest
        assert "Traceback" not in rest


def test_a_port_in_use_is_told_in_one_line(installation: Installation) -> None:
    for command, door in (
        ("serve", "http"),
        ("serve", "ftp"),
        ("serve", "sftp"),
        ("web", "http"),
        ("ftp", "ftp"),
        ("ftp", "sftp"),
    ):
        address = getattr(installation, door)
        host, _, port = address.partition(":")
        with socket.create_server((host, int(port))):
            result = installation.run(command)
        assert result.returncode == 1
        assert result.stderr == f"listbridge: {address} is in use; choose another one (setting {door}).\n"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "LISTBRIDGE_HTTPS",
            "127.0.0.1:1",
            "LISTBRIDGE_HTTPS is not known. The nearest known one is LISTBRIDGE_HTTP.",
        ),
        ("LISTBRIDGE_HTTP", "nowhere", "http: 'nowhere' is not HOST:PORT"),
    ],
)
def test_bad_settings_are_told_in_one_line(variable: str, value: str, told: str, installation: Installation) -> None:
    result = installation.run("serve", **{variable: value})
    assert result.returncode == 1
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_usage_errors(installation: Installation) -> None:
    result = installation.run("serve", "--colour")
    assert result.returncode == 2
    assert "Usage: listbridge serve" in result.stderr


def test_output_into_a_closed_pipe(installation: Installation) -> None:
    program = Path(sys.executable).with_name("listbridge")
    done = subprocess.run(
        ["bash", "-c", f"{program} --help | true"],
        env=installation.environment,
        cwd=installation.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
