"""The mails that lists send by themselves: what goes out, to whom, how often, and what becomes of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

import dkim
import pytest
from import_calls import open_import_office
from mail_sinks import MailSink, serve_mail
from page_shop import Shop, run_sqlite_shop
from sqlalchemy import Table, select, update

from audience.accounts import add_account, find_account, set_account_state
from audience.lists import MailingList, add_list
from audience.notices import add_notice
from audience.status_rules import REQUEST_CONFIRMATION, SUBSCRIBE, UNSUBSCRIBE, Channel, State, Transition
from audience.subscriptions import Cause, change_state, parse_address, state_in_list
from db.engine import Database
from db.leases import name_owner
from db.tables import mailing_list, notice, outbox, recipient
from delivery.dkim import DkimSigner, add_signer, dns_record, make_key
from delivery.messages import add_message
from delivery.outbox import MailKind, Sender, queue_mail
from delivery.outbox_letters import OutboxOptions
from delivery.outbox_mails import send_due_mails
from delivery.return_paths import read_return_path
from delivery.routes import MailRoute, make_route
from delivery.smtp import SmtpOptions
from jobs.storage import Storage
from services.mailup.merge_tags import VOCABULARY

ADA, STAFF, SENDER = "ada@example.com", "staff@example.com", "news@shop.example"
SUBSCRIBED_BEFORE_LEAVING = (SUBSCRIBE, UNSUBSCRIBE)


def make_options(**values: Any) -> OutboxOptions:
    defaults: dict[str, Any] = {"public_url": "https://mail.example.com", "host": "mail.example.com"}
    return OutboxOptions(**{**defaults, "vocabulary": VOCABULARY, **values})


def make_relay(port: int) -> MailRoute:
    route = make_route(SmtpOptions(relay=("127.0.0.1", port), security="none"))
    assert route is not None
    return route


@dataclass
class Desk:
    """An account with two lists whose mails go to a server of this test."""

    database: Database
    sink: MailSink
    route: MailRoute
    news: MailingList
    offers: MailingList
    owner: str = field(default_factory=name_owner)

    def configure(self, mailing: MailingList | None = None, **settings: Any) -> None:
        here = mailing_list.c.id == (mailing or self.news).id
        values = {"sender_email": SENDER, "sender_name": "The Shop", **settings}
        self.change(mailing_list.update().where(here).values(settings=values))

    def change(self, statement: Any) -> None:
        with self.database.write() as connection:
            connection.execute(statement)

    def bring(self, *transitions: Transition, email: str = ADA, mailing: MailingList | None = None) -> int:
        mailing = mailing or self.news
        with self.database.write() as connection:
            address = parse_address(mailing, email=email)
            changes = [change_state(connection, mailing, address, one, Cause("test")) for one in transitions]
            return changes[-1].recipient_id

    def ask(self, kind: MailKind, person: int, mailing: MailingList | None = None, **more: Any) -> None:
        with self.database.write() as connection:
            queue_mail(connection, mailing or self.news, person, kind, **more)

    def work(self, **options: Any) -> list[EmailMessage]:
        """Send what is due; return it."""
        before = len(self.sink.received)
        stop = threading.Event()
        while send_due_mails(self.database, self.route, make_options(**options), self.owner, stop):
            pass
        return [read_mail(content) for _, _, content in self.sink.received[before:]]

    def rows(self, *names: str, table: Table = outbox) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(select(*(table.c[name] for name in names)).order_by("id"))]

    def make_due(self) -> None:
        self.change(outbox.update().where(outbox.c.state == "waiting").values(due_at=None))

    def state(self, email: str = ADA) -> State:
        with self.database.read() as connection:
            return state_in_list(connection, self.news, parse_address(self.news, email=email))


def read_mail(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=SMTPUTF8)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def sink() -> Iterator[MailSink]:
    with serve_mail() as running:
        yield running


@contextmanager
def _open_desk(database: Database, sink: MailSink) -> Iterator[Desk]:
    with database.write() as connection:
        account = add_account(connection, 1, password="secret")
        news, offers = (add_list(connection, account.id, name) for name in ("News è", "Offers"))
    sink.tries.clear()
    route = make_relay(sink.port)
    made = Desk(database, sink, route, news, offers)
    made.configure()
    yield made
    route.close()


@pytest.fixture
def desk(sqlite_url: str, sink: MailSink) -> Iterator[Desk]:
    database = Database(sqlite_url)
    with _open_desk(database, sink) as made:
        yield made
    database.close()


@pytest.fixture
def any_desk(database: Database, sink: MailSink) -> Iterator[Desk]:
    """The same on SQLite and on PostgreSQL."""
    with _open_desk(database, sink) as made:
        yield made


def test_a_request_for_confirmation(any_desk: Desk) -> None:
    desk = any_desk
    desk.configure(language="it", color="#ffff00", reply_to="help@shop.example", bounce_email="bounces@shop.example")
    person = desk.bring(REQUEST_CONFIRMATION)
    desk.ask("confirmation", person, list_ids=[desk.news.id, desk.offers.id])
    (mail,) = desk.work()
    assert desk.sink.received[-1][:2] == ("bounces@shop.example", ADA)
    assert (mail["From"], mail["To"], mail["Reply-To"]) == (f"The Shop <{SENDER}>", ADA, "help@shop.example")
    assert mail["Subject"] == "Confermi la sua iscrizione: News è"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@mail.example.com>") and mail["Date"]
    assert not {"List-Unsubscribe", "Precedence"} & set(mail.keys())
    text, page = text_of(mail), text_of(mail, "html")
    (link,) = re.findall(r"https://mail\.example\.com/confirm/\S+", text)
    assert f'href="{link}"' in page
    assert all(name in part for name in ("News è", "Offers", ADA) for part in (text, page))
    assert "background:#ffff00;color:#000000" in page and '<html lang="it">' in page
    assert desk.rows("state", "attempts", "code", "lease_owner") == [("sent", 1, None, None)]
    assert desk.work() == []


def test_each_kind_to_whom_it_is_for(any_desk: Desk) -> None:
    desk = any_desk
    desk.configure(unsubscribe_notice=STAFF)
    come, gone = desk.bring(SUBSCRIBE), desk.bring(*SUBSCRIBED_BEFORE_LEAVING, email="bob@example.com")
    desk.ask("welcome", come)
    desk.ask("goodbye", gone)
    desk.ask("unsubscribe-notice", gone)
    welcome, goodbye, told = desk.work()
    assert (welcome["To"], goodbye["To"], told["To"]) == (ADA, "bob@example.com", STAFF)
    assert welcome["List-Unsubscribe"].startswith("<https://mail.example.com/unsubscribe/")
    assert "List-Unsubscribe" not in goodbye
    assert "bob@example.com does not receive messages any more from:\n\n* News è" in text_of(told)


def test_names_that_would_be_markup(desk: Desk) -> None:
    desk.change(mailing_list.update().where(mailing_list.c.id == desk.news.id).values(name="<b>&\r\nBcc: x@y"))
    desk.ask("welcome", desk.bring(SUBSCRIBE))
    (mail,) = desk.work()
    assert mail["Subject"] == "You are subscribed: <b>& Bcc: x@y"
    assert "Bcc" not in mail
    assert "&lt;b&gt;&amp;" in text_of(mail, "html")


def test_who_changed_meanwhile_gets_nothing(desk: Desk) -> None:
    person = desk.bring(SUBSCRIBE)
    desk.ask("welcome", person)
    desk.bring(UNSUBSCRIBE)
    assert desk.work() == []
    assert desk.rows("state") == [("cancelled",)]
    desk.bring(SUBSCRIBE)
    desk.ask("welcome", person)
    assert len(desk.work()) == 1


def test_a_refused_address_is_blocked(any_desk: Desk) -> None:
    desk = any_desk
    person = desk.bring(REQUEST_CONFIRMATION, email="refused@example.com")
    desk.ask("confirmation", person)
    assert desk.work() == []
    assert desk.rows("state", "code") == [("failed", "550 5.1.1")]
    assert desk.state("refused@example.com") == State.BLOCKED
    assert desk.work() == []
    assert desk.sink.tries["refused@example.com"] == 1


@pytest.mark.parametrize(("kind", "state"), [("confirmation", "waiting"), ("welcome", "failed")])
def test_a_server_that_breaks_off_when_it_has_the_mail(desk: Desk, kind: MailKind, state: str) -> None:
    transition = REQUEST_CONFIRMATION if kind == "confirmation" else SUBSCRIBE
    desk.ask(kind, desk.bring(transition, email="lost@example.com"))
    desk.work()
    assert desk.rows("state", "code") == [(state, "unknown")]


def test_what_no_server_can_be_given(desk: Desk) -> None:
    desk.configure(reply_to="a b")
    desk.ask("welcome", desk.bring(SUBSCRIBE))
    assert desk.work() == []
    assert desk.rows("state", "code") == [("failed", "invalid")]


def test_mails_are_signed(desk: Desk) -> None:
    domain = SENDER.partition("@")[2]
    signer = DkimSigner(domain, "s1", "rsa", make_key("rsa"))
    with desk.database.write() as connection:
        add_signer(connection, None, signer)
    desk.ask("welcome", desk.bring(SUBSCRIBE))
    desk.work()
    record = "".join(re.findall('"([^"]*)"', dns_record(signer))).encode()
    assert dkim.verify(desk.sink.received[-1][2], dnsfunc=lambda name, timeout=5: record)


def test_later_is_tried_again(desk: Desk) -> None:
    person = desk.bring(REQUEST_CONFIRMATION, email="later2@example.com")
    desk.ask("confirmation", person)
    for minutes in (1, 5):
        assert desk.work() == []
        ((state, code, due_at),) = desk.rows("state", "code", "due_at")
        assert (state, code) == ("waiting", "450 4.2.0")
        assert timedelta(0) < due_at - datetime.now(UTC) <= timedelta(minutes=minutes)
        desk.make_due()
    (mail,) = desk.work()
    assert mail["To"] == "later2@example.com"
    assert desk.rows("state", "attempts") == [("sent", 3)]


def test_not_for_ever(desk: Desk) -> None:
    desk.ask("confirmation", desk.bring(REQUEST_CONFIRMATION, email="later9@example.com"))
    assert desk.work() == []
    desk.make_due()
    desk.change(outbox.update().values(started_at=datetime.now(UTC) - timedelta(hours=49)))
    assert desk.work() == []
    assert desk.rows("state", "code") == [("failed", "450 4.2.0")]
    assert desk.state("later9@example.com") == State.PENDING


def test_asked_for_again_while_it_was_on_its_way(any_desk: Desk) -> None:
    desk = any_desk
    person = desk.bring(REQUEST_CONFIRMATION, email="later1@example.com")
    desk.ask("confirmation", person, list_ids=[desk.news.id])
    route = desk.route

    class Meanwhile:
        shares_servers = True

        def send(self, parcel: Any) -> Any:
            desk.ask("confirmation", person, list_ids=[desk.offers.id])
            return route.send(parcel)

    stop = threading.Event()
    assert send_due_mails(desk.database, Meanwhile(), make_options(), desk.owner, stop)  # type: ignore[arg-type]
    assert desk.rows("state", "list_ids") == [
        ("cancelled", [desk.news.id]),
        ("waiting", [desk.news.id, desk.offers.id]),
    ]
    (mail,) = desk.work()
    assert "Offers" in text_of(mail)


@pytest.mark.parametrize(("kind", "sent"), [("confirmation", 1), ("welcome", 0)])
def test_after_a_crash(any_desk: Desk, kind: MailKind, sent: int) -> None:
    desk = any_desk
    person = desk.bring(REQUEST_CONFIRMATION if kind == "confirmation" else SUBSCRIBE)
    desk.ask(kind, person)
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    desk.change(outbox.update().values(state="sending", attempts=1, lease_owner="gone:1:1-a", lease_until=long_ago))
    assert len(desk.work()) == sent
    assert desk.rows("state", "code") == [("sent", None) if sent else ("failed", "unknown")]


def test_nobody_takes_what_another_one_has(desk: Desk) -> None:
    desk.ask("confirmation", desk.bring(REQUEST_CONFIRMATION))
    until = datetime.now(UTC) + timedelta(seconds=10)
    desk.change(outbox.update().values(state="sending", lease_owner="elsewhere:1:1-a", lease_until=until))
    assert desk.work() == []
    assert desk.rows("state") == [("sending",)]


def test_many_senders_send_each_once(any_desk: Desk) -> None:
    desk = any_desk
    addresses = [f"reader{number}@example.com" for number in range(12)]
    for email in addresses:
        desk.ask("welcome", desk.bring(SUBSCRIBE, email=email))
    before = len(desk.sink.received)

    def work() -> None:
        while send_due_mails(desk.database, desk.route, make_options(), name_owner(), threading.Event()):
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(to for _, to, _ in desk.sink.received[before:]) == sorted(addresses)


@pytest.mark.parametrize(
    ("options", "settings"), [({}, {"sender_email": ""}), ({"require_verified_senders": True}, {})]
)
def test_without_a_sender_it_waits(desk: Desk, options: dict[str, Any], settings: dict[str, Any]) -> None:
    desk.configure(**settings)
    for email in (ADA, "bob@example.com"):
        desk.ask("welcome", desk.bring(SUBSCRIBE, email=email))
    assert desk.work(**options) == []
    assert desk.rows("state", "code", "attempts") == [("waiting", "no sender", 0)] * 2
    desk.configure()
    desk.make_due()
    assert len(desk.work()) == 2


def test_the_senders_of_callers(desk: Desk) -> None:
    desk.configure(sender_email="")
    desk.ask("confirmation", desk.bring(REQUEST_CONFIRMATION), sender=Sender("own@example.com", "Own"))
    (mail,) = desk.work()
    assert mail["From"] == "Own <own@example.com>"


def test_return_paths_tell_whose_mail_came_back(desk: Desk) -> None:
    person = desk.bring(REQUEST_CONFIRMATION)
    desk.ask("confirmation", person)
    desk.work(bounce_domain="bounces.example.com")
    with desk.database.read() as connection:
        found = read_return_path(connection, desk.sink.received[-1][0])
    assert found is not None
    assert (found.sending_id, found.recipient_id) == (0, person)


def test_a_stored_message_instead(desk: Desk) -> None:
    with desk.database.write() as connection:
        html = '<p>Ciao [campo1]!</p><a href="http://[confirm]/">Sì</a>'
        message = add_message(connection, desk.news, Channel.EMAIL, subject="Per [campo1]", html=html)
    person = desk.bring(REQUEST_CONFIRMATION)
    desk.change(update(recipient).values(fields={"1": "Ada"}))
    desk.ask("confirmation", person, list_ids=[desk.news.id, desk.offers.id], message_number=message.number)
    (mail,) = desk.work()
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("Per Ada", "auto-generated")
    assert "List-Unsubscribe" not in mail
    page = text_of(mail, "html")
    assert "Ciao Ada!" in page
    assert 'href="https://mail.example.com/confirm/' in page


def test_a_message_that_is_not_there_gives_way(desk: Desk) -> None:
    desk.ask("confirmation", desk.bring(REQUEST_CONFIRMATION), message_number=77)
    (mail,) = desk.work()
    assert mail["Subject"] == "Please confirm your subscription: News è"


def test_notices(any_desk: Desk) -> None:
    desk = any_desk
    with desk.database.write() as connection:
        owner = find_account(connection, 1)
        text = "Rows: 0\nÈ"
        for key, address in (("import:1", STAFF), ("import:2", "refused@example.com")):
            add_notice(connection, owner.id, key=key, kind="import", subject="Import 1", text=text, address=address)
    (mail,) = desk.work()
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, STAFF, "Import 1")
    assert text_of(mail).strip() == text
    assert desk.sink.received[-1][0] == ""
    assert desk.rows("state", "code", table=notice) == [("sent", None), ("failed", "550 5.1.1")]


def test_notices_of_an_account_without_senders(desk: Desk) -> None:
    desk.configure(sender_email="")
    with desk.database.write() as connection:
        add_notice(connection, desk.news.account_id, key="a", kind="export", subject="x", text="y", address=STAFF)
    (mail,) = desk.work()
    assert mail["From"] == "postmaster@mail.example.com"


def test_a_closed_account_sends_nothing_but_notices(any_desk: Desk) -> None:
    desk = any_desk
    person = desk.bring(REQUEST_CONFIRMATION)
    with desk.database.write() as connection:
        set_account_state(connection, desk.news.account_id, "suspended")
        add_notice(connection, desk.news.account_id, key="k", kind="credits", subject="s", text="t", address=STAFF)
    desk.ask("confirmation", person)
    assert [mail["To"] for mail in desk.work()] == [STAFF]
    # Neither does it send what a process had that died.
    desk.change(outbox.update().values(state="sending", lease_until=datetime.now(UTC) - timedelta(minutes=1)))
    assert desk.work() == []
    with desk.database.write() as connection:
        set_account_state(connection, desk.news.account_id, "active")
    assert [mail["To"] for mail in desk.work()] == [ADA]


def test_a_relay_that_is_down_costs_nothing(desk: Desk) -> None:
    desk.ask("welcome", desk.bring(SUBSCRIBE))
    down = make_relay(1)
    assert not send_due_mails(desk.database, down, make_options(), desk.owner, threading.Event())
    assert desk.rows("state", "attempts") == [("waiting", 0)]
    assert len(desk.work()) == 1


def test_told_to_stop(desk: Desk) -> None:
    desk.ask("welcome", desk.bring(SUBSCRIBE))
    stop = threading.Event()
    stop.set()
    assert not send_due_mails(desk.database, desk.route, make_options(), desk.owner, stop)
    assert desk.rows("state") == [("waiting",)]


# From end to end.


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with run_sqlite_shop(tmp_path_factory.mktemp("shop")) as running:
        yield running


def _open_link(desk: Desk, site: Any, mail: EmailMessage) -> None:
    """Open the link of a request for confirmation, as its reader does, and press the button."""
    (path,) = re.findall(rf"{re.escape(site.url)}(/confirm/\S+)", text_of(mail))
    assert site.request("GET", path).status == 200
    assert site.post_form(path, {}).status in (200, 303)


@pytest.fixture
def relay(sink: MailSink) -> Iterator[MailRoute]:
    route = make_relay(sink.port)
    yield route
    route.close()


def test_double_opt_in_by_page(shop: Shop, sink: MailSink, relay: MailRoute) -> None:
    desk = Desk(shop.database, sink, relay, shop.news, shop.offers)
    desk.configure(welcome_mail=True)
    assert shop.call("xmlSubscribe", Email=ADA, List=1) == "0"
    assert shop.state() == State.PENDING
    (mail,) = desk.work(public_url=shop.site.url)
    assert shop.state() == State.PENDING
    _open_link(desk, shop.site, mail)
    assert shop.state() == State.SUBSCRIBED
    (welcome,) = desk.work(public_url=shop.site.url)
    assert (welcome["To"], welcome["Subject"]) == (ADA, "You are subscribed: News")


def test_double_opt_in_by_import(database: Database, storage: Storage, sink: MailSink, relay: MailRoute) -> None:
    document = "<subscribers>{}</subscribers>".format(
        "".join(f'<subscriber email="imp{number}@example.com" Prefix="" Number="" Name=""/>' for number in (1, 2))
    )
    with open_import_office(database, storage) as office:
        desk = Desk(database, sink, relay, office.news, office.offers)
        desk.configure()
        assert office.start(xmlDoc=document, ConfirmEmail="true", listsGUIDs="")[0][2] == 0
        assert desk.work(public_url=office.site.url) == [], "the import has not ended"
        assert office.import_all() == 1
        mails = desk.work(public_url=office.site.url)
        assert sorted(str(mail["To"]) for mail in mails) == ["imp1@example.com", "imp2@example.com"]
        _open_link(desk, office.site, mails[0])
        states = [desk.state(str(mail["To"])) for mail in mails]
    assert states == [State.SUBSCRIBED, State.PENDING]
