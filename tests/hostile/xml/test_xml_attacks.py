"""Every hostile SOAP request gets its one answer, moves nothing, is repeated nowhere, and harms nobody else."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hostile.xml.attacks import (
    ADDRESS,
    CANARY,
    COUNTS,
    DOCUMENT_TYPES,
    FILE,
    LENGTHS,
    LISTS,
    NAMESPACE,
    PATH,
    REFERENCES,
    TEXT,
    Attack,
    envelope,
)
from hostile.xml.disguises import DISGUISES
from hostile.xml.large_attacks import LARGE_ATTACKS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from web_server import ROOT, Site, serve, serve_with_granian

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from jobs.storage import Storage

ATTACKS = (*DOCUMENT_TYPES, *REFERENCES, *COUNTS, *LENGTHS, *LARGE_ATTACKS, *DISGUISES)
LOGIN = f'<Authentication xmlns="{NAMESPACE}"><User>a1</User><Password>{CANARY}</Password></Authentication>'
IN_ALL = 0x00000FFF
"""Every event of inotify(7): opened, read, closed, whatever."""


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Storage]]:
    """A database with one account and one list."""
    folder = tmp_path_factory.mktemp("hostile-xml")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password=CANARY).id, "News")
    yield database, storage
    database.close()


@pytest.fixture(scope="module")
def site(stock: tuple[Database, Storage]) -> Iterator[Site]:
    with serve(*stock) as site:
        yield site


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    folder = tmp_path_factory.mktemp("trap")
    with Trap.set_up(folder) as trap:
        yield trap


class Trap:
    """A file and an address that nobody may touch."""

    def __init__(self, file: Path, listener: socket.socket, watch: int) -> None:
        self._file = file
        self._listener = listener
        self._watch = watch

    @classmethod
    @contextmanager
    def set_up(cls, folder: Path) -> Iterator[Trap]:
        file = folder / "watched"
        file.write_text(f"{CANARY} <!ENTITY a '{CANARY}'>")
        library = ctypes.CDLL(None, use_errno=True)
        watch = library.inotify_init1(os.O_NONBLOCK)
        assert watch >= 0
        assert library.inotify_add_watch(watch, os.fsencode(file), IN_ALL) >= 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            yield cls(file, listener, watch)
        os.close(watch)

    def lure(self, content: bytes) -> bytes:
        """Return a request that points to the trap."""
        address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return content.replace(ADDRESS.encode(), address.encode()).replace(FILE.encode(), bytes(self._file))

    def check_untouched(self) -> None:
        with pytest.raises(BlockingIOError):
            self._listener.accept()
        with pytest.raises(BlockingIOError):
            os.read(self._watch, 4096)


def test_the_trap_works(tmp_path: Path) -> None:
    with Trap.set_up(tmp_path) as trap:
        (tmp_path / "watched").read_text()
        with pytest.raises(pytest.fail.Exception):
            trap.check_untouched()


def _post(site: Site, attack: Attack, content: bytes) -> tuple[int, str]:
    with closing(HTTPConnection(site.host, site.port, timeout=60)) as connection:
        # What is refused before it was all sent is answered on the spot.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", attack.path, content, attack.all_headers())
        answer = connection.getresponse()
        text = answer.read().decode()
    assert CANARY not in text
    assert CANARY not in str(answer.headers)
    return answer.status, text


def _check(site: Site, attack: Attack, trap: Trap) -> None:
    status, text = _post(site, attack, trap.lure(attack.build()))
    assert (status, text[:400]) == (attack.expected.status, text[:400]), attack.name
    assert attack.expected.text in text
    assert attack.expected.text or not text
    assert "Traceback" not in text
    assert 'File "' not in text
    trap.check_untouched()


def _check_alive(site: Site) -> None:
    reply = site.request("POST", PATH, envelope(LISTS, header=LOGIN), {"Content-Type": TEXT})
    assert reply.status == 200
    assert "ReturnCode&gt;0&lt;" in reply.text


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_attack(site: Site, trap: Trap, attack: Attack) -> None:
    with capture_logs() as entries:
        _check(site, attack, trap)
        _check_alive(site)
    assert CANARY not in str(entries)
    assert not [entry for entry in entries if entry["log_level"] in ("error", "critical")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["text/xml", "application/soap+xml", "text/xml; charset=utf-16"]))
def test_any_body(site: Site, body: bytes, content_type: str) -> None:
    assert site.request("POST", PATH, body, {"Content-Type": content_type}).status in (400, 500)


def test_names_are_unique() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


def test_attacks_in_production(stock: tuple[Database, Storage], trap: Trap, capfd: pytest.CaptureFixture[str]) -> None:
    with serve_with_granian(*stock) as (site, process):
        for attack in ATTACKS:
            # This server does not hand requests on that have control characters in their headers.
            if attack.name != "type-odd":
                _check(site, attack, trap)
        _check_alive(site)
        assert process.poll() is None
    output = "".join(capfd.readouterr())
    assert CANARY not in output
    assert "Traceback" not in output


def test_python_opens_nothing(tmp_path: Path) -> None:
    """The interpreter itself tells of every file, connection and process that Python code asks for."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    program = [sys.executable, "-m", "hostile.xml.audit", str(tmp_path)]
    done = subprocess.run(
        program, env=os.environ | {"PYTHONPATH": paths}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{len(DOCUMENT_TYPES) + len(REFERENCES)} []"
