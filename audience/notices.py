"""Notices: mails to the people who run an account, about its files; each is written once, whoever asks again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, select

from audience.addresses import normalise_email
from db.functions import insert_into
from db.tables import account, notice

NoticeKind = Literal["import", "export", "transfer", "missing-file", "sender", "sending", "sending-file", "credits"]

MAX_SUBJECT = 200
"""Most characters; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice that is to go out."""

    id: int
    account_number: int
    kind: str
    address: str
    subject: str
    text: str
    created_at: datetime
    state: str
    attempts: int
    """To send it, so far."""
    due_at: datetime | None
    """Not before then, after an attempt that did not work."""
    code: str | None
    """Why the last one did not."""


def set_contact(connection: Connection, account_id: int, address: str | None) -> str | None:
    """Name the technical contact of an account, who gets its notices, or nobody; return the address as it is kept.

    Raises:
        InvalidAddress: it is not an e-mail address.
    """
    email = normalise_email(address) if address is not None else None
    connection.execute(account.update().where(account.c.id == account_id).values(technical_contact=email))
    return email


def find_contact(connection: Connection, account_id: int) -> str | None:
    """Return the address of an account's technical contact."""
    query = select(account.c.technical_contact).where(account.c.id == account_id)
    address: str | None = connection.execute(query).scalar_one()
    return address


def add_notice(
    connection: Connection,
    account_id: int,
    *,
    key: str,
    kind: NoticeKind,
    subject: str,
    text: str,
    address: str | None = None,
) -> bool:
    """Write a notice, unless there is one with its key; return whether there is anybody who gets it.

    Args:
        connection: in the writing transaction of what it tells of.
        account_id: whose notice it is.
        key: names what it tells of, such as `import:7`, across all accounts.
        kind: of what it tells.
        subject: one line; line ends in it become spaces.
        text: the rest, for people.
        address: who gets it instead of the technical contact.
    """
    receiver = address or find_contact(connection, account_id)
    if receiver is None:
        return False
    values = {
        "account_id": account_id,
        "key": key,
        "kind": kind,
        "address": receiver,
        # Names of files are in it, and a header of a mail is one line.
        "subject": " ".join(subject.split())[:MAX_SUBJECT],
        "text": text,
        "state": "waiting",
        "created_at": datetime.now(UTC),
    }
    connection.execute(insert_into(connection, notice).values(**values).on_conflict_do_nothing())
    return True


def waiting_notices(
    connection: Connection,
    *,
    account_id: int | None = None,
    limit: int = 100,
    states: Collection[str] = ("waiting", "sending"),
) -> list[Notice]:
    """Return the notices that are to go out, or those in other states, of one account or of all, the oldest first."""
    query = (
        select(
            notice.c.id,
            account.c.number,
            notice.c.kind,
            notice.c.address,
            notice.c.subject,
            notice.c.text,
            notice.c.created_at,
            notice.c.state,
            notice.c.attempts,
            notice.c.due_at,
            notice.c.code,
        )
        .join(account, account.c.id == notice.c.account_id)
        .where(notice.c.state.in_(states))
        .order_by(notice.c.id)
        .limit(limit)
    )
    if account_id is not None:
        query = query.where(notice.c.account_id == account_id)
    return [Notice(*row) for row in connection.execute(query)]
