"""What a sending brings to its mails: from its own row, its list and its account, and a key to sign with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from audience.accounts import add_account
from audience.lists import add_list
from audience.status_rules import Channel
from db.engine import Database
from db.tables import account, field, mailing_list, sending
from delivery.compiling import Person, compile_message
from delivery.composition import load_context, load_message_content
from delivery.dkim import DkimSigner, add_signer, make_key
from delivery.message_context import MessageContext
from delivery.message_files import add_file
from delivery.messages import MessageFile, add_message
from delivery.sendings import Sender, SendingKind, add_sending
from services.mailup.merge_tags import VOCABULARY

STARTED = datetime(2026, 11, 22, 8, tzinfo=UTC)


def load(database: Database, sending_id: int) -> MessageContext:
    with database.read() as connection:
        return load_context(
            connection,
            sending_id,
            public_url="https://mail.example.com",
            bounce_domain="b.example.com",
            host="mail.example.com",
            vocabulary=VOCABULARY,
        )


@pytest.mark.parametrize(("kind", "bulk"), [("bulk", True), ("single", False)])
def test_context_of_a_sending(database: Database, kind: SendingKind, bulk: bool) -> None:
    with database.write() as connection:
        owner = add_account(connection, 7, password="x")
        mailing = add_list(connection, owner.id, "News")
        settings = {"sender_email": "shop@example.com", "sender_name": "Shop", "to_name": "field:40"}
        connection.execute(mailing_list.update().values(settings=settings))
        rows = [(40, "Colour", "blue"), (41, "colour", ""), (42, "Size", "")]
        for number, name, default in rows:
            values = {"account_id": owner.id, "number": number, "name": name, "default_value": default}
            connection.execute(field.insert().values(**values))
        written = add_message(connection, mailing, Channel.EMAIL, subject="News", html="<p>[colour]</p>")
        add_file(connection, written, MessageFile("attachment", "a.txt", "text/plain", b"x"))
        sender = Sender(email="s@news.example.com", name="Sales", reply_to="r@example.com")
        made = add_sending(connection, mailing, Channel.EMAIL, written, kind=kind, sender=sender)
        plain = add_sending(connection, mailing, Channel.EMAIL, written)
        connection.execute(sending.update().where(sending.c.id == made.id).values(started_at=STARTED))
        add_signer(connection, owner.id, DkimSigner("example.com", "s", "ed25519", make_key("ed25519")))
        secret = connection.execute(account.select().where(account.c.id == owner.id)).one().secret_key
    context = load(database, made.id)
    assert (context.account_id, context.list_id, context.sending_id) == (owner.id, mailing.id, made.id)
    assert (context.account_number, context.list_name, context.secret_key) == (owner.number, "News", secret)
    assert context.list_settings.to_name == "field:40"
    assert context.sender == sender
    assert context.field_names[40] == "Colour"
    assert context.field_defaults == {40: "blue"}
    assert context.bulk is bulk
    assert context.issued_at == STARTED
    assert context.dkim is not None
    assert secret not in repr(context) and "PRIVATE" not in repr(context)
    with database.read() as connection:
        content = load_message_content(connection, written, subject="Other")
    assert (content.subject, content.html, [file.name for file in content.files]) == (
        "Other",
        "<p>[colour]</p>",
        ["a.txt"],
    )
    parcel = compile_message(content, context).render(Person(1, 2, "ada@example.org", None, {}))
    assert b"\r\nblue=\r\n" in parcel.content
    assert parcel.content.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256;")
    of_list = load(database, plain.id)
    assert of_list.sender == Sender()
    assert of_list.dkim is not None
    assert of_list.issued_at <= datetime.now(UTC)


def test_few_statements(database: Database) -> None:
    with database.write() as connection:
        mailing = add_list(connection, add_account(connection, 7, password="x").id, "News")
        connection.execute(mailing_list.update().values(settings={"sender_email": "shop@example.com"}))
        written = add_message(connection, mailing, Channel.EMAIL, subject="News", text="x")
        made = add_sending(connection, mailing, Channel.EMAIL, written)
    with database.read() as connection:
        statements: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        load_context(connection, made.id, public_url="", bounce_domain="", host="x", vocabulary=VOCABULARY)
        load_message_content(connection, written)
    assert len(statements) == 5
