"""Newsletters over SOAP: made of HTML, files and pages, changed, copied, listed and shown."""

from __future__ import annotations

import base64
import ipaddress
import re
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from keyed_calls import SEND, Keyed
from web_server import serve
from webhook_receivers import Received, Receiver, Reply, misbehaving, receiving

from audience.accounts import add_account
from audience.lists import MailingList, add_list
from audience.status_rules import Channel
from audience.templates import add_template
from db.engine import Database
from delivery.html_sources import MAX_PAGE_SIZE
from delivery.message_files import add_file, files_of, make_attachment
from delivery.messages import Message, MessageSettings, add_message, find_message
from delivery.sendings import add_sending
from jobs.storage import Storage
from services.http.options import HttpOptions

OK = "<errorCode>0</errorCode><errorDescription></errorDescription>"
LOOPBACK = HttpOptions(content_networks=(ipaddress.ip_network("127.0.0.0/8"),))
PAGE = "<html><body>Città</body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}


@dataclass(frozen=True)
class Desk:
    """A server, a key to account 1, and its lists 1 and 2."""

    keyed: Keyed
    database: Database
    lists: list[MailingList]
    key: str

    def create(self, **given: object) -> str:
        """Make a newsletter in list 1; return the error code, or the number after a #."""
        return self._call("CreateNewsletter", {"listID": 1, "subject": "News", "type": "HTML", **given})

    def edit(self, number: int, **given: object) -> str:
        return self._call("EditNewsletter", {"listID": 1, "newsletterId": number, **given})

    def clone(self, **given: object) -> str:
        return self.keyed.result(SEND, "CloneMessage", accessKey=self.key, **given)

    def load(self, number: int) -> Message:
        with self.database.read() as connection:
            return find_message(connection, self.lists[0].account_id, Channel.EMAIL, number)

    def files(self, number: int) -> list[tuple[str, str, str, bytes]]:
        with self.database.read() as connection:
            found = find_message(connection, self.lists[0].account_id, Channel.EMAIL, number)
            return [(file.kind, file.name, file.content_type, file.content) for file in files_of(connection, found)]

    def listing(self) -> str:
        return self.keyed.result(SEND, "GetNewsletters", accessKey=self.key, listID=1)

    def _call(self, operation: str, given: Mapping[str, object]) -> str:
        root = self.keyed.call(SEND, operation, accessKey=self.key, **given)
        number, description = root.findtext("newsletterID"), root.findtext("errorDescription") or ""
        assert (number is None) == bool(description)
        return f"#{number}" if number else f"{root.findtext('errorCode')} {description}"


def _open(database: Database, storage: Storage, options: HttpOptions) -> Iterator[Desk]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        lists = [add_list(connection, account.id, name) for name in ("News", "Offers")]
        add_list(connection, add_account(connection, 2, password="secret").id, "Other")
    with serve(database, storage, options) as site:
        keyed = Keyed(site)
        yield Desk(keyed, database, lists, keyed.log_in())


@pytest.fixture
def desk(database: Database, storage: Storage) -> Iterator[Desk]:
    yield from _open(database, storage, LOOPBACK)


@pytest.fixture
def strict_desk(sqlite_url: str, storage: Storage) -> Iterator[Desk]:
    """A server that goes to public addresses only."""
    database = Database(sqlite_url)
    yield from _open(database, storage, HttpOptions())
    database.close()


@pytest.fixture(scope="module")
def shared_desk(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One for all tests that store nothing."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copyfile(sqlite_template, folder / "listbridge.db")
    database, storage = Database(f"sqlite:///{folder}/listbridge.db"), Storage(folder / "data", reserve=0)
    storage.prepare()
    yield from _open(database, storage, LOOPBACK)
    database.close()


@pytest.fixture
def quick_desk(sqlite_url: str, storage: Storage) -> Iterator[Desk]:
    """The usual one on SQLite only, for what does not depend on the database."""
    database = Database(sqlite_url)
    yield from _open(database, storage, LOOPBACK)
    database.close()


def test_the_life_of_a_newsletter(desk: Desk) -> None:
    options = {"note": "For Easter", "dyn_fld": "false", "LINK_TRACK": "1", "link_track_mailto": "true", "x": "y"}
    result = desk.keyed.result(
        SEND, "CreateNewsletter", accessKey=desk.key, listID=1, subject=" Ciao ", type="html", content=PAGE,
        options=options,
    )  # fmt: skip
    body = "<listID>1</listID><newsletterID>1</newsletterID>"
    assert result == f"<CreateNewsletterResult>{OK}{body}</CreateNewsletterResult>"
    stored = desk.load(1)
    assert (stored.subject, stored.html, stored.text, stored.notes) == ("Ciao", PAGE, "", "For Easter")
    assert stored.settings == MessageSettings(
        merge_fields=False, track_links=True, tracked_schemes=("http", "https", "mailto"), other={"x": "y"}
    )
    assert desk.edit(1, subject="Buongiorno", options={"dyn_fld": "True", "link_track_http": "0", "z": "1"}) == "#1"
    edited = desk.load(1)
    assert (edited.subject, edited.html, edited.notes) == ("Buongiorno", PAGE, "For Easter")
    assert edited.settings == MessageSettings(
        track_links=True, tracked_schemes=("https", "mailto"), other={"x": "y", "z": "1"}
    )
    assert edited.updated_at > edited.created_at == stored.created_at
    assert desk.edit(1, content="<p>New</p>", options={"note": ""}) == "#1"
    assert (desk.load(1).html, desk.load(1).notes) == ("<p>New</p>", "")


def test_listings(desk: Desk) -> None:
    assert desk.create(content="x", subject="One ]]> & <b>", options={"note": "n"}) == "#1"
    assert desk.clone(listId=1, messageToCloneId=1, subject="Copy") == "2"
    assert desk.keyed.call(
        SEND, "CreateNewsletter", accessKey=desk.key, listID=2, subject="x", type="", content="y"
    ).findtext("newsletterID") == "3"  # fmt: skip
    result = desk.keyed.result(SEND, "GetNewsletters", accessKey=desk.key, listID=1)
    date = r"<creationdate>\d\d/\d\d/\d{4} \d\d\.\d\d\.\d\d</creationdate>"
    assert re.fullmatch(
        rf"<GetNewslettersResult>{OK}<list><listID>1</listID><listName><!\[CDATA\[News\]\]></listName><newsletters>"
        r"<newsletter><newsletterID>1</newsletterID><subject><!\[CDATA\[One \]\]\]\]><!\[CDATA\[> & <b>\]\]></subject>"
        rf"<note><!\[CDATA\[n\]\]></note>{date}</newsletter>"
        r"<newsletter><newsletterID>2</newsletterID><subject><!\[CDATA\[Copy\]\]></subject>"
        rf"<note><!\[CDATA\[n\]\]></note>{date}</newsletter>"
        "</newsletters></list></GetNewslettersResult>",
        result,
    )
    originals = desk.keyed.call(SEND, "GetMessages", accessKey=desk.key, listID=1)
    assert [item.text for item in originals.iterfind("list/newsletters/newsletter/newsletterID")] == ["1"]
    failed = desk.keyed.result(SEND, "GetMessages", accessKey=desk.key, listID=9)
    assert failed.endswith("<list><newsletters></newsletters></list></GetMessagesResult>")


def test_codes_of_newsletters_and_templates(desk: Desk) -> None:
    html = "<html><HEAD lang='it'><title>T</title></head >\n<body class=a>Hello</body></html>"
    desk.create(content=html)
    desk.create(content="No <b>frame")
    with desk.database.write() as connection:
        add_template(connection, desk.lists[0].account_id, desk.lists[0], subject="T", html="<body>t")
        add_template(connection, desk.lists[0].account_id, desk.lists[1], subject="O", html="o")

    def ask(number: int, template: bool) -> list[tuple[str, str | None]]:
        given = {"listID": 1, "newsletterID": number, "isTemplate": "true" if template else "false"}
        root = desk.keyed.call(SEND, "GetNewsletterCode", accessKey=desk.key, **given)
        return [(child.tag, child.text) for child in root][2:] or [("errorCode", root.findtext("errorCode"))]

    assert ask(1, False) == [
        ("listID", "1"),
        ("newsletterID", "1"),
        ("newsletterSubject", "News"),
        ("newsletterHeader", "<title>T</title>"),
        ("newsletterBody", "Hello"),
        ("newsletterCode", html),
    ]
    assert dict(ask(2, False))["newsletterBody"] == "No <b>frame"
    assert dict(ask(1, True)) | {"listID": ""} == {
        "listID": "",
        "newsletterID": "1",
        "newsletterSubject": "T",
        "newsletterHeader": None,
        "newsletterBody": "t",
        "newsletterCode": "<body>t",
    }
    assert ask(3, False) == ask(2, True) == [("errorCode", "7")]


def test_copies(desk: Desk) -> None:
    desk.create(content="<p>x</p>", options={"note": "n", "dyn_fld": "0", "a": "b"})
    with desk.database.write() as connection:
        for name in ("a.pdf", "b.bin"):
            add_file(connection, desk.load(1), make_attachment(name, name.encode() * 100))
        text_message = add_message(connection, desk.lists[0], Channel.SMS, subject="s", text="t")
    assert text_message.number == 1
    guid = desk.lists[0].guid
    assert desk.clone(listId=1, listGuid=guid, messageToCloneId=1, subject="Second") == "2"
    assert desk.clone(listGuid=f"{{{guid.upper()}}}", messageToCloneId=1) == "3"
    assert desk.clone(listId=1, messageToCloneId=2, subject=" ") == "4"
    copies = [desk.load(number) for number in (2, 3, 4)]
    assert [copy.subject for copy in copies] == ["Second", "News", "Second"]
    assert [copy.cloned_from for copy in copies] == [1, 1, 2]
    assert {(copy.html, copy.notes, copy.list_id) for copy in copies} == {("<p>x</p>", "n", desk.lists[0].id)}
    assert all(copy.settings == desk.load(1).settings for copy in copies)
    assert desk.files(4) == desk.files(2) == desk.files(1) != []
    # A copy goes its own way.
    assert desk.edit(2, content="other") == "#2"
    assert desk.load(1).html == "<p>x</p>"


def test_failed_copies_are_minus_one(desk: Desk) -> None:
    desk.create(content="x")
    guids = [mailing.guid for mailing in desk.lists]
    failures: list[dict[str, object]] = [
        {"messageToCloneId": 1},
        {"listId": "", "listGuid": "", "messageToCloneId": 1},
        {"listId": 2, "messageToCloneId": 1},
        {"listId": 1, "listGuid": guids[1], "messageToCloneId": 1},
        {"listGuid": guids[1], "messageToCloneId": 1},
        {"listGuid": "no guid", "messageToCloneId": 1},
        {"listId": "one", "messageToCloneId": 1},
        {"listId": "99999999999999999999", "messageToCloneId": 1},
        {"listId": 1, "messageToCloneId": 2},
        {"listId": 1, "messageToCloneId": -1},
        {"listId": 1},
        {"listId": 1, "messageToCloneId": 1, "subject": "x" * 256},
        {"listId": 1, "messageToCloneId": 1, "subject": "a\nb"},
    ]
    assert {desk.clone(**given) for given in failures} == {"-1"}
    assert desk.keyed.result(SEND, "CloneMessage", accessKey="wrong", listId=1, messageToCloneId=1) == "-1"
    assert desk.clone(listId=1, messageToCloneId=1) == "2"


def test_another_account_sees_nothing(desk: Desk) -> None:
    desk.create(content="x")
    key = desk.keyed.log_in(user="a2", console=2)

    def ask(operation: str, **given: object) -> str:
        return desk.keyed.result(SEND, operation, accessKey=key, listID=1, **given)

    listed = ask("GetNewsletters")
    assert "<newsletters></newsletters>" in listed and "Other" in listed
    for operation, name in (("EditNewsletter", "newsletterId"), ("GetNewsletterCode", "newsletterID")):
        given: dict[str, object] = {"subject": "y"} if operation == "EditNewsletter" else {"isTemplate": 0}
        theirs, none = (ask(operation, **{name: number}, **given) for number in (1, 7))
        assert theirs == none.replace("7.", "1.") and "<errorCode>7</errorCode>" in theirs
    guid = desk.lists[0].guid
    names: list[dict[str, object]] = [{"listGuid": guid}, {"listId": 1, "listGuid": guid}, {"listId": 1}]
    for named in names:
        assert desk.keyed.result(SEND, "CloneMessage", accessKey=key, messageToCloneId=1, **named) == "-1"
    assert desk.load(1).subject == "News"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"listID": 9, "content": "x"}, "5"),
        ({"content": ""}, "9"),
        ({"content": " \n"}, "9"),
        ({"subject": "", "content": "x"}, "9"),
        ({"subject": "a\nBcc: b@example.com", "content": "x"}, "9"),
        ({"subject": "a\u2028b", "content": "x"}, "9"),
        ({"subject": "a\x85b", "content": "x"}, "9"),
        ({"subject": "a\tb", "content": "x"}, "9"),
        ({"subject": "x" * 256, "content": "x"}, "9"),
        ({"subject": "x" * 5000, "content": "x"}, "9"),
        ({"type": "PDF", "content": "x"}, "9"),
        ({"type": "ID", "content": "1"}, "9"),
        ({"type": "FILE", "content": "no base64!"}, "9"),
        ({"type": "FILE", "content": "AAAA"}, "9"),
        ({"type": "FILE", "content": "QUJDR"}, "9"),
        ({"type": "URL", "content": "ftp://example.com/"}, "9"),
        ({"type": "URL", "content": "no address"}, "9"),
        ({"type": "URL", "content": "http://" + "x" * 3000}, "9"),
        ({"content": "x", "options": {"dyn_fld": "maybe"}}, "10 dyn_fld: "),
        ({"content": "x", "options": {"Emb_Img": "2"}}, "10 Emb_Img: "),
        ({"content": "x", "options": {"link_track_ftp": "ja"}}, "10 link_track_ftp: "),
        ({"content": "x", "options": {"note": "x" * 2001}}, "10 note: "),
        ({"content": "x", "options": {"querystring": "a=b\nc"}}, "10 querystring: "),
        ({"content": "x", "options": {"querystring": "a" * 1001}}, "10 querystring: "),
    ],
)
def test_what_is_refused(shared_desk: Desk, given: Mapping[str, object], code: str) -> None:
    assert shared_desk.create(**given).startswith(code)
    assert "<newsletters></newsletters>" in shared_desk.listing()


def test_subjects_may_have_any_characters_of_text(quick_desk: Desk) -> None:
    subject = "\U0001f469\u200d\U0001f4bb prix\u00a0: 5\u202f€ – 東京"
    assert quick_desk.create(subject=subject, content="x") == "#1"
    assert quick_desk.load(1).subject == subject


def test_options_that_are_not_kept(quick_desk: Desk) -> None:
    kept = {f"key{number}": "v" * 2000 for number in range(60)}
    of_sendings = {"recipients": "a@example.com", "campo1": "Anna", "send_to": "ALL", "from_email": "b@example.com"}
    assert quick_desk.create(content="x", options=kept | of_sendings | {"querystring": "?utm=1&b=c"}) == "#1"
    settings = quick_desk.load(1).settings
    assert settings.link_parameters == "utm=1&b=c" and settings.merge_fields
    assert list(settings.other) == list(kept)[-50:]
    assert {len(value) for value in settings.other.values()} == {1000}


def test_the_last_of_two_options_counts(quick_desk: Desk) -> None:
    assert quick_desk.create(content="x", options={"dyn_fld": "false", "DYN_FLD": "true"}) == "#1"
    assert quick_desk.load(1).settings.merge_fields


@pytest.mark.parametrize(
    "content",
    [
        PAGE.encode(),
        b"\xef\xbb\xbf" + PAGE.encode(),
        b"\xff\xfe" + PAGE.encode("utf-16-le"),
        b"\xfe\xff" + PAGE.encode("utf-16-be"),
        b"<meta charset=iso-8859-1>" + PAGE.encode("latin-1"),
        b"<meta http-equiv='Content-Type' content='text/html; charset=windows-1252'>" + PAGE.encode("cp1252"),
    ],
)
def test_files(quick_desk: Desk, content: bytes) -> None:
    packed = base64.encodebytes(content).decode().rstrip("=\n")
    assert quick_desk.create(type="FILE", content=packed) == "#1"
    assert quick_desk.load(1).html.endswith(PAGE)


def test_a_newsletter_that_is_being_sent_stays_as_it_is(desk: Desk) -> None:
    desk.create(content="x")
    with desk.database.write() as connection:
        add_sending(connection, desk.lists[0], Channel.EMAIL, desk.load(1), state="scheduled")
    assert desk.edit(1, subject="Later") == "#1"
    with desk.database.write() as connection:
        add_sending(connection, desk.lists[0], Channel.EMAIL, desk.load(1), state="paused")
    assert desk.edit(1, subject="Never").startswith("12 ")
    assert desk.load(1).subject == "Later"


def _answer(body: bytes, **headers: str) -> Reply:
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body


def test_pages_are_fetched(quick_desk: Desk) -> None:
    pages: dict[str, Reply] = {
        "/utf8": (200, HTML, PAGE.encode()),
        "/latin": _answer(PAGE.encode("latin-1"), Content_Type="TEXT/HTML;Charset=ISO-8859-1"),
        "/meta": _answer(b"<meta charset='cp1252'>" + PAGE.encode("cp1252"), Content_Type="application/xhtml+xml"),
        "/text": _answer(PAGE.encode(), Content_Type="text/plain; charset=utf-8"),
        "/moved": (302, {"Location": "/utf8"}, b""),
    }
    with receiving(lambda request: pages[request.target]) as server:
        for number, path in enumerate(pages, 1):
            url = server.url.removesuffix("/hook") + path
            assert quick_desk.create(type="url", content=f" {url}\n") == f"#{number}"
    stored = [quick_desk.load(number) for number in range(1, 6)]
    assert [message.html.endswith(PAGE) for message in stored] == [True, True, True, False, True]
    assert (stored[3].html, stored[3].text) == ("", PAGE)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, HTML, b"none"), "status 404"),
        ((204, HTML, b""), "status 204"),
        ((200, {"Content-Type": "image/png"}, b"x"), "neither HTML nor plain text"),
        ((200, {}, b"x"), "neither HTML nor plain text"),
        ((200, HTML, b""), "without any content"),
        ((200, HTML, b"\xff\xfe\x00"), "not text"),
        ((200, HTML, b"\xc3("), "not text"),
        ((200, HTML, b"a\0b"), "not text"),
        ((200, {"Content-Type": "text/html; charset=rot13"}, b"x"), "not known"),
        ((200, {"Content-Type": "text/html; charset=utf-7"}, b"+AGE-"), "not known"),
        ((200, {**HTML, "Content-Encoding": "gzip"}, b"x"), "compressed"),
        ((200, HTML, b"x" * (MAX_PAGE_SIZE + 1)), f"more than {MAX_PAGE_SIZE} bytes"),
        ((302, {"Location": "http://10.0.0.1/"}, b""), "not a public one"),
        ((302, {"Location": "http://[::1]/"}, b""), "not a public one"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "A redirect leads astray"),
        ((302, {"Location": "/hook"}, b""), "redirects"),
    ],
)
def test_pages_that_cannot_be_had(shared_desk: Desk, reply: Reply, reason: str) -> None:
    with receiving(lambda _: reply) as server:
        answer = shared_desk.create(type="URL", content=server.url)
    assert answer.startswith("9 ") and reason in answer


def test_a_page_that_breaks_off_is_none(shared_desk: Desk) -> None:
    def stop(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n<p>")

    with misbehaving(stop) as url:
        assert shared_desk.create(type="URL", content=url).startswith("9 The page could not be fetched.")


def test_nothing_inside_is_reached(strict_desk: Desk) -> None:
    hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]"]
    with receiving(lambda _: (200, HTML, PAGE.encode())) as server:
        urls = [server.url.replace("127.0.0.1", host) for host in hosts]
        for url in urls:
            assert strict_desk.create(type="URL", content=url).startswith("9 The page could not be fetched.")
        images = "".join(f'<img src="{url}">' for url in urls)
        assert strict_desk.create(content=images, options={"emb_img": "true"}) == "#1"
    assert server.requests == []
    assert strict_desk.files(1) == []


def test_slow_pages_hold_up_nobody(quick_desk: Desk) -> None:
    """Others are answered while pages drip, and so are those who would wait for one more."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nx")
        reached.release()
        ended.wait(30)
        connection.sendall(b"y")

    reached = threading.Semaphore(0)
    answers: list[str] = []
    with misbehaving(drip) as url:
        callers = [
            threading.Thread(target=lambda: answers.append(quick_desk.create(type="URL", content=url)))
            for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        for _ in callers:
            assert reached.acquire(timeout=30)
        assert quick_desk.create(type="URL", content=url).startswith("12 ")
        assert quick_desk.create(content="x") == "#1"
        ended.set()
        for caller in callers:
            caller.join(30)
    assert sorted(answers) == ["#2", "#3", "#4", "#5"]


@dataclass
class _Gallery:
    """A server of images by path."""

    pictures: dict[str, Reply]

    def __call__(self, request: Received) -> Reply:
        return self.pictures.get(request.target, (404, {}, b""))


@pytest.fixture
def gallery() -> Iterator[Receiver]:
    png = {"Content-Type": "image/png"}
    pictures: dict[str, Reply] = {
        "/a.png": (200, png, b"a"),
        "/b?x=1&y=2": (200, {"Content-Type": "image/JPEG; q=1"}, b"b"),
        "/page": (200, HTML, b"<p>"),
        "/empty.png": (200, png, b""),
        "/big.png": (200, png, b"x" * 3_000_001),
        **{f"/{number}.png": (200, png, bytes([number]) * 3_000_000) for number in range(5)},
    }
    with receiving(_Gallery(pictures)) as server:
        server.url = server.url.removesuffix("/hook")
        yield server


def test_images_go_along(quick_desk: Desk, gallery: Receiver) -> None:
    desk, url = quick_desk, gallery.url
    names = [f"{url}/a.png", f"{url}/b?x=1&amp;y=2"]
    others = [f"{url}/{name}" for name in ("page", "empty.png", "big.png", "none.png")]
    html = "".join(f'<img src="{name}">' for name in [*names, *others, "cid:x", "/relative.png", names[0]])
    assert desk.create(content=html) == "#1"
    assert gallery.requests == [] and desk.files(1) == []
    assert desk.create(content=html, options={"emb_img": "true"}) == "#2"
    images = [("image", names[0], "image/png", b"a"), ("image", names[1], "image/jpeg", b"b")]
    assert desk.files(2) == images and desk.load(2).html == html
    assert len(gallery.requests) == 6
    # They change when the content does, or when it is wanted otherwise.
    assert desk.edit(2, subject="Other") == "#2"
    assert len(gallery.requests) == 6
    assert desk.edit(2, options={"emb_img": "false"}) == "#2"
    assert desk.files(2) == []
    assert desk.edit(2, options={"emb_img": "true"}) == "#2"
    assert desk.files(2) == images
    assert desk.edit(2, content=f"<img src={url}/a.png >") == "#2"
    assert desk.files(2) == images[:1]
    assert desk.clone(listId=1, messageToCloneId=2) == "3"
    assert desk.files(3) == images[:1]


def test_images_are_limited_together(quick_desk: Desk, gallery: Receiver) -> None:
    html = "".join(f"<img src='{gallery.url}/{number}.png'>" for number in range(5))
    assert quick_desk.create(content=html + f"<img src='{gallery.url}/a.png'>", options={"emb_img": 1}) == "#1"
    assert [name.rpartition("/")[2] for _, name, _, _ in quick_desk.files(1)] == ["0.png", "1.png", "2.png", "a.png"]
