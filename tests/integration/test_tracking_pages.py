"""Tracked links and web versions over real HTTP: what is counted, where readers are led, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select
from tracked_sending import LINKS, TrackedSending, send_message
from web_server import Reply, Site, serve

from audience.erasure import erase_recipient
from audience.events import MailEventKind
from audience.history import Cause
from audience.status_rules import Channel, State
from audience.subscriptions import parse_address, state_in_list
from db.engine import Database
from db.migration import migrate
from db.tables import (
    account_host,
    daily_total,
    delivery,
    mail_event,
    mailing_list,
    message,
    recipient,
    sending,
    sending_link,
    subscription,
)
from delivery.sendings import add_sending
from delivery.tracking_links import LinkSigner
from jobs.storage import Storage
from services.http.options import HttpOptions

AGENT = "Mozilla/5.0 (test)"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, TrackedSending, TrackedSending]]:
    folder = tmp_path_factory.mktemp("tracking")
    database = Database(f"sqlite:///{folder}/listbridge.db")
    migrate(database)
    yield from _serve(database, folder)
    database.close()


def _serve(database: Database, folder: Path) -> Iterator[tuple[Site, TrackedSending, TrackedSending]]:
    options = HttpOptions(form_rate_per_address=0, public_url="https://mail.example.com")
    with serve(database, Storage(folder, reserve=0), options) as site:
        yield site, send_message(database), send_message(database, 2)


@pytest.fixture
def world(served: tuple[Site, TrackedSending, TrackedSending]) -> tuple[Site, TrackedSending, TrackedSending]:
    sent = served[1]
    with sent.database.write() as connection:
        connection.execute(mail_event.delete())
        connection.execute(daily_total.delete())
    return served


def _get(site: Site, path: str, method: str = "GET") -> Reply:
    return site.request(method, path, headers={"User-Agent": AGENT})


def _wait(sent: TrackedSending, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while len(sent.events()) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return sent.events()


def test_an_open_is_counted_and_answered_with_an_image(database: Database, tmp_path: Path) -> None:
    for site, sent, _ in _serve(database, tmp_path):
        reply = _get(site, sent.links(1).open_url())
        assert (reply.status, reply.headers["Content-Type"], reply.body[:6]) == (200, "image/gif", b"GIF89a")
        assert reply.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in reply.headers
        clicked = _get(site, sent.links(1).click_url(0))
        assert (clicked.status, clicked.headers["Location"]) == (302, LINKS[0])
        events = _wait(sent, 2)
        assert [event["kind"] for event in events] == [MailEventKind.OPENED, MailEventKind.CLICKED]
        assert {event["recipient_id"] for event in events} == {sent.recipient_ids[1]}
        assert {event["user_agent"] for event in events} == {AGENT}
        assert {event["ip_address"] for event in events} == {"127.0.0.1"}
        assert [event["details"] for event in events] == [None, LINKS[0]]
        with database.read() as connection:
            (total,) = connection.execute(select(daily_total.c.opened, daily_total.c.clicked)).all()
        assert tuple(total) == (1, 1)


def test_a_carried_address_is_followed(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    url = "https://shop.example.com/Löve?a=1&b=ü 2"
    reply = _get(site, sent.links().click_url(1, url))
    assert (reply.status, reply.headers["Location"]) == (302, "https://shop.example.com/L%C3%B6ve?a=1&b=%C3%BC%202")
    assert [event["details"] for event in _wait(sent, 1)] == [url]


def test_mail_addresses_are_led_to(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    reply = _get(site, sent.links().click_url(2) + "?u=https://evil.example.com")
    assert (reply.status, reply.headers["Location"]) == (302, LINKS[2])
    assert len(_wait(sent, 1)) == 1


def test_a_look_without_reading_is_not_counted(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    opened, clicked = (_get(site, path, "HEAD") for path in (sent.links().open_url(), sent.links().click_url(0)))
    assert (opened.status, opened.body, clicked.status) == (200, b"", 302)
    assert clicked.headers["Location"] == LINKS[0]
    _get(site, sent.links(2).open_url())
    assert [event["recipient_id"] for event in _wait(sent, 1)] == [sent.recipient_ids[2]]


def test_other_methods_are_refused(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    for method in ("POST", "PUT", "DELETE"):
        reply = _get(site, sent.links().open_url(), method)
        assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def _bad_paths(sent: TrackedSending, other: TrackedSending) -> list[str]:
    links, strange = sent.links(), LinkSigner("0" * 64, 99, "").of_recipient(1, 1, "")
    opened, clicked = links.open_url(), links.click_url(0).removesuffix("/0")
    carried = links.click_url(0, "https://example.com/")
    start = carried.partition("?")[0]
    foreign = LinkSigner("f" * 64, sent.account.number, "").of_recipient(sent.sending.id, sent.recipient_ids[0], "")
    mixed = other.signer.of_recipient(sent.sending.id, sent.recipient_ids[0], sent.emails[0])
    return [
        "/o/",
        "/o/x.gif",
        "/c/",
        "/c//0",
        "/c/x/0",
        opened[:-6] + ".gif",
        opened.replace("/o/", "/c/").removesuffix(".gif") + "/0",
        clicked.replace("/c/", "/o/") + ".gif",
        strange.open_url(),
        strange.click_url(0),
        foreign.open_url(),
        foreign.click_url(0),
        mixed.click_url(0),
        clicked,
        f"{clicked}/3",
        f"{clicked}/-1",
        f"{clicked}/+1",
        f"{clicked}/%D9%A1",
        f"{clicked}/99999999999999999999",
        f"{clicked}/0/0",
        f"{clicked}/",
        f"{clicked}?u=https%3A%2F%2Fexample.com%2F",
        f"{clicked}/https://evil.example.com",
        start,
        f"{start}?u=",
        f"{start}?u=https%3A%2F%2Fevil.example.com%2F",
        f"{start}?u=%2F%2Fevil.example.com",
        f"{carried}&u=https%3A%2F%2Fevil.example.com%2F",
        f"{start}?u=https%3A%2F%2Fevil.example.com%2F&u=https%3A%2F%2Fexample.com%2F",
        f"{start}?u=%FF",
        f"{start}?u=" + "a" * 30_000,
        links.click_url(0, "javascript:alert(1)"),
        links.click_url(0, "data:text/html,<script>alert(1)</script>"),
        links.click_url(0, "//evil.example.com"),
        links.click_url(0, "\\\\evil.example.com"),
        links.click_url(0, "https://example.com\r\nSet-Cookie: a=b"),
        links.click_url(0, "https://user@evil.example.com/"),
    ]


def test_what_was_not_signed_leads_nowhere(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, other = world
    for path in _bad_paths(sent, other):
        reply = _get(site, path)
        assert (reply.status, "Location" in reply.headers) in ((404, False), (431, False), (414, False)), path
        assert "evil" not in reply.text
        if reply.status == 404:
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    _get(site, sent.links().open_url())
    assert [event["kind"] for event in _wait(sent, 1)] == [MailEventKind.OPENED]
    assert other.events() == []


def test_a_stored_trap_leads_nowhere(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    with sent.database.write() as connection:
        traps = ["javascript:alert(1)", "//evil.example.com", "https://a@evil.example.com"]
        rows = [{"sending_id": sent.sending.id, "place": 50 + place, "url": url} for place, url in enumerate(traps)]
        connection.execute(sending_link.insert(), rows)
    for place in (50, 51, 52):
        assert _get(site, sent.links().click_url(place)).status == 404


def test_what_programs_call_themselves_is_cut(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    for agent in ("x" * 5000, "é\x85ü", ""):
        site.request("GET", sent.links().open_url(), headers={"User-Agent": agent})
    assert {event["user_agent"] for event in _wait(sent, 3)} == {"x" * 300, "éü", None}


def test_refusals_are_in_the_readers_language(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, _, _ = world
    assert "Questo link non" in site.get("/o/x.gif", {"Accept-Language": "it"}).text


def test_leaving_by_the_link_of_a_sending_names_the_message(database: Database, tmp_path: Path) -> None:
    for site, sent, _ in _serve(database, tmp_path):
        link = sent.links().unsubscribe_url((sent.mailing.id,), sent.message.created_at)
        assert _get(site, link).status == 200
        reply = site.post_form(link, {"List-Unsubscribe": "One-Click"})
        assert reply.status == 200
        with database.read() as connection:
            state = state_in_list(connection, sent.mailing, parse_address(sent.mailing, email=sent.emails[0]))
            row = connection.execute(
                select(subscription).where(subscription.c.recipient_id == sent.recipient_ids[0])
            ).one()
        assert state == State.UNSUBSCRIBED
        assert (row.message_id, row.source) == (sent.message.number, "link")


def test_the_web_version_is_the_readers_own(database: Database, tmp_path: Path) -> None:
    for site, sent, other in _serve(database, tmp_path):
        with database.write() as connection:
            connection.execute(
                recipient.update().where(recipient.c.id == sent.recipient_ids[0]).values(fields={"1": "<Ada>"})
            )
            connection.execute(mailing_list.update().values(settings={"sender_email": "news@example.com"}))
        reply = _get(site, sent.links().web_version_url())
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "Ciao <b>&lt;Ada&gt;</b>" in reply.text
        assert reply.headers["Content-Security-Policy"].startswith("sandbox allow-popups")
        assert "allow-scripts" not in reply.headers["Content-Security-Policy"]
        assert "allow-same-origin" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in reply.headers
        assert _get(site, sent.links().web_version_url(), "HEAD").body == b""
        assert _get(site, sent.links().web_version_url() + "A").status == 404
        mixed = other.signer.of_recipient(sent.sending.id, other.recipient_ids[0], other.emails[0])
        assert _get(site, mixed.web_version_url()).status == 410
        with database.write() as connection:
            erase_recipient(
                connection, sent.account.id, parse_address(sent.mailing, email=sent.emails[0]), Cause("test")
            )
        assert _get(site, sent.links().web_version_url()).status == 404
        with database.write() as connection:
            connection.execute(message.delete().where(message.c.id == sent.message.id))
        assert _get(site, sent.links(1).web_version_url()).status == 410


def test_links_of_a_changed_message_are_as_written(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    links = '<a href="https://example.com/1">1</a><a href="https://example.com/2">2</a>'
    stored = [{"sending_id": sent.sending.id, "place": n, "url": f"https://example.com/{n + 1}"} for n in range(2)]
    with sent.database.write() as connection:
        connection.execute(mailing_list.update().values(settings={"sender_email": "news@example.com"}))
        connection.execute(message.update().values(html=links, text="", settings={"track_links": True}))
        connection.execute(sending_link.delete().where(sending_link.c.sending_id == sent.sending.id))
        connection.execute(sending_link.insert(), stored)
    page = _get(site, sent.links().web_version_url()).text
    assert [sent.links().click_url(place) in page for place in range(2)] == [True, True]
    with sent.database.write() as connection:
        changed = f'<a href="https://example.com/new">0</a>{links}<a href="http://[unsubscribe]/">-</a>'
        connection.execute(message.update().values(html=changed))
    page = _get(site, sent.links().web_version_url()).text
    assert "/c/" not in page and "https://example.com/new" in page
    assert sent.links().unsubscribe_url((sent.mailing.id,), sent.message.created_at)[:40] in page


def test_values_of_the_queue_are_shown(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, _ = world
    with sent.database.write() as connection:
        connection.execute(mailing_list.update().values(settings={"sender_email": "news@example.com"}))
        connection.execute(message.update().values(html="<p>[code]</p>"))
        connection.execute(
            delivery.update().where(delivery.c.recipient_id == sent.recipient_ids[2]).values({"values": {"code": "X9"}})
        )
    assert "<p>X9</p>" in _get(site, sent.links(2).web_version_url()).text


def test_anybody_sees_what_a_list_was_sent(world: tuple[Site, TrackedSending, TrackedSending]) -> None:
    site, sent, other = world
    with sent.database.write() as connection:
        connection.execute(mailing_list.update().values(settings={"sender_email": "news@example.com"}))
        connection.execute(message.update().values(html="<p>Dear [campo1]!</p><a href='https://example.com'>x</a>"))
        connection.execute(sending.update().values(sent=1))
        connection.execute(account_host.insert().values(host="news.example.com", account_id=sent.account.id))
        connection.execute(account_host.insert().values(host="empty.example.com", account_id=other.account.id))
        connection.execute(sending.update().where(sending.c.account_id == other.account.id).values(kind="single"))

    def view(host: str, path: str = "/frontend/nl_preview_window.aspx", number: object = sent.message.number) -> Reply:
        return site.get(path, {"Host": host}, idNL=number)

    reply = view("news.example.com")
    assert (reply.status, "Dear !" in reply.text, "https://example.com" in reply.text) == (200, True, True)
    assert "/o/" not in reply.text
    assert "/c/" not in reply.text
    assert reply.headers["Content-Security-Policy"].startswith("sandbox")
    assert view("news.example.com", "/Frontend/NL_Preview_Window.aspx").text == reply.text
    for unknown in (
        view("news.example.com", number=99),
        view("news.example.com", number="x"),
        view("empty.example.com"),
    ):
        assert unknown.status == 404
    assert view("unknown.example.com", number=2**40).status == 404
    with sent.database.write() as connection:
        connection.execute(sending.update().values(sent=0))
        add_sending(connection, sent.mailing, Channel.EMAIL, sent.message)
    assert view("news.example.com").status == 404


def test_lost_events_are_a_metric() -> None:
    assert REGISTRY.get_sample_value("listbridge_tracked_events_lost_total") is not None
