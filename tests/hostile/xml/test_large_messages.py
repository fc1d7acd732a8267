"""A recipient document of any size goes through a worker of a fixed size, and reaches the queue whole or not at all."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from sqlalchemy import func, select
from web_server import Site, serve_with_granian

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from db.tables import import_run
from jobs.storage import Storage

PATH = "/Services/WSMailUpImport.asmx"
NAMESPACE = "http://ws.mailupnet.it/"
MEGABYTE = 1 << 20
MEMORY = (16 + 64) * MEGABYTE
"""What a document may take, beside what the idle worker has, however large it is.

The check of a password takes 64 MB for a moment (Argon2), when the last one is no longer remembered.
"""
START = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>'
    f'<Authentication xmlns="{NAMESPACE}"><User>a1</User><Password>secret</Password></Authentication>'
    "</s:Header><s:Body>"
    f'<StartImportProcesses xmlns="{NAMESPACE}"><listsIDs>1</listsIDs><xmlDoc>'
)
END = (
    "</xmlDoc><importType>3</importType><mobileInputType>0</mobileInputType><asPending>false</asPending>"
    "<ConfirmEmail>false</ConfirmEmail><asOptOut>false</asOptOut><forceOptIn>false</forceOptIn>"
    "<replaceGroups>false</replaceGroups></StartImportProcesses></s:Body></s:Envelope>"
)
NAMES = "".join(f"<campo{number}>Citt\u00e0 &amp; \u6771\u4eac {number}</campo{number}>" for number in range(1, 9))


@dataclass(frozen=True)
class Form:
    """How a document is written into the envelope."""

    start: str
    end: str
    write: Callable[[str], str]


FORMS = {
    "escaped": Form("", "", escape),
    "section": Form("<![CDATA[", "]]>", str),
    "sections": Form("", "", lambda text: f"<![CDATA[{text}]]>"),
    "references": Form("", "", lambda text: escape(text).replace("\u00e0", "&#224;").replace(" ", "&#x20;")),
}


class Document:
    """A recipient document that is made while it is sent, and the hash of what has been made."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.size = 0
        self.hash = hashlib.sha256()

    def pieces(self) -> Iterator[str]:
        """Return the document; only once."""
        yield self._note('<?xml version="1.0" encoding="utf-8"?>\n<subscribers>')
        number = 0
        while self.size < self.wanted:
            rows = (f'<subscriber email="{n}@example.com">{NAMES}</subscriber>\n' for n in range(number, number + 100))
            yield self._note("".join(rows))
            number += 100
        yield self._note("</subscribers>")

    def _note(self, text: str) -> str:
        content = text.encode()
        self.size += len(content)
        self.hash.update(content)
        return text


def envelope(document: Document, form: Form) -> Iterator[bytes]:
    """Return the request that carries a document."""
    yield (START + form.start).encode()
    for piece in document.pieces():
        yield form.write(piece).encode()
    yield (form.end + END).encode()


@dataclass(frozen=True)
class Place:
    """A running server."""

    site: Site
    process: subprocess.Popen[bytes]
    database: Database
    storage: Storage

    def worker(self) -> int:
        """Return the process that answers: the only child of granian's first."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def memory(self, name: str) -> int:
        """Return a figure of the worker's memory, VmHWM (peak) or VmRSS, in bytes."""
        status = Path(f"/proc/{self.worker()}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def reset_peak(self) -> None:
        """Let the peak begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.worker()}/clear_refs").write_text("5")

    def queued(self) -> list[str]:
        """Return the names of the spooled files of queued imports."""
        with self.database.read() as connection:
            return list(connection.execute(select(import_run.c.spool_name)).scalars())

    def open_files(self) -> list[str]:
        """Return the files below the data directory that the worker has open."""
        opened = []
        for link in Path(f"/proc/{self.worker()}/fd").iterdir():
            try:
                opened.append(str(link.readlink()))
            except FileNotFoundError:
                # It was closed since.
                continue
        return [name for name in opened if name.startswith(str(self.storage.root / "spool"))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("large")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    with serve_with_granian(database, storage) as (site, process):
        place = Place(site, process, database, storage)
        # The first call loads what every later one shares, the check of the password above all.
        _send(place, Document(1), FORMS["escaped"], chunked=False)
        yield place
    database.close()


@pytest.fixture
def place(server: Place) -> Place:
    """The server without imports."""
    with server.database.write() as connection:
        connection.execute(import_run.delete())
    for file in server.storage.imports.iterdir():
        file.unlink()
    return server


def _send(place: Place, document: Document, form: Form, *, chunked: bool) -> str:
    with closing(HTTPConnection(place.site.host, place.site.port, timeout=600)) as connection:
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        if not chunked:
            measured = Document(document.wanted)
            headers["Content-Length"] = str(sum(map(len, envelope(measured, form))))
        connection.request("POST", PATH, envelope(document, form), headers, encode_chunked=chunked)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()


def _check_import(place: Place, size: int, form: Form, *, chunked: bool) -> None:
    place.reset_peak()
    idle = place.memory("VmRSS")
    document = Document(size)
    assert "processID&gt;" in _send(place, document, form, chunked=chunked)
    growth = place.memory("VmHWM") - idle
    (name,) = place.queued()
    with (place.storage.imports / name).open("rb") as spooled:
        assert hashlib.file_digest(spooled, "sha256").hexdigest() == document.hash.hexdigest()
    assert place.open_files() == []
    assert list(place.storage.receiving.iterdir()) == []
    print(f"{size / MEGABYTE:.0f} MB: idle {idle / MEGABYTE:.0f} MB, {growth / MEGABYTE:.1f} MB more at the most")
    assert growth < MEMORY


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form(place: Place, form: Form, chunked: bool) -> None:
    _check_import(place, 2 * MEGABYTE, form, chunked=chunked)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_forty_megabytes(place: Place, chunked: bool) -> None:
    _check_import(place, 40 * MEGABYTE, FORMS["escaped"], chunked=chunked)


@pytest.mark.torture
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
@pytest.mark.parametrize("form", ["escaped", "section"])
def test_three_hundred_megabytes(place: Place, form: str, chunked: bool) -> None:
    _check_import(place, 300 * MEGABYTE, FORMS[form], chunked=chunked)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_a_caller_who_leaves(place: Place, chunked: bool) -> None:
    for share in (0.02, 0.5, 1.0):
        _leave(place, share, chunked=chunked)
    _wait_until_closed(place)
    with place.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(import_run)).scalar_one() == 0
    for folder in (place.storage.receiving, place.storage.imports, place.storage.exports):
        assert list(folder.iterdir()) == []
    assert "processID&gt;" in _send(place, Document(1), FORMS["escaped"], chunked=chunked)


def _leave(place: Place, share: float, *, chunked: bool) -> None:
    """Send a share of a message and close the connection; of a whole one the last byte stays behind."""
    content = b"".join(envelope(Document(2 * MEGABYTE), FORMS["escaped"]))
    coding = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml; charset=utf-8\r\n{coding}\r\n\r\n"
    sent = content[: int((len(content) - 1) * share)]
    with socket.create_connection((place.site.host, place.site.port), timeout=60) as connection:
        connection.sendall(head.encode() + (b"%x\r\n%b\r\n" % (len(sent), sent) if chunked else sent))


def _wait_until_closed(place: Place) -> None:
    deadline = time.monotonic() + 60
    while place.open_files():
        assert time.monotonic() < deadline, "the server kept its files open"
        time.sleep(0.05)
