"""Subscribe.aspx and the catalogue: what forms may send, where browsers are led, what the page shows and to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from lxml import html
from page_shop import Shop, check_page, run_shop, run_sqlite_shop
from sqlalchemy import select
from web_server import Reply

from audience.accounts import add_account, add_host
from audience.erasure import erase_recipient
from audience.list_settings import LANGUAGES
from audience.lists import add_list
from audience.service_access import set_service
from audience.status_rules import Channel, State
from audience.subscriptions import Address, Cause
from db.engine import Database
from db.tables import group_member, history, outbox, recipient
from jobs.storage import Storage
from services.http.options import HttpOptions
from services.mailup.catalogue import TEXTS

PAGE = "/frontend/Subscribe.aspx"
ADA = {"email": "ada@example.com"}
UNLIMITED = HttpOptions(form_rate_per_address=0)


@pytest.fixture(scope="module")
def only_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with run_sqlite_shop(tmp_path_factory.mktemp("shop"), UNLIMITED) as shop:
        yield shop


@pytest.fixture
def shop(only_shop: Shop) -> Shop:
    """The shop of this module without recipients, mails and settings."""
    only_shop.clear()
    return only_shop


@pytest.fixture
def own_shop(database: Database, storage: Storage) -> Iterator[Shop]:
    """A shop of this test alone, on SQLite and on PostgreSQL."""
    with run_shop(database, storage, UNLIMITED) as shop:
        yield shop


def _send(shop: Shop, form: Any) -> Reply:
    body = urlencode(form).encode()
    return shop.site.request("POST", PAGE, body, {"Content-Type": "application/x-www-form-urlencoded"})


def _leads_to(reply: Reply) -> str:
    assert reply.status == 302
    return reply.headers["Location"]


def _received(shop: Shop, problem: str = "") -> str:
    return f"/subscription-received/{shop.news.guid}" + (f"?problem={problem}" if problem else "")


def test_a_form_asks_for_a_confirmation(own_shop: Shop) -> None:
    shop = own_shop
    form = ADA | {"list": 1, "group": shop.group.number, "campo1": "Ada", "CAMPO2": "", "campo40": "x", "nome": "y"}
    assert _leads_to(_send(shop, form)) == _received(shop)
    assert shop.state() == State.PENDING
    assert shop.fields() == {"1": "Ada"}
    assert shop.count(group_member) == 1
    assert shop.mails() == [("confirmation", shop.news.id, [shop.news.id])]
    with shop.database.read() as connection:
        rows = connection.execute(select(history.c.source, history.c.actor)).all()
    assert {tuple(row) for row in rows} == {("page", "127.0.0.1")}
    assert shop.site.get(_received(shop)).status == 200


@pytest.mark.parametrize(
    "path", [PAGE, "/frontend/subscribe.aspx", "//frontend/subscribe.asp", "/FRONTEND/SUBSCRIBE.ASPX"]
)
def test_a_form_by_get(shop: Shop, path: str) -> None:
    assert _leads_to(shop.site.get(f"{path}?email=ada%40example.com&list=1")) == _received(shop)
    assert shop.state() == State.PENDING


def test_a_multipart_form_with_check_boxes(shop: Shop) -> None:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in ((b"email", b"ada@example.com"), (b"list", b"1"), (b"list", b"2"))
    )
    reply = shop.site.request("POST", PAGE, parts + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})
    assert _leads_to(reply) == _received(shop)
    assert shop.state(mailing=shop.offers) == State.PENDING


@pytest.mark.parametrize(
    "lists", [[("list", "1"), ("list", "2")], [("list", "1,2")], [("list", "1;2")], [("List", "1"), ("LIST", "2,1")]]
)
def test_one_mail_confirms_all_lists(shop: Shop, lists: list[tuple[str, str]]) -> None:
    assert _leads_to(_send(shop, [*ADA.items(), *lists])) == _received(shop)
    assert shop.state() == shop.state(mailing=shop.offers) == State.PENDING
    assert shop.mails() == [("confirmation", shop.news.id, [shop.news.id, shop.offers.id])]


def test_the_first_list_leads(shop: Shop) -> None:
    shop.configure(shop.news, received_url="https://example.com/news")
    shop.configure(shop.offers, received_url="https://example.com/offers?a=1&b=è")
    assert _leads_to(_send(shop, ADA | {"list": "2,1"})) == "https://example.com/offers?a=1&b=%C3%A8"
    assert shop.mails() == [("confirmation", shop.offers.id, [shop.news.id, shop.offers.id])]
    assert _leads_to(_send(shop, ADA | {"list": "1"})) == "https://example.com/news"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//example.com/",
        "/elsewhere",
        "https://",
        "https://user@example.com/",
        "https://example.com/\r\nSet-Cookie: x=1",
        "data:text/html,x",
    ],
)
def test_a_url_that_is_none_is_not_followed(shop: Shop, url: str) -> None:
    shop.configure(shop.news, received_url=url)
    reply = _send(shop, ADA | {"list": 1})
    assert _leads_to(reply) == _received(shop)
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("name", ["url", "redirect", "return_url", "received_url", "next", "ReturnUrl", "host"])
def test_no_parameter_says_where_to(shop: Shop, name: str) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Referer": "https://evil.example/"}
    query = urlencode(ADA | {"list": 1, name: "https://evil.example/"})
    assert _leads_to(shop.site.get(f"{PAGE}?{query}", headers)) == _received(shop)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        *((word, State.SUBSCRIBED) for word in ("0", "false", "off", "no")),
        *((word, State.PENDING) for word in ("", "1", "on", "yes", "x")),
    ],
)
def test_turning_the_confirmation_off_is_explicit(shop: Shop, value: str, state: State) -> None:
    shop.configure(shop.news, welcome_mail=True)
    assert _leads_to(_send(shop, ADA | {"list": 1, "confirm": value})) == _received(shop)
    assert shop.state() == state
    assert [kind for kind, *_ in shop.mails()] == ["confirmation" if state == State.PENDING else "welcome"]


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        ({"sms": "+39 340 1234567"}, "+393401234567"),
        ({"sms": "3401234567"}, "+393401234567"),
        ({"prefix": "39", "number": "3401234567"}, "+393401234567"),
        ({"prefix": "+49", "number": "15112345678"}, "+4915112345678"),
        ({"prefix": "0049", "sms": "15112345678"}, "+4915112345678"),
        ({"prefix": "+39", "number": "+4915112345678"}, "+4915112345678"),
        ({"prefix": "+39", "number": ""}, None),
    ],
)
def test_a_mobile_number(shop: Shop, number: dict[str, str], stored: str | None) -> None:
    assert _leads_to(_send(shop, ADA | {"list": 1} | number)) == _received(shop)
    assert shop.mobile() == stored


@pytest.mark.parametrize("confirm", [0, 1])
@pytest.mark.parametrize("state", [State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED])
def test_what_is_known_of_somebody_stays(own_shop: Shop, state: State, confirm: int) -> None:
    shop = own_shop
    shop.bring(state)
    update = {"csvFldNames": "campo1", "csvFldValues": "Ada"}
    assert shop.call("XmlUpdSubscriber", Email="ada@example.com", List=1, **update) == "0"
    form = {"list": "1,2", "campo1": "Eve", "campo2": "x", "group": shop.group.number, "sms": "3401234567"}
    assert _leads_to(_send(shop, ADA | form | {"confirm": confirm})) == _received(shop)
    assert (shop.fields(), shop.mobile(), shop.count(group_member)) == ({"1": "Ada"}, None, 0)
    assert shop.state(mailing=shop.offers) == (State.PENDING if confirm else State.SUBSCRIBED)
    assert shop.call("XmlChkSubscriber", Sms="3401234567", List=1) == "1"


@pytest.mark.parametrize("email", ["ada@example.com", "new@example.com"])
def test_a_form_takes_no_number_over(own_shop: Shop, email: str) -> None:
    shop = own_shop
    assert shop.call("xmlSubscribe", Email="ada@example.com", Sms="3401234567", List=1, Confirm=0) == "0"
    assert shop.call("xmlUnsubscribe", Sms="3401234567", List=1) == "0"
    for mobile in ("3401234567", "3407654321"):
        _send(shop, {"email": email, "list": "1", "sms": mobile, "confirm": 0})
    assert shop.mobile() == "+393401234567"
    assert shop.call("XmlChkSubscriber", Sms="3401234567", List=1) == "3"
    assert shop.call("XmlChkSubscriber", Sms="3407654321", List=1) == "1"


def test_the_data_of_somebody_new_are_stored_in_all_lists(own_shop: Shop) -> None:
    shop = own_shop
    form = {"list": "2,1", "campo1": "Ada", "group": shop.group.number, "sms": "3401234567"}
    assert _leads_to(_send(shop, ADA | form)) == f"/subscription-received/{shop.offers.guid}"
    assert (shop.fields(), shop.mobile(), shop.count(group_member)) == ({"1": "Ada"}, "+393401234567", 1)
    for number in (1, 2):
        assert shop.call("XmlChkSubscriber", Sms="3401234567", List=number) == "2"


def test_the_sender(shop: Shop) -> None:
    _send(shop, ADA | {"list": 1, "dynsndmail": "shop@example.com", "dynsndname": "A shop"})
    with shop.database.read() as connection:
        sender = connection.execute(select(outbox.c.sender_email, outbox.c.sender_name)).one()
    assert sender == ("shop@example.com", "A shop")


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"email": ""}, "address"),
        ({"email": "no address"}, "address"),
        ({"email": "", "sms": "+393401234567"}, "address"),
        ({"sms": "12"}, "address"),
        ({"list": "x"}, "list"),
        ({"list": "99"}, "list"),
        ({"list": "-1"}, "list"),
    ],
)
def test_problems_are_told_on_the_lists_page(shop: Shop, form: dict[str, str], problem: str) -> None:
    reply = _send(shop, ADA | {"list": "1", "ListGuid": shop.news.guid} | form)
    assert _leads_to(reply) == _received(shop, problem)
    assert shop.site.get(_leads_to(reply)).status == 200
    assert shop.count(recipient) == 0


@pytest.mark.parametrize(
    "form", [{}, ADA, ADA | {"list": "99"}, ADA | {"list": "x"}, ADA | {"list": "1", "campo1": "\0"}]
)
def test_without_a_list_or_with_hostile_values(shop: Shop, form: dict[str, str]) -> None:
    assert check_page(_send(shop, form)) == "1"
    assert shop.count(recipient) == 0


def test_an_unknown_list_among_others_is_left_out(shop: Shop) -> None:
    assert _leads_to(_send(shop, ADA | {"list": "99,1"})) == _received(shop)
    assert shop.state() == State.PENDING


def test_lines_of_a_text_area_become_one(shop: Shop) -> None:
    _send(shop, ADA | {"list": 1, "campo3": "one\r\ntwo\tthree"})
    assert shop.fields() == {"3": "one  two three"}


@pytest.mark.parametrize("state", [State.NONE, State.SUBSCRIBED, State.PENDING, State.UNSUBSCRIBED, State.BLOCKED])
def test_the_answer_tells_nothing_of_what_is_known(shop: Shop, state: State) -> None:
    shop.bring(state)
    assert _leads_to(_send(shop, ADA | {"list": 1})) == _received(shop)


def test_who_wanted_to_be_forgotten_is_treated_alike(own_shop: Shop) -> None:
    shop = own_shop
    shop.bring(State.SUBSCRIBED)
    with shop.database.write() as connection:
        erase_recipient(connection, shop.account.id, Address(Channel.EMAIL, "ada@example.com"), Cause("test"))
    assert _leads_to(_send(shop, ADA | {"list": 1})) == _received(shop)
    assert shop.call("xmlSubscribe", Email="ada@example.com", List=1) == "1"
    assert shop.state() == State.NONE and not shop.mails()


def test_the_form_is_open_where_programs_are_not(own_shop: Shop) -> None:
    shop = own_shop
    with shop.database.write() as connection:
        set_service(connection, shop.account.id, "pages", restricted=True)
    for page in ("xmlSubscribe", "xmlUnsubscribe", "Xmlchksubscriber", "XmlUpdSubscriber", "Updsubscriber"):
        assert shop.call(page, Email="ada@example.com", List=1, retCode=0) == "-1011"
        assert shop.call(page, Email="ada@example.com", List=99, ListGuid=shop.news.guid) == "-1011"
        assert shop.call(page, Email="ada@example.com", List=1, ListGuid="unknown") == "-1011"
        assert shop.call(page, Email="ada@example.com", ListGuid="unknown") == "-1011"
        assert shop.call(page) == "1"
    assert shop.count(recipient) == 0
    assert _leads_to(_send(shop, ADA | {"list": 1})) == _received(shop)
    assert "<!DOCTYPE html>" in shop.call("nl_catalog")


def test_an_internal_error_is_no_server_error(own_shop: Shop) -> None:
    with own_shop.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")
    assert check_page(_send(own_shop, ADA | {"list": 1})) == "1"
    assert own_shop.count(recipient) == 0


def _show(shop: Shop, host: str = "", **parameters: Any) -> html.HtmlElement:
    return html.fromstring(shop.call("nl_catalog", host, **parameters))


def test_the_catalogue_shows_public_lists(shop: Shop) -> None:
    shop.configure(shop.news, public=True, description="All <b>that</b> happens", language="it", color="#ffee00")
    page = _show(shop)
    assert page.get("lang") == "it"
    assert [title.text for title in page.iter("h2")] == ["News"]
    assert page.xpath("//section/p/text()") == ["All <b>that</b> happens"]
    shop.configure(shop.offers, public=True, hosted_forms=False)
    page = _show(shop)
    assert [title.text for title in page.iter("h2")] == ["News", "Offers"]
    assert len(page.forms) == 1


def test_the_form_of_the_catalogue_works(shop: Shop) -> None:
    shop.configure(shop.offers, public=True)
    form = _show(shop).forms[0]
    assert (form.method, form.action) == ("POST", PAGE)
    reply = _send(shop, dict(form.form_values()) | ADA)
    assert _leads_to(reply) == f"/subscription-received/{shop.offers.guid}"
    assert shop.state(mailing=shop.offers) == State.PENDING


def test_the_catalogue_is_safe_to_show(shop: Shop) -> None:
    hostile = '"><script>alert(1)</script>{{ 7907 * 7919 }}'
    shop.configure(shop.news, public=True, description=hostile, color="red;}</style>" + hostile, language=hostile)
    reply = shop.site.get("/frontend/nl_catalog.aspx", email=hostile, ListGuid=hostile)
    assert "<script" not in reply.text and "62615533" not in reply.text
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_a_catalogue_of_nothing(own_shop: Shop) -> None:
    shop = own_shop
    assert not _show(shop).forms
    with shop.database.write() as connection:
        other = add_account(connection, 77, password="secret")
        elsewhere = add_list(connection, other.id, "Elsewhere")
        add_host(connection, other.id, "news.example.com")
    shop.configure(shop.news, public=True)
    shop.configure(elsewhere, public=True)
    for host, parameters, names in (
        ("", {}, []),
        ("m1234.example.com", {}, ["News"]),
        ("NEWS.example.com:8080", {}, ["Elsewhere"]),
        ("shop.example.com", {"ListGuid": elsewhere.guid}, ["Elsewhere"]),
        ("m1234.example.com", {"ListGuid": elsewhere.guid}, ["News"]),
        ("m99.example.com", {}, []),
    ):
        assert [title.text for title in _show(shop, host, **parameters).iter("h2")] == names


def test_the_exact_host_name_comes_before_its_label(own_shop: Shop) -> None:
    shop = own_shop
    with shop.database.write() as connection:
        other = add_account(connection, 77, password="secret")
        elsewhere = add_list(connection, other.id, "Elsewhere")
        add_host(connection, other.id, "m1234.example.com")
    assert shop.call("xmlSubscribe", "m1234.example.com", Email="ada@example.com", List=1) == "0"
    assert shop.state() == State.NONE
    assert shop.state(mailing=elsewhere) == State.PENDING


def test_the_catalogue_names_every_language_alike() -> None:
    assert set(TEXTS) == set(LANGUAGES)
    assert len({tuple(texts) for texts in TEXTS.values()}) == 1
    assert all(re.fullmatch(r"\S.*\S", text) for texts in TEXTS.values() for text in texts.values())
