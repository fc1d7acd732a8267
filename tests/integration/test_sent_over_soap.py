"""From a call over SOAP to a mail server's socket: whom a sending reaches, filled with what the call has brought."""

from __future__ import annotations

import email
import email.policy

import pytest
from keyed_calls import SEND, Keyed
from mail_sinks import MailSink, serve_mail
from mail_world import MailWorld, make_mail_world, wait_until
from web_server import serve

from audience.lists import set_field
from db.engine import Database
from delivery.sending_changes import pause, resume
from delivery.sendings import NewSending, find_sending
from jobs.storage import Storage

HTML = "<p>Dear [campo1], dear [Name]</p>"


def bodies(sink: MailSink) -> dict[str, str]:
    """Return what each recipient reads, by his address."""
    mails = {to: email.message_from_bytes(content, policy=email.policy.default) for _, to, content in sink.received}
    parts = {to: mail.get_body(("html",)) for to, mail in mails.items()}
    return {to: part.get_content() if part is not None else "" for to, part in parts.items()}


def test_values_of_a_call_are_in_the_mails(database: Database, storage: Storage) -> None:
    world = make_mail_world(database)
    world.add_people(3)
    with database.write() as connection:
        set_field(connection, world.account.id, 1, "Name")
    world.add_message(html=HTML)
    with serve(database, storage) as site, serve_mail() as sink, world.mail_role(sink):
        keyed = Keyed(site)
        key = keyed.log_in(user="a7", console=7)
        some = {"send_to": "RECIPIENTS", "recipients": "person1@example.com;x@example.com;person2@example.com"}
        common = {"accessKey": key, "listID": 1}
        sent = keyed.call(SEND, "SendNewsletter", **common, newsletterID=1, options=some | {"campo1": "One;X;Two"})
        single = keyed.call(
            SEND, "SendSingleNewsletter", **common, subject="", type="ID", content="1",
            recipientEmail="new@example.com", options={"campo1": "Guest"},
        )  # fmt: skip
        assert sent.findtext("errorCode") == single.findtext("errorCode") == "0"
        wait_until(lambda: len(sink.received) >= 3, "the mails do not come")
        wait_until(lambda: status(keyed, key, 1) == status(keyed, key, 2) == "COMPLETED", "they do not end")
    found = bodies(sink)
    wanted = {"person1@example.com": "One", "person2@example.com": "Two", "new@example.com": "Guest"}
    assert set(found) == set(wanted)
    assert all(f"Dear {name}, dear {name}" in found[to] for to, name in wanted.items())


def status(keyed: Keyed, key: str, number: int) -> str | None:
    root = keyed.call(SEND, "GetNewsletterDeliveryStatus", accessKey=key, deliveryID=number)
    return root.findtext("deliveryStatus/status")


@pytest.mark.parametrize("times", [1, 3])
def test_a_sending_that_is_paused_and_resumed_reaches_everybody_once(database: Database, times: int) -> None:
    world = make_mail_world(database)
    addresses = world.add_people(200)
    sent = world.send(world.add_message())
    with serve_mail() as sink, world.mail_role(sink):
        for turn in range(times):
            wait_until(lambda least=10 * turn: len(sink.received) > least, "nothing is sent")
            hold(world, sent)
        world.wait_for_state(sent, "completed")
    assert sink.recipients() == dict.fromkeys(addresses, 1)


def hold(world: MailWorld, sent: NewSending) -> None:
    """Pause a sending and let it go on, if it is not over yet."""
    for work, state in ((pause, ("preparing", "sending")), (resume, ("paused",))):
        with world.database.write() as connection:
            found = find_sending(connection, world.account.id, sent.number)
            if found.state in state:
                work(connection, found)
