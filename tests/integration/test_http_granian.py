"""The server as it runs in production: granian, worker processes, streamed bodies, a clean stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import zeep
from sqlalchemy import func, select
from web_server import Site, serve_with_granian

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from db.tables import import_run, recipient, subscription
from jobs.storage import Storage

PATH = "/frontend/xmlSubscribe.aspx"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Storage]]:
    folder = tmp_path_factory.mktemp("granian")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    yield database, storage
    database.close()


@pytest.fixture(scope="module")
def site(place: tuple[Database, Storage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    counters = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("counters"))}
    with serve_with_granian(*place, workers=2, environment=counters) as (site, _process):
        yield site


def test_pages(site: Site) -> None:
    assert site.get("//FrontEnd//xmlSubscribe.ASPX", Email="ada@example.com", List=1).text == "0"
    chunks = (part for part in (b"Email=bob%40", b"example.com&Li", b"st=1"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.request("POST", PATH, chunks, form).text == "0"
    assert site.request("POST", f"{PATH}?Email=eve%40example.com&List=1").text == "0"


def test_body_limit(site: Site) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(2 << 20)}
    assert site.request("POST", PATH, b"", form).status == 413


@pytest.mark.parametrize("port", ["WSMailUpImportSoap", "WSMailUpImportSoap12"])
def test_soap(site: Site, place: tuple[Database, Storage], port: str) -> None:
    credentials = {"Authentication": {"User": "a1", "Password": "secret"}}
    contract = f"{site.url}/services/wsmailupimport.asmx?wsdl"
    with zeep.Client(contract) as client:  # type: ignore[no-untyped-call]
        service = client.bind("WSMailUpImport", port)
        assert "<ReturnCode>0</ReturnCode><Lists>" in service.GetNlLists(_soapheaders=credentials)
        flags = dict.fromkeys(("asPending", "ConfirmEmail", "asOptOut", "forceOptIn", "replaceGroups"), False)
        rows = "".join(f'<subscriber email="p{n}@example.com" Prefix="" Number="" Name=""/>' for n in range(20_000))
        document = f"<subscribers>{rows}</subscribers>"
        with place[0].write() as connection:
            connection.execute(import_run.update().values(state="completed"))
        result = service.StartImportProcesses(
            listsIDs="1", xmlDoc=document, importType=1, mobileInputType=1, **flags, _soapheaders=credentials
        )
        assert "<listID>1</listID><ReturnCode>0</ReturnCode>" in result
        with place[0].read() as connection:
            newest = select(import_run).order_by(import_run.c.id.desc()).limit(1)
            run = connection.execute(newest).one()
    assert run.size == len(document)
    assert (place[1].imports / run.spool_name).read_text() == document


def test_counters_of_all_workers(site: Site) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert {reply.text for reply in threads.map(lambda _number: site.get(PATH), range(40))} == {"1"}
    lines = site.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("listbridge_http_requests_total") and "xmlsubscribe" in line]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted if 'status="200"' in line) >= 40
    assert any(line.startswith("listbridge_database_up 1") for line in lines)


def _subscribe(site: Site, number: int) -> bool:
    try:
        return site.get(PATH, Email=f"p{number}@example.com", List=1, Confirm=0).text == "0"
    except OSError:
        return False


def test_stops_when_told_and_keeps_what_it_answered(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    storage = Storage(tmp_path / "data", reserve=0)
    storage.prepare()

    with serve_with_granian(database, storage) as (site, process), ThreadPoolExecutor(8) as threads:
        answers = threads.map(partial(_subscribe, site), range(200))
        done = sum(next(answers) for _ in range(50))
        process.send_signal(signal.SIGTERM)
        done += sum(answers)
        assert process.wait(60) == 0
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(subscription)).scalar_one() >= done >= 50
        assert connection.execute(select(func.count()).select_from(recipient)).scalar_one() >= done
    database.close()
