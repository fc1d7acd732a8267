"""The pages under /frontend/ through real sockets: the tables on SQLite, what is delicate on both databases."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from page_shop import Shop, check_page, run_shop, run_sqlite_shop
from sqlalchemy import func, select
from web_server import serve

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import Reason, State, Status
from db.engine import Database
from db.tables import account as account_table
from db.tables import group_member, history, recipient, subscription
from jobs.storage import Storage
from services.http.application import HttpOptions


@pytest.fixture(scope="module")
def only_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with run_sqlite_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def shop(only_shop: Shop) -> Shop:
    """The shop of this module without recipients."""
    only_shop.clear()
    return only_shop


@pytest.fixture
def own_shop(database: Database, storage: Storage) -> Iterator[Shop]:
    """A shop of this test alone, on SQLite and on PostgreSQL."""
    with run_shop(database, storage) as shop:
        yield shop


@pytest.mark.parametrize(
    ("before", "confirm", "code", "after"),
    [
        (State.NONE, "1", "0", State.PENDING),
        (State.NONE, "0", "0", State.SUBSCRIBED),
        (State.PENDING, "1", "0", State.PENDING),
        (State.PENDING, "0", "0", State.SUBSCRIBED),
        (State.SUBSCRIBED, "1", "3", State.SUBSCRIBED),
        (State.SUBSCRIBED, "0", "3", State.SUBSCRIBED),
        (State.UNSUBSCRIBED, "1", "0", State.PENDING),
        (State.UNSUBSCRIBED, "0", "0", State.SUBSCRIBED),
        (State.BLOCKED, "1", "1", State.BLOCKED),
        (State.BLOCKED, "0", "1", State.BLOCKED),
    ],
)
def test_subscribing_from_each_state(shop: Shop, before: State, confirm: str, code: str, after: State) -> None:
    shop.bring(before)
    assert shop.call("xmlSubscribe", Email="ada@example.com", List=1, Confirm=confirm) == code
    assert shop.state() == after


@pytest.mark.parametrize(
    ("state", "check", "unsubscribe"),
    [
        (State.NONE, "1", "3"),
        (State.SUBSCRIBED, "2", "0"),
        (State.UNSUBSCRIBED, "3", "3"),
        (State.BLOCKED, "3", "3"),
        (State.PENDING, "4", "0"),
    ],
)
def test_checking_and_unsubscribing_each_state(shop: Shop, state: State, check: str, unsubscribe: str) -> None:
    shop.bring(state)
    parameters: dict[str, Any] = {"Email": "Ada@Example.com", "List": 1, "ListGuid": shop.news.guid}
    assert shop.call("Xmlchksubscriber", **parameters) == check
    assert shop.call("XmlUnSubscribe", **parameters) == unsubscribe
    assert shop.call("Xmlchksubscriber", **parameters) == ("1" if state == State.NONE else "3")
    assert shop.call("XmlUnSubscribe", **parameters) == "3"


def test_unsubscribing_writes_reason_and_history(shop: Shop) -> None:
    shop.bring(State.SUBSCRIBED)
    assert shop.call("Xmlunsubscribe", Email="ada@example.com", List=1) == "0"
    with shop.database.read() as connection:
        stored = connection.execute(select(subscription)).one()
        last = connection.execute(select(history).order_by(history.c.id.desc()).limit(1)).one()
    assert (stored.status, stored.reason_type, stored.source) == (Status.UNSUBSCRIBED, Reason.LINK, "page")
    assert stored.unsubscribed_at is not None
    assert (last.old_status, last.new_status, last.reason_type) == (Status.SUBSCRIBED, Status.UNSUBSCRIBED, Reason.LINK)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"List": "1"}, "2"),
        ({"Email": "not an address", "List": "1"}, "2"),
        ({"Sms": "12", "List": "1"}, "2"),
        ({"Email": "ada@example.com"}, "1"),
        ({"Email": "ada@example.com", "List": "x"}, "1"),
        ({"Email": "ada@example.com", "List": "99"}, "1"),
        ({"Email": "ada@example.com", "List": "1,2"}, "0"),
        ({"Email": "ada@example.com", "List": "1,99"}, "1"),
        ({"Email": "ada@example.com", "List": "1", "csvFldNames": "campo1", "csvFldValues": "a;b"}, "1"),
        ({"Email": "ada@example.com", "List": "1", "Group": "x"}, "1"),
        ({"Email": "ada@example.com", "List": "1", "Group": "999", "source": "wordpress", "lang": "it"}, "0"),
        ({"Sms": "+39 340 1234567", "List": "1"}, "0"),
        ({"Sms": "3401234567", "List": "1"}, "0"),
    ],
)
def test_codes_of_subscribing(shop: Shop, parameters: dict[str, str], code: str) -> None:
    assert shop.call("xmlSubscribe", **parameters) == code


def test_worst_code_of_several_lists(shop: Shop) -> None:
    shop.bring(State.SUBSCRIBED)
    assert shop.call("xmlSubscribe", Email="ada@example.com", List="2,1", Confirm=0) == "3"
    assert shop.state(mailing=shop.offers) == State.SUBSCRIBED
    shop.bring(State.BLOCKED, "bob@example.com")
    assert shop.call("xmlSubscribe", Email="bob@example.com", List="1,2", Confirm=0) == "1"


def test_data_and_groups(own_shop: Shop) -> None:
    shop = own_shop
    known: dict[str, Any] = {"Email": "ada@example.com", "List": 1, "Confirm": 0}
    data: dict[str, Any] = {
        "csvFldNames": "campo1;Campo2;campo39",
        "csvFldValues": "Ada;Lovelace;x",
        "Group": shop.group.number,
    }
    assert shop.call("xmlSubscribe", **known, **data) == "0"
    assert shop.fields() == {"1": "Ada", "2": "Lovelace", "39": "x"}
    assert shop.count(group_member) == 1
    assert shop.call("xmlSubscribe", **known, csvFldNames="campo1;campo2", csvFldValues="Augusta;") == "3"
    assert shop.fields() == {"1": "Augusta", "2": "Lovelace", "39": "x"}
    update: dict[str, Any] = {"Email": "ada@example.com", "List": 1, "ListGuid": shop.news.guid}
    assert shop.call("Updsubscriber", **update, csvFldNames="campo1;campo2", csvFldValues=";King") == "0"
    assert shop.fields() == {"2": "King", "39": "x"}
    assert shop.call("XmlUpdSubscriber", **update, Replace="true", Group="999") == "0"
    assert shop.count(group_member) == 0
    assert shop.call("XmlUpdSubscriber", **update, Group=f"999;{shop.group.number}") == "0"
    assert shop.count(group_member) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "0"),
        ({"List": "x"}, "1"),
        ({"ListGuid": "malformed"}, "1"),
        ({"ListGuid": ""}, "0"),
        ({"Email": "bob@example.com"}, "1"),
        ({"Email": "nonsense"}, "1"),
        ({"csvFldNames": "campo1;campo2", "csvFldValues": "a"}, "1"),
        ({"csvFldNames": "campo1", "csvFldValues": "a--b"}, "1"),
        ({"csvFldNames": "campo1", "csvFldValues": "a;b"}, "1"),
        ({"csvFldNames": "", "csvFldValues": "a;b"}, "1"),
        ({"csvFldNames": "campo1", "csvFldValues": "a\0b"}, "1"),
        ({"csvFldNames": "campo1", "csvFldValues": "x" * 10_001}, "1"),
        ({"csvFldNames": "campo99;unknown", "csvFldValues": "a;b"}, "0"),
        ({"csvFldNames": "campo1;campo2;", "csvFldValues": "a;b;"}, "0"),
        ({"csvFldNames": "campo1", "csvFldValues": ""}, "0"),
        ({"List": ""}, "0"),
        ({"List": "", "ListGuid": ""}, "1"),
        ({"List": "1,2"}, "1"),
        ({"List": "99", "ListGuid": ""}, "1"),
        ({"List": "2"}, "1"),
        ({"Email": "", "Sms": ""}, "1"),
        ({"Email": "", "Sms": "+393401234567"}, "1"),
        ({"Email": "", "Sms": "12"}, "1"),
        ({"Group": "x"}, "1"),
        ({"Group": "1;2,3"}, "0"),
        ({"Group": "999"}, "0"),
        ({"Replace": "maybe"}, "0"),
    ],
)
def test_codes_of_updating(shop: Shop, changes: dict[str, str], code: str) -> None:
    shop.bring(State.UNSUBSCRIBED)
    parameters: dict[str, Any] = {"ListGuid": shop.news.guid, "List": "1", "Email": "ada@example.com"} | changes
    assert shop.call("XmlUpdSubscriber", **parameters) == code
    assert shop.state() == State.UNSUBSCRIBED


def test_updating_somebody_who_bounced(shop: Shop) -> None:
    shop.bring(State.BLOCKED)
    update: dict[str, Any] = {"Email": "ada@example.com", "List": 1, "csvFldNames": "campo1", "csvFldValues": "Ada"}
    assert shop.call("XmlUpdSubscriber", **update, Group=shop.group.number) == "0"
    assert (shop.state(), shop.fields(), shop.count(group_member)) == (State.BLOCKED, {"1": "Ada"}, 1)
    assert shop.call("xmlSubscribe", **update | {"csvFldValues": "Eve"}) == "1"
    assert shop.fields() == {"1": "Ada"}


@pytest.mark.parametrize("page", ["xmlSubscribe", "xmlUnsubscribe", "XmlUpdSubscriber", "Xmlchksubscriber"])
def test_more_numbers_than_a_call_may_have(shop: Shop, page: str) -> None:
    form = {"Email": "ada@example.com", "List": ",".join(map(str, range(1, 1200)))}
    assert check_page(shop.site.post_form(f"/frontend/{page}.aspx", form)) == "1"
    assert shop.count(recipient) == 0


@pytest.mark.parametrize(
    ("parameters", "body"),
    [
        ({}, "0"),
        ({"retCode": "1"}, "0"),
        ({"retcode": "true"}, "0"),
        ({"retCode": ""}, "0"),
        ({"retCode": "0"}, "Operation completed"),
        ({"RETCODE": "False"}, "Operation completed"),
        ({"retCode": "0", "Email": "x"}, "Invalid e-mail address or mobile number"),
        ({"retCode": "0", "List": "99"}, "Generic error"),
    ],
)
def test_text_only_when_asked_for(shop: Shop, parameters: dict[str, str], body: str) -> None:
    assert shop.call("xmlSubscribe", **({"Email": "ada@example.com", "List": "1"} | parameters)) == body


@pytest.mark.parametrize(
    ("value", "state"),
    [
        *((word, State.SUBSCRIBED) for word in ("0", "false", "off", "no", "FALSE")),
        *((word, State.PENDING) for word in ("1", "true", "on", "yes", "")),
    ],
)
def test_confirm(shop: Shop, value: str, state: State) -> None:
    assert shop.call("xmlSubscribe", Email="ada@example.com", List=1, Confirm=value) == "0"
    assert shop.state() == state


@pytest.mark.parametrize(
    "path",
    [
        "/frontend/xmlSubscribe.aspx",
        "/frontend/Xmlsubscribe.aspx",
        "/FRONTEND/XMLSUBSCRIBE.ASPX",
        "//frontend//xmlsubscribe.aspx",
        "/frontend/xmlunsubscribe.aspx",
        "/frontend/xmlUnSubscribe.aspx",
        "//frontend/Xmlunsubscribe.aspx",
        "/frontend/Xmlchksubscriber.aspx",
        "/frontend/xmlChkSubscriber.aspx",
        "/frontend/XmlUpdSubscriber.aspx",
        "/frontend/xmlUpdSubscriber.aspx",
        "/frontend/Updsubscriber.aspx",
        "/frontend/updSubscriber.aspx",
    ],
)
def test_paths_and_no_parameters(shop: Shop, path: str) -> None:
    assert check_page(shop.site.get(path)) == "1"
    assert check_page(shop.site.post_form(path, b"")) == "1"


def test_unknown_page(shop: Shop) -> None:
    assert shop.site.get("/frontend/nothing.aspx").status == 404
    assert shop.site.get("/frontend/").status == 404


def test_options(shop: Shop) -> None:
    reply = shop.site.request("OPTIONS", "/frontend/xmlSubscribe.aspx")
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]


def test_post_forms(shop: Shop) -> None:
    path = "/frontend/xmlSubscribe.aspx"
    assert check_page(shop.site.post_form(path, {"Email": "a@example.com", "List": 1})) == "0"
    assert check_page(shop.site.post_form(f"{path}?List=1&Email=b%40example.com", b"")) == "0"
    assert check_page(shop.site.post_form(f"{path}?List=1", {"Email": "c@example.com"})) == "0"
    assert check_page(shop.site.request("POST", f"{path}?List=1&Email=d%40example.com")) == "0"
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in (
            (b"Email", b"e@example.com"),
            (b"List", b"1"),
            (b"csvFldNames", b"campo1"),
            (b"csvFldValues", b"E"),
        )
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert check_page(shop.site.request("POST", path, parts + b"--x--\r\n", headers)) == "0"
    assert shop.fields("e@example.com") == {"1": "E"}
    assert shop.count(recipient) == 5


def test_first_of_two_counts_and_query_outranks_form(shop: Shop) -> None:
    path = "/frontend/xmlSubscribe.aspx?List=1&Email=first%40example.com&EMAIL=second%40example.com"
    assert check_page(shop.site.post_form(path, {"Email": "third@example.com"})) == "0"
    assert shop.state("first@example.com") == State.PENDING
    assert shop.count(recipient) == 1


@pytest.mark.parametrize("name", ["Città".encode(), "Città".encode("latin-1")])
def test_percent_forms(shop: Shop, name: bytes) -> None:
    query = f"Email=ada%40example.com&List=1&csvFldNames=campo4&csvFldValues={quote(name)}"
    assert check_page(shop.site.get(f"/frontend/xmlSubscribe.aspx?{query}")) == "0"
    assert shop.fields() == {"4": "Città"}


@pytest.mark.parametrize(
    ("page", "guid", "code"),
    [
        ("xmlSubscribe", "right", "0"),
        ("xmlSubscribe", "upper", "0"),
        ("xmlSubscribe", "other", "0"),
        ("xmlSubscribe", "unknown", "0"),
        ("xmlSubscribe", "none", "0"),
        ("Xmlchksubscriber", "right", "2"),
        ("Xmlchksubscriber", "upper", "2"),
        ("Xmlchksubscriber", "other", "1"),
        ("Xmlchksubscriber", "unknown", "1"),
        ("Xmlchksubscriber", "none", "2"),
        ("Xmlunsubscribe", "right", "0"),
        ("Xmlunsubscribe", "other", "1"),
        ("Xmlunsubscribe", "unknown", "1"),
        ("Xmlunsubscribe", "none", "0"),
        ("XmlUpdSubscriber", "right", "0"),
        ("XmlUpdSubscriber", "other", "1"),
        ("XmlUpdSubscriber", "none", "0"),
    ],
)
def test_guids(shop: Shop, page: str, guid: str, code: str) -> None:
    guids = {
        "right": shop.news.guid,
        "upper": f"{{{shop.news.guid.upper()}}}",
        "other": shop.offers.guid,
        "unknown": "e347gh87347gh374hg34",
        "none": "",
    }
    email = "new@example.com" if page == "xmlSubscribe" else "ada@example.com"
    shop.bring(State.SUBSCRIBED)
    assert shop.call(page, Email=email, List=1, ListGuid=guids[guid]) == code


def test_list_by_guid_alone(shop: Shop) -> None:
    for page, code in (("xmlSubscribe", "0"), ("Xmlchksubscriber", "4"), ("Xmlunsubscribe", "0")):
        assert shop.call(page, Email="ada@example.com", ListGuid=shop.offers.guid) == code
    assert shop.state(mailing=shop.offers) == State.UNSUBSCRIBED


def test_accounts_by_host_name(own_shop: Shop) -> None:
    shop = own_shop
    subscribe: dict[str, Any] = {"Email": "ada@example.com", "List": 1, "Confirm": 0}
    assert shop.call("xmlSubscribe", host="m77.example.com", **subscribe) == "1"
    with shop.database.write() as connection:
        other = add_account(connection, 77, password="secret")
        elsewhere = add_list(connection, other.id, "Elsewhere")
    assert shop.call("xmlSubscribe", **subscribe) == "1", "two accounts and nothing to choose by"
    assert shop.call("xmlSubscribe", host="m77.example.com", **subscribe) == "0"
    assert shop.state(mailing=elsewhere) == State.SUBSCRIBED
    assert shop.state() == State.NONE
    check: dict[str, Any] = {"Email": "ada@example.com", "List": 1}
    assert shop.call("Xmlchksubscriber", host="a1234.example.com", **check) == "1"
    assert shop.call("Xmlchksubscriber", host="77.example.com:8080", **check) == "2"
    assert shop.call("Xmlchksubscriber", host="shop.example.com", ListGuid=elsewhere.guid, **check) == "2"
    # A host name that says another account outranks the GUID.
    assert shop.call("Xmlchksubscriber", host="m1234.example.com", ListGuid=elsewhere.guid, **check) == "1"


@pytest.mark.parametrize("state", ["suspended", "inactive", "expired"])
def test_accounts_that_are_not_active(shop: Shop, state: str) -> None:
    with shop.database.write() as connection:
        connection.execute(account_table.update().values(state=state))
    for page in ("xmlSubscribe", "Xmlchksubscriber", "Xmlunsubscribe", "XmlUpdSubscriber"):
        assert shop.call(page, Email="ada@example.com", List=1, ListGuid=shop.news.guid) == "1"
    assert shop.count(recipient) == 0
    with shop.database.write() as connection:
        connection.execute(account_table.update().values(state="active"))


def test_body_limits(sqlite_url: str, storage: Storage) -> None:
    database = Database(sqlite_url)
    with serve(database, storage, HttpOptions(max_body=1000)) as site:
        path = "/frontend/xmlSubscribe.aspx"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert site.request("POST", path, b"x" * 1001, form).status == 413
        assert site.request("POST", path, (b"x" * 100 for _ in range(11)), form).status == 413
        assert site.request("POST", path, (b"x" * 100 for _ in range(10)), form).status == 200
    database.close()


def test_internal_error_is_a_number(database: Database, storage: Storage) -> None:
    with database.write() as connection:
        add_list(connection, add_account(connection, 1, password="secret").id, "News")
        connection.execute(subscription.delete())
        connection.exec_driver_sql("DROP TABLE history")
    with serve(database, storage) as site:
        assert check_page(site.get("/frontend/xmlSubscribe.aspx", Email="ada@example.com", List=1)) == "1"
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(recipient)).scalar_one() == 0


def test_many_at_once_leave_one_truth(own_shop: Shop) -> None:
    shop = own_shop
    pages = ("xmlSubscribe", "xmlUnsubscribe")

    def call(number: int) -> str:
        return shop.call(pages[number % 2], Email="ada@example.com", List=1, Confirm=0)

    with ThreadPoolExecutor(8) as threads:
        codes = list(threads.map(call, range(80)))
    assert all(re.fullmatch("[03]", code) for code in codes)
    with shop.database.read() as connection:
        stored = connection.execute(select(subscription.c.status)).scalars().all()
        steps = connection.execute(select(history.c.old_status, history.c.new_status).order_by(history.c.id)).all()
    assert len(stored) == 1 and shop.count(recipient) == 1
    assert len(steps) == codes.count("0")
    assert steps[0].old_status is None and steps[-1].new_status == stored[0]
    assert all(after.old_status == before.new_status for before, after in itertools.pairwise(steps))
