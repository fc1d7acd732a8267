"""What programs and people do to the hosted pages that nobody asked them to: scan, press twice, smuggle."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hosted_shop import FORM, HostedShop, dump_tables, heading, open_hosted_shop, parse_page, serve_hosted_shop
from web_server import serve, serve_with_granian

from audience.status_rules import State
from db.engine import Database
from jobs.storage import Storage
from services.hosted.texts import TEXTS
from services.http.options import HttpOptions

SCANNER = "Mozilla/5.0 (compatible; LinkScanner/1.0)"
MARKUP = (
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'--><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "{address}{0}{address.__class__}",
    "javascript:alert(1)",
    "\u202e\ufeff&lt;b&gt;",
)


@pytest.fixture(scope="module")
def only_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedShop]:
    with serve_hosted_shop(tmp_path_factory.mktemp("hosted")) as shop:
        yield shop


@pytest.fixture
def shop(only_shop: HostedShop) -> HostedShop:
    """The shop of this module without readers and settings."""
    return only_shop.empty()


@pytest.fixture
def own_shop(database: Database, storage: Storage) -> Iterator[HostedShop]:
    with serve(database, storage, HttpOptions(form_rate_per_address=0)) as site:
        yield open_hosted_shop(site, database)


@pytest.mark.parametrize("mode", ["one-click", "preferences"])
def test_who_only_looks_changes_nothing(own_shop: HostedShop, mode: str) -> None:
    """Scanners open every link of a mail, some before its reader does; some ask for heads and options too."""
    own_shop.configure(
        own_shop.news, unsubscribe_mode=mode, unsubscribe_lists=[own_shop.offers.number], goodbye_mail=True
    )
    own_shop.bring(State.PENDING)
    own_shop.bring(State.SUBSCRIBED, own_shop.offers)
    paths = [
        own_shop.path("confirm"),
        own_shop.path("unsubscribe"),
        own_shop.path("unsubscribe", own_shop.offers),
        f"/subscription-received/{own_shop.news.guid}",
    ]
    before = dump_tables(own_shop.database)
    for path in paths:
        for query in ("", "?List-Unsubscribe=One-Click", "?list=1&_method=POST&utm_source=mail"):
            for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
                headers = {"User-Agent": SCANNER, "X-HTTP-Method-Override": "POST"}
                reply = own_shop.site.request(method, path + query, b"List-Unsubscribe=One-Click", FORM | headers)
                assert reply.status == (200 if method in ("GET", "HEAD", "OPTIONS") else 405)
                assert method != "HEAD" or reply.body == b""
    assert dump_tables(own_shop.database) == before


def test_a_scanner_that_loads_all_that_a_page_names(shop: HostedShop) -> None:
    """There is nothing to load, and nothing to follow but the form."""
    shop.bring(State.SUBSCRIBED)
    page = parse_page(shop.site.get(shop.path("unsubscribe")))
    assert page.xpath("//@href | //@src | //@action | //@formaction | //@data | //@http-equiv") == []
    assert page.xpath("//form/@method") == ["post"]


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_names_and_descriptions(shop: HostedShop, text: str) -> None:
    for mailing in (shop.news, shop.offers):
        shop.configure(
            mailing,
            name=text,
            description=text,
            color=text,
            language=text,
            unsubscribe_mode="preferences",
            unsubscribe_lists=[shop.offers.number],
        )
        shop.bring(State.PENDING, mailing)
    confirm, unsubscribe = shop.path("confirm"), shop.path("unsubscribe")
    requests = [
        lambda: shop.site.get(confirm),
        lambda: shop.press(confirm),
        lambda: shop.site.get(unsubscribe),
        lambda: shop.press(unsubscribe),
        lambda: shop.press(unsubscribe, list=[1, 2, text]),
        lambda: shop.site.get(f"/subscription-received/{shop.news.guid}", problem=text),
    ]
    for send in requests:
        reply = send()
        assert reply.status in (200, 422)
        page = parse_page(reply)
        assert page.xpath("//script | //img | //svg | //b | //@onerror | //@onload") == []
        assert len(page.xpath("//style")) == len(page.xpath("//title")) == 1
        assert text not in page.xpath("string(//style)")
        assert text in page.xpath("string(//header)")
        assert page.get("lang") == "en"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://example.com/\nX: 1",
        "https://example.com/\x00",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "//example.com/",
        "/relative",
        "example.com",
        "https://",
        "https://exa mple.com/",
        "https://example.com; script-src 'unsafe-inline'/",
        "https://example.com,*/",
        "https://*/",
        "https://user:password@example.com/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://[::1/",
        "https://example.com\\@example.org/",
        "https://example.com/" + "a" * 3000,
        "https://" + "ü" * 300 + ".example.com/",
        "ftp://example.com/",
        " https://example.com/",
        "\x1ahttps://example.com/",
        "https://example.com/\u2028x",
        "https://\ud83d.example.com/",
    ],
)
def test_places_that_no_browser_is_sent_to(shop: HostedShop, url: str) -> None:
    """Whoever may set up a list may not write headers with it: the page of the server is shown instead."""
    stored = url.encode("utf-8", "replace").decode().replace("\x00", "\x01")
    shop.configure(shop.news, confirmed_url=stored, unsubscribed_url=stored)
    shop.bring(State.PENDING)
    for kind, title in (("confirm", "confirmed_title"), ("unsubscribe", "unsubscribed_title")):
        path = shop.path(kind)  # type: ignore[arg-type]
        page = shop.site.get(path)
        assert page.headers["Content-Security-Policy"].count("'self'") == 1
        assert "form-action 'self'; " in page.headers["Content-Security-Policy"]
        done = shop.press(path)
        assert (done.status, heading(done)) == (200, TEXTS[title]["en"])
        assert not {"Location", "Set-Cookie", "X"} & set(done.headers)


def test_a_button_pressed_by_eight_at_once(own_shop: HostedShop) -> None:
    own_shop.configure(own_shop.news, welcome_mail=True, goodbye_mail=True)
    own_shop.bring(State.PENDING)
    for path, state in (
        (own_shop.path("confirm"), State.SUBSCRIBED),
        (own_shop.path("unsubscribe"), State.UNSUBSCRIBED),
    ):
        with ThreadPoolExecutor(8) as pool:
            statuses = [reply.status for reply in pool.map(lambda _, path=path: own_shop.press(path), range(8))]
        assert statuses == [200] * 8
        assert own_shop.state() == state
    assert [row[1:3] for row in own_shop.changes()] == [(2, 1), (1, 3)]
    assert sorted(kind for kind, _ in own_shop.queued()) == ["goodbye", "welcome"]


def test_confirming_and_unsubscribing_at_once(own_shop: HostedShop) -> None:
    """In whichever order they are worked on, the reader ends unsubscribed."""
    for number in range(5):
        email = f"reader{number}@example.com"
        own_shop.bring(State.PENDING, email=email)
        paths = [own_shop.path("confirm", email=email), own_shop.path("unsubscribe", email=email)] * 2
        with ThreadPoolExecutor(4) as pool:
            statuses = {reply.status for reply in pool.map(own_shop.press, paths)}
        assert statuses <= {200, 410}
        assert own_shop.state(email=email) == State.UNSUBSCRIBED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\x00\xff\xfe=%%%&&&===", "application/x-www-form-urlencoded"),
        (b"list=" + b"1&list=" * 5000, "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"<x/>", "text/xml"),
        (b"--a\r\nno header", "multipart/form-data; boundary=a"),
        (b"--a", "multipart/form-data"),
        (b"--a\r\n" * 3000, "multipart/form-data; boundary=a"),
        (
            b"--a\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n" * 1001 + b"--a--",
            "multipart/form-data; boundary=a",
        ),
        (b"List-Unsubscribe=One-Click", "\xff\xfe; ="),
        (b"List-Unsubscribe=One-Click", ""),
    ],
)
def test_bodies_that_are_no_choice(shop: HostedShop, body: bytes, kind: str) -> None:
    shop.configure(shop.news, unsubscribe_mode="preferences")
    shop.bring(State.SUBSCRIBED)
    path = shop.path("unsubscribe")
    reply = shop.site.request("POST", path, body, {"Content-Type": kind})
    assert reply.status in (200, 413, 422)
    assert shop.state() == (State.UNSUBSCRIBED if reply.status == 200 else State.SUBSCRIBED)
    assert reply.status != 200 or b"list=1" in body


def test_bodies_that_are_too_large(shop: HostedShop) -> None:
    shop.bring(State.PENDING)
    for kind in ("confirm", "unsubscribe"):
        reply = shop.site.request("POST", shop.path(kind), b"a=" + b"b" * 100_000, FORM)  # type: ignore[arg-type]
        assert reply.status == 413
    assert shop.state() == State.PENDING


def test_pages_as_they_are_served_in_production(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with serve_with_granian(database, storage) as (site, _):
        shop = open_hosted_shop(site, database)
        shop.bring(State.PENDING)
        path = shop.path("confirm")
        assert shop.site.request("HEAD", path).body == b""
        assert heading(shop.site.get(f"/{path}")) == TEXTS["confirm_title"]["en"]
        assert shop.press(path).status == 200
        assert shop.state() == State.SUBSCRIBED
        one_click = shop.site.request("POST", shop.path("unsubscribe"), b"List-Unsubscribe=One-Click", FORM)
        assert one_click.status == 200
        assert shop.state() == State.UNSUBSCRIBED
        assert shop.site.get("/unsubscribe/" + "A" * 8000).status == 404
    database.close()
