"""Loads what mails are made of: a message with its files, and what a sending brings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from audience.list_settings import read_settings
from db.tables import account, field, mailing_list, sending
from delivery.dkim import DkimSigner, find_signer
from delivery.message_context import MessageContent, MessageContext
from delivery.message_files import files_of
from delivery.messages import Message
from delivery.sendings import Sender
from delivery.vocabulary import Vocabulary

NO_SENDING = 0
"""Stands for the sending of mails that belong to none: nothing in them is tracked."""


def load_message_content(connection: Connection, message: Message, *, subject: str = "") -> MessageContent:
    """Return a message with its files; one statement.

    Args:
        connection: reading.
        message: as it is stored.
        subject: instead of its own; empty for that.
    """
    return MessageContent(
        subject=subject or message.subject,
        html=message.html,
        text=message.text,
        files=tuple(files_of(connection, message)),
        settings=message.settings,
    )


def load_context(
    connection: Connection,
    sending_id: int,
    *,
    public_url: str,
    bounce_domain: str,
    host: str,
    vocabulary: Vocabulary,
) -> MessageContext:
    """Return what the mails of a sending have in common; four statements.

    Args:
        connection: reading.
        sending_id: internal id of a sending that exists.
        public_url: under which readers reach the pages, without a slash at its end.
        bounce_domain: of return paths; empty for none.
        host: for Message-IDs.
        vocabulary: of the messages.

    Raises:
        InvalidMessage: the domain of the sender's address is none.
    """
    row = connection.execute(select(sending).where(sending.c.id == sending_id)).one()
    context = load_list_context(
        connection,
        row.list_id,
        sender=Sender(email=row.sender_email or "", name=row.sender_name or "", reply_to=row.reply_to or ""),
        public_url=public_url,
        bounce_domain=bounce_domain,
        host=host,
        vocabulary=vocabulary,
    )
    return replace(context, sending_id=sending_id, bulk=row.kind == "bulk", issued_at=row.started_at or row.created_at)


def load_list_context(
    connection: Connection,
    list_id: int,
    *,
    sender: Sender,
    public_url: str,
    bounce_domain: str,
    host: str,
    vocabulary: Vocabulary,
) -> MessageContext:
    """Return what the mails of a list have in common that belong to no sending; three statements.

    Args:
        connection: reading.
        list_id: internal id of a list that exists, deleted or not.
        sender: what is empty is the list's own.
        public_url: as in `load_context`, and so are the following.
        bounce_domain: see there.
        host: see there.
        vocabulary: see there.

    Raises:
        InvalidMessage: the domain of the sender's address is none.
    """
    row = connection.execute(_LIST.where(mailing_list.c.id == list_id)).one()
    fields = connection.execute(_FIELDS.where(field.c.account_id == row.account_id)).all()
    settings = read_settings(row.settings)
    return MessageContext(
        account_id=row.account_id,
        account_number=row.account_number,
        secret_key=row.secret_key,
        list_id=list_id,
        list_name=row.name,
        list_settings=settings,
        field_names={number: name for number, name, _ in fields},
        field_defaults={number: default for number, _, default in fields if default},
        sending_id=NO_SENDING,
        sender=sender,
        public_url=public_url,
        bounce_domain=bounce_domain,
        host=host,
        vocabulary=vocabulary,
        dkim=_find_signer(connection, row.account_id, sender.email or settings.sender_email),
        bulk=False,
        issued_at=datetime.now(UTC),
    )


_LIST = select(
    mailing_list.c.account_id,
    mailing_list.c.name,
    mailing_list.c.settings,
    account.c.number.label("account_number"),
    account.c.secret_key,
).join_from(mailing_list, account, account.c.id == mailing_list.c.account_id)
_FIELDS = select(field.c.number, field.c.name, field.c.default_value).order_by(field.c.number.desc())


def _find_signer(connection: Connection, account_id: int, email: str) -> DkimSigner | None:
    domain = email.rpartition("@")[2]
    return find_signer(connection, account_id, domain) if domain else None
