"""The hosted pages through real sockets: what they ask, what their buttons do, and who is told what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hosted_shop import (
    ADA,
    SOURCE,
    HostedShop,
    dump_tables,
    heading,
    items,
    open_hosted_shop,
    parse_page,
    serve_hosted_shop,
)
from lxml import html
from web_server import Reply, serve

from audience.list_settings import LANGUAGES
from audience.status_rules import REQUEST_CONFIRMATION, UNSUBSCRIBE, State
from audience.subscriptions import change_state, parse_address
from db.engine import Database
from db.tables import history, mailing_list
from delivery.colors import contrast
from jobs.storage import Storage
from services.hosted.texts import TEXTS
from services.http.application import HttpOptions

STATES = [State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED]
OLD = datetime.now(UTC) - timedelta(days=31)
TITLES = {key: texts["en"] for key, texts in TEXTS.items() if key.endswith("_title")}


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
    """A shop of this test alone, on SQLite and on PostgreSQL."""
    with serve(database, storage) as site:
        yield open_hosted_shop(site, database)


def test_confirming(own_shop: HostedShop) -> None:
    own_shop.configure(own_shop.news, welcome_mail=True)
    own_shop.bring(State.PENDING)
    path = own_shop.path("confirm")
    page = own_shop.site.get(path)
    assert (page.status, heading(page), items(page)) == (200, TITLES["confirm_title"], ["News"])
    assert "a•••@example.com" in page.text
    assert ADA not in page.text
    for _ in range(2):
        done = own_shop.press(path)
        assert (done.status, heading(done), items(done)) == (200, TITLES["confirmed_title"], ["News"])
        assert own_shop.state() == State.SUBSCRIBED
    assert own_shop.changes() == [(own_shop.news.id, 2, 1, None, None, "127.0.0.1")]
    assert own_shop.queued() == [("welcome", own_shop.news.id)]
    assert heading(own_shop.site.get(path)) == TITLES["confirmed_title"]


def test_unsubscribing(own_shop: HostedShop) -> None:
    own_shop.configure(own_shop.news, goodbye_mail=True, unsubscribe_notice="staff@example.com")
    own_shop.bring(State.SUBSCRIBED)
    path = own_shop.path("unsubscribe")
    page = own_shop.site.get(path)
    assert (page.status, heading(page), items(page)) == (200, TITLES["unsubscribe_title"], ["News"])
    for _ in range(2):
        done = own_shop.press(path)
        assert (done.status, heading(done), items(done)) == (200, TITLES["unsubscribed_title"], ["News"])
        assert own_shop.state() == State.UNSUBSCRIBED
    assert own_shop.changes() == [(own_shop.news.id, 1, 3, 2, None, "127.0.0.1")]
    assert sorted(own_shop.queued()) == [("goodbye", own_shop.news.id), ("unsubscribe-notice", own_shop.news.id)]
    assert heading(own_shop.site.get(path)) == TITLES["not_subscribed_title"]


def test_without_settings_no_mails_follow(shop: HostedShop) -> None:
    shop.bring(State.PENDING)
    shop.press(shop.path("confirm"))
    shop.press(shop.path("unsubscribe"))
    assert shop.state() == State.UNSUBSCRIBED
    assert shop.queued() == []


@pytest.mark.parametrize(
    ("before", "title", "after"),
    [
        (State.SUBSCRIBED, "confirmed_title", State.SUBSCRIBED),
        (State.PENDING, "confirmed_title", State.SUBSCRIBED),
        (State.UNSUBSCRIBED, "ended_title", State.UNSUBSCRIBED),
        (State.BLOCKED, "ended_title", State.BLOCKED),
    ],
)
def test_confirming_from_each_state(shop: HostedShop, before: State, title: str, after: State) -> None:
    shop.bring(before)
    path = shop.path("confirm")
    opened = shop.site.get(path)
    done = shop.press(path)
    assert heading(done) == TITLES[title]
    assert done.status == (410 if title == "ended_title" else 200)
    assert (opened.status, heading(opened)) == (
        (200, TITLES["confirm_title"]) if before == State.PENDING else (done.status, heading(done))
    )
    assert shop.state() == after


@pytest.mark.parametrize("before", STATES)
def test_unsubscribing_from_each_state(shop: HostedShop, before: State) -> None:
    shop.bring(before)
    path = shop.path("unsubscribe")
    opened = shop.site.get(path)
    active = before in (State.SUBSCRIBED, State.PENDING)
    assert heading(opened) == TITLES["unsubscribe_title" if active else "not_subscribed_title"]
    done = shop.press(path)
    assert (done.status, heading(done)) == (200, TITLES["unsubscribed_title"])
    assert shop.state() == (State.BLOCKED if before == State.BLOCKED else State.UNSUBSCRIBED)
    assert len(shop.changes()) == (1 if active else 0)


def test_somebody_who_is_in_another_list_alone(shop: HostedShop) -> None:
    """The subscription was removed, its owner was not."""
    shop.bring(State.SUBSCRIBED, shop.offers)
    for kind, status, title in (("confirm", 410, "ended_title"), ("unsubscribe", 200, "unsubscribed_title")):
        done = shop.press(shop.path(kind))  # type: ignore[arg-type]
        assert (done.status, heading(done)) == (status, TITLES[title])
    assert (shop.state(), shop.state(shop.offers)) == (State.NONE, State.SUBSCRIBED)
    assert shop.changes() == []


def test_one_link_confirms_several_lists(shop: HostedShop) -> None:
    for mailing in (shop.news, shop.offers, shop.events):
        shop.bring(State.PENDING, mailing)
    with shop.database.write() as connection:
        change_state(connection, shop.events, parse_address(shop.events, email=ADA), UNSUBSCRIBE, SOURCE)
    path = shop.path("confirm", shop.offers, shop.news, shop.events)
    assert items(shop.site.get(path)) == ["Offers", "News"]
    done = shop.press(path)
    assert items(done) == ["Offers", "News"]
    assert parse_page(done).findtext(".//header/p") == "Offers"
    states = [shop.state(mailing) for mailing in (shop.news, shop.offers, shop.events)]
    assert states == [State.SUBSCRIBED, State.SUBSCRIBED, State.UNSUBSCRIBED]


def test_an_old_confirmation_is_refused(shop: HostedShop) -> None:
    shop.configure(shop.news, language="de")
    shop.bring(State.PENDING)
    path = shop.path("confirm", issued_at=OLD)
    for reply in (shop.site.get(path), shop.press(path)):
        assert (reply.status, heading(reply)) == (410, TEXTS["ended_title"]["de"])
    assert shop.state() == State.PENDING
    assert shop.press(shop.path("unsubscribe", issued_at=OLD)).status == 200


def test_an_unsubscribe_of_long_ago_outranks_a_confirmation(shop: HostedShop) -> None:
    """Unsubscribed, and asked for anew by himself: the newest wish counts."""
    shop.bring(State.PENDING)
    path = shop.path("confirm")
    shop.press(shop.path("unsubscribe"))
    assert shop.press(path).status == 410
    assert shop.state() == State.UNSUBSCRIBED
    with shop.database.write() as connection:
        change_state(connection, shop.news, parse_address(shop.news, email=ADA), REQUEST_CONFIRMATION, SOURCE)
    assert shop.press(path).status == 200
    assert shop.state() == State.SUBSCRIBED


def test_deleted_lists(shop: HostedShop) -> None:
    shop.bring(State.PENDING)
    shop.bring(State.PENDING, shop.offers)
    links = [shop.path("confirm"), shop.path("unsubscribe"), shop.path("confirm", issued_at=OLD)]
    both = shop.path("confirm", shop.news, shop.offers)
    with shop.database.write() as connection:
        gone = mailing_list.c.id == shop.news.id
        connection.execute(mailing_list.update().where(gone).values(deleted_at=datetime.now(UTC)))
    for path in links:
        for reply in (shop.site.get(path), shop.press(path)):
            assert (reply.status, heading(reply)) == (410, TITLES["ended_title"])
            assert "News" not in reply.text
    assert items(shop.press(both)) == ["Offers"]
    assert shop.site.get(f"/subscription-received/{shop.news.guid}").status == 404


def test_invalid_links_all_get_the_same_page(own_shop: HostedShop) -> None:
    """No answer tells what of a link is right."""
    shop = own_shop
    stranger = open_hosted_shop(shop.site, shop.database, 77)
    shop.bring(State.SUBSCRIBED)
    stranger.bring(State.SUBSCRIBED)
    own, other = shop.path("unsubscribe").rpartition("/")[2], stranger.path("unsubscribe").rpartition("/")[2]
    strange = ["x", "0", "%00", "%ff%fe", "a%0d%0aX:1", "%C3%A9", "%F0%9F%98%80", "A" * 8000]
    tokens = [own[:-8] + other[-8:], own[1:], own + "A", *strange]
    before = dump_tables(shop.database)
    pages = set()
    for token in tokens:
        for path in (f"/unsubscribe/{token}", f"/confirm/{token}"):
            for reply in (shop.site.get(path), shop.press(path, **{"List-Unsubscribe": "One-Click"})):
                assert reply.status == 404
                pages.add(_without_nonce(reply))
    pages.add(_without_nonce(shop.site.get(f"/confirm/{own}")))
    (page,) = pages
    assert TITLES["invalid_title"] in page
    assert dump_tables(shop.database) == before


def test_a_list_of_another_account_is_none(shop: HostedShop) -> None:
    """Even a link with a right signature names lists of its own account only."""
    stranger = open_hosted_shop(shop.site, shop.database, 78)
    shop.bring(State.SUBSCRIBED)
    stranger.bring(State.SUBSCRIBED)
    assert shop.press(shop.path("unsubscribe", stranger.news)).status == 410
    assert stranger.state() == State.SUBSCRIBED


@pytest.mark.parametrize("accepted", [None, "tlh", "de-AT,de;q=0.9", "fr;q=0.2, es"])
def test_invalid_pages_speak_the_callers_language(shop: HostedShop, accepted: str | None) -> None:
    reply = shop.site.get("/confirm/x", {"Accept-Language": accepted} if accepted else None)
    language = {None: "en", "tlh": "en", "de-AT,de;q=0.9": "de", "fr;q=0.2, es": "es"}[accepted]
    assert heading(reply) == TEXTS["invalid_title"][language]
    assert parse_page(reply).get("lang") == language


@pytest.mark.parametrize("mode", ["one-click", "confirmed"])
def test_modes_with_a_button_alone(shop: HostedShop, mode: str) -> None:
    shop.configure(shop.news, unsubscribe_mode=mode, unsubscribe_lists=[shop.offers.number])
    for mailing in (shop.news, shop.offers):
        shop.bring(State.SUBSCRIBED, mailing)
    path = shop.path("unsubscribe")
    page = parse_page(shop.site.get(path))
    assert page.xpath("//input") == []
    assert len(page.xpath("//form//button[@type='submit']")) == 1
    shop.press(path, list=[shop.offers.number])
    assert (shop.state(), shop.state(shop.offers)) == (State.UNSUBSCRIBED, State.SUBSCRIBED)


@pytest.mark.parametrize("mode", ["preferences", "options"])
def test_modes_with_a_choice(shop: HostedShop, mode: str) -> None:
    offered = [shop.offers.number, shop.events.number, 999]
    shop.configure(shop.news, unsubscribe_mode=mode, unsubscribe_lists=offered)
    for mailing in (shop.news, shop.offers):
        shop.bring(State.SUBSCRIBED, mailing)
    path = shop.path("unsubscribe")
    page = shop.site.get(path)
    assert items(page) == ["News", "Offers"]
    assert [box.get("value") for box in parse_page(page).xpath("//input[@checked]")] == [str(shop.news.number)]

    for nothing in ({}, {"list": ""}, {"list": [999, "x", shop.events.number + 10**30]}):
        refused = shop.press(path, **nothing)
        assert (refused.status, heading(refused)) == (422, TITLES["unsubscribe_title"])
        assert TEXTS["choose_one"]["en"] in parse_page(refused).xpath("string(//*[@role='alert'])")
    assert shop.changes() == []

    done = shop.press(path, list=[shop.offers.number])
    assert items(done) == ["Offers"]
    assert (shop.state(), shop.state(shop.offers)) == (State.SUBSCRIBED, State.UNSUBSCRIBED)
    assert items(shop.site.get(path)) == ["News"]
    done = shop.press(path, list=[shop.news.number, shop.offers.number])
    assert items(done) == ["News", "Offers"]
    assert heading(shop.site.get(path)) == TITLES["not_subscribed_title"]
    assert [row[0] for row in shop.changes()] == [shop.offers.id, shop.news.id]


@pytest.mark.parametrize("mode", ["one-click", "confirmed", "preferences", "options"])
@pytest.mark.parametrize("multipart", [False, True])
def test_the_button_of_a_mail_program(shop: HostedShop, mode: str, multipart: bool) -> None:
    """RFC 8058: no page before it, no cookies, no redirect after it, and what the header names is left."""
    shop.configure(
        shop.news,
        unsubscribe_mode=mode,
        unsubscribe_lists=[shop.offers.number],
        unsubscribed_url="https://example.com/bye",
    )
    for mailing in (shop.news, shop.offers):
        shop.bring(State.SUBSCRIBED, mailing)
    path = shop.path("unsubscribe")
    for _ in range(2):
        reply = shop.site.request("POST", path, *_one_click(multipart))
        assert (reply.status, heading(reply)) == (200, TITLES["unsubscribed_title"])
        assert "Set-Cookie" not in reply.headers
    assert (shop.state(), shop.state(shop.offers)) == (State.UNSUBSCRIBED, State.SUBSCRIBED)
    assert shop.changes() == [(shop.news.id, 1, 3, 32, None, "127.0.0.1")]


def _one_click(multipart: bool) -> tuple[bytes, dict[str, str]]:
    if not multipart:
        return b"List-Unsubscribe=One-Click", {"Content-Type": "application/x-www-form-urlencoded"}
    part = b'--frontier\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--frontier--\r\n'
    return part, {"Content-Type": "multipart/form-data; boundary=frontier"}


def test_lists_with_places_of_their_own(shop: HostedShop) -> None:
    shop.configure(
        shop.news, confirmed_url="https://example.com:8443/willkommen/ü?a=1&b=2", unsubscribed_url="http://example.com"
    )
    shop.bring(State.PENDING)
    confirm, unsubscribe = shop.path("confirm"), shop.path("unsubscribe")
    assert "form-action 'self' https://example.com:8443;" in _policy(shop.site.get(confirm))
    done = shop.press(confirm)
    assert (done.status, done.headers["Location"]) == (303, "https://example.com:8443/willkommen/%C3%BC?a=1&b=2")
    assert done.headers["Referrer-Policy"] == "no-referrer"
    assert "form-action 'self' http://example.com;" in _policy(shop.site.get(unsubscribe))
    for _ in range(2):
        done = shop.press(unsubscribe)
        assert (done.status, done.headers["Location"], done.body) == (303, "http://example.com", b"")
    assert shop.press(confirm).status == 410


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_the_language_of_the_list(shop: HostedShop, language: str) -> None:
    shop.configure(shop.news, language=language)
    shop.bring(State.PENDING)
    page = shop.site.get(shop.path("confirm"))
    assert heading(page) == TEXTS["confirm_title"][language]
    assert page.headers["Content-Language"] == language
    received = f"/subscription-received/{shop.news.guid}"
    assert heading(shop.site.get(received)) == TEXTS["received_title"][language]
    assert TEXTS["problem_address"][language] in _text(shop.site.get(received, problem="address"))
    assert TEXTS["problem_list"][language] in _text(shop.site.get(received, problem="list"))


def test_subscription_received(shop: HostedShop) -> None:
    known = shop.site.get(f"/subscription-received/{shop.news.guid.upper()}", problem="<script>")
    assert (known.status, heading(known)) == (200, TITLES["received_title"])
    for guid in ("0" * 36, "x", "%00", "%C3%A9", shop.news.guid + "x"):
        unknown = shop.site.get(f"/subscription-received/{guid}")
        assert (unknown.status, heading(unknown)) == (404, TITLES["problem_title"])
        assert TEXTS["problem_list"]["en"] in _text(unknown)


def test_who_called_behind_a_proxy(database: Database, storage: Storage) -> None:
    with serve(database, storage, HttpOptions(trust_forwarded=True)) as site:
        shop = open_hosted_shop(site, database)
        shop.bring(State.SUBSCRIBED)
        shop.site.request("POST", shop.path("unsubscribe"), b"", {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"})
    assert [row[-1] for row in shop.changes()] == ["192.0.2.7"]


def test_callers_who_ask_too_often(sqlite_url: str, storage: Storage) -> None:
    """Only unsubscribes are never refused: a mail provider sends those of all its users from one address."""
    database = Database(sqlite_url)
    with serve(database, storage, HttpOptions(form_rate_per_address=0.001)) as site:
        shop = open_hosted_shop(site, database)
        shop.bring(State.SUBSCRIBED)
        path = shop.path("unsubscribe")
        assert site.get(path).status == 200
        for refused in (site.get(path), shop.press(shop.path("confirm")), site.get("/confirm/x")):
            assert (refused.status, heading(refused)) == (429, TITLES["failed_title"])
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.headers["Cache-Control"] == "no-store"
        for _ in range(3):
            assert shop.press(path).status == 200
    assert shop.state() == State.UNSUBSCRIBED
    database.close()


def test_a_database_that_fails(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with serve(database, storage) as site:
        shop = open_hosted_shop(site, database)
        shop.bring(State.SUBSCRIBED)
        path = shop.path("unsubscribe")
        with database.write() as connection:
            history.drop(connection)
        reply = shop.press(path)
        assert (reply.status, heading(reply)) == (503, TITLES["failed_title"])
        assert int(reply.headers["Retry-After"]) > 0
        assert shop.state() == State.SUBSCRIBED
    database.close()


def every_page(shop: HostedShop) -> Iterator[Reply]:
    """Yield one page of each sort."""
    offered = [shop.offers.number]
    shop.configure(
        shop.news, unsubscribe_mode="preferences", unsubscribe_lists=offered, description="Weekly", color="#ffdd00"
    )
    shop.bring(State.SUBSCRIBED, shop.offers)
    shop.bring(State.PENDING)
    confirm, unsubscribe = shop.path("confirm"), shop.path("unsubscribe")
    yield shop.site.get(confirm)
    yield shop.press(confirm)
    yield shop.site.get(unsubscribe)
    yield shop.press(unsubscribe)
    yield shop.site.get(shop.path("unsubscribe", shop.offers))
    yield shop.press(unsubscribe, list=[shop.news.number, shop.offers.number])
    yield shop.site.get(unsubscribe)
    yield shop.site.get(confirm)
    yield shop.site.get("/confirm/x")
    yield shop.site.get(f"/subscription-received/{shop.news.guid}")
    yield shop.site.get(f"/subscription-received/{shop.news.guid}", problem="address")


def test_every_page_can_be_read_by_everybody(shop: HostedShop) -> None:
    """Screen readers, keyboards, telephones (WCAG 2.2: 1.3.1, 1.4.3, 1.4.10, 2.4.2, 2.4.7, 2.5.5, 3.1.1, 4.1.2)."""
    for reply in every_page(shop):
        page = parse_page(reply)
        assert reply.text.startswith("<!doctype html>")
        assert page.get("lang") == "en"
        assert page.findtext("head/title", "").strip()
        assert "width=device-width" in page.xpath("string(//meta[@name='viewport']/@content)")
        assert "user-scalable" not in reply.text
        assert len(page.xpath("//h1")) == len(page.xpath("//main")) == 1
        assert not page.xpath("//*[@tabindex or @onclick or @style or @autofocus]")
        _check_controls(page)
        style = page.xpath("string(//style)")
        _check_style(style)


def _check_controls(page: html.HtmlElement) -> None:
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    for control in page.xpath("//input"):
        (label,) = page.xpath("//label[@for=$id]", id=control.get("id"))
        assert label.text_content().strip()
        assert control.xpath("ancestor::fieldset/legend[normalize-space()]")
    for button in page.xpath("//button"):
        assert button.text_content().strip()
    for described in page.xpath("//@aria-describedby"):
        assert described in ids
    assert page.xpath("//form") or page.xpath("//main//*[@role='status'][normalize-space()]")


def _check_style(style: str) -> None:
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", style)
    pairs = 0
    for _, rule in rules:
        color, background = (
            re.search(rf"(?:^|[; ]){name}: (#[0-9a-f]{{6}})", rule) for name in ("color", "background")
        )
        assert bool(color) == bool(background), rule
        if color and background:
            pairs += 1
            assert contrast(color[1], background[1]) >= 4.5, rule
    assert pairs >= 4
    assert "outline: 0" not in style.replace("outline: 0.1", "")
    assert ":focus-visible" in style
    for size in re.findall(r"(?:font(?:-size)?): ([0-9.]+)rem", style):
        assert float(size) >= 1
    for height in re.findall(r"min-height: ([0-9.]+)rem", style):
        assert float(height) * 16 >= 44


def test_every_page_lets_nothing_in_and_nothing_out(shop: HostedShop) -> None:
    for reply in every_page(shop):
        nonce = parse_page(reply).xpath("string(//style/@nonce)")
        assert len(nonce) >= 22
        assert _policy(reply).startswith(f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; ")
        assert "frame-ancestors 'none'" in _policy(reply)
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "noindex" in reply.headers["X-Robots-Tag"]
        assert "Set-Cookie" not in reply.headers
        page = parse_page(reply)
        assert not page.xpath(
            "//script | //link | //img | //iframe | //object | //a | //base | //@src | //@href | //@action"
        )
        assert ADA not in reply.text


def _without_nonce(reply: Reply) -> str:
    return re.sub('nonce="[^"]*"', "", reply.text)


def _policy(reply: Reply) -> str:
    return reply.headers["Content-Security-Policy"]


def _text(reply: Reply) -> str:
    return str(parse_page(reply).xpath("string(//main)"))
