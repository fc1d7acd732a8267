"""Mails of the outbox that are a stored message of the account, instead of the texts of this program."""

from __future__ import annotations

import re
from dataclasses import replace

from sqlalchemy import Connection, select

from audience.lists import MailingList
from audience.status_rules import Channel
from db.tables import recipient
from delivery.compiling import Person, compile_message
from delivery.composition import load_list_context, load_message_content
from delivery.errors import UnknownMessage
from delivery.letters import AUTOMATIC
from delivery.message_context import MessageContent
from delivery.messages import find_message
from delivery.outbox import QueuedMail
from delivery.sendings import Sender
from delivery.vocabulary import Vocabulary


def write_stored_letter(
    connection: Connection,
    mail: QueuedMail,
    mailing: MailingList,
    sender: str,
    *,
    vocabulary: Vocabulary,
    public_url: str,
    host: str,
) -> bytes | None:
    """Return a mail made of the stored message that it names; None when there is no such message.

    Where the message has its special link to confirm, the mail has its own, which confirms all that it is about.

    Args:
        connection: reading.
        mail: to a recipient.
        mailing: the list whose settings it has.
        sender: its address.
        vocabulary: of the message.
        public_url: under which readers of mails reach this server.
        host: of the Message-ID.

    Raises:
        InvalidMessage: it can never be sent.
    """
    try:
        message = find_message(connection, mail.account_id, Channel.EMAIL, mail.message_number or 0)
    except UnknownMessage:
        return None
    content = _put_in_link(load_message_content(connection, message), vocabulary, mail.link or "")
    context = load_list_context(
        connection,
        mailing.id,
        sender=Sender(email=sender, name=mail.sender.name),
        public_url=public_url,
        # The envelope is not made here.
        bounce_domain="",
        host=host,
        vocabulary=vocabulary,
    )
    return AUTOMATIC + compile_message(content, context).render(_find_person(connection, mail)).content


def _put_in_link(content: MessageContent, vocabulary: Vocabulary, link: str) -> MessageContent:
    names = [re.escape(name) for name, kind in vocabulary.link_hosts.items() if kind == "confirm"]
    if not link or not names:
        return content
    special = re.compile(rf"https?://\[(?:{'|'.join(names)})\]/?", re.IGNORECASE)
    html, text = (special.sub(lambda _: link, part) for part in (content.html, content.text))
    return replace(content, html=html, text=text)


def _find_person(connection: Connection, mail: QueuedMail) -> Person:
    query = select(recipient.c.mobile, recipient.c.fields).where(recipient.c.id == mail.recipient_id)
    row = connection.execute(query).one()
    # The mail's own number makes its Message-ID one that no other has.
    return Person(mail.id, mail.recipient_id, mail.about, row.mobile, row.fields)
