"""Reads the mails that came in, one after the other, and does what they mean, each once.

Only what has an address that this server has signed changes anything: the one that it was sent to or, in the report
of somebody else, one in the mail that is returned. Everything else is anybody's word.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, exists, select

from db.engine import Database
from db.leases import MAX_ATTEMPTS, RunTable
from db.retry import retry_on_conflict
from db.tables import inbound_mail, sending
from delivery.bounce_rules import append_bounce, record_bounce, record_complaint, record_leave
from delivery.bounces import Report, read_report
from delivery.return_paths import ReturnPath, UnsubscribeAddress, read_return_path, read_unsubscribe_address

log = structlog.get_logger()

MAILS = RunTable(inbound_mail, queued="waiting", running="reading")
UNVERIFIED = "unverified"
"""Note of a report that names no signed address, so that nothing was done."""


@dataclass(frozen=True, slots=True)
class _Mail:
    """A mail that was claimed."""

    id: int
    attempts: int
    recipients: tuple[str, ...]
    content: bytes


def read_next_mail(database: Database, owner: str, stop: threading.Event, *, soft_bounce_limit: int = 5) -> bool:
    """Read the oldest mail that came in and waits; return False when there is none.

    A mail whose readers crash three times is set aside as failed. Its content goes when it was understood.

    Args:
        database: where mails are.
        owner: from `db.leases.name_owner`.
        stop: set when nothing new is to be begun.
        soft_bounce_limit: soft bounces in a row after which somebody is unsubscribed.
    """
    mail = None if stop.is_set() else _claim(database, owner)
    if mail is None:
        return False
    if mail.attempts > MAX_ATTEMPTS:
        _set_aside(database, mail, owner)
        return True
    report = read_report(mail.content)
    done = retry_on_conflict(lambda: _finish(database, mail, owner, report, soft_bounce_limit))
    if done is not None:
        log.info("mail_read", mail=mail.id, outcome=done[0], note=done[1])
    return True


def _finish(
    database: Database, mail: _Mail, owner: str, report: Report, soft_bounce_limit: int
) -> tuple[str, str | None] | None:
    """Do what a mail means, and end it; None when it is somebody else's by now."""
    with database.write() as connection:
        if not MAILS.renew(connection, mail.id, owner):
            return None
        outcome, note = _apply(connection, mail, report, soft_bounce_limit)
        values: dict[str, Any] = {"outcome": outcome, "error_text": note}
        if outcome != "unknown" and note is None:
            values["content"] = None
        MAILS.finish(connection, mail.id, owner, "completed", **values)
        return outcome, note


def _claim(database: Database, owner: str) -> _Mail | None:
    columns = inbound_mail.c
    unread = select(exists().where(columns.state.in_((MAILS.queued, MAILS.running))))
    with database.read_once() as connection:
        if not connection.execute(unread).scalar_one():
            return None
    with database.write() as connection:
        mail_id = MAILS.claim(connection, owner)
        if mail_id is None:
            return None
        row = connection.execute(
            select(columns.attempts, columns.recipients, columns.content).where(columns.id == mail_id)
        ).one()
    return _Mail(mail_id, row.attempts, tuple(row.recipients), row.content or b"")


def _set_aside(database: Database, mail: _Mail, owner: str) -> None:
    with database.write() as connection:
        MAILS.finish(connection, mail.id, owner, "failed", error_text=f"Nobody could read it in {MAX_ATTEMPTS} tries.")
    log.error("mail_set_aside", mail=mail.id)


def _apply(connection: Connection, mail: _Mail, report: Report, soft_bounce_limit: int) -> tuple[str, str | None]:
    """Do what a mail means; return its outcome and a note."""
    leaver = _find_leaver(connection, mail.recipients)
    if leaver is not None:
        return _apply_leave(connection, leaver, report)
    if report.kind in ("automatic", "unknown"):
        return report.kind, None
    about = _find_subject(connection, (*mail.recipients, report.return_path))
    if about is None:
        return report.kind, UNVERIFIED
    if report.kind == "complaint":
        record_complaint(connection, about)
    elif report.kind == "unsubscribe":
        record_leave(connection, UnsubscribeAddress(*about, _list_of(connection, about)))
    elif report.bounce is not None:
        is_new = append_bounce(connection, about, report.code)
        if is_new or report.kind == "hard":
            record_bounce(connection, about, report.bounce, soft_bounce_limit=soft_bounce_limit)
    return report.kind, None


def _apply_leave(connection: Connection, leaver: UnsubscribeAddress, report: Report) -> tuple[str, str | None]:
    """Unsubscribe somebody who wrote to his address for that, unless a machine did."""
    if report.kind not in ("unknown", "unsubscribe"):
        return "automatic", None
    record_leave(connection, leaver)
    return "unsubscribe", None


def _find_leaver(connection: Connection, addresses: Iterable[str]) -> UnsubscribeAddress | None:
    found = (read_unsubscribe_address(connection, address) for address in addresses)
    return next((leaver for leaver in found if leaver is not None), None)


def _find_subject(connection: Connection, addresses: Iterable[str]) -> ReturnPath | None:
    """Return whom the first signed address is about; that to unsubscribe names him, too."""
    for address in addresses:
        if (about := read_return_path(connection, address)) is not None:
            return about
        if (leaver := read_unsubscribe_address(connection, address)) is not None:
            return leaver.about
    return None


def _list_of(connection: Connection, about: ReturnPath) -> int:
    """Return the list of a sending; 0 when the sending is gone."""
    query = select(sending.c.list_id).where(sending.c.id == about.sending_id, sending.c.account_id == about.account_id)
    return connection.execute(query).scalar_one_or_none() or 0
