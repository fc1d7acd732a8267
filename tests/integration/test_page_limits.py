"""What all pages under /frontend/ have in common: limits, scripts of other origins, methods that only look."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from page_shop import Shop, check_page, run_shop, run_sqlite_shop
from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import TooManyRequests

from audience.accounts import add_account
from audience.lists import add_list
from audience.service_access import allow_address, deny_address, set_service
from db.engine import Database
from db.tables import history, recipient
from jobs.storage import Storage
from services.http.options import HttpOptions
from services.mailup.page_actions import check
from services.mailup.page_calls import PageCalls
from services.mailup.page_parameters import PageParameters

XML_PAGES = ("xmlSubscribe", "xmlUnsubscribe", "xmlChkSubscriber", "xmlUpdSubscriber", "updSubscriber")
FORM_PAGES = ("Subscribe", "nl_catalog")
ACTIVATION_REFUSED = "<mailupMessage><mailupBody><ReturnCode>-1000</ReturnCode></mailupBody></mailupMessage>"
PAGES = (*XML_PAGES, *FORM_PAGES, "WSActivation")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with run_sqlite_shop(tmp_path_factory.mktemp("shop"), HttpOptions(form_rate_per_address=0)) as shop:
        yield shop


@pytest.mark.parametrize("page", PAGES)
def test_scripts_of_any_origin_may_call(shop: Shop, page: str) -> None:
    path = f"/frontend/{page}.aspx"
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    reply = shop.site.request("OPTIONS", f"{path}?Email=ada%40example.com&List=1&Confirm=0", headers=asked)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert "*" in reply.headers["Access-Control-Allow-Headers"]
    assert shop.site.get(path).headers["Access-Control-Allow-Origin"] == "*"
    assert shop.count(recipient) == 0


@pytest.mark.parametrize("page", PAGES)
def test_looking_changes_nothing(shop: Shop, page: str) -> None:
    reply = shop.site.request("HEAD", f"/frontend/{page}.aspx?Email=ada%40example.com&List=1&Confirm=0")
    assert (reply.status, reply.body) == (200, b"")
    assert shop.count(recipient) == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(shop: Shop, method: str) -> None:
    for page in PAGES:
        reply = shop.site.request(method, f"/frontend/{page}.aspx?Email=ada%40example.com&List=1")
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (405, "*")
    assert shop.count(recipient) == 0


def _call_from(shop: Shop, page: str, address: str = "203.0.113.7") -> tuple[int, str, str | None]:
    query = "Email=ada%40example.com&List=1&usr=a&pwd=b&nl_url=c&ws_name=FrontEnd"
    reply = shop.site.get(f"/frontend/{page}.aspx?{query}", {"X-Forwarded-For": address})
    return reply.status, reply.text, reply.headers.get("Retry-After")


# So low that no test can last until another call is let through.
LOW = 1 / 3600


@pytest.mark.parametrize("page", PAGES)
def test_too_many_from_one_address(tmp_path: Path, page: str) -> None:
    options = HttpOptions(trust_forwarded=True, page_rate_per_address=LOW, form_rate_per_address=LOW)
    with run_sqlite_shop(tmp_path, options) as shop:
        for address in ("203.0.113.7", "2001:db8::1", "2001:db8:0:1::1"):
            assert _call_from(shop, page, address)[0] in (200, 302)
        for address in ("203.0.113.7", "2001:db8::2", "::ffff:203.0.113.7"):
            status, text, wait = _call_from(shop, page, address)
            assert (status, text) == (429, ACTIVATION_REFUSED if page == "WSActivation" else "1")
            assert wait is not None and 3500 < int(wait) <= 3600
        assert shop.site.request("OPTIONS", f"/frontend/{page}.aspx", headers={"X-Forwarded-For": "::1"}).status == 200
        others = FORM_PAGES if page in XML_PAGES else XML_PAGES
        assert _call_from(shop, others[0])[0] in (200, 302), "forms and programs do not hinder each other"


def test_what_is_refused_changes_nothing_and_scripts_see_it(tmp_path: Path) -> None:
    with run_sqlite_shop(tmp_path, HttpOptions(page_rate_per_address=LOW)) as shop:
        assert shop.call("xmlChkSubscriber", Email="ada@example.com", List=1) == "1"
        reply = shop.site.get("/frontend/xmlSubscribe.aspx", Email="ada@example.com", List=1)
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (429, "*")
        assert shop.count(recipient) == 0


@pytest.mark.parametrize("page", PAGES)
def test_scripts_see_that_a_body_is_refused(shop: Shop, page: str) -> None:
    reply = shop.site.request("POST", f"/frontend/{page}.aspx", b"x", {"Content-Encoding": "gzip"})
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (415, "*")
    assert reply.headers["Accept-Encoding"] == "identity"
    assert "Access-Control-Allow-Origin" not in shop.site.get("/nothing").headers


def test_looking_twice_is_one_call(database: Database, storage: Storage) -> None:
    options = HttpOptions(page_rate_per_account=LOW, form_rate_per_address=0)
    with run_shop(database, storage, options) as shop:
        form = {"email": "ada@example.com", "list": "99", "ListGuid": shop.news.guid}
        statuses = [shop.site.post_form("/frontend/Subscribe.aspx", form).status for _ in range(2)]
        assert statuses == [302, 429]


def test_a_repeated_transaction_is_one_call(tmp_path: Path) -> None:
    calls = PageCalls(HttpOptions(page_rate_per_account=LOW))
    parameters = PageParameters([("List", "1"), ("Email", "ada@example.com")])
    with run_sqlite_shop(tmp_path) as shop, Flask("test").test_request_context("/"):
        tries = 0

        def transact(work: Callable[[Connection], int]) -> int:
            nonlocal tries
            tries += 1
            with shop.database.read() as connection:
                code = work(connection)
                if tries == 1:
                    raise OperationalError("", {}, _make_busy())
            return code

        assert calls.run(check, transact, parameters) == 1
        assert tries == 2
        with pytest.raises(TooManyRequests):
            calls.run(check, transact, parameters)


def _make_busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def test_too_many_for_one_account(database: Database, storage: Storage) -> None:
    options = HttpOptions(trust_forwarded=True, page_rate_per_account=LOW, form_rate_per_address=0)
    with run_shop(database, storage, options) as shop:
        with database.write() as connection:
            add_list(connection, add_account(connection, 77, password="secret").id, "Elsewhere")
        query = "/frontend/xmlSubscribe.aspx?Email=ada%40example.com&List=1"
        calls = [
            shop.site.get(query, {"X-Forwarded-For": f"203.0.113.{number}", "Host": host}).status
            for number, host in enumerate(
                ("m1234.example.com", "m1234.example.com", "m77.example.com", "m5.example.com")
            )
        ]
        assert calls == [200, 429, 200, 200]
        assert shop.count(recipient) == 2


def test_programs_are_not_limited_and_forms_generously(tmp_path: Path) -> None:
    with run_sqlite_shop(tmp_path) as shop:
        codes = {shop.call("xmlChkSubscriber", Email="ada@example.com", List=1) for _ in range(200)}
        assert codes == {"1"}
        assert all(shop.site.get("/frontend/Subscribe.aspx").status == 200 for _ in range(60))


@pytest.mark.parametrize("page", XML_PAGES)
def test_only_registered_addresses(database: Database, storage: Storage, page: str) -> None:
    with run_shop(database, storage, HttpOptions(trust_forwarded=True)) as shop:
        with database.write() as connection:
            set_service(connection, shop.account.id, "pages", restricted=True)
            allow_address(connection, shop.account.id, "pages", "203.0.113.0/24")
            deny_address(connection, shop.account.id, "pages", "203.0.113.9")
        assert _call_from(shop, page)[1] in ("0", "1", "3")
        for address in ("203.0.114.1", "203.0.113.9", "203.0.113.7, 10.0.0.1", "2001:db8::1", ""):
            assert _call_from(shop, page, address)[:2] == (200, "-1011")
        with database.read() as connection:
            assert set(connection.execute(select(history.c.actor)).scalars()) <= {"203.0.113.7"}


def test_an_answer_for_nobody_reveals_no_rules(shop: Shop) -> None:
    assert check_page(shop.site.get("/frontend/xmlSubscribe.aspx", {"Host": "m99.example.com"}, List=1)) == "1"
