"""Hostile requests: each gets a clean answer, never a 5xx, and nothing of it shows up elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, inspect, select
from web_server import Site, serve

from audience.accounts import add_account
from audience.lists import add_list
from db.engine import Database
from db.migration import migrate
from db.tables import metadata, recipient
from jobs.storage import Storage
from services.mailup.pages import TEXTS

PAGES = ("xmlSubscribe", "xmlUnsubscribe", "xmlChkSubscriber", "xmlUpdSubscriber")
CODES = ("0", "1", "2", "3", "4")
NAMES = ("Email", "Sms", "List", "ListGuid", "Group", "Confirm", "csvFldNames", "csvFldValues", "retCode", "Replace")
VALUES = (
    "'",
    "' OR '1'='1",
    "1; DROP TABLE recipient; --",
    '"; SELECT pg_sleep(10); --',
    "a\0b",
    "\r\nSet-Cookie: x=1",
    "<script>alert(1)</script>",
    "${jndi:ldap://example.com/a}",
    "{{7*7}}",
    "%",
    "_",
    "../../../../etc/passwd",
    "\ud7ff",
    "\uffff",
    "\u202e",
    "-1",
    "0",
    "1e9",
    "9" * 400,
    "x" * 8000,
    "@" * 8000,
    ";" * 8000,
    "a@" + "b." * 4000 + "c",
)
# Servers refuse request lines of more than 64 KiB, and in a query each of six values may take a share of that.
SHORT_VALUES = tuple(value for value in VALUES if len(quote(value, errors="surrogatepass")) <= 9_000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Database]]:
    folder = tmp_path_factory.mktemp("hostile")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    storage = Storage(folder / "data", reserve=0)
    storage.prepare()
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
    with serve(database, storage) as site:
        yield site, database
    database.close()


@pytest.fixture
def site(place: tuple[Site, Database]) -> Site:
    return place[0]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_odd_values_in_every_parameter(place: tuple[Site, Database], page: str, value: str) -> None:
    site, database = place
    sound = {"Email": "ada@example.com", "List": "1", "csvFldNames": "campo1", "csvFldValues": "x"}
    for name in NAMES:
        reply = site.post_form(f"/frontend/{page}.aspx", sound | {name: value})
        assert reply.status == 200
        assert reply.text in CODES or (name == "retCode" and reply.text in TEXTS.values())
        assert "Set-Cookie" not in reply.headers
    with database.read() as connection:
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
        odd = select(func.count()).select_from(recipient).where(recipient.c.email.not_like("%@%.%"))
        assert connection.execute(odd).scalar_one() == 0


@pytest.mark.parametrize("page", PAGES)
def test_long_addresses_and_many_parameters(site: Site, page: str) -> None:
    path = f"/frontend/{page}.aspx"
    assert site.get(f"{path}?Email={'x' * 8000}&List=1").text in ("1", "2")
    assert site.get(f"{path}?Email=a%40example.com&List={'1,' * 3000}1").status == 200
    assert site.post_form(path, b"a=1&" * 100_000).text == "1"
    assert site.post_form(path, b"&" * 500_000).text == "1"
    assert site.post_form(path, b"=" * 500_000).text == "1"
    assert site.post_form(path, b"\xff\xfe\x00" * 1000).text == "1"


@pytest.mark.parametrize(
    "query",
    [
        "Email=a%40example.com&Email=b%40example.com&List=1&List=99",
        "Email=a%40example.com&EMAIL=%00&List=1",
        "Email=%E8%40example.com&List=1",
        "Email=%ff%fe&List=1",
        "Email=%&List=%zz",
        "Email[]=a&List[]=1",
        "&&&===&",
        "%00=%00",
        "Email=a%40example.com&List=1&csvFldNames=campo1&csvFldValues=%00",
    ],
)
@pytest.mark.parametrize("page", PAGES)
def test_polluted_queries(site: Site, page: str, query: str) -> None:
    reply = site.get(f"/frontend/{page}.aspx?{query}")
    assert reply.status == 200
    assert reply.text in CODES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    page=st.sampled_from(PAGES),
    values=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.sampled_from(SHORT_VALUES), max_size=6),
    junk=st.binary(max_size=200),
)
def test_any_form(site: Site, page: str, values: dict[str, str], junk: bytes) -> None:
    query = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in values.items())
    reply = site.post_form(f"/frontend/{page}.aspx?{query}", junk)
    assert reply.status == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="Email"\r\n\r\n\xff\0\r\n--x--',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2000 + b"--x--",
        ),
        ("application/json", b'{"Email": "a@example.com", "List": 1}'),
        ("\x7f", b"x"),
    ],
)
def test_odd_bodies(site: Site, content_type: str, body: bytes) -> None:
    reply = site.request("POST", "/frontend/xmlSubscribe.aspx", body, {"Content-Type": content_type})
    assert (reply.status, reply.text) == (200, "1")


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/%ff",
        "/frontend/%2e%2e/%2e%2e/etc/passwd",
        "/frontend/..%5c..%5cx.aspx",
        "/" + "a" * 8000,
        "/.env",
        "/*",
    ],
)
def test_odd_paths(site: Site, path: str) -> None:
    assert site.get(path).status in (400, 404)


def test_requests_cut_short(site: Site) -> None:
    for head in (b"POST %s HTTP/1.1\r\n", b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nEmail="):
        with socket.create_connection((site.host, site.port), timeout=60) as connection:
            connection.sendall(head % b"/frontend/xmlSubscribe.aspx")
    assert site.get("/healthz").status == 200
