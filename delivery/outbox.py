"""The outbox: mails asked for by the changes they are about, in the same transaction, until they go out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from audience.lists import MailingList
from db.tables import outbox

MailKind = Literal["confirmation", "welcome", "goodbye", "unsubscribe-notice"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom a mail comes from, instead of the list's own sender."""

    email: str = ""
    name: str = ""


def queue_mail(
    connection: Connection,
    mailing: MailingList,
    recipient_id: int,
    kind: MailKind,
    *,
    list_ids: Iterable[int] = (),
    message_number: int | None = None,
    sender: Sender | None = None,
) -> None:
    """Ask for a mail; nothing happens when the same one is waiting already.

    Args:
        connection: in the writing transaction of the change that the mail is about.
        mailing: the list whose sender, texts and colours it has.
        recipient_id: who the mail goes to, or is about.
        kind: what it is.
        list_ids: of a confirmation: internal ids of the lists that it confirms.
        message_number: the account's message to use instead of the list's own.
        sender: instead of the list's own.
    """
    values: dict[str, Any] = {
        "account_id": mailing.account_id,
        "list_id": mailing.id,
        "recipient_id": recipient_id,
        "kind": kind,
        "list_ids": sorted(list_ids) or None,
        "message_number": message_number,
        "sender_email": (sender.email if sender else "") or None,
        "sender_name": (sender.name if sender else "") or None,
        "state": "waiting",
        "created_at": datetime.now(UTC),
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(outbox).values(**values).on_conflict_do_nothing())
