"""Mails that came in: kept before whoever brought them is told so, and listed for operators without what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, func, select

from db.functions import insert_into
from db.tables import inbound_mail
from delivery.bounces import MAX_READ

MailSource = Literal["smtp", "lmtp", "imap"]
SPECIAL_MAILBOXES = ("bounces", "fbl", "postmaster")
"""Local parts that are taken beside the signed ones; `fbl` for the feedback loops of mailbox providers."""
MAX_SIZE = 25 * 1024 * 1024
"""Bytes."""
_MAX_ADDRESS = 320


@dataclass(frozen=True, slots=True)
class InboundMail:
    """A mail that came in, without its content and its addresses."""

    id: int
    source: str
    state: str
    """`waiting`, `reading`, `completed`, or `failed` (set aside)."""
    outcome: str | None
    note: str | None
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    size: int | None
    """Bytes; None once the content is gone."""


def keep_mail(
    connection: Connection, source: MailSource, sender: str, recipients: Sequence[str], content: bytes
) -> bool:
    """Keep a mail until it is read; False when it is kept already, since it was handed over twice.

    Args:
        connection: in a writing transaction.
        source: which door it came through.
        sender: of its envelope; empty for a report.
        recipients: of its envelope.
        content: all of it; no more is kept than is read.
    """
    envelope = (_clean(sender), [_clean(recipient) for recipient in recipients])
    digest = hashlib.sha256(repr(envelope).encode() + b"\0")
    digest.update(content)
    row = {
        "source": source,
        "digest": digest.hexdigest(),
        "sender": envelope[0],
        "recipients": envelope[1],
        "content": content[:MAX_READ],
        "state": "waiting",
        "created_at": datetime.now(UTC),
    }
    insert = insert_into(connection, inbound_mail).values(row)
    kept = insert.on_conflict_do_nothing(index_elements=["digest"]).returning(inbound_mail.c.id)
    return connection.execute(kept).scalar_one_or_none() is not None


def list_mails(connection: Connection, *, outcome: str | None = None, limit: int = 100) -> list[InboundMail]:
    """Return the newest mails that came in, the newest first, perhaps only those of an outcome."""
    query = _select().order_by(inbound_mail.c.id.desc()).limit(limit)
    if outcome is not None:
        query = query.where(inbound_mail.c.outcome == outcome)
    return [InboundMail(*row) for row in connection.execute(query)]


def find_mail(connection: Connection, mail_id: int) -> InboundMail | None:
    """Return one mail that came in; None when there is no such."""
    row = connection.execute(_select().where(inbound_mail.c.id == mail_id)).one_or_none()
    return InboundMail(*row) if row is not None else None


def count_mails(connection: Connection) -> dict[str, int]:
    """Return how many mails there are by outcome; those that are not read yet, or were set aside, by state."""
    what = func.coalesce(inbound_mail.c.outcome, inbound_mail.c.state).label("name")
    counted = connection.execute(select(what, func.count().label("number")).group_by(what).order_by(what))
    return {row.name: row.number for row in counted}


def _select() -> Select[Any]:
    columns = inbound_mail.c
    return select(
        columns.id,
        columns.source,
        columns.state,
        columns.outcome,
        columns.error_text,
        columns.attempts,
        columns.created_at,
        columns.finished_at,
        func.length(columns.content),
    )


def _clean(address: str) -> str:
    """Return an address as every database can hold it."""
    return address.replace("\0", "").encode("utf-8", "replace").decode()[:_MAX_ADDRESS]
